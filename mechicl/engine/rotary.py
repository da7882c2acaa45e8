"""Where a position is: sinusoids that are added to the stream, or rotary, queries and keys turned by an angle.

Legend: r rows (places of sequences, t after t), t positions, d d_model, h head, k d_head.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.models.params import rotary_tables, sinusoidal_positions


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept: an evaluation may ask first, and training by autograd then
def tables(model: ModelConfig, t: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """What says where a position is, and is never trained, on the device that asks: sinusoids [t, d], or rotary cos and
    sin [t, k]. Kept there: a copy in every step would wait for the device."""
    if model.positions == "rotary":
        return tuple(table.to(device, dtype) for table in rotary_tables(model, t))
    return (sinusoidal_positions(t, model.d_model, model.position_time).to(device, dtype),)


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [..., k] by the angles whose cos and sin [..., k] these are."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


def turn(qkv: Tensor, model: ModelConfig) -> Tensor:
    """qkv [*lead, t, 3d] with its queries and keys turned. It may be changed in place: on the CPU it is, in one pass
    over memory where torch takes four."""
    cos, sin = tables(model, qkv.shape[-2], qkv.dtype, qkv.device)
    if qkv.device.type == "cpu" and qkv.dtype in (torch.float32, torch.float64):
        return _Turned.apply(qkv.contiguous(), cos, sin)  # type: ignore[no-any-return]
    q, k, v = (part.unflatten(-1, (model.n_heads, -1)) for part in qkv.chunk(3, dim=-1))
    q, k = (turned(part, cos[:, None], sin[:, None]) for part in (q, k))
    return torch.cat([part.flatten(-2) for part in (q, k, v)], dim=-1)


class _Turned(torch.autograd.Function):
    """In place. The gradient is turned back."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.mark_dirty(qkv)
        ctx.save_for_backward(cos, sin)
        _in_place(qkv, cos, sin)
        return qkv

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        back = grads[0].clone(memory_format=torch.contiguous_format)
        _in_place(back, cos, -sin)
        return back, None, None


def _in_place(qkv: Tensor, cos: Tensor, sin: Tensor) -> None:
    from mechicl.engine.fast.kernels import turn as kernel

    kernel(qkv.detach().view(-1, qkv.shape[-1]).numpy(), cos.numpy(), sin.numpy())
