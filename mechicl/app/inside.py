"""What the page says about mechanism at one checkpoint: attention patterns, and who adds what
to which logit. Intact and ablated come from the same sequences.

Legend: l layer, h head, t position, k label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mechicl.app.runs import Run
from mechicl.app.sequence import Token, answers, tokens
from mechicl.app.state import View
from mechicl.app.view import Workbench
from mechicl.data.banks import Batch
from mechicl.engine.forward import Edit, forward, logits
from mechicl.engine.params import Params
from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads, edits, needs
from mechicl.measures.attribution import attribute
from mechicl.surroundings import reading

TOP = 4  # labels shown beside the marked ones


@dataclass(frozen=True)
class Attention:
    """Attention of every head. intact, ablated [l, h, t, t]; rows attend to columns.

    tokens: the chosen sequence's, or, for the average, what its positions have in common.
    """

    what: str
    tokens: list[Token]
    intact: np.ndarray
    ablated: np.ndarray | None


@dataclass(frozen=True)
class Logits:
    """Who adds what to which label's logit, beside the mean logit.

    labels, marks [k]; logit, probability [k] (probability over all labels; None for averages);
    parts: 'embed', 'L0H0', ..., 'bias'; intact, ablated [parts, k], columns sum to the logit.
    """

    what: str
    labels: list[str]
    marks: list[tuple[str, ...]]
    parts: list[str]
    intact: np.ndarray
    ablated: np.ndarray | None
    probability: np.ndarray | None
    probability_ablated: np.ndarray | None


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
    return Attention(intact.what, named, intact.values[0].numpy(), ablated)


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
        edited = _edits(params, batch, view.ablation, run)
        columns = {"scored as right": batch.target, "right in weights": batch.canonical[:, -1]}
        what = f"mean over {len(batch):,} {view.evaluator} sequences"
        intact = _contributions(params, batch, run, list(columns.values()), None)
        ablated = _contributions(params, batch, run, list(columns.values()), edited) if edited else None
        parts = [*attribute(params, batch[:1], model, batch.target[:1])]
        marks: list[tuple[str, ...]] = [("true",), ("in weights",)]
        return Logits(what, list(columns), marks, parts, intact, ablated, None, None)
    one = batch[[view.sequence]]
    # Baselines are means over the evaluation set or other sequences of it: its own edit, then.
    edited = _of_one(_edits(params, batch, view.ablation, run), view.sequence)
    before = _softmax(params, one, run, None)
    after = _softmax(params, one, run, edited) if edited else None
    right = answers(run, view.evaluator, view.sequence)
    chosen = dict.fromkeys([right.true, right.in_weights, *one.labels[0].tolist()])
    for p in (before, after):
        if p is not None:
            chosen |= dict.fromkeys(np.argsort(-p)[:TOP].tolist())
    label = sorted(chosen, key=lambda y: -before[y])
    columns = [torch.tensor([y]) for y in label]
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


def _edits(params: Params, batch: Batch, ablation: AblateHeads | None, run: Run) -> dict[str, Edit] | None:
    if ablation is None:
        return None
    model = run.series.config.model
    wanted = needs(ablation.kind, model)
    acts = forward(params, batch, model, capture=wanted).acts if wanted else {}
    return edits([ablation], model, acts)


def _of_one(edited: dict[str, Edit] | None, i: int) -> dict[str, Edit] | None:
    """Edits of a batch [s, c, b, ...], for its i-th sequence alone."""
    if edited is None:
        return None

    def cut(x: torch.Tensor | float) -> torch.Tensor | float:
        return x[:, :, i : i + 1] if isinstance(x, torch.Tensor) and x.dim() >= 6 and x.shape[2] > 1 else x

    return {hook: Edit(cut(e.keep), cut(e.add)) for hook, e in edited.items()}


def _contributions(params, batch: Batch, run: Run, columns: list[torch.Tensor], edited) -> np.ndarray:
    """[parts, k] mean contributions to each column's labels [b]."""
    found = [attribute(params, batch, run.series.config.model, labels, edited) for labels in columns]
    return np.array([[float(x[0].mean()) for x in parts.values()] for parts in found]).T


def _softmax(params: Params, one: Batch, run: Run, edited) -> np.ndarray:
    """[v] probabilities of all labels on one sequence."""
    final = forward(params, one, run.series.config.model, edits=edited).final
    return logits(params, final).flatten(0, -2)[0].softmax(-1).double().numpy()
