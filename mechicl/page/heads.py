"""What the head grid says: one number per head, by a chosen measure, at one checkpoint.

All are measured on the model as it is edited: with the view's heads out, the others are seen as they are
without them. Shares of attention have the colours of a range that is fixed, and none where uniform attention
is; effects and logits have a range symmetric about 0, fitted to the largest of them in the intact model at the
run's first look and at its end, and in what is shown, so that it stays while one scrubs and clicks heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from mechicl.engine.forward import forward
from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.figures.scales import Meaning, about, fitted
from mechicl.interventions.baselines import Plain
from mechicl.measures.attention import scores, uniform_scores
from mechicl.measures.attribution import attribute
from mechicl.measures.door import Measure as Registered
from mechicl.measures.door import own_of_heads
from mechicl.page.inside import Edited, edited_model, packed
from mechicl.page.numbers import Number, paired
from mechicl.page.plugged import per_head
from mechicl.page.runs import Run
from mechicl.page.state import SCORES as ATTENTION
from mechicl.page.state import Head, View, effect_of
from mechicl.page.view import Workbench
from mechicl.protocol.attention_scores import SCORES
from mechicl.registry import main
from mechicl.statistics import normal_interval


@dataclass(frozen=True)
class Measure:
    """How a measure is named, read and coloured.

    limits: fixed, or None: fitted, and then at least `least`. on_evaluator: it is measured on the sequences of
    the view's evaluator; else its name says on which. edited: it is measured in the model as it is edited.
    """

    name: str
    meaning: str
    unit: str
    colours: Meaning
    limits: tuple[float, float] | None = None
    least: float = 0.0
    on_evaluator: bool = True
    edited: bool = True

    @property
    def signed(self) -> bool:
        """Whether its values are changes, or lie on both sides of 0."""
        return self.limits is None or self.limits[0] < 0


@dataclass(frozen=True)
class Grid:
    """Every head's number and the colours' range. middle: the value that has no colour; uniform: what a head
    that attends evenly scores, for scores of attention."""

    measure: Measure
    values: dict[Head, Number]
    low: float
    middle: float
    high: float
    uniform: float | None = None
    mlps: dict[int, Number] = field(default_factory=dict)  # by layer: effects and logits; MLPs attend to nothing

    def place(self, value: float) -> float:
        """Where a value lies on its colours, 0 to 1."""
        return about(value, self.low, self.middle, self.high)


def _effect(evaluator: str) -> Measure:
    return Measure(
        f"effect on {EVALUATORS[evaluator].short} of ablating it alone",
        f"{EVALUATORS[evaluator].label}: {EVALUATORS[evaluator].quantity} without this head minus with it, on the same "
        "sequences. "
        "Below 0: the head helps. Above 0: it harms.",
        f"change in {EVALUATORS[evaluator].quantity}",
        "effect",
        least=0.02,
        on_evaluator=False,
    )


def _score(name: str) -> Measure:
    score = SCORES[name]
    return Measure(score.name, score.meaning, "share of attention", "change", score.limits)


MEASURES: dict[str, Measure] = {
    **{name: _score(name) for name in ATTENTION},
    "logit": Measure(
        "logit attribution",
        "What the head itself adds to the right answer's logit, relative to the mean logit (final LayerNorm held).",
        "logits",
        "logit",
        least=0.1,
    ),
    **{f"effect_{name}": _effect(name) for name in main()},
}


def measures() -> dict[str, Measure]:
    """All that the grid can show: the page's own, and those of plugins whose rows are of heads."""
    return MEASURES | {name: _plugged(entry) for name, entry in own_of_heads().items() if name not in MEASURES}


def _plugged(entry: Registered) -> Measure:
    meaning = f"{entry.value[:1].upper()}{entry.value[1:]}. To compare with: {entry.against}."
    return Measure(
        entry.name.replace("_", " "),
        meaning,
        entry.value,
        "effect",
        least=1e-6,
        on_evaluator="evaluators" in entry.takes,
        edited="ablate" in entry.takes,
    )


def head_grid(bench: Workbench, run: Run, view: View) -> Grid:
    """The measure at the view's checkpoint, with its colours' range."""
    assert view.step is not None
    measure, values = measures()[view.measure], head_scores(bench, run, view)
    if measure.limits is None:
        mlps = mlp_scores(bench, run, view)
        shown = (*values.values(), *mlps.values(), *_elsewhere(bench, run, view))
        limit = fitted([n.value for n in shown], measure.least)
        return Grid(measure, values, -limit, 0.0, limit, mlps=mlps)
    low, high = measure.limits
    uniform = even(run, view.evaluator).get(view.measure)
    return Grid(measure, values, low, (low + high) / 2 if uniform is None else uniform, high, uniform)


def alike(a: Grid, b: Grid) -> tuple[Grid, Grid]:
    """Two grids of one measure, with one range where it is fitted."""
    if a.measure.limits is not None:
        return a, b
    limit = max(a.high, b.high)
    return replace(a, low=-limit, high=limit), replace(b, low=-limit, high=limit)


def even(run: Run, evaluator: str) -> dict[str, float]:
    """score -> what uniform attention has on an evaluator's sequences; those that are not defined are not in it."""
    return uniform_scores(run.sets[evaluator])


def head_scores(bench: Workbench, run: Run, view: View) -> dict[Head, Number]:
    """(layer, head) -> the measure at the view's checkpoint under its ablation. Heads for which the evaluator's
    sequences do not define it are left out, and from effects those that are out already."""
    assert view.step is not None
    if effect_of(view.measure):
        return _effects(bench, run, view)
    entry = own_of_heads().get(view.measure)
    if entry is not None and view.measure not in MEASURES:
        return per_head(entry, run, view.step, view.evaluator, view.intervention)
    key = ("heads", run.series.entry(view.step).sha256, run.sets_id, view.measure, view.evaluator, view.intervention)
    return bench.results.remember(key, lambda: _measure(bench, run, view), lambda found: 300 * len(found) + 500)


def mlp_scores(bench: Workbench, run: Run, view: View) -> dict[int, Number]:
    """layer -> the measure of its MLP, as `head_scores`; of those that are not out already. Attention is no measure
    of an MLP, and no MLP is ablated by a kind that is for heads."""
    assert view.step is not None
    model = run.series.config.model
    layers = [la for la in range(model.n_layers) if model.has_mlp(la)]
    if not layers:
        return {}
    on = effect_of(view.measure)
    if on is not None:
        if view.kind not in get_args(Plain):
            return {}
        before = bench.right(run, view.step, on, view.intervention)
        also = {la: view.also(mlp=(la,)).intervention for la in layers if la not in view.mlp}
        return {la: paired(before, bench.right(run, view.step, on, out)) for la, out in also.items()}
    if view.measure != "logit":
        return {}
    key = ("mlps", run.series.entry(view.step).sha256, run.sets_id, view.evaluator, view.intervention)

    def compute() -> dict[int, Number]:
        parts = _attributed(bench, run, view)
        rows = normal_interval(np.stack([parts[f"L{la} MLP"][0].numpy() for la in layers]))
        columns = zip(*(x.tolist() for x in rows), strict=True)
        n = len(run.sets[view.evaluator])
        return {la: Number(value, low, high, n) for la, (value, low, high) in zip(layers, columns, strict=True)}

    return bench.results.remember(key, compute, lambda found: 300 * len(found) + 500)


def _effects(bench: Workbench, run: Run, view: View) -> dict[Head, Number]:
    assert view.step is not None
    on, model = effect_of(view.measure) or "", run.series.config.model
    before = bench.right(run, view.step, on, view.intervention)
    heads = [(la, h) for la in range(model.n_layers) for h in range(model.n_heads) if (la, h) not in view.heads]
    also = {head: view.also(heads=(head,)).intervention for head in heads}
    return {head: paired(before, bench.right(run, view.step, on, out)) for head, out in also.items()}


def _elsewhere(bench: Workbench, run: Run, view: View) -> list[Number]:
    """The measure in the intact model at the run's first look and at its end: the same whatever is ablated. A
    checkpoint that cannot be read is passed over."""
    found: list[Number] = []
    for step in (run.first_look(), run.steps[-1]):
        try:
            found += head_scores(bench, run, replace(view, step=step).untouched()).values()
        except SeriesError:
            continue
    return found


@torch.inference_mode()
def _measure(bench: Workbench, run: Run, view: View) -> dict[Head, Number]:
    assert view.step is not None
    batch, model = run.sets[view.evaluator], run.series.config.model
    if view.measure == "logit":
        parts = _attributed(bench, run, view)
        layers = [
            np.stack([parts[f"L{la}H{h}"][0].numpy() for h in range(model.n_heads)]) for la in range(model.n_layers)
        ]
    else:
        on = _as_edited(bench, run, view, query_only=False)
        hooks = [f"blocks.{la}.attn.hook_pattern" for la in range(model.n_layers)]
        acts = forward(on.params, batch, model, capture=hooks, edits=on.edits, query_only=False).acts
        found = (scores(acts[hook][0, 0], batch)[view.measure].cpu().numpy() for hook in hooks)  # [b, h]
        layers = [np.moveaxis(x[~np.isnan(x[:, 0])], 0, -1) for x in found]
    out: dict[Head, Number] = {}
    for layer, values in enumerate(layers):  # [h, b]
        if not values.shape[-1]:
            continue
        columns = (x.tolist() for x in normal_interval(values))
        for h, (value, low, high) in enumerate(zip(*columns, strict=True)):
            out[layer, h] = Number(value, low, high, values.shape[-1])
    return out


def _as_edited(bench: Workbench, run: Run, view: View, query_only: bool) -> Edited:
    assert view.step is not None
    if view.intervention is None:
        return Edited(packed(bench, run, view.step))
    return edited_model(bench, run, view.step, run.sets[view.evaluator], view.intervention, query_only)


@torch.inference_mode()
def _attributed(bench: Workbench, run: Run, view: View) -> dict[str, Tensor]:
    """Component -> [1, b] what it adds to the right answer's logit."""
    batch, on = run.sets[view.evaluator], _as_edited(bench, run, view, query_only=True)
    right = next(iter(batch.answers().values()))
    return attribute(on.params, batch, run.series.config.model, right, on.edits)
