"""How a training step comes to its gradients, where a task writes them out (`TaskBatch.gradients`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from mechicl.config import ModelConfig
    from mechicl.engine.held import HeldLayer

Arrays = dict[str, np.ndarray]


class Gradients(Protocol):
    """How a training step comes to its gradients (training/step.py)."""

    def __call__(
        self,
        params: Arrays,
        batch: Any,
        model: ModelConfig,
        grads: Arrays,
        held: Mapping[int, HeldLayer] = ...,
        unembedded: Callable[[], object] = ...,
    ) -> np.ndarray:
        """The loss [s] of s models, which may be one; `grads` receives the gradient of every parameter.

        Args:
            params: packed, stacked over the models.
            batch: of each model [s, b, ...]; of a single one also [b, ...].
            grads: arrays of the parameters' shapes, all zeros or as `TaskBatch.clear` left them.
            held: layers whose heads are ablated or clamped (engine/held.py).
            unembedded: to call as soon as the unembedding's gradients are filled in and its weights no longer needed.
        """
        ...
