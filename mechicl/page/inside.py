"""What the page says about mechanism at one checkpoint: attention patterns, and who adds what
to which logit. Intact and ablated come from the same sequences.

Legend: l layer, h head, t position, k label.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from mechicl.engine.forward import Edit, forward, logits
from mechicl.figures.attention import patterns
from mechicl.figures.scales import fitted
from mechicl.interventions import AblateHeads
from mechicl.interventions.apply import edit_rows, planned
from mechicl.measures.attribution import attribute
from mechicl.models.params import Params
from mechicl.page.runs import Run
from mechicl.page.sequence import Token, answers, tokens
from mechicl.page.state import View, ViewError
from mechicl.page.view import Workbench
from mechicl.system.surroundings import reading
from mechicl.tasks.batch import TaskBatch
from mechicl.tasks.exemplar_label.batch import Batch

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

    def compute(ablation: AblateHeads | None):
        assert view.step is not None
        return patterns(run.series, [view.step], view.evaluator, view.sequence, ablation)

    def remembered(ablation: AblateHeads | None):
        sha = run.series.entry(view.step or 0).sha256
        key = ("patterns", sha, run.sets_id, view.evaluator, view.sequence, ablation)
        return bench.results.remember(key, lambda: compute(ablation), lambda p: p.values.nbytes + 2000)

    intact = remembered(None)
    ablated = remembered(view.ablation).values[0].numpy() if view.ablation else None
    if view.sequence is None:
        named = [Token(*_split(name), label=None) for name in intact.tokens]
    else:
        named = tokens(run, view.evaluator, view.sequence)
    same = unmoved(run, view.ablation) if view.ablation else {}
    return Attention(intact.what, named, intact.values[0].numpy(), ablated, same)


def unmoved(run: Run, ablation: AblateHeads) -> dict[tuple[int, int], str]:
    """(layer, head) -> why an ablation cannot change its pattern: patterns are held, or everything before its
    layer is intact. An ablated head is no exception: its output is removed, behind its pattern."""
    model, out = run.series.config.model, {}
    for layer in range(model.n_layers):
        for head in range(model.n_heads):
            if "pattern" in ablation.held:
                why = "patterns are held"
            elif layer > ablation.first_layer:
                continue
            elif (layer, head) in ablation.heads:
                why = "its output is removed, not its pattern"
            else:
                why = "nothing before it is removed"
            out[layer, head] = why
    return out


def _split(name: str) -> tuple[str, str]:
    position, _, text = name.partition(" ")
    return position, text


@reading()
def logit_view(bench: Workbench, run: Run, view: View) -> Logits:
    """Contributions to the labels that matter: of the chosen sequence, its own labels and the
    highest; for the average, the answers that are scored as right and that the weights hold."""
    assert view.step is not None
    params = {name: p[None] for name, p in bench.params(run, view.step).items()}
    batch, model = run.sets[view.evaluator], run.series.config.model
    if view.sequence is None:
        edited = edits_of(params, batch, view.ablation, run)
        return (_average_logits if isinstance(batch, Batch) else _answered)(params, batch, run, edited, view)
    one = batch[[view.sequence]]
    if not isinstance(one, Batch):
        return _answered(params, one, run, _of_one(edits_of(params, batch, view.ablation, run), view.sequence), view)
    # Baselines are means over the evaluation set or other sequences of it: its own edit, then.
    edited = _of_one(edits_of(params, batch, view.ablation, run), view.sequence)
    before = _softmax(params, one, run, None)[0]
    after = _softmax(params, one, run, edited)[0] if edited else None
    right = answers(run, view.evaluator, view.sequence)
    assert right is not None
    chosen = dict.fromkeys([right.true, right.in_weights, *one.labels[0].tolist()])
    for p in (before, after):
        if p is not None:
            chosen |= dict.fromkeys(np.argsort(-p)[:TOP].tolist())
    label = sorted(chosen, key=lambda y: -before[y])
    columns = [torch.tensor([y]).to(one.device) for y in label]
    return Logits(
        f"{view.evaluator} sequence {view.sequence}",
        [f"label {y}" for y in label],
        [right.marks(y) for y in label],
        [*attribute(params, one, model, one.target)],
        _contributions(params, one, run, columns, None),
        _contributions(params, one, run, columns, edited) if edited else None,
        before[label],
        None if after is None else after[label],
    )


def _answered(params: Params, batch: TaskBatch, run: Run, edited: dict[str, Edit] | None, view: View) -> Logits:
    """For the answers that the task names, at the last position."""
    columns = {f"right {name.removeprefix('logit_').replace('_', ' ')}": x for name, x in batch.answers().items()}
    if not columns:
        raise ViewError(f"the task of {run.series.name} names no answers whose logits could be attributed.")
    what = f"sequence {view.sequence}" if view.sequence is not None else f"mean over {len(batch):,} sequences"
    return _named(
        f"{view.evaluator} {what}, at the last position",
        columns,
        [() for _ in columns],
        params,
        batch,
        run,
        edited,
        average=view.sequence is None,
    )


def _average_logits(params: Params, batch: Batch, run: Run, edited: dict[str, Edit] | None, view: View) -> Logits:
    """For the label that is scored as right and the one that is right in the weights, where they differ."""
    columns, marks = {"scored as right": batch.target}, [("true",)]
    if bool((batch.target == batch.trained_labels[:, -1]).all()):
        marks = [("true", "in weights")]
    else:
        columns["right in weights"] = batch.trained_labels[:, -1]
        marks.append(("in weights",))
    return _named(
        f"mean over {len(batch):,} {view.evaluator} sequences", columns, marks, params, batch, run, edited, average=True
    )


def _named(
    what: str,
    columns: dict[str, torch.Tensor],
    marks: list[tuple[str, ...]],
    params: Params,
    batch: TaskBatch,
    run: Run,
    edited: dict[str, Edit] | None,
    average: bool,
) -> Logits:
    """Means over a batch for outputs [b] that have names, rather than a place in the vocabulary."""

    def chance(of: dict[str, Edit] | None) -> np.ndarray:
        every = _softmax(params, batch, run, of)  # [b, v]
        return np.array([every[np.arange(len(batch)), outputs.cpu().numpy()].mean() for outputs in columns.values()])

    listed = list(columns.values())
    return Logits(
        what,
        list(columns),
        marks,
        [*attribute(params, batch[:1], run.series.config.model, listed[0][:1])],
        _contributions(params, batch, run, listed, None),
        _contributions(params, batch, run, listed, edited) if edited else None,
        chance(None),
        chance(edited) if edited else None,
        average=average,
    )


def edits_of(
    params: Params, batch: TaskBatch, ablation: AblateHeads | None, run: Run, query_only: bool = True
) -> dict[str, Edit] | None:
    """An ablation as the engine's edits, its baselines those of the batch; None where nothing is ablated.

    Args:
        params: stacked, one step.
        query_only: as of the `forward` that they are for.
    """
    if ablation is None:
        return None
    return planned([ablation], params, batch, run.series.config.model, query_only)


def _of_one(edited: dict[str, Edit] | None, i: int) -> dict[str, Edit] | None:
    """Edits of a batch, for its i-th sequence alone."""
    return None if edited is None else {hook: edit_rows(e, hook, slice(i, i + 1)) for hook, e in edited.items()}


def _contributions(params, batch: TaskBatch, run: Run, columns: list[torch.Tensor], edited) -> np.ndarray:
    """[parts, k] mean contributions to each column's labels [b]."""
    found = [attribute(params, batch, run.series.config.model, labels, edited) for labels in columns]
    return np.array([[float(x[0].mean()) for x in parts.values()] for parts in found]).T


def _softmax(params: Params, batch: TaskBatch, run: Run, edited) -> np.ndarray:
    """[b, v] probabilities of all outputs, at the last position."""
    final = forward(params, batch, run.series.config.model, edits=edited).final
    final = final[..., -1, :] if batch.everywhere else final
    return logits(params, final).flatten(0, -3)[0].softmax(-1).cpu().double().numpy()
