"""Models that mechicl did not make, in the same forward pass: through the hooks of a HookedTransformer.

The fast engine knows one architecture. Every other one that HookedTransformer has (grouped queries, gated MLPs,
RMSNorm, rotary positions, parallel attention, biases) runs here, checkpoint by checkpoint and condition by condition.
This is slower. Edits, captures and shapes are those of `engine.forward`, and its docstring applies here, too. Tests
run mechicl's own models both ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine import forward as engine
from mechicl.engine.edit import Edit
from mechicl.engine.hooks import Hooks, NoHook
from mechicl.errors import ConfigError
from mechicl.models.foreign import Pass, pass_of
from mechicl.models.params import Params, unpack
from mechicl.models.switches import running
from mechicl.protocol.batch import TaskBatch

if TYPE_CHECKING:
    from collections.abc import Callable

_ALL_POSITIONS = ("hook_resid_pre", ".ln1.", ".hook_k", ".hook_v", ".hook_rot_k")  # in the last layer, too
_QUERIES_LAST = (".hook_attn_scores", ".hook_pattern")  # [b, h, query, key]: positions are the last axis but one


def forward(
    params: Params,
    batch: TaskBatch,
    model: ModelConfig,
    *,
    edits: Mapping[str, Edit] | None = None,
    capture: Iterable[str] = (),
    query_only: bool = True,
    through: Pass | None = None,
) -> engine.Output:
    """`engine.forward`, through hooks.

    Args:
        through: the model whose hooks are used (default: the one that `model` describes).

    Raises:
        NoHook: an edit or capture names a hook that this model does not run.
        ConfigError: batches are stacked, one for each checkpoint, as in training.
    """
    if batch.stacked:
        raise ConfigError("a model from elsewhere reads one batch with all checkpoints, not one each.")
    through = pass_of(model, str(params["unembed.b_U"].device)) if through is None else through
    edits, wanted = dict(edits or {}), set(capture)
    unknown = sorted(({*edits} | wanted) - {*through.model.hook_dict})
    if unknown:
        there = ", ".join(name for name in through.model.hook_dict if not re.match(r"blocks\.[1-9]", name))
        raise NoHook(
            f"this model has no hook named {', '.join(unknown)}. There are {there}, and those of later layers."
        )
    stacked = params["unembed.b_U"].dim() == 2
    conditions = [n for name, edit in edits.items() if (n := _conditions(edit, name)) is not None]
    c = max(conditions, default=None)
    cut = query_only and not batch.everywhere
    runs = []
    for i in range(len(params["unembed.b_U"]) if stacked else 1):
        one = {name: p[i] for name, p in params.items()} if stacked else params
        weights = unpack(one, model.n_heads)
        each = [
            _Run({name: _part(edit, name, i, j) for name, edit in edits.items()}, wanted, {*edits} - _alike(edits))
            for j in range(1 if c is None else c)
        ]
        for run in each:
            run.final = _one(weights, one, batch, model, run, through)
        runs.append(each)
    acts = {
        name: _gathered(
            [[run.acts[name] for run in each] for each in runs], stacked, c is not None and name in runs[0][0].after
        )
        for name in wanted
    }
    final = _gathered([[run.final for run in each] for each in runs], stacked, c is not None)
    if cut:
        acts = {name: _at_query(name, x, model.n_layers) for name, x in acts.items()}
    return engine.Output(final if batch.everywhere else final[..., -1, :], acts)


class _Run:
    """The hooks of one pass: one checkpoint, one condition."""

    final: Tensor

    def __init__(self, edits: dict[str, Edit], wanted: set[str], conditional: set[str]):
        self.inner = Hooks(dict(edits), wanted)
        self.conditional, self.seen, self.after = conditional, False, set()  # captured after conditions part

    @property
    def acts(self) -> dict[str, Tensor]:
        return self.inner.acts

    def __call__(self, name: str, x: Tensor) -> Tensor:
        self.seen = self.seen or name in self.conditional
        if self.seen:
            self.after.add(name)
        return self.inner(name, x)

    def uses(self, name: str) -> bool:
        return self.inner.uses(name)


def _one(weights: Params, packed: Params, batch: TaskBatch, model: ModelConfig, run: _Run, through: Pass) -> Tensor:
    """[b, t, d]: what the unembedding reads."""
    asked = [
        name
        for name in {*run.inner.edits} | run.inner.wanted | run.inner.sources
        if name.startswith(("blocks.", "ln_final."))
    ]
    t = batch.shape[-1]
    if "pos_embed.W_pos" in packed:  # of a model that can read longer sequences, the first positions
        packed = packed | {"pos_embed.W_pos": packed["pos_embed.W_pos"][:t]}
    x = engine.embedded(packed, batch, model, run)  # type: ignore[arg-type]
    hooks: list[tuple[str | Callable[..., Any], Callable[..., Any]]] = [
        (name, lambda x, hook: run(hook.name, x)) for name in asked
    ]
    own = {f"model.{name}": w for name, w in weights.items()}
    with through.lock, running(through.model, asked), through.model.hooks(fwd_hooks=hooks):
        return torch.func.functional_call(through, own, (x,))


def _conditions(edit: Edit, name: str) -> int | None:
    """How many conditions an edit has along axis c; None if it has no such axis."""
    axes = engine.rank(name)
    sizes = [x.shape[-axes - 1] for x in (edit.keep, edit.add) if isinstance(x, Tensor) and x.dim() > axes]
    sizes += [edit.off.shape[-4]] if edit.off is not None and edit.off.dim() > 3 else []
    sizes += [len(taken.share) for taken in edit.less if taken.share.dim() > 2]
    return max(sizes, default=None)


def _alike(edits: Mapping[str, Edit]) -> set[str]:
    """Edits that are the same for all conditions: they have no axis c."""
    return {name for name, edit in edits.items() if _conditions(edit, name) is None}


def _part(edit: Edit, name: str, i: int, j: int) -> Edit:
    """The edit of checkpoint i under condition j."""

    def part(x: Tensor | float, axes: int = engine.rank(name)) -> Tensor | float:
        if not isinstance(x, Tensor):
            return x
        while x.dim() > axes:
            first = i if x.dim() == axes + 2 else j
            x = x[first if len(x) > 1 else 0]
        return x

    off = edit.off
    while off is not None and off.dim() > 3:  # [s, c, 1, d, count]
        first = i if off.dim() == 5 else j
        off = off[first if len(off) > 1 else 0]
    less = tuple(
        replace(
            taken,
            share=taken.share[j] if taken.share.dim() > 2 else taken.share,
            instead=None if taken.instead is None else part(taken.instead, engine.rank(taken.source)),
        )
        for taken in edit.less
    )
    return Edit(part(edit.keep), part(edit.add), edit.at, off, less)


def _gathered(found: list[list[Tensor]], stacked: bool, parted: bool) -> Tensor:
    """[checkpoint][condition] tensors with the axes that the engine gives them."""
    if not stacked:
        return torch.stack(found[0]) if parted else found[0][0]
    return torch.stack([torch.stack(each) if parted else each[0][None] for each in found])


def _at_query(name: str, x: Tensor, n_layers: int) -> Tensor:
    """Of the last layer's activations, the last position, as the engine computes no other."""
    last = name.startswith((f"blocks.{n_layers - 1}.", "ln_final."))
    if not last or any(part in name for part in _ALL_POSITIONS):
        return x
    if name.endswith(_QUERIES_LAST):
        return x[..., -1:, :]
    return x[..., -1:, :, :] if engine.rank(name) == 4 else x[..., -1:, :]
