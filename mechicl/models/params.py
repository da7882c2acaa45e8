"""Parameters: their names and shapes, their initial values, and how they are packed.

On disk and in `HookedTransformer` a head's weights are separate (`blocks.0.attn.W_Q`
[h, d, k]); the engine wants one matmul for all of them (`blocks.0.attn.W_QKV` [d, 3hk]).
`pack` and `unpack` go between the two without rounding.

Legend: d d_model, h heads, k d_head, m d_mlp, v labels (or what else a task answers with), t positions.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from einops import rearrange

from mechicl.config import Config, ModelConfig
from mechicl.errors import ConfigError
from mechicl.protocol.known import task_of

Params = dict[str, torch.Tensor]
_STD_CUT_AT_2 = 0.87962566103423978  # standard deviation of a standard normal cut at +-2
_KERNEL_AXES = 4  # of a convolution: channels out, channels in, rows, columns
_AGAIN = 1 << 16  # no character of a name: marks the streams of resets


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every trained parameter, in TransformerLens 3 names, in a fixed order.

    `ICLTransformer` has more (biases of q, k, v, o and fixed positions): those are not
    trained (docs/references.md#model) and are filled in when a model is built. A model from elsewhere
    (`ModelConfig.hooked`) has all parameters of its HookedTransformer.
    """
    m = config.model
    if m.hooked:
        from mechicl.models.foreign import shapes as of_hooked

        return of_hooked(m)
    task = task_of(config)
    d, h, k, t, v = m.d_model, m.n_heads, m.d_head, task.n_tokens, task.n_outputs
    out: dict[str, tuple[int, ...]] = {**task.input_shapes(m)}
    if m.positions == "learned":
        out["pos_embed.W_pos"] = (t, d)
    for layer in range(m.n_layers):
        block = f"blocks.{layer}"
        if m.layer_norm:
            out |= {f"{block}.ln1.w": (d,), f"{block}.ln1.b": (d,)}
        out |= {f"{block}.attn.W_{x}": (h, d, k) for x in "QKV"}
        out[f"{block}.attn.W_O"] = (h, k, d)
        if m.has_mlp(layer):
            if m.layer_norm:
                out |= {f"{block}.ln2.w": (d,), f"{block}.ln2.b": (d,)}
            width = m.mlp_ratio * d
            out |= {f"{block}.mlp.W_in": (d, width), f"{block}.mlp.b_in": (width,)}
            out |= {f"{block}.mlp.W_out": (width, d), f"{block}.mlp.b_out": (d,)}
    if m.layer_norm:
        out |= {"ln_final.w": (d,), "ln_final.b": (d,)}
    return out | {"unembed.W_U": (d, v), "unembed.b_U": (v,)}


def group(name: str) -> str:
    """The regularization group of a parameter: attention, mlp or embeddings.

    'embeddings' is every table and projection into or out of the residual stream
    (what the task's inputs pass through, positions, unembedding, final LayerNorm); a LayerNorm
    belongs to the part that reads it.
    """
    if ".attn." in name or ".ln1." in name:
        return "attention"
    return "mlp" if ".mlp." in name or ".ln2." in name else "embeddings"


def init(config: Config, again: int | None = None) -> Params:
    """Initial weights from `seeds.init`, in TransformerLens shapes.

    As in the published code (docs/references.md#model): matrices lecun-normal (std 1/sqrt(fan_in)), with
    `init` 'truncated' cut at 2 sigma,
    token or label embedding truncated normal std .02 cut at 2 std, learned positions
    uniform(+-1/sqrt(32)), biases 0, LayerNorm 1 and 0. Convolutions, whose ReLU halves what
    passes: std sqrt(2/fan_in) (He et al. 2015, 1502.01852). Each parameter draws from its own
    stream, so adding a layer leaves the others' weights as they were. `again`: an independent
    draw of the same, for a reset at that step.
    """
    out: Params = {}
    for name, shape in shapes(config).items():
        stream = [config.seeds.init, *name.encode(), *([] if again is None else [_AGAIN, again])]
        rng = np.random.default_rng(stream)
        out[name] = torch.from_numpy(_init_one(name, shape, rng, config.model.init).astype(np.float32))
    return out


def _init_one(name: str, shape: tuple[int, ...], rng: np.random.Generator, matrices: str) -> np.ndarray:
    leaf = name.rsplit(".", 1)[1].lstrip("_")  # grouped queries have `_W_K`
    if leaf == "w":
        return np.ones(shape)
    if leaf.startswith("b"):
        return np.zeros(shape)
    if leaf == "W_E":
        draws = rng.standard_normal((4, *shape))  # P(all four beyond 2 std) = 4e-6: clipped
        first = np.abs(draws).__lt__(2).argmax(axis=0)
        return 0.02 * np.clip(np.take_along_axis(draws, first[None], axis=0)[0], -2, 2)
    if leaf == "W_pos":
        return rng.uniform(-1, 1, shape) / math.sqrt(32)
    if len(shape) == _KERNEL_AXES:
        return rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    fan_in = shape[0] * shape[1] if leaf == "W_O" else shape[-2]
    if matrices == "truncated":
        return _truncated(shape, rng) / math.sqrt(fan_in)
    return rng.standard_normal(shape) / math.sqrt(fan_in)


def _truncated(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A normal cut at 2 sigma and widened so that its standard deviation is 1 (the largest draws are 2.27), as in
    lecun_normal of JAX and Equinox."""
    draws = rng.standard_normal(shape)
    while (beyond := np.abs(draws) > 2).any():
        draws[beyond] = rng.standard_normal(int(beyond.sum()))
    return draws / _STD_CUT_AT_2


def pack(weights: Params, copy: bool = True) -> Params:
    """TransformerLens' shapes -> the engine's: W_Q, W_K, W_V [h, d, k] are joined as W_QKV [d, 3hk], and W_O [h, k, d]
    becomes [hk, d]. Leading axes (checkpoints) are kept. The result is a copy; without `copy`, all but W_QKV shares
    the memory of `weights`. In a model from elsewhere, which has biases of queries, W_Q, W_K and W_V stay apart."""
    out: Params = {}
    for name, w in weights.items():
        joined = f"{name[:-3]}b_Q" not in weights
        if joined and name.endswith((".attn.W_K", ".attn.W_V")):
            continue
        if joined and name.endswith(".attn.W_Q"):
            stem = name.removesuffix("Q")
            parts = [rearrange(weights[stem + x], "... h d k -> ... d (h k)") for x in "QKV"]
            out[stem + "QKV"] = torch.cat(parts, dim=-1)
        elif name.endswith(".attn.W_O"):
            out[name] = rearrange(w, "... h k d -> ... (h k) d")
        else:
            out[name] = w
        if copy and name in out:
            out[name] = out[name].clone()
    return out


def unpack(params: Params, n_heads: int) -> Params:
    """The inverse of `pack`. Copies, contiguous."""
    out: Params = {}
    for name, w in params.items():
        if name.endswith(".attn.W_QKV"):
            stem = name.removesuffix("QKV")
            for x, part in zip("QKV", w.chunk(3, dim=-1), strict=True):
                out[stem + x] = rearrange(part, "... d (h k) -> ... h d k", h=n_heads).contiguous()
        elif name.endswith(".attn.W_O"):
            out[name] = rearrange(w, "... (h k) d -> ... h k d", h=n_heads).clone()
        else:
            out[name] = w.clone()
    return out


def check_weights(weights: Params, config: Config, where: str) -> None:
    """Raise unless `weights` are exactly this config's parameters.

    Raises:
        ConfigError: the first name or shape that differs.
    """
    want = shapes(config)
    for name in [*want, *weights]:
        have = tuple(weights[name].shape) if name in weights else None
        if have != want.get(name):
            raise ConfigError(
                f"{where}: parameter {name} has shape {have}, but this run's config needs {want.get(name)}."
            )


def not_finite(tensors: Params) -> str | None:
    """The first name whose tensor holds a NaN or an infinity."""
    for name, x in tensors.items():
        if not x.sum().isfinite() and not x.isfinite().all():  # the sum is the faster test
            return name
    return None


def sinusoidal_positions(n_tokens: int, d_model: int, time: float) -> torch.Tensor:
    """[t, d] sine block then cosine block (Chan et al. 2022: docs/references.md#chan-2022-positions)."""
    rates = time ** -(torch.arange(d_model // 2, dtype=torch.float64) / (d_model // 2))
    angles = torch.arange(n_tokens, dtype=torch.float64)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


@cache
def rotary_tables(model: ModelConfig, n_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [t, k] for pairs (i, i + k/2), as in TransformerLens without adjacent pairs."""
    half = model.d_head // 2
    rates = model.position_time ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(n_tokens, dtype=torch.float64)[:, None] * torch.cat([rates, rates])
    return angles.cos().float(), angles.sin().float()
