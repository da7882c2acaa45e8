"""Interventions applied to a model: the one way in which measures, pictures and the page do it.

    apply(params, batch, model, conditions)    what the model does under them: everything at once

in its two halves, for those who apply many to one batch:

    on = intact(params, batch, model, conditions)    the model as it is, with all that they need of it
    under(conditions, on)                            one more pass, which starts where they first change something

What they need may also be of other sequences, the batch's counterfactuals (`base.elsewhere`). An intervention that
changes weights has a pass of its own for each checkpoint.

Legend: s checkpoint, c condition, b batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.copied import scores_hook
from mechicl.engine.forward import Edit, Output, forward, restart_hooks
from mechicl.engine.params import Params
from mechicl.interventions.base import Intervention, edits, rank
from mechicl.tasks.batch import TaskBatch


@dataclass(frozen=True)
class Intact:
    """A model on a batch, as it is.

    params: packed, plain or stacked over s checkpoints; final, acts: as of `engine.forward.Output`; acts has what the
    interventions need, under the names by which they ask. query_only: as of `forward`. same: whether acts are those of
    these params, so that a pass may start from them.
    """

    params: Params
    batch: TaskBatch
    model: ModelConfig
    final: Tensor
    acts: Mapping[str, Tensor]
    query_only: bool = True
    same: bool = True


def intact(
    params: Params, batch: TaskBatch, model: ModelConfig, conditions: Iterable[Intervention] = (), *,
    capture: Iterable[str] = (), query_only: bool = True,
) -> Intact:  # fmt: skip
    """Run the model as it is, and keep what these interventions need of it.

    Args:
        capture: activations to keep besides.
        query_only: as of `forward`; then `under` computes as much.
    """
    listed = list(conditions)
    wanted = {*wanted_of(listed, model), *capture}
    wanted |= {hook for c in listed for hook in restart_hooks(c.first_layer)}
    out = forward(params, batch, model, capture=wanted, query_only=query_only)
    return Intact(params, batch, model, out.final, out.acts, query_only)


def wanted_of(conditions: Iterable[Intervention], model: ModelConfig) -> list[str]:
    """Hooks whose intact activations these interventions need, each once."""
    return list(dict.fromkeys(hook for c in conditions for hook in c.needs(model)))


def under(conditions: Sequence[Intervention], on: Intact, *, capture: Iterable[str] = ()) -> Output:
    """Run the model under interventions of one family, each a condition of its own.

    Returns:
        final and acts as of `forward`, with c conditions behind s; without c where none of them brings that axis.
    """
    ((_, out),) = in_parts(conditions, on, capture=capture)
    return out


def in_parts(
    conditions: Sequence[Intervention], on: Intact, *, capture: Iterable[str] = (), size: int | None = None
) -> Iterator[tuple[TaskBatch, Output]]:
    """`under`, `size` sequences at a time (default: all at once): these, and what the model makes of them."""
    edited, n = edits(conditions, on.model, on.acts, on.batch), len(on.batch)
    asked = set(capture)
    if conditions[0].reads is not None:  # of one family: all read the same head, or none does
        asked.add(scores_hook(on.model))
    known = on.acts if on.same else None
    for rows in [slice(None)] if size is None else [slice(i, i + size) for i in range(0, n, size)]:
        batch, some, acts = on.batch, edited, known
        if size is not None:
            batch, some = batch[rows], {hook: edit_rows(edit, hook, rows) for hook, edit in edited.items()}
            acts = known and {hook: rows_of(x, hook, rows) for hook, x in known.items()}
        yield batch, forward(
            on.params, batch, on.model, edits=some, known=acts, capture=asked, query_only=on.query_only
        )


def apply(
    params: Params, batch: TaskBatch, model: ModelConfig, conditions: Sequence[Intervention], *,
    capture: Iterable[str] = (), query_only: bool = True,
) -> Output:  # fmt: skip
    """What a model does under interventions: `intact`, then `under`."""
    return under(conditions, intact(params, batch, model, conditions, query_only=query_only), capture=capture)


def planned(
    conditions: Sequence[Intervention], params: Params, batch: TaskBatch, model: ModelConfig, query_only: bool = True
) -> dict[str, Edit]:
    """The edits alone, for a `forward` of one's own with the same `query_only`. The intact model is run if they need
    something of it."""
    wanted = wanted_of(conditions, model)
    acts = intact(params, batch, model, conditions, query_only=query_only).acts if wanted else {}
    return edits(conditions, model, acts, batch)


def edit_rows(edit: Edit, hook: str, rows: slice) -> Edit:
    """An edit of a batch, for some of its sequences."""
    keep, add = (rows_of(x, hook, rows) if isinstance(x, Tensor) else x for x in (edit.keep, edit.add))
    return replace(edit, keep=keep, add=add)


def rows_of(x: Tensor, hook: str, rows: slice) -> Tensor:
    """Some sequences of an activation, or of what broadcasts against it."""
    axis = -rank(hook)
    if x.dim() < -axis or x.shape[axis] == 1:
        return x
    return x.movedim(axis, 0)[rows].movedim(0, axis)
