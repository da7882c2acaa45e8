"""`mechicl ablate`: one intervention, its random controls, and what each changes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mechicl.errors import ConfigError
from mechicl.interventions import Intervention
from mechicl.measures.controls import control_effects, said
from mechicl.measures.tables import checked_file, keep
from mechicl.measures.words import EXAMPLE, Words
from mechicl.series import Series, open_series


def asked(n: int | None = None, **options: str) -> Intervention:
    """What a command line names, as an intervention (`measures.words`). n: sequences from which directions are found.

    Raises:
        ConfigError: nothing is named, or it is written otherwise.
    """
    found = Words.of(options).intervention(n)
    if found is None:
        raise ConfigError(f"say what to ablate: {EXAMPLE}.")
    return found


def table(
    series: Series, condition: Intervention, step: int | None = None, n: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is printed, and the tidy table behind it (`control_effects`).

    The first has a row per evaluator: the primary metric intact and ablated, the paired change with its 95% interval,
    n, and the range of the changes of the random controls.
    """
    rows = control_effects(series, condition, series.steps[-1] if step is None else step, None, n)
    intact = rows[rows.intervention == "intact"].set_index("evaluator").value
    own = rows[rows.control == 0].set_index("evaluator")
    random = rows[rows.control > 0].groupby("evaluator").effect
    printed = pd.DataFrame(
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
    return printed, rows


def run(
    run: Path,
    condition: Intervention,
    step: int | None,
    n: int | None,
    out: Path | None,
    device: str | None = None,
) -> str:
    """Measure, save where asked, and say it in a few lines."""
    series = open_series(run, device=device)
    if out is not None:
        out = checked_file(out)
    at = series.steps[-1] if step is None else step
    printed, rows = table(series, condition, at, n)
    condition = condition.at_step(series, at)
    others = rows[rows.control > 0].drop_duplicates("control").intervention.tolist()
    lines = [f"{series.name} at step {at:,}: {condition} ({condition.baseline})", ""]
    lines.append(f"{'':<12}{'intact':>8}{'ablated':>9}{'change':>9}{'95% interval':>18}{'n':>7}" + _heading(others))
    for name, row in printed.iterrows():
        interval = f"{row.low:+.3f} .. {row.high:+.3f}"
        control = f"{row.controls_low:+.3f} .. {row.controls_high:+.3f}" if others else ""
        lines.append(
            f"{name!s:<12}{row.intact:>8.3f}{row.ablated:>9.3f}{row.change:>+9.3f}{interval:>18}{int(row.n):>7}"
            f"{control:>22}".rstrip()
        )
    lines += ["", f"controls: {said(condition, others)}."]
    if out is not None:
        lines.append(keep(rows, out))
    return "\n".join(lines)


def _heading(others: list[str]) -> str:
    return f"{'controls':>22}" if others else ""
