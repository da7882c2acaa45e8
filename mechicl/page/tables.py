"""Tables to take along: every number on the page that has an interval, with it."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.page.circuit_numbers import drawn_circuit
from mechicl.page.compare import compare, fitting
from mechicl.page.heads import head_scores, mlp_scores
from mechicl.page.numbers import Number
from mechicl.page.runs import Library, Run
from mechicl.page.state import View, effect_of
from mechicl.page.tracked import PATIENCE, track
from mechicl.page.view import Workbench, table
from mechicl.system.commands import command

TABLES = ("table", "curve", "grid", "circuit", "track", "comparison")


def to_take_along(bench: Workbench, library: Library, run: Run, view: View, name: str) -> pd.DataFrame:
    """One of TABLES for a view: this checkpoint, the whole curve, the head grid, the paths with
    whether they belong to the circuit, the measure over training, the comparison.

    Raises:
        SeriesError: there is no such table, or it would take long.
    """
    assert view.step is not None
    if name == "table":
        return effects_table(bench, run, [view.step], view)
    if name == "curve":
        return effects_table(bench, run, run.steps, view)
    if name == "grid":
        return grid_table(bench, run, view)
    if name == "circuit":
        found = drawn_circuit(bench, run, view)
        assert found.effects is not None
        return found.effects.assign(circuit=found.effects.intervention.isin(found.paths))
    if name == "track":
        return track_table(bench, run, view)
    if name == "comparison":
        return comparison_table(bench, library, run, view)
    raise SeriesError(f"there is no table {name!r}: tables are {', '.join(TABLES)}.")


def effects_table(bench: Workbench, run: Run, steps: Iterable[int], view: View) -> pd.DataFrame:
    """`view.table`, whose ablated rows also say the change from intact on the same sequences: change,
    change_ci_low, change_ci_high (Agresti and Min's paired interval, as on the page)."""
    steps = list(steps)
    done = view.intervention
    out = table(bench, run, steps, done)
    changes = {(step, e.evaluator): e.change for step in steps for e in bench.effects(run, step, done, hurry=False)}
    rows = zip(out["step"], out["evaluator"], out["intervention"], strict=True)
    found = [None if name == "intact" else changes[int(step), str(evaluator)] for step, evaluator, name in rows]
    return out.assign(**_columns("change", found))


def grid_table(bench: Workbench, run: Run, view: View) -> pd.DataFrame:
    """The head grid: one row per head, and per MLP (no head) where the measure is of MLPs too, by the chosen measure,
    in the model as it is edited."""
    assert view.step is not None
    effect = effect_of(view.measure)
    numbers: dict[tuple[int, int | None], Number] = dict(sorted(head_scores(bench, run, view).items()))
    numbers |= {(layer, None): number for layer, number in mlp_scores(bench, run, view).items()}
    rows = [
        {
            "run": run.series.name,
            "step": view.step,
            "sequences": run.series.sequences_seen(view.step),
            "measure": view.measure,
            "evaluator": effect or view.evaluator,
            "kind": view.kind if effect else "",
            "intervention": str(view.intervention or "intact"),
            "layer": layer,
            "head": head,
            "component": f"L{layer} MLP" if head is None else f"L{layer}H{head}",
            "value": number.value,
            "n": number.n,
            "ci_low": number.low,
            "ci_high": number.high,
        }
        for (layer, head), number in numbers.items()
    ]
    return pd.DataFrame(rows).astype({"head": "Int64"} if rows else {})


def track_table(bench: Workbench, run: Run, view: View, seconds: float = PATIENCE) -> pd.DataFrame:
    """The measure over training: one row per checkpoint and head, component or path, with what chance would be.

    Raises:
        SeriesError: not all checkpoints are measured within this time.
    """
    found = track(bench, run, [], view, seconds)
    if found.done < found.total:
        raise SeriesError(
            f"{found.done:,} of {found.total:,} checkpoints are measured so far: keep the panel in sight, or use "
            f"{command('measure', run.series.root, found.entry.name)}."
        )
    rows = [
        {
            "run": run.series.name,
            "step": int(step),
            "sequences": run.series.sequences_seen(int(step)),
            "measure": found.entry.name,
            "metric": found.metric,
            "evaluator": found.evaluator,
            "item": item,
            "value": found.value.at[step, item],
            "n": found.n,
            "ci_low": found.low.at[step, item],
            "ci_high": found.high.at[step, item],
            "chance": found.chance.at[step, item],
        }
        for step in found.value.index
        for item in found.items
    ]
    return pd.DataFrame(rows).astype({"n": "Int64"} if rows else {})


def comparison_table(bench: Workbench, library: Library, run: Run, view: View) -> pd.DataFrame:
    """Compare: one row per side and evaluator; B's rows also say B − A with its interval, and whether that is of
    the same sequences (paired) or of others (Newcombe's)."""
    found = compare(bench, library, run, view)
    rows, differences = [], []
    for label, side in (("A", found.a), ("B", found.b)):
        done = fitting(side.run, view)
        for name, number in side.numbers.items():
            rows.append(
                {
                    "side": label,
                    "run": side.run.series.name,
                    "step": side.step,
                    "sequences": side.run.series.sequences_seen(side.step),
                    "evaluator": name,
                    "metric": EVALUATORS[name].primary_metric,
                    "intervention": str(done) if done else "intact",
                    "baseline": done.baseline if done else "",
                    "value": number.value,
                    "n": number.n,
                    "ci_low": number.low,
                    "ci_high": number.high,
                    "paired": found.same_sequences,
                }
            )
            differences.append(found.difference.get(name) if label == "B" else None)
    return pd.DataFrame(rows).assign(**_columns("difference", differences))


def _columns(name: str, numbers: list[Number | None]) -> dict[str, list[float]]:
    """Values and intervals as columns; not a number where there is none."""
    nan = float("nan")
    return {
        name: [nan if x is None else x.value for x in numbers],
        f"{name}_ci_low": [nan if x is None else x.low for x in numbers],
        f"{name}_ci_high": [nan if x is None else x.high for x in numbers],
    }
