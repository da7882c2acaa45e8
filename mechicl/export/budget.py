"""How many checkpoints a page of a given size has room for, and how many sequences a browser."""

from __future__ import annotations

import numpy as np

from mechicl.config import Config
from mechicl.errors import ConfigError
from mechicl.protocol.known import task_of

LEAST = 2  # checkpoints: with fewer there is nothing to move through
KEPT = 64e6  # bytes of one evaluator's activations, which a browser keeps of the intact model


def kept(steps: list[int], peak: int, *, fixed: int, each: int, most: float) -> list[int]:
    """The steps that are shipped, ascending: all where there is room, else an even choice among them.

    The first, the last and `peak` are always among them.

    Args:
        steps: all checkpoints, ascending.
        peak: the step at which the page opens.
        fixed: bytes of everything else; each: of a checkpoint; most: of the page.

    Raises:
        ConfigError: there is no room for two.
    """
    room = (most - fixed) / each
    if len(steps) <= room:
        return steps
    if room < LEAST:
        needed = (fixed + LEAST * each) / 1e6
        raise ConfigError(
            f"{LEAST} checkpoints of {each / 1e6:.2g} MB and the sequences, {fixed / 1e6:.2g} MB, need {needed:.3g} "
            f"MB, but the page may have {most / 1e6:.3g} MB: allow more with --max-mb, or fewer sequences with --n."
        )
    places = np.linspace(0, len(steps) - 1, int(room)).round().astype(int)
    at, inner = steps.index(peak), range(1, len(places) - 1)
    if at not in places and inner:
        places[min(inner, key=lambda i: abs(int(places[i]) - at))] = at
    return [steps[i] for i in sorted({*places.tolist()})]


def sequences(config: Config) -> int:
    """How many sequences of each evaluator are shipped unless told otherwise: as many as the run was evaluated on, or
    as many as whose activations a browser keeps. Long sequences have large patterns of attention."""
    model, t = config.model, task_of(config).n_tokens
    each = 4 * model.n_layers * t * (model.n_heads * t + 3 * model.d_model)
    return max(1, min(config.n_eval, int(KEPT / each)))
