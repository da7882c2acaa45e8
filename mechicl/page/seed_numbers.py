"""What is laid over curves of several seeds: another run, another condition, or each seed without its own heads.

A difference of two runs is one over sequences, paired where both are evaluated on the same ones. A difference of two
conditions, and what the loss of its own heads does to each seed (seed_own.py), is one over seeds, paired by seed
(Student's interval).
"""

from __future__ import annotations

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.measures.seeds import aligned
from mechicl.page.numbers import paired, unpaired
from mechicl.page.runs import Run
from mechicl.page.seed_over import Over, Turn, over_seeds, over_which, recorded, table_of, with_curve
from mechicl.page.seed_own import own_heads_out
from mechicl.page.seeds import Condition, Together
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench


def laid_over(bench: Workbench, all_: Together, run: Run, view: View, evaluator: str, seconds: float) -> Over | None:
    """What the view lays over the curves, as far as the time suffices (what was computed is remembered).

    Raises:
        ViewError: it names a run that is not shown, or the run's own.
    """
    what, _, name = view.against.partition("/")
    if not what:
        return None
    if what == "own":
        return own_heads_out(bench, all_.of(run.series.name), evaluator, Turn(seconds))
    if what == "run":
        other = all_.run(name)
        if other.series.name == run.series.name:
            raise ViewError(f"against=run/{name}: expected a run other than the current one.")
        return _run(bench, run, other, evaluator, Turn(seconds))
    mine, other = all_.of(run.series.name), all_.of(name)
    if mine is other:
        raise ViewError(f"against=condition/{name}: {name} belongs to the condition of {run.series.name} itself.")
    return _condition(mine, other, evaluator)


def _run(bench: Workbench, a: Run, b: Run, evaluator: str, turn: Turn) -> Over:
    """b minus a, at the checkpoints that both have."""
    if evaluator not in b.sets:
        raise ViewError(f"{b.series.name} has no evaluator {evaluator!r}: it has {', '.join(b.sets)}.")
    at = {b.series.sequences_seen(step): step for step in b.steps}
    shared = [(step, x) for step in a.coarse_to_fine() if (x := a.series.sequences_seen(step)) in at]
    same = a.sets_id == b.sets_id
    rows, done = [], 0
    for step, x in shared:
        asked = [(a, step, evaluator, None), (b, at[x], evaluator, None)]
        if not turn.may(bench, asked):
            break
        done += 1
        try:
            sides = [bench.right(*each) for each in asked]
        except SeriesError:
            continue  # a file is not what was written: no point
        number = paired(*sides) if same else unpaired(*sides)
        rows.append({"x": x, "value": number.value, "low": number.low, "high": number.high, "n": number.n})
    table = table_of(rows)
    how = "paired on the same sequences" if same else "not paired: they have different evaluation sequences"
    n = f", n = {int(table.n.min()):,}" if len(table) else ""
    meaning = f"{b.series.name} − {a.series.name}: 95% interval over sequences, {how}{n}"
    notes = [] if shared else [f"{a.series.name} and {b.series.name} have no checkpoint at the same time."]
    return Over(b.series.name, [recorded(b, evaluator)], table, meaning, done, len(shared), notes)


def _condition(a: Condition, b: Condition, evaluator: str) -> Over:
    """b minus a, seed by seed, of the recorded curves."""
    mine, others = ({r.series.config.seeds.init: r for r in with_curve(c.runs, evaluator)} for c in (a, b))
    pairs = [seed for seed in mine if seed in others]
    curves = [recorded(run, evaluator) for run in others.values()]
    if not pairs:
        note = f"{a.label} and {b.label} have no seed in common: there is no paired difference."
        return Over(b.label, curves, table_of([]), f"{b.label} − {a.label}", 0, 0, [note])
    metric = EVALUATORS[evaluator].primary_metric
    left, right = ([its[seed].series for seed in pairs] for its in (mine, others))
    table = aligned([*left, *right], evaluator, metric)
    gap = table.to_numpy()[:, len(pairs) :] - table.to_numpy()[:, : len(pairs)]
    return Over(b.label, curves, over_seeds(table.index, gap), over_which(f"{b.label} − {a.label}", pairs), 0, 0)
