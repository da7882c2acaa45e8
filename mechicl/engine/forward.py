"""The forward pass, as one pure function.

`forward(params, batch, model)` returns the final residual stream at the positions where answers are read. `logits` and
`label_logits` compute logits from it. If that is the last position only (a query's answer), the last layer computes
this one position unless all are asked for. Parity with `ICLTransformer` holds at every
hook point and is tested. A model from elsewhere (`ModelConfig.hooked`) runs through HookedTransformer's
hooks instead, with the same edits, captures and shapes (engine/foreign.py).

Axes: activations are [*lead, b, t, ...]. With plain parameters lead is empty. With
parameters stacked over checkpoints (every tensor gains a first axis s), lead is [s, c]:
c is 1 until an edit brings conditions, so the work before the first edit is shared.

Legend: s checkpoint, c condition, b batch, t position, h head, d d_model, k d_head, v labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.apart import written
from mechicl.engine.attending import attention, layer_norm_at
from mechicl.engine.edit import Edit
from mechicl.engine.hooks import Hooks, no_hook
from mechicl.engine.ops import GELU, compiled, linear, sequences
from mechicl.engine.rotary import tables
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True)
class Output:
    """final [*lead, b, d]: what the unembedding reads at the query, or [*lead, b, t, d] where it reads everywhere.
    acts: hook name -> tensor."""

    final: Tensor
    acts: dict[str, Tensor]


def stack(params: Iterable[Params]) -> Params:
    """Stack packed parameters of several checkpoints (or seeds) along a new first axis s."""
    listed = list(params)
    return {name: torch.stack([p[name] for p in listed]) for name in listed[0]}


def rank(hook: str) -> int:
    """How many axes an activation has from b on."""
    return 4 if ".attn." in hook or hook.endswith("_input") else 3


def forward(
    params: Params,
    batch: TaskBatch,
    model: ModelConfig,
    *,
    edits: Mapping[str, Edit] | None = None,
    capture: Iterable[str] = (),
    query_only: bool = True,
    known: Mapping[str, Tensor] | None = None,
) -> Output:
    """Run the model on a batch.

    Args:
        params: packed parameters (`engine.params.pack`), plain or stacked.
        batch: b sequences.
        edits: hook name -> Edit, applied where HookedTransformer would run a hook.
        capture: hook names to return. After editing, as `run_with_cache` sees them.
        query_only: where answers are read at the last position alone (`batch.everywhere` is False), compute only
            that one in the last layer; its activations then have one position (the query axis of patterns too).
        known: activations of the unedited model on this batch, as captured with the same `query_only`. If they have a
            layer's `hook_resid_pre` and `attn.hook_z` (see `restart_hooks`), and no edit or capture is before that z,
            the pass starts there.

    Returns:
        Output: final [*lead, b, d], or [*lead, b, t, d] of a batch whose answers are read everywhere, and the
        captured activations.

    Raises:
        NoHook (a ConfigError and KeyError): an edit or capture names a hook that this model does not run.
        ConfigError: an edit does not fit the activation at its hook.
    """
    if model.hooked:
        from mechicl.engine.foreign import forward as through_hooks

        return through_hooks(params, batch, model, edits=edits, capture=capture, query_only=query_only)
    hook, query_only = Hooks(dict(edits or {}), set(capture)), query_only and not batch.everywhere
    hook.written |= {name: known[name] for name in hook.sources if known and name in known}
    first = _first_layer(hook, model, known) if known else None
    x = embedded(params, batch, model, hook) if first is None or known is None else known[restart_hooks(first)[0]]
    for layer in range(first or 0, model.n_layers):
        last = layer == model.n_layers - 1
        z = None
        if known is not None and layer == first:
            z = known[restart_hooks(layer)[1]]
        x = _block(params, x, model, layer, hook, query_only and last, z)
    if model.layer_norm:
        x = layer_norm_at(params, "ln_final", x, hook)
    unused = sorted({*hook.edits, *(hook.wanted - hook.acts.keys())})
    if unused:
        raise no_hook(unused, model)
    return Output(x if batch.everywhere else x[..., -1, :], hook.acts)


def restart_hooks(layer: int) -> tuple[str, str]:
    """The two activations from which a pass can start at a layer's z."""
    return f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.attn.hook_z"


def _first_layer(hook: Hooks, model: ModelConfig, known: Mapping[str, Tensor]) -> int | None:
    """The last layer with a known z and no edit or capture before it; None if there is none."""
    found, asked = None, [*hook.edits, *hook.wanted, *(hook.sources - known.keys())]
    if not all(name.startswith(("blocks.", "ln_final.")) for name in asked):
        return None
    for layer in range(model.n_layers):
        inside = [n for n in asked if n.startswith(f"blocks.{layer}.")]
        if not all(any(part in name for part in _AFTER_Z) for name in inside):
            break
        if known.keys() >= {*restart_hooks(layer)}:
            found = layer
        if inside:
            break
    return found


_AFTER_Z = ("attn.hook_z", "attn.hook_result", "hook_attn_out", "hook_resid_mid", "hook_mlp_in")
_AFTER_Z += (".ln2.", ".mlp.", "hook_mlp_out", "hook_resid_post")


def logits(params: Params, final: Tensor) -> Tensor:
    """Logits of all labels, [*lead, b, v]."""
    return linear(final, params["unembed.W_U"], params["unembed.b_U"])


def loss_of(params: Params, final: Tensor, batch: TaskBatch) -> Tensor:
    """The task's loss of the answers, a scalar, differentiable. Plain parameters; final as `forward` returns it."""
    quick = batch.loss_of(params, final)
    return batch.loss(logits(params, final)) if quick is None else quick


def label_logits(params: Params, final: Tensor, labels: Tensor) -> Tensor:
    """Logits of chosen labels only, [*lead, b, C], as in-context metrics need them.

    labels [b, C]. Costs C/v of the full unembedding.
    """
    w, bias = params["unembed.W_U"], params["unembed.b_U"]
    if compiled(final, w):
        from mechicl.engine.fast.unembed import label_logits as kernel

        models = len(w) if w.dim() == 3 else 1
        out = final.new_empty(*final.shape[:-1], labels.shape[-1])
        kernel(
            final.reshape(models, -1, len(labels), final.shape[-1]).numpy(),
            sequences(w.mT.contiguous()),
            bias.numpy().reshape(models, -1),
            labels.numpy(),
            out.view(models, -1, *labels.shape).numpy(),
        )
        return out
    if w.dim() == 2:
        return (final.unsqueeze(-2) @ w.T[labels].mT).squeeze(-2) + bias[labels]
    rows = w.mT[:, labels]  # [s, b, C, d]
    return torch.einsum("scbd,sbnd->scbn", final, rows) + bias[:, None][..., labels]


def embedded(params: Params, batch: TaskBatch, model: ModelConfig, hook: Hooks) -> Tensor:
    """[*lead, b, t, d]: the batch's own embedding, plus positions."""
    like = params["unembed.W_U"]
    if model.positions == "learned":
        positions = params["pos_embed.W_pos"]
    elif model.positions == "sinusoidal":
        (positions,) = tables(model, batch.shape[-1], like.dtype, like.device)
    else:
        positions = like.new_zeros(batch.shape[-1], model.d_model)
    if not hook.uses("hook_embed") and not hook.uses("hook_pos_embed"):
        x = batch.embed_placed(params, model, hook, positions)
        if x is not None:
            return x
    x = hook("hook_embed", batch.embed(params, model, hook))
    if model.positions == "rotary":
        return x
    positions = positions if positions.dim() == 2 else positions[:, None, None]
    return x + hook("hook_pos_embed", positions.expand_as(x))


def _block(
    params: Params, x: Tensor, model: ModelConfig, layer: int, hook: Hooks, query_only: bool, z: Tensor | None = None
) -> Tensor:
    """One layer; a known `z` replaces what comes before it."""
    block = f"blocks.{layer}"
    if z is None:
        x = hook(f"{block}.hook_resid_pre", x)
        z = attention(params, x, model, block, hook, query_only)
    out = written(hook(f"{block}.attn.hook_z", z), params[f"{block}.attn.W_O"], f"{block}.attn.hook_result", hook)
    x = _add(x[..., -1:, :] if query_only else x, out, hook, f"{block}.hook_attn_out")
    if model.has_mlp(layer):
        x = hook(f"{block}.hook_resid_mid", x)
        read = f"{block}.hook_mlp_in"
        read = hook(read, x.view_as(x)) if hook.uses(read) else x  # to autograd apart from what goes on in the stream
        normed = layer_norm_at(params, f"{block}.ln2", read, hook) if model.layer_norm else read
        pre = linear(normed, params[f"{block}.mlp.W_in"], params[f"{block}.mlp.b_in"])
        active = F.gelu(hook(f"{block}.mlp.hook_pre", pre), approximate=GELU[model.activation])
        post = hook(f"{block}.mlp.hook_post", active)
        out = linear(post, params[f"{block}.mlp.W_out"], params[f"{block}.mlp.b_out"])
        x = _add(x, out, hook, f"{block}.hook_mlp_out")
    return hook(f"{block}.hook_resid_post", x)


def _add(x: Tensor, out: Tensor, hook: Hooks, name: str) -> Tensor:
    """x + out. It reuses out's memory if nothing else needs out."""
    if hook.uses(name) or (torch.is_grad_enabled() and out.requires_grad):
        return x + hook(name, out)
    return out.add_(x)
