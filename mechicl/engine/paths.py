"""All paths into the heads of one layer cut, each by itself, in a few passes.

A head's output depends on its own queries, keys and values alone, so every head of a layer can lack something at the
same time. For each sender the stream without what it wrote goes through LayerNorm and projections once, for all heads.
Then attention is computed three times: with the changed queries, keys or values beside the intact others. That gives
3 x heads paths for each sender. `CutPaths` cuts any set of paths in one pass and is the reference (tests compare them).

Legend: n senders, b sequences, t positions, q positions that ask, h heads, k d_head, d d_model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.attending import at_each_hook, by_own_loops
from mechicl.engine.hooks import Hooks
from mechicl.engine.ops import attend, layer_norm, project
from mechicl.models.params import Params


def heads_without(
    params: Params, x: Tensor, taken: Tensor, model: ModelConfig, layer: int, query_only: bool
) -> dict[str, Tensor]:
    """What each head's mix of values is where its queries, keys or values lack what one sender wrote.

    Args:
        params: packed and plain, of one checkpoint.
        x: [b, t, d], the residual stream before the layer.
        taken: [n, b, t, d], what each sender wrote, less what comes in its place.
        query_only: only the last position asks.

    Returns:
        'q', 'k', 'v' -> z [n, b, q, h, k] of every head with that part changed.
    """
    block = f"blocks.{layer}"
    w, h = params[f"{block}.attn.W_QKV"], model.n_heads
    own = _projected(params, x, w, block, model, query_only)
    changed = _projected(params, x - taken, w, block, model, query_only)
    n, out = len(taken), {}
    quick = by_own_loops(x, w, model)
    for i, part in enumerate("qkv"):
        q, k, v = (
            new if i == j else old.expand(n, *old.shape) for j, (old, new) in enumerate(zip(own, changed, strict=True))
        )
        if quick:
            out[part] = attend(q.contiguous(), torch.cat([k, v], -1), h)
        else:
            parts = [each.unflatten(-1, (h, -1)) for each in (q, k, v)]
            out[part] = at_each_hook(parts, model, f"{block}.attn", Hooks({}, set()))
    return out


def _projected(
    params: Params, x: Tensor, w: Tensor, block: str, model: ModelConfig, query_only: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [..., q, d], keys and values [..., t, d] of a residual stream [..., t, d]."""
    d = w.shape[-1] // 3
    normed = layer_norm(x, params[f"{block}.ln1.w"], params[f"{block}.ln1.b"]) if model.layer_norm else x
    q, kv = project(normed, w, query_only)
    k, v = kv[..., -2 * d :].chunk(2, dim=-1)
    return q[..., :d], k, v
