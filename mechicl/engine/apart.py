"""Heads apart: what each one reads, for its queries, keys and values, and what each one writes. These are computed only
where they are asked for, and have HookedTransformer's names.

Legend: t positions, q positions that ask, h heads, k d_head, d d_model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.hooks import Hooks
from mechicl.engine.ops import layer_norm, linear
from mechicl.models.params import Params


def read_apart(
    params: Params, x: Tensor, model: ModelConfig, block: str, hook: Hooks, query_only: bool
) -> list[Tensor]:
    """Queries, keys and values [*lead, t, h, k] where each head may read another residual stream for each of them, as
    HookedTransformer has it with `use_split_qkv_input`. Each has its LayerNorm, which is at no hook here."""
    w = params[f"{block}.attn.W_QKV"].unflatten(-1, (3, model.n_heads, -1))
    out = []
    for i, part in enumerate("qkv"):
        read, name = x[..., -1:, :] if query_only and part == "q" else x, f"{block}.hook_{part}_input"
        read = read.unsqueeze(-2)
        if hook.uses(name):
            read = hook(name, read.expand(*read.shape[:-2], model.n_heads, -1))
        if model.layer_norm:
            read = layer_norm(read, params[f"{block}.ln1.w"], params[f"{block}.ln1.b"])
        letters = "s...hd,sdhk->s...hk" if w.dim() == 5 else "...hd,dhk->...hk"
        out.append(torch.einsum(letters, read.expand(*read.shape[:-2], model.n_heads, -1), w[..., i, :, :]))
    lead = torch.broadcast_shapes(*(x.shape[:-3] for x in out))  # conditions of one are of all
    return [x.expand(*lead, *x.shape[-3:]) for x in out]


def written(z: Tensor, w: Tensor, name: str, hook: Hooks) -> Tensor:
    """[*lead, t, d]: what heads write together, of z [*lead, t, h, k] and W_O, w [h k, d] (or stacked). name: the hook
    of what each of them writes, [*lead, t, h, d]."""
    edited = name in hook.edits
    if hook.uses(name):
        own = w.unflatten(-2, z.shape[-2:])
        each = hook(name, torch.einsum("s...hk,shkd->s...hd" if w.dim() == 3 else "...hk,hkd->...hd", z, own))
        if edited:
            return each.sum(-2)
    return linear(z.flatten(-2), w)
