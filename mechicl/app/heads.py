"""What the head grid says: one number per head, by a chosen measure, at one checkpoint.

All are measured on the intact model, so that the grid shows what a head does where it is
present. Ranges are fixed, so that colours compare between checkpoints and runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from mechicl.app.runs import Run
from mechicl.app.state import Head, View
from mechicl.app.view import Number, Workbench, paired
from mechicl.figures.style import NAMES
from mechicl.interventions import Kind, every_head
from mechicl.measures.attention import attention_scores
from mechicl.measures.attribution import logit_attribution


@dataclass(frozen=True)
class Scale:
    """How a measure is named, read and coloured. limits: fixed; beyond them colours saturate."""

    name: str
    meaning: str
    unit: str
    limits: tuple[float, float]

    @property
    def diverging(self) -> bool:
        return self.limits[0] == -self.limits[1]


def _effect(evaluator: str) -> Scale:
    return Scale(
        f"effect on {evaluator.upper() if evaluator != 'flip' else 'Flip'} of ablating it alone",
        f"{NAMES[evaluator]} accuracy without this head minus with it, on the same sequences. "
        "Blue: the head was needed. Red: the head was in the way.",
        "change in accuracy", (-0.5, 0.5),
    )  # fmt: skip


MEASURES: dict[str, Scale] = {
    "previous_token": Scale(
        "previous-token score", "Attention from each position to the one just before it, averaged over positions.",
        "share of attention", (0.0, 1.0)),
    "induction_strength": Scale(
        "induction strength",
        "Attention from the query to the labels of its own class's pairs, minus to the other labels.",
        "share of attention", (-1.0, 1.0)),
    "logit": Scale(
        "logit attribution",
        "What the head itself writes towards the right answer's logit, beside the mean logit (final LayerNorm held).",
        "logits", (-5.0, 5.0)),
    **{f"effect_{name}": _effect(name) for name in ("icl", "flip", "ciwl", "iwl")},
}  # fmt: skip


def head_scores(bench: Workbench, run: Run, view: View) -> dict[Head, Number]:
    """(layer, head) -> the measure at the view's checkpoint. Heads for which the evaluator's
    sequences do not define it are left out."""
    assert view.step is not None
    if view.measure.startswith("effect"):
        return _effects(bench, run, view.step, view.measure.removeprefix("effect_"), view.kind)
    key = ("heads", run.series.entry(view.step).sha256, run.sets_id, view.measure, view.evaluator)
    return bench.results.remember(key, lambda: _measure(run, view), lambda found: 300 * len(found) + 500)


def _effects(bench: Workbench, run: Run, step: int, on: str, kind: Kind) -> dict[Head, Number]:
    before = bench.right(run, step, on, None)
    singles = every_head(run.series.config.model, kind)
    return {one.heads[0]: paired(before, bench.right(run, step, on, one)) for one in singles}


def _measure(run: Run, view: View) -> dict[Head, Number]:
    assert view.step is not None
    if view.measure == "logit":
        table = logit_attribution(run.series, [view.step], [view.evaluator], progress=False)
        table = table[(table.metric == "logit_in_context") & table["head"].notna()]
    else:
        table = attention_scores(run.series, [view.step], [view.evaluator], progress=False)
        table = table[table.metric == view.measure]
    columns = (table[name].tolist() for name in ("layer", "head", "value", "ci_low", "ci_high", "n"))
    return {(int(la), int(h)): Number(v, low, high, int(n)) for la, h, v, low, high, n in zip(*columns, strict=True)}
