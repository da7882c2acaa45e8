"""The image encoder: 3x3 convolutions of stride 2, ReLU between them, trained jointly with the transformer.

Chan et al. 2022 and Singh et al. 2023 train a small ResNet (2, 2, 2, 2 blocks; 16, 32, 32, 64
channels; docs/references.md#chan-2022-encoder) on 105 x 105 pixels. This is the same idea at a size that trains on one
core. Each convolution halves the sides, rounding up, so 28 x 28 pixels become 14 x 14, 7 x 7, 4 x 4. The
last maps are flattened, not averaged over places, so a picture and its turned or flipped copies stay different.

`forward` applies it to every exemplar before `exemplar_embed`, in chunks, so that an evaluation
set of any size needs the memory of one chunk's maps. Convolutions are torch's (oneDNN's on
the CPU): loops over shifted slices and BLAS took 2 to 4 times as long, channels last the same.

Legend: s model, o channels out, i channels in, p pixels (side * side), f features (o * side * side at the end).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.config import ModelConfig

KERNEL, STRIDE, PADDING = 3, 2, 1
_PIXELS = 98_304  # at once, as 125 pictures of 28 x 28: maps that stay in the caches gain 5 to 20 %


def shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the encoder's parameters: `encoder.0.W` [o, i, 3, 3], `encoder.0.b` [o], ..."""
    out: dict[str, tuple[int, ...]] = {}
    if model.encoder == "conv":
        for layer, (i, o) in enumerate(zip((1, *model.channels), model.channels, strict=False)):
            out |= {f"encoder.{layer}.W": (o, i, KERNEL, KERNEL), f"encoder.{layer}.b": (o,)}
    return out


def n_features(model: ModelConfig, dim: int) -> int:
    """How many features `exemplar_embed` reads for an exemplar of `dim` pixels."""
    if model.encoder == "linear":
        return dim
    side = math.isqrt(dim)
    for _ in model.channels:
        side = -(-side // STRIDE)
    return model.channels[-1] * side * side


def encode(params: Mapping[str, Tensor], x: Tensor, model: ModelConfig) -> Tensor:
    """Features of pictures, differentiable: [*lead, p] -> [*lead, f].

    With parameters stacked over models, x [s, *lead, p] -> [s, *lead, f]: each model encodes its own pictures.
    """
    layers = [(params[f"encoder.{i}.W"], params[f"encoder.{i}.b"]) for i in range(len(model.channels))]
    if layers[0][0].dim() == 4:
        return _encode(layers, x)
    return torch.stack([_encode([(w[s], b[s]) for w, b in layers], x[s]) for s in range(len(x))])


def _encode(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    side = math.isqrt(x.shape[-1])
    done = []
    for maps in x.reshape(-1, 1, side, side).split(max(1, _PIXELS // side**2)):
        for i, (w, bias) in enumerate(layers):
            maps = F.conv2d(F.relu(maps) if i else maps, w, bias, STRIDE, PADDING)
        done.append(maps.flatten(1))
    return torch.cat(done).view(*x.shape[:-1], -1)


def encode_with_pullback(
    params: Mapping[str, np.ndarray], x: np.ndarray, model: ModelConfig, grads: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, Callable[[np.ndarray], None]]:
    """`encode` of stacked parameters and x [s, *lead, p], and a function that fills in their `grads`
    from the gradient at its output."""
    leaves = {name: torch.from_numpy(params[name]).requires_grad_() for name in shapes(model)}
    out = encode(leaves, torch.from_numpy(x).to(leaves["encoder.0.W"]), model)

    def back(d_out: np.ndarray) -> None:
        found = torch.autograd.grad(out, list(leaves.values()), torch.from_numpy(np.ascontiguousarray(d_out)))
        for name, grad in zip(leaves, found, strict=True):
            grads[name][...] = grad.numpy()

    return out.detach().numpy(), back
