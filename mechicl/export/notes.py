"""What an exported page tells its reader that it leaves out."""

from __future__ import annotations

from mechicl.export.sets import LOOKED_AT
from mechicl.series import Series
from mechicl.system.commands import command


def without(series: Series, kept: int, n: int) -> list[str]:
    """Sentences.

    Args:
        kept: how many checkpoints are in the file.
        n: sequences of each evaluator in it.
    """
    return [*_coarser(series, kept, n), *_missing(n)]


def _coarser(series: Series, kept: int, n: int) -> list[str]:
    """Where the file has less of a thing than the run, or has it less exactly."""
    out, asked = [], series.config.n_eval
    if kept < len(series.saved):
        how = ", evenly chosen" if kept < len(series.steps) else ""
        how += " from those that were asked for" if how and series.only is not None else ""
        checkpoints = f"{kept:,} of {len(series.saved):,} checkpoints"
        out.append(f"{checkpoints} are in this file{how}. The curves have all that was recorded.")
    if n != asked:
        out.append(f"What is computed here is of {n:,} sequences. The curves, recorded in training, are of {asked:,}.")
    if series.config.weights_dtype != "float16":
        out.append("Weights are rounded to float16, so a score can differ from the run's own in the third place.")
    elif series.metrics.size:
        out.append(
            "Curves were recorded in training, before the weights were rounded to float16. What is computed here can "
            "differ from them in the third place."
        )
    return out


def _missing(n: int) -> list[str]:
    app = command("app", "RUN").replace("`", "")
    return [
        f"Tokens are here for the first {min(LOOKED_AT, n):,} sequences of each evaluator; numbers are of {n:,}.",
        "Not in this file: metrics and evaluators other than those shown, queries and keys that are "
        "held, edges, positions, patches, grafts, subspaces, random controls, scores of attention, and comparisons of "
        f"runs. With Python and the run's folder, {app} has them.",
    ]
