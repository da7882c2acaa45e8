"""Models that mechicl did not make, without their weights: what runs, and which parameters it has.

A HookedTransformer has grouped queries, gated MLPs, RMSNorm, parallel attention, biases and more, which the engine's
own pass has not. `engine/foreign.py` runs one through its hooks.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mechicl.config import ModelConfig
from mechicl.system.devices import CPU

if TYPE_CHECKING:
    from _thread import LockType

    from mechicl.models.lens import HookedTransformer


class Pass(nn.Module):
    """A HookedTransformer from the residual stream of a layer to what the unembedding reads. Each call brings its own
    parameters. Hooks belong to the model, so only one call at a time can use it (`lock`)."""

    def __init__(self, model: HookedTransformer):
        super().__init__()
        self.model: HookedTransformer = model
        self.lock: LockType = Lock()

    def forward(self, x: Tensor) -> Tensor:
        x = self.model(x, start_at_layer=0, stop_at_layer=self.model.cfg.n_layers)
        return x if self.model.cfg.normalization_type is None else self.model.ln_final(x)


@lru_cache(maxsize=2)
def pass_of(model: ModelConfig, device: str = CPU) -> Pass:
    """Without weights: its parameters are on torch's `meta` device. device: where it is called."""
    from mechicl.models.lens import hooked_transformer

    with torch.inference_mode(False):
        made = Pass(hooked_transformer(model))
        for part in made.modules():
            for name, p in list(part.named_parameters(recurse=False)):
                part.register_parameter(name, nn.Parameter(p.to("meta"), requires_grad=False))
            for name, x in list(part.named_buffers(recurse=False)):  # masks and rotary tables
                part.register_buffer(name, x.to(device), persistent=False)
            if hasattr(part, "cfg"):
                part.cfg.device = device  # pyright: ignore  (parts move to what it says)
    return made


def shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter of a model from elsewhere."""
    return {name.removeprefix("model."): tuple(p.shape) for name, p in pass_of(model).named_parameters()}
