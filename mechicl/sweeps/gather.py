"""One table from all runs of a sweep, and a summary of every condition over its seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mechicl.config import Config
from mechicl.figures.style import short
from mechicl.measures.phases import over_seeds, series_phases
from mechicl.registry import EVALUATORS, leading, main, with_phases
from mechicl.series import Series, open_series
from mechicl.series.family import done
from mechicl.series.recorded import behind_losses
from mechicl.sweeps.conditions import Condition, Plan, Run
from mechicl.system.disk import check_writable, is_file
from mechicl.system.files import write_atomic
from mechicl.system.paths import given
from mechicl.system.progress import bar

TABLE, SUMMARY = "table.parquet", "summary.parquet"
QUANTITIES = ("onset", "peak", "peak_value", "half_decay", "final_value")


def gather(plan: Plan, out: str | Path, progress: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read what every run has recorded so far; write and return both tables.

    The table has one row per run x evaluated step x evaluator x metric: condition, a column for
    every field that the file varies, run, seed, complete, step, sequences, evaluator, metric,
    value, n, ci_low, ci_high (95%, over sequences). Where conditions branch, there are parent (the run), parent_step
    (the step at which it begins) and change (in words), which are empty for other runs. The mean training loss since
    the step before is there too, as evaluator 'training'.

    The summary has one row per condition x evaluator x quantity, of the phases of complete
    runs (measures/phases.py; times in sequences) and, as evaluator 'training', the loss at the
    end: n seeds that have the quantity, of_n seeds, complete runs, then median, range, mean and
    the t-interval over seeds.
    """
    out = given(out)
    check_writable(out)
    parts, rows = [], []
    branching = any(condition.branch for condition in plan.conditions)
    with bar(len(plan.runs), "gathering", show=progress, leave=False, unit=" runs") as shown:
        for condition in plan.conditions:
            whole = []
            for seed in plan.seeds:
                root = Run(f"{condition.name}-s{seed}", condition, seed).folder(out)
                series = open_series(root) if is_file(root / "manifest.json") else None
                if series is not None and series.metrics.size:
                    parts.append(_recorded(series, condition, branching))
                whole.append(series if series is not None and series.complete else None)
                shown.update()
            rows += _over_seeds(condition, whole, branching)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    summary = pd.DataFrame(rows)
    if branching:
        summary["parent_step"] = summary.parent_step.astype("Int64")
    for name, frame in ((TABLE, table), (SUMMARY, summary)):
        write_atomic(out / name, frame.to_parquet(index=False))
    return table, summary


def _recorded(series: Series, condition: Condition, branching: bool) -> pd.DataFrame:
    loss = series.training_loss.rename(columns={"loss": "value"})
    loss = loss.assign(
        run=series.name,
        seed=series.config.seeds.init,
        evaluator="training",
        metric="loss",
        n=behind_losses(series),
    )
    table = pd.concat([series.metrics, loss], ignore_index=True)
    origin = series.origin
    parent = None if origin is None else origin.parent
    begins = _branched(parent, condition, None if origin is None else done(series)) if branching else {}
    front = {"condition": condition.name, **condition.fields, **begins, "complete": series.complete}
    for i, (name, value) in enumerate(front.items()):
        table.insert(i, name, pd.Series(value, table.index, "Int64") if name == "parent_step" else value)
    return table.sort_values("step", kind="stable", ignore_index=True)


def _branched(parent: str | None, condition: Condition, change: str | None) -> dict[str, Any]:
    return {"parent": parent, "parent_step": condition.branch.at if condition.branch else None, "change": change}


def _over_seeds(condition: Condition, runs: list[Series | None], branching: bool) -> list[dict[str, Any]]:
    """runs: one per seed, None where it is not complete."""
    branch = condition.branch
    change = next((done(run) for run in runs if run is not None and run.origin is not None), None)
    begins = _branched(branch and branch.parent_name, condition, change) if branching else {}
    front = {"condition": condition.name, **condition.fields, **begins, "complete": sum(r is not None for r in runs)}
    phases = [None if run is None else series_phases(run) for run in runs]
    rows = []
    for name in with_phases():
        if not any(p is not None and name in p for p in phases):
            continue
        for quantity in QUANTITIES:
            values = [getattr(p[name], quantity) if p is not None and name in p else None for p in phases]
            rows.append({**front, "evaluator": name, "quantity": quantity, **over_seeds(values)})
    losses = [None if run is None else float(run.training_loss.loss.iloc[-1]) for run in runs]
    return [*rows, {**front, "evaluator": "training", "quantity": "final_value", **over_seeds(losses)}]


def _columns(recorded: set[str]) -> list[tuple[str, str]]:
    """(evaluator, quantity) of the text's columns: when ICL (or the evaluator in its place) forms, the best value
    of evaluators that only the context answers, and every end."""
    names = [name for name in main() if name in recorded] or main(Config(name="any", steps=1))  # nothing is complete
    first = leading(names)
    out = []
    for name in names:
        out += [(name, "onset")] if name == first else []
        out += [(name, "peak_value")] if EVALUATORS[name].favours == "context" else []
        out.append((name, "final_value"))
    return [*out, ("training", "final_value")]


def _called(evaluator: str, quantity: str) -> str:
    """A quantity as the head of a narrow column."""
    if quantity == "peak_value":
        return EVALUATORS[evaluator].best
    return "end" if quantity == "final_value" else quantity


def as_text(summary: pd.DataFrame) -> str:
    """The summary for a terminal: medians over complete runs, and how many seeds have each."""
    columns = _columns(set(summary.evaluator))
    head = ["median over seeds", "runs", *[f"{e} {_called(e, q)}" for e, q in columns]]
    lines = [head]
    for name, rows in summary.groupby("condition", sort=False):
        found = {(row.evaluator, row.quantity): row for row in rows.itertuples()}
        first = rows.iloc[0]
        cells = [str(name), f"{first.complete}/{first.of_n}"]
        for key in columns:
            cells.append(_cell(found[key], key[1]) if key in found else "-")
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *[x.rjust(w) for x, w in zip(line[1:], widths[1:], strict=True)]])
        for line in lines
    )


def _cell(row: Any, quantity: str) -> str:
    if not row.n:
        return "never" if row.complete else "-"
    value = f"{row.median:.3f}" if quantity.endswith("value") else short(row.median)
    return value + (f" ({row.n})" if row.n < row.complete else "")
