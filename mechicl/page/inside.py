"""What the page says about mechanism at one checkpoint: attention patterns, and who adds what
to which logit. Intact and ablated come from the same sequences.

Legend: l layer, h head, t position, k label.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from mechicl.engine.edit import Edit
from mechicl.engine.forward import forward, logits
from mechicl.figures.attention import patterns
from mechicl.figures.scales import fitted
from mechicl.interventions import Intervention, edits, intact
from mechicl.interventions.apply import changing, edit_rows, reweighted
from mechicl.measures.attribution import attribute
from mechicl.models.params import Params
from mechicl.page.runs import Run
from mechicl.page.sequence import answers, tokens
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench
from mechicl.protocol.batch import TaskBatch
from mechicl.protocol.shown import Token
from mechicl.system.surroundings import reading

TOP = 4  # labels shown beside the marked ones


@dataclass(frozen=True)
class Attention:
    """Attention of every head. intact, ablated [l, h, t, t]; rows attend to columns.

    tokens: the chosen sequence's, or, for the average, what its positions have in common.
    same: (layer, head) -> why its pattern under the ablation is the intact one, where nothing could change it.
    """

    what: str
    tokens: list[Token]
    intact: np.ndarray
    ablated: np.ndarray | None
    same: dict[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Logits:
    """Who adds what to which label's logit, beside the mean logit.

    labels, marks [k]; probability [k], over all labels; for the average, both are means over its sequences;
    parts: 'embed', 'L0H0', ..., 'bias'; intact, ablated [parts, k], columns sum to the logit.
    """

    what: str
    labels: list[str]
    marks: list[tuple[str, ...]]
    parts: list[str]
    intact: np.ndarray
    ablated: np.ndarray | None
    probability: np.ndarray
    probability_ablated: np.ndarray | None
    average: bool = False

    @property
    def limit(self) -> float:
        """Of the colours: the largest contribution that is shown, rounded up."""
        shown = [self.intact] if self.ablated is None else [self.intact, self.ablated]
        return fitted((float(np.abs(x).max()) for x in shown), 0.1)


def attention(bench: Workbench, run: Run, view: View) -> Attention:
    """Patterns at the view's checkpoint, on its sequence or averaged over aligned ones."""
    assert view.step is not None

    def compute(ablation: Intervention | None):
        assert view.step is not None
        return patterns(run.series, [view.step], view.evaluator, view.sequence, ablation)

    def remembered(ablation: Intervention | None):
        sha = run.series.entry(view.step or 0).sha256
        key = ("patterns", sha, run.sets_id, view.evaluator, view.sequence, ablation)
        return bench.results.remember(key, lambda: compute(ablation), lambda p: p.values.nbytes + 2000)

    intact = remembered(None)
    ablated = remembered(view.intervention).values[0].numpy() if view.intervention else None
    if view.sequence is None:
        named = [Token.read(name) for name in intact.tokens]
    else:
        named = tokens(run, view.evaluator, view.sequence)
    same = unmoved(run, view.intervention) if view.intervention else {}
    # An average is of those sequences whose positions have one role in all of them.
    alike = "" if view.sequence is not None else run.series.task.alignment(run.sets[view.evaluator])
    return Attention(f"{intact.what} {alike}".rstrip(), named, intact.values[0].numpy(), ablated, same)


def unmoved(run: Run, ablation: Intervention) -> dict[tuple[int, int], str]:
    """(layer, head) -> why an intervention cannot change its pattern (`Intervention.same_pattern`)."""
    model = run.series.config.model
    every = [(layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]
    return {each: why for each in every if (why := ablation.same_pattern(*each))}


@reading()
def logit_view(bench: Workbench, run: Run, view: View) -> Logits:
    """Contributions to the outputs that matter: of the chosen sequence, its task's candidates and the highest; for the
    average, the answers that the task names."""
    assert view.step is not None
    batch, model = run.sets[view.evaluator], run.series.config.model
    # Baselines are means over the evaluation set or other sequences of it: edits are of the whole set.
    intact_model, edited = Edited(packed(bench, run, view.step)), None
    if view.intervention is not None:
        edited = edited_model(bench, run, view.step, batch, view.intervention)
    if view.sequence is None:
        return _attributed(intact_model, batch, run, edited, view)
    one = batch[[view.sequence]]
    edited = None if edited is None else edited.of_one(view.sequence)
    task = run.series.task
    listed = task.candidates(batch, view.sequence)
    if not listed:
        return _attributed(intact_model, one, run, edited, view)
    before = _softmax(intact_model, one, run)[0]
    after = _softmax(edited, one, run)[0] if edited else None
    right = answers(run, view.evaluator, view.sequence)
    chosen = dict.fromkeys(listed)
    for p in (before, after):
        if p is not None:
            chosen |= dict.fromkeys(np.argsort(-p)[:TOP].tolist())
    output = sorted(chosen, key=lambda y: -before[y])
    columns = [torch.tensor([y]).to(one.device) for y in output]
    return Logits(
        f"{view.evaluator} sequence {view.sequence}",
        [task.output(run.series.source, y) for y in output],
        [tuple(mark for mark, y in right.items() if y == each) for each in output],
        [*attribute(intact_model.params, one, model, columns[0])],
        _contributions(intact_model, one, run, columns),
        _contributions(edited, one, run, columns) if edited else None,
        before[output],
        None if after is None else after[output],
    )


def _attributed(intact_model: Edited, batch: TaskBatch, run: Run, edited: Edited | None, view: View) -> Logits:
    """For the answers that the task names (`Task.attributed`), at the last position."""
    columns = run.series.task.attributed(batch)
    if not columns:
        raise ViewError(f"the task of {run.series.name} does not define answers for logit attribution.")
    if view.sequence is None:
        what = f"mean over {len(batch):,} {view.evaluator} sequences"
    else:
        what = f"{view.evaluator} sequence {view.sequence}"
    return _named(
        what + (", at the last position" if batch.everywhere else ""),
        {column.name: column.outputs for column in columns},
        [column.marks for column in columns],
        intact_model,
        batch,
        run,
        edited,
        average=view.sequence is None,
    )


def _named(
    what: str,
    columns: dict[str, torch.Tensor],
    marks: list[tuple[str, ...]],
    intact_model: Edited,
    batch: TaskBatch,
    run: Run,
    edited: Edited | None,
    average: bool,
) -> Logits:
    """Means over a batch for outputs [b] that have names, rather than a place in the vocabulary."""

    def chance(of: Edited) -> np.ndarray:
        every = _softmax(of, batch, run)  # [b, v]
        return np.array([every[np.arange(len(batch)), outputs.cpu().numpy()].mean() for outputs in columns.values()])

    listed = list(columns.values())
    return Logits(
        what,
        list(columns),
        marks,
        [*attribute(intact_model.params, batch[:1], run.series.config.model, listed[0][:1])],
        _contributions(intact_model, batch, run, listed),
        _contributions(edited, batch, run, listed) if edited else None,
        chance(intact_model),
        chance(edited) if edited else None,
        average=average,
    )


@dataclass(frozen=True)
class Edited:
    """A model as an intervention leaves it: its parameters, stacked, one step, and the engine's edits."""

    params: Params
    edits: dict[str, Edit] | None = None

    def of_one(self, i: int) -> Edited:
        """For the i-th sequence alone."""
        rows = slice(i, i + 1)
        made = None if self.edits is None else {hook: edit_rows(e, hook, rows) for hook, e in self.edits.items()}
        return Edited(self.params, made)


def packed(bench: Workbench, run: Run, step: int) -> Params:
    """Parameters of a checkpoint, stacked, one step."""
    return {name: p[None] for name, p in bench.params(run, step).items()}


def edited_model(
    bench: Workbench, run: Run, step: int, batch: TaskBatch, ablation: Intervention, query_only: bool = True
) -> Edited:
    """A checkpoint under an intervention, its baselines those of the batch.

    Args:
        query_only: as of the `forward` that it is for.
    """
    done, model = bench.at_step(run, step, ablation), run.series.config.model
    params = packed(bench, run, step)
    on = intact(params, batch, model, [done], query_only=query_only, checkpoint=run.series.weights)
    if changing([done], on):
        (on,) = reweighted(done, on)
        params = {name: p[None] for name, p in on.params.items()}
    return Edited(params, edits([done], model, on.acts, batch))


def _contributions(of: Edited, batch: TaskBatch, run: Run, columns: list[torch.Tensor]) -> np.ndarray:
    """[parts, k] mean contributions to each column's labels [b]."""
    found = [attribute(of.params, batch, run.series.config.model, labels, of.edits) for labels in columns]
    return np.array([[float(x[0].mean()) for x in parts.values()] for parts in found]).T


def _softmax(of: Edited, batch: TaskBatch, run: Run) -> np.ndarray:
    """[b, v] probabilities of all outputs, at the last position."""
    final = forward(of.params, batch, run.series.config.model, edits=of.edits).final
    final = final[..., -1, :] if batch.everywhere else final
    return logits(of.params, final).flatten(0, -3)[0].softmax(-1).cpu().double().numpy()
