"""The global settings of the program around mechicl (a notebook, another library), and those that mechicl computes
with.

Default device and dtype, gradients switched off, inference mode, autocast, numpy's error handling and so on belong to
the user's own work. They must not change a number of mechicl, nor prevent it from being computed. So every function
that computes runs under `own_settings` and then restores the user's settings. Random numbers need no such care:
mechicl only draws from its own generators.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from mechicl.system.devices import KINDS

_lock = threading.Lock()  # settings of the whole process: the first user sets them, the last one restores them
_inside = 0
_theirs: tuple[Any, ...] = ()


@contextmanager
def own_settings() -> Iterator[None]:
    """Torch and numpy as mechicl needs them: float32 in full precision (no TF32, no autocast), on the CPU unless a
    device is named, with gradients possible.

    Also a decorator. What belongs to a thread (all but the default dtype, the precision of matmuls and convolutions and
    deterministic algorithms) is set for this thread only.
    """
    with ExitStack() as stack:
        stack.enter_context(_process_wide())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # where it is, each torch call is spared a detour
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))  # numpy's own
        yield


@contextmanager
def reading() -> Iterator[None]:
    """`own_settings` without gradients, for code that only looks at a model. Also a decorator."""
    with own_settings(), torch.inference_mode():
        yield


@contextmanager
def _process_wide() -> Iterator[None]:
    global _inside, _theirs
    with _lock:
        if not _inside:
            _theirs = _get()
            _set((torch.float32, "highest", False, False, False))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _set(_theirs)


def _get() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.allow_tf32,  # of convolutions, where torch allows it unless told not to
    )


def _set(settings: tuple[Any, ...]) -> None:
    """Set only what differs: each call costs time, and torch records some of them."""
    dtype, precision, deterministic, warn_only, tf32 = settings
    now = _get()
    if dtype != now[0]:
        torch.set_default_dtype(dtype)
    if precision != now[1]:
        torch.set_float32_matmul_precision(precision)
    if (deterministic, warn_only) != now[2:4]:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    if tf32 != now[4]:
        torch.backends.cudnn.allow_tf32 = tf32
