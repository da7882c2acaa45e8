"""`mechicl ablate`: one intervention, its random controls, and what each changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, AblateMLPs, CutEdges, Intervention, Together, matched_sets
from mechicl.measures.ablation import effects, evaluate
from mechicl.measures.tables import checked_file, keep
from mechicl.series import Series, open_series

CONTROLS = 8  # random sets of as many other heads of the same layers


def asked(heads: str = "", kind: str = "zero", hold: str = "", mlp: str = "", edge: str = "") -> Intervention:
    """What a command line names, as an intervention: heads as 'L0H5,L1H3', MLPs by layer as '0,1', edges as
    'query->match_label,previous'.

    Raises:
        ConfigError: nothing is named, or it is written otherwise.
    """
    parts: list[Intervention] = []
    named: dict[str, Any] = {"kind": kind}  # checked by the interventions themselves
    if heads:
        named_held: Any = tuple(filter(None, hold.split(",")))
        parts.append(AblateHeads(heads=parse_heads(heads), hold=named_held, **named))
    elif hold:
        raise ConfigError(f"--hold {hold}: it goes with --heads.")
    if mlp:
        if not re.fullmatch(r"\d+(,\d+)*", mlp):
            raise ConfigError(f"--mlp {mlp}: expected layers, such as --mlp 1 or --mlp 0,1.")
        parts.append(AblateMLPs(layers=tuple(map(int, mlp.split(","))), **named))
    if edge:
        parts.append(CutEdges(edges=tuple(each.strip() for each in edge.split(","))))
    if not parts:
        raise ConfigError("say what to ablate: --heads L0H5,L1H3, --mlp 1 or --edge 'query->match_label'.")
    return parts[0] if len(parts) == 1 else Together(parts=tuple(parts))


def parse_heads(text: str) -> tuple[tuple[int, int], ...]:
    """'L0H5,L1H3' as ((0, 5), (1, 3))."""
    found = [re.fullmatch(r"\s*L(\d+)H(\d+)\s*", each, flags=re.IGNORECASE) for each in text.split(",")]
    pairs = tuple((int(m[1]), int(m[2])) for m in found if m)
    if len(pairs) < len(found):
        raise ConfigError(f"--heads {text}: expected layers and heads, counted from 0, such as L0H5,L1H3.")
    return pairs


def controls(condition: Intervention, model: ModelConfig) -> list[Intervention]:
    """The same with random other heads in place of its own, as many of each layer, from a fixed seed; fewer where
    there are no more, none where no heads are ablated."""
    heads = next((x for x in _parts(condition) if isinstance(x, AblateHeads)), None)
    if heads is None:
        return []
    drawn = matched_sets(model, heads.heads, CONTROLS, 8 * CONTROLS)
    return [_with(condition, heads, others) for others in drawn]


def _parts(condition: Intervention) -> tuple[Intervention, ...]:
    return condition.parts if isinstance(condition, Together) else (condition,)


def _with(condition: Intervention, old: AblateHeads, heads: tuple[tuple[int, int], ...]) -> Intervention:
    new = AblateHeads(heads=heads, kind=old.kind, hold=old.hold)
    if not isinstance(condition, Together):
        return new
    return Together(parts=tuple(new if part is old else part for part in condition.parts))


def table(
    series: Series, condition: Intervention, step: int | None = None, n: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is printed, and the tidy table behind it with the column `effect` (its intact rows left as they are).

    The first has a row per evaluator: the primary metric intact and ablated, the paired change with its 95% interval,
    n, and the range of the changes of the random controls.
    """
    condition.check(series.config.model)
    others = controls(condition, series.config.model)
    steps = [series.steps[-1] if step is None else step]
    rows = evaluate(series, steps, None, [condition, *others], n, metrics=None, progress=False)
    changed, intact = effects(rows), rows[rows.intervention == "intact"].set_index("evaluator").value
    own = changed[changed.intervention == str(condition)].set_index("evaluator")
    random = changed[changed.intervention != str(condition)].groupby("evaluator").effect
    printed = pd.DataFrame({
        "intact": intact, "ablated": own.value, "change": own.effect, "low": own.effect_low, "high": own.effect_high,
        "n": own.n, "controls_low": random.min(), "controls_high": random.max(),
    }).loc[intact.index]  # fmt: skip
    return printed, pd.concat([rows[rows.intervention == "intact"], changed], ignore_index=True)


def run(run: Path, condition: Intervention, step: int | None, n: int | None, out: Path | None) -> str:
    """Measure, save where asked, and say it in a few lines."""
    series = open_series(run)
    if out is not None:
        out = checked_file(out)
    printed, rows = table(series, condition, step, n)
    at, others = int(rows.step.iloc[0]), len(controls(condition, series.config.model))
    lines = [f"{series.name} at step {at:,}: {condition} ({condition.baseline})", ""]
    lines.append(f"{'':<12}{'intact':>8}{'ablated':>9}{'change':>9}{'95% interval':>18}{'n':>7}" + _heading(others))
    for name, row in printed.iterrows():
        interval = f"{row.low:+.3f} .. {row.high:+.3f}"
        control = f"{row.controls_low:+.3f} .. {row.controls_high:+.3f}" if others else ""
        lines.append(f"{name!s:<12}{row.intact:>8.3f}{row.ablated:>9.3f}{row.change:>+9.3f}{interval:>18}{int(row.n):>7}"
                     f"{control:>22}".rstrip())  # fmt: skip
    if others:
        lines += ["", f"controls: the changes of {others} random sets of as many other heads of the same layers."]
    if out is not None:
        lines.append(keep(rows, out))
    return "\n".join(lines)


def _heading(others: int) -> str:
    return f"{'controls':>22}" if others else ""
