"""The attention of one layer: by our own loops, by torch's operator, or in steps where a hook is used inside it.

Legend: b batch, t position, q position that asks, h head, d d_model, k d_head.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.apart import read_apart
from mechicl.engine.hooks import Hooks
from mechicl.engine.ops import EPS, LONG, attend, beside, compiled, layer_norm, linear, project
from mechicl.engine.rotary import tables, turn, turned
from mechicl.models.params import Params

_LONG_ROTARY = 16  # positions, of which our own loops know none that are turned


def attention(params: Params, x: Tensor, model: ModelConfig, block: str, hook: Hooks, query_only: bool) -> Tensor:
    """z [*lead, q, h, k]."""
    w, h, name, norm = params[f"{block}.attn.W_QKV"], model.n_heads, f"{block}.attn", f"{block}.ln1"
    if any(hook.uses(f"{block}.hook_{part}_input") for part in "qkv"):
        return at_each_hook(read_apart(params, x, model, block, hook, query_only), model, name, hook)
    normed = layer_norm_at(params, norm, x, hook) if model.layer_norm else x
    inside = [f"{name}.hook_{part}" for part in ("q", "k", "v", "attn_scores", "pattern")]
    used = [each for each in inside if hook.uses(each)]
    if used == [inside[3]] and by_own_loops(x, w, model):
        scores = (h, 1 if query_only else x.shape[-2], x.shape[-2])
        if (add := hook.take_added(used[0], x.shape[-3], scores)) is not None:
            return attend(*project(normed, w, query_only), h, add.to(x))
    if used:
        return _in_steps(normed, w, model, name, hook, query_only)
    if x.shape[-2] > (_LONG_ROTARY if model.positions == "rotary" else LONG) and not query_only:
        return _at_once(normed, w, model)
    if model.positions == "rotary":
        return _in_steps(normed, w, model, name, hook, query_only)
    if not compiled(x, w):
        if query_only:
            return _in_steps(normed, w, model, name, hook, query_only)
        return _at_once(normed, w, model)
    return attend(*project(normed, w, query_only), h)


def by_own_loops(x: Tensor, w: Tensor, model: ModelConfig) -> bool:
    """Whether `ops.attend` serves for as many queries as positions, x [*lead, t, d]."""
    return x.shape[-2] <= LONG and model.positions != "rotary" and compiled(x, w)


def _at_once(x: Tensor, w: Tensor, model: ModelConfig) -> Tensor:
    """`ops.attend` by torch's own operator, differentiable: z [*lead, t, h, k]."""
    qkv = turn(linear(x, w), model) if model.positions == "rotary" else linear(x, w)
    q, k, v = (part.unflatten(-1, (model.n_heads, -1)).transpose(-2, -3) for part in qkv.chunk(3, dim=-1))
    lead = q.shape[:-3]
    if len(lead) > 1:  # torch's quick operator takes four axes
        q, k, v = (part.flatten(0, -4) for part in (q, k, v))
    z = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(-2, -3)
    return z.unflatten(0, lead) if len(lead) > 1 else z


def _in_steps(x: Tensor, w: Tensor, model: ModelConfig, name: str, hook: Hooks, query_only: bool) -> Tensor:
    """`ops.attend` with every activation at its hook: z [*lead, q, h, k]."""
    h, d = model.n_heads, model.d_model
    q, kv = project(x, w, query_only)
    parts = (q[..., :d], *kv[..., -2 * d :].chunk(2, dim=-1))
    return at_each_hook([part.unflatten(-1, (h, -1)) for part in parts], model, name, hook)


def at_each_hook(parts: Iterable[Tensor], model: ModelConfig, name: str, hook: Hooks) -> Tensor:
    """z [*lead, q, h, k] of queries [*lead, q, h, k], keys and values [*lead, t, h, k], each at its hook."""
    q, k, v = (hook(f"{name}.hook_{part}", each) for part, each in zip("qkv", parts, strict=True))
    t, tq = k.shape[-3], q.shape[-3]
    if model.positions == "rotary":
        cos, sin = (table[:, None] for table in tables(model, t, q.dtype, q.device))
        q = hook(f"{name}.hook_rot_q", turned(q, cos[t - tq :], sin[t - tq :]))
        k = hook(f"{name}.hook_rot_k", turned(k, cos, sin))
    scores = torch.einsum("...qhk,...shk->...hqs", q, k) / model.d_head**0.5
    if tq > 1:  # the query sees every position
        future = torch.ones(tq, t, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    pattern = hook(f"{name}.hook_pattern", _softmax(hook(f"{name}.hook_attn_scores", scores)))
    return torch.einsum("...hqs,...shk->...qhk", pattern, v)


def _softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis. Where it has only a few positions, they are too few for torch's vector loop over
    rows. With the axis moved to the front, the loop runs over all rows at once (8x faster)."""
    if scores.shape[-1] > LONG:
        return scores.softmax(-1)
    return scores.movedim(-1, 0).softmax(0).movedim(0, -1)


def layer_norm_at(params: Params, name: str, x: Tensor, hook: Hooks) -> Tensor:
    w, bias, normalized = params[f"{name}.w"], params[f"{name}.b"], f"{name}.hook_normalized"
    if not hook.uses(normalized):
        return layer_norm(x, w, bias)
    normed = hook(normalized, F.layer_norm(x, x.shape[-1:], eps=EPS))
    return normed * beside(w, x) + beside(bias, x)
