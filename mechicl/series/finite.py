"""A run stops at the first checkpoint with NaN or infinite numbers. Such numbers are neither saved nor evaluated.

This is checked when a checkpoint is made, not in every step: a run that diverged makes no further checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mechicl.errors import SeriesError
from mechicl.models.params import Params, not_finite

_CALMER = "Lower optim.lr, or add warm-up."


class Diverged(SeriesError):
    """The loss, a weight or a score is not finite. The same settings would diverge again."""


def check_checkpoint(root: Path, step: int, held: Params, weights: Params, loss: float | None) -> None:
    """Refuse to evaluate or save a checkpoint if any part is not finite.

    Args:
        held: the weights that are trained and their Adam moments (`Trainer.held`).
        weights: the same weights as the file would hold them, in the run's `weights_dtype`.
        loss: the mean training loss since the checkpoint before.

    Raises:
        Diverged: which part, at which step, and what helps.
    """
    if loss is not None and not math.isfinite(loss):
        raise _stopped(root, step, f"the training loss is {loss}", _CALMER)
    if name := not_finite(held):
        if step == 0:
            raise SeriesError(
                f"{root}: {name} has numbers that are not finite at step 0: the initial weights "
                "are broken. Graft from another step or run."
            )
        raise _stopped(root, step, f"{name} has numbers that are not finite", _CALMER)
    if name := not_finite(weights):
        dtype = str(weights[name].dtype).removeprefix("torch.")
        problem = f"{name} holds numbers that {dtype}, the run's weights_dtype, cannot"
        raise _stopped(root, step, problem, f"Set weights_dtype='float32'; or, to keep the numbers smaller: {_CALMER}")


def check_scores(root: Path, step: int, rows: list[dict[str, Any]]) -> None:
    """Refuse to record scores (`evaluators.evaluate_params`) that are not finite.

    Raises:
        Diverged: which of them. At step 0 a SeriesError: what was not trained cannot have diverged.
    """
    for row in rows:
        if not math.isfinite(row["value"]):
            scored = f"{row['metric']} of the evaluator {row['evaluator']} is {row['value']}"
            if step == 0:
                raise SeriesError(
                    f"{root}: {scored} at step 0, where nothing was trained yet: the sequences of this evaluator, or "
                    "how they are scored, give numbers that are not finite. Mend that, delete this folder and train "
                    "again."
                )
            raise _stopped(root, step, scored, _CALMER)


def _stopped(root: Path, step: int, problem: str, helps: str) -> Diverged:
    return Diverged(
        f"{root}: {problem} at step {step}; the run diverged and stopped. Its earlier checkpoints are whole. {helps}"
    )


def check_stored(root: Path, weights: Params, steps: Sequence[int]) -> None:
    """Raise unless saved weights [*step, ...] are finite: the scores of a diverged run mean nothing.

    Raises:
        SeriesError: the first step with a number that is not finite, and the parameter that has it.
    """
    if name := not_finite(weights):
        whole = weights[name].reshape(len(steps), -1).isfinite().all(1).tolist()
        step = steps[whole.index(False)]
        raise SeriesError(f"{root}: step {step}: {name} has numbers that are not finite.")
