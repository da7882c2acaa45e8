"""`mechicl ablate`: one intervention, its random controls, and their effects."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from mechicl.errors import ConfigError
from mechicl.interventions import Intervention
from mechicl.interventions.base import controls_of
from mechicl.measures.controls import CONTROLS, control_effects, said
from mechicl.measures.tables import checked_file, keep
from mechicl.measures.words import EXAMPLE, Line
from mechicl.series import Series


def asked(n: int | None = None, **options: str) -> Intervention:
    """The intervention that the command line describes (`measures.words`). n: sequences for finding directions.

    Raises:
        ConfigError: no option was given, or an option has the wrong form.
    """
    found = Line.of(options).intervention(n)
    if found is None:
        raise ConfigError(f"nothing to ablate was given. Use for example {EXAMPLE}.")
    return found


def table(
    series: Series, condition: Intervention, step: int | None = None, n: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The printed table for one step (`summary`), and the tidy table that it summarises (`control_effects`)."""
    rows = control_effects(series, condition, series.steps[-1] if step is None else step, None, n)
    return summary(rows), rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarise `control_effects` at one step, one row per evaluator: the primary metric intact and ablated, the paired
    change with its 95% interval, n, and the range of the changes of the random controls."""
    intact = rows[rows.intervention == "intact"].set_index("evaluator").value
    own = rows[rows.control == 0].set_index("evaluator")
    random = rows[rows.control > 0].groupby("evaluator").effect
    return pd.DataFrame(
        {
            "intact": intact,
            "ablated": own.value,
            "change": own.effect,
            "low": own.effect_low,
            "high": own.effect_high,
            "n": own.n,
            "controls_low": random.min(),
            "controls_high": random.max(),
        }
    ).loc[intact.index]


def run(
    series: Series,
    condition: Intervention,
    steps: Sequence[int],
    n: int | None,
    out: Path | None,
    progress: bool = False,
    evaluators: Sequence[str] | None = None,
) -> str:
    """Measure the intervention and its controls, save the table if `out` is given, and return the text to print.

    Args:
        series: the run.
        condition: an intervention, as from `asked`.
        steps: the checkpoints, at least one.
        n: sequences per evaluator.
        out: a file for the table.
        progress: show a progress bar.
        evaluators: those to measure on; None: all.
    """
    if out is not None:
        out = checked_file(out)
    rows = control_effects(series, condition, steps, evaluators, n, progress=progress)
    own = condition.at_step(series, steps[0])
    moved = rows[rows.control == 0].groupby("evaluator", sort=False).effect.agg(lambda x: x.abs().max())
    unmoved = moved.index[moved == 0]  # a set is drawn again for these alone
    absent = [name for name in unmoved if not own.found_in(series.evaluation_set(name, n))]
    others = controls_of(own, series.config.model, CONTROLS)  # those that the rows are of
    if len(steps) == 1:
        lines = [
            f"{series.name} at step {steps[0]:,}: {own} ({own.baseline})",
            "",
            *_one(summary(rows), bool(others), absent),
        ]
        lines += ["", f"controls: {said(own, others)}."]
    else:
        lines = [f"{series.name}, steps {steps[0]:,} to {steps[-1]:,}: {own} ({own.baseline})", "", *_several(rows)]
        lines += ["", "Each number is ablated minus intact. Brackets: the 95% interval contains 0."]
        lines += [f"In the sequences of {', '.join(absent)} there is nothing to change."] if absent else []
        lines += [] if out else ["Add --out FILE.csv or FILE.parquet to save the intervals and the controls."]
    if out is not None:
        lines.append(keep(rows, out))
    return "\n".join(lines)


def _one(printed: pd.DataFrame, controls: bool, absent: Collection[str]) -> list[str]:
    """One step: a line per evaluator. absent: those in whose sequences there is nothing to change."""
    lines = [f"{'':<12}{'intact':>8}{'ablated':>9}{'change':>9}{'95% interval':>18}{'n':>7}"]
    lines[0] += f"{'controls':>22}" if controls else ""
    for name, row in printed.iterrows():
        if name in absent:
            lines.append(f"{name!s:<12}{row.intact:>8.3f}{'-':>9}{'-':>9}{'not in these':>18}{int(row.n):>7}")
            continue
        interval = f"{row.low:+.3f} .. {row.high:+.3f}"
        control = f"{row.controls_low:+.3f} .. {row.controls_high:+.3f}" if controls else ""
        lines.append(
            f"{name!s:<12}{row.intact:>8.3f}{row.ablated:>9.3f}{row.change:>+9.3f}{interval:>18}{int(row.n):>7}"
            f"{control:>22}".rstrip()
        )
    return lines


def _several(rows: pd.DataFrame) -> list[str]:
    """Several steps: a line for each step, with the change of every evaluator."""
    own = rows[rows.control == 0]
    names = list(dict.fromkeys(own.evaluator))
    width = max(10, *(len(name) + 2 for name in names))
    lines = ["step".rjust(10) + "".join(name.rjust(width) for name in names)]
    for step, at in own.groupby("step"):
        at = at.set_index("evaluator").loc[names]
        cells = (
            f"({x:+.3f})" if low <= 0 <= high else f"{x:+.3f} "
            for x, low, high in zip(at.effect, at.effect_low, at.effect_high, strict=True)
        )
        lines.append(f"{step:>10,}" + "".join(cell.rjust(width) for cell in cells).rstrip())
    return lines
