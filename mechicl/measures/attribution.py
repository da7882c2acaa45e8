"""Direct logit attribution: what each head and MLP adds to the answer's logit.

The final LayerNorm's scale is held at its value on the sequence, so the logit is a sum over
components. A component's direct effect on label y is its output, centred and scaled as the
LayerNorm does, on W_U[:, y] minus the mean column: softmax ignores what all labels share.
Reported, at the last position, for the answers that the task names (`TaskBatch.answers`): of exemplars and labels, the
label that is right in context and the one that is right in the weights (the trained label of the query's class),
where they differ or agree alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.engine.forward import forward
from mechicl.interventions.components import check_sums
from mechicl.measures.asked import Names, Steps, chosen_sets
from mechicl.measures.door import measure
from mechicl.measures.parts import over_evaluators
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch
from mechicl.registry import main_in_context
from mechicl.series import Series
from mechicl.statistics import normal_interval
from mechicl.system.surroundings import reading

__all__ = ["logit_attribution"]

METRICS = ("logit_in_context", "logit_in_weights")


def components(
    params: Params, batch: TaskBatch, model: ModelConfig, edits: Mapping[str, Edit] | None = None
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Everything added to the residual stream at the query.

    Args:
        params: stacked parameters (axis s).
        edits: of one intervention (`interventions.edits`): what is added then.

    Returns:
        name -> [s, b, d] ('embed', 'L0H3', 'L1 MLP', ..., of models that have them 'biases'), in order; the last
        residual stream [s, b, d], which is their sum; and its LayerNorm scale [s, b, 1] (1 without).

    Raises:
        ConfigError: a norm stands between heads and the residual stream.
    """
    check_sums(model)
    hooks = ["hook_embed", *([] if model.positions == "rotary" else ["hook_pos_embed"])]
    hooks += [f"blocks.{la}.attn.hook_z" for la in range(model.n_layers)]
    hooks += [f"blocks.{la}.hook_mlp_out" for la in range(model.n_layers) if model.has_mlp(la)]
    last = f"blocks.{model.n_layers - 1}.hook_resid_post"
    acts = forward(params, batch, model, edits=edits, capture=[*hooks, last]).acts
    at_query = {name: x[:, 0, :, -1] for name, x in acts.items()}  # [s, b, ...]
    embedded = [at_query[h] for h in hooks[:2] if not h.startswith("blocks")]
    out = {"embed": torch.stack(embedded).sum(0)}
    for layer in range(model.n_layers):
        w = params[f"blocks.{layer}.attn.W_O"].unflatten(1, (model.n_heads, -1))  # [s, h, k, d]
        heads = torch.einsum("sbhk,shkd->hsbd", at_query[f"blocks.{layer}.attn.hook_z"], w)
        out |= {f"L{layer}H{h}": x for h, x in enumerate(heads)}
        if model.has_mlp(layer):
            out[f"L{layer} MLP"] = at_query[f"blocks.{layer}.hook_mlp_out"]
    total = at_query[last]
    if "blocks.0.attn.b_O" in params:  # of models from elsewhere: no head's
        each = [params[f"blocks.{layer}.attn.b_O"] for layer in range(model.n_layers)]
        out["biases"] = torch.stack(each).sum(0)[:, None].expand_as(total)
    if not model.layer_norm:
        return out, total, torch.ones_like(total[..., :1])
    spread = total.var(-1, correction=0, keepdim=True) if _centres(params) else total.square().mean(-1, keepdim=True)
    return out, total, (spread + model.eps).sqrt()


def _centres(params: Params) -> bool:
    """Whether the final norm takes the mean off: RMSNorm, which has no bias, does not."""
    return "ln_final.b" in params


def attribute(
    params: Params, batch: TaskBatch, model: ModelConfig, labels: Tensor, edits: Mapping[str, Edit] | None = None
) -> dict[str, Tensor]:
    """Each component's direct contribution to the (centred) logit of labels [b], under `edits`.

    Returns:
        component -> [s, b]; with 'bias' (the final LayerNorm's and the unembedding's) they
        sum to the logit of `labels` minus the mean logit.
    """
    parts, _, scale = components(params, batch, model, edits)
    w, bias = params["unembed.W_U"], params["unembed.b_U"]  # [s, d, v], [s, v]
    direction = w.mT[:, labels] - w.mean(-1)[:, None]  # [s, b, d]
    constant = bias[:, labels] - bias.mean(-1, keepdim=True)
    if model.layer_norm and _centres(params):
        constant = constant + torch.einsum("sbd,sd->sb", direction, params["ln_final.b"])
    if model.layer_norm:
        direction = direction * params["ln_final.w"][:, None]
    if model.layer_norm and _centres(params):
        direction = direction - direction.mean(-1, keepdim=True)  # the LayerNorm's centring
    out = {name: (x * direction).sum(-1) / scale[..., 0] for name, x in parts.items()}
    return out | {"bias": constant}


@reading()
@measure(
    "logit_attribution",
    rows="step, evaluator, component",
    value="what the component adds to the answer's logit minus what it adds to the mean logit",
    against="0",
)
def logit_attribution(
    series: Series, steps: Steps = None, evaluators: Names = None, n: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """Direct logit attribution over training: what each head and MLP adds to an answer's logit.

    Args:
        series: the run.
        steps: which checkpoints (default: all).
        evaluators: the evaluators whose sequences are used (default: the main ones whose context has the right label).
        n: sequences per evaluator (default: the run's `n_eval`).
        progress: show a bar over long series.

    Returns:
        The tidy table, one row per step, evaluator, component and answer. `intervention` names the component ('embed',
        'L0H3', 'L1 MLP'); layer and head are set for heads, layer for MLPs. `metric` is 'logit_in_context' or
        'logit_in_weights'. `value` is in logits, relative to the mean logit, with n and its normal 95% interval.

    Raises:
        SeriesError: a step was not saved.
        ConfigError: there is no such evaluator.

    Examples:
        >>> table = mechicl.logit_attribution(series, [3000], ["flip"], n=100, progress=False)
        >>> table.intervention.unique()[:3].tolist()
        ['embed', 'L0H0', 'L0H1']
    """
    model = series.config.model
    sets = chosen_sets(series, evaluators, main_in_context(series.config), n)
    widest = max(len(b) for b in sets.values())
    size = 4.0 * widest * model.d_model * (model.n_layers * (model.n_heads + 8) + 8)
    size += series.task.embedding_bytes(series.config.model, widest)
    return over_evaluators(series, "attribution", steps, sets, partial(_measured, model=model), size, progress=progress)


def _measured(
    steps: list[int], params: Params, name: str, batch: TaskBatch, *, model: ModelConfig
) -> Iterator[dict[str, Any]]:
    for metric, labels in batch.answers().items():
        for part, values in attribute(params, batch, model, labels).items():
            yield from _rows(steps, part, name, metric, values.cpu().numpy())


def _rows(steps: list[int], part: str, evaluator: str, metric: str, values: np.ndarray) -> Iterable[dict[str, Any]]:
    mean, low, high = normal_interval(values)  # [s]
    layer, head = part[1:].split("H") if part[0] == "L" and "MLP" not in part else (None, None)
    layer = part[1:-4] if part.endswith(" MLP") else layer
    for i, step in enumerate(steps):
        yield {
            "step": step,
            "layer": pd.NA if layer is None else int(layer),
            "head": pd.NA if head is None else int(head),
            "evaluator": evaluator,
            "metric": metric,
            "intervention": part,
            "value": float(mean[i]),
            "n": values.shape[1],
            "ci_low": float(low[i]),
            "ci_high": float(high[i]),
        }
