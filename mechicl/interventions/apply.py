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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.engine.forward import Output, forward, rank, restart_hooks
from mechicl.engine.held import scores_hook
from mechicl.errors import ConfigError
from mechicl.interventions.base import Checkpoint, Intervention, by_sequences, elsewhere
from mechicl.interventions.finite import finite, not_finite
from mechicl.interventions.one_pass import edits
from mechicl.models.params import Params, pack, unpack
from mechicl.protocol.batch import TaskBatch


@dataclass(frozen=True)
class Intact:
    """The intact model on a batch.

    params: packed, plain or stacked over s checkpoints; final, acts: as of `engine.forward.Output`; acts has what the
    interventions need, under the names by which they ask. query_only: as of `forward`. checkpoint: gives other steps'
    weights. changed: params are no longer those that acts were computed with, so that no pass starts from acts.
    """

    params: Params
    batch: TaskBatch
    model: ModelConfig
    final: Tensor
    acts: Mapping[str, Tensor]
    query_only: bool = True
    checkpoint: Checkpoint | None = None
    changed: bool = False


def intact(
    params: Params,
    batch: TaskBatch,
    model: ModelConfig,
    conditions: Iterable[Intervention] = (),
    *,
    capture: Iterable[str] = (),
    query_only: bool = True,
    checkpoint: Checkpoint | None = None,
) -> Intact:
    """Run the intact model, and keep the activations that these interventions need.

    Args:
        capture: activations to keep besides.
        query_only: as of `forward`; then `under` computes as much.
        checkpoint: a step of the series -> its weights (`series.weights`), for interventions that take some.
    """
    listed = list(conditions)
    wanted = {*wanted_of(listed, model), *capture}
    wanted |= {hook for c in listed for hook in restart_hooks(c.first_layer)}
    asked = by_sequences(wanted)
    out = forward(params, batch, model, capture=asked.pop(None, ()), query_only=query_only)
    on = Intact(params, batch, model, out.final, out.acts, query_only, checkpoint)
    return with_more(on, [elsewhere(kind or "", hook) for kind, hooks in asked.items() for hook in hooks])


def with_more(on: Intact, wanted: Iterable[str]) -> Intact:
    """The same, with these activations, too, under the names by which interventions ask (`needs`): one pass for each
    kind of sequences of which some are not there yet."""
    acts = dict(on.acts)
    for kind, hooks in by_sequences(name for name in wanted if name not in acts).items():
        batch = on.batch if kind is None else on.batch.counterfactual(kind)
        found = forward(on.params, batch, on.model, capture=hooks, query_only=on.query_only).acts
        acts |= found if kind is None else {elsewhere(kind, hook): x for hook, x in found.items()}
    return replace(on, acts=acts)


def wanted_of(conditions: Iterable[Intervention], model: ModelConfig) -> list[str]:
    """Hooks whose intact activations these interventions need, each once."""
    return list(dict.fromkeys(hook for c in conditions for hook in c.needs(model)))


def under(conditions: Sequence[Intervention], on: Intact, *, capture: Iterable[str] = ()) -> Output:
    """Run the model under interventions of one family, each as a separate condition.

    Returns:
        final and acts as of `forward`, with c conditions behind s; without c where none of them brings that axis.
    """
    if not changing(conditions, on):
        ((_, out),) = in_parts(conditions, on, capture=capture)
        return out
    each = [[under([c], one, capture=capture) for one in reweighted(c, on)] for c in conditions]
    stacked = _stacked(on.params)

    def joined(of: Callable[[Output], Tensor], axes: int) -> Tensor:
        """[s, c, b, ...], or [c, b, ...] of plain parameters."""
        found = [[of(out).reshape(of(out).shape[-axes:]) for out in row] for row in each]
        whole = torch.stack([torch.stack(row) for row in found], 1)
        return whole if stacked else whole[0]

    acts = {hook: joined(lambda out, hook=hook: out.acts[hook], rank(hook)) for hook in each[0][0].acts}
    return Output(joined(lambda out: out.final, 3 if on.batch.everywhere else 2), acts)


def changing(conditions: Sequence[Intervention], on: Intact) -> bool:
    """Whether weights have still to be changed (`reweighted`)."""
    return not on.changed and any(c.changes_weights for c in conditions)


def reweighted(condition: Intervention, on: Intact) -> list[Intact]:
    """The model with its weights changed, one with plain parameters for each checkpoint. What the condition needs of
    the intact model stays that of the intact model.

    Raises:
        ConfigError: it takes another step's weights, and `on` has none.
    """
    if condition.donors and on.checkpoint is None:
        raise ConfigError(f"{condition} uses weights of step {condition.donors[0]}: give checkpoint=series.weights.")
    each = [on]
    if _stacked(on.params):
        each = [
            replace(
                on,
                params={name: p[i] for name, p in on.params.items()},
                acts={hook: x[i, 0] for hook, x in on.acts.items()},
                final=on.final[i, 0],
            )
            for i in range(len(on.params["unembed.b_U"]))
        ]
    given, heads = on.checkpoint or _none, on.model.n_heads
    return [
        replace(one, params=pack(condition.weights(unpack(one.params, heads), given)), changed=True) for one in each
    ]


def _stacked(params: Params) -> bool:
    return params["unembed.b_U"].dim() > 1


def _none(step: int) -> Params:
    raise ConfigError(f"an intervention uses weights of step {step}, but its `donors` do not list this step.")


def in_parts(
    conditions: Sequence[Intervention], on: Intact, *, capture: Iterable[str] = (), size: int | None = None
) -> Iterator[tuple[TaskBatch, Output]]:
    """`under`, `size` sequences at a time (default: all at once): these, and what the model makes of them.

    Raises:
        ConfigError: numbers that are not finite, of which the intact model has none.
    """
    edited, n = edits(conditions, on.model, on.acts, on.batch), len(on.batch)
    asked = set(capture)
    if conditions[0].reads is not None:  # of one family: all read the same head, or none does
        asked.add(scores_hook(on.model))
    known = None if on.changed else on.acts
    for rows in [slice(None)] if size is None else [slice(i, i + size) for i in range(0, n, size)]:
        batch, some, acts = on.batch, edited, known
        if size is not None:
            batch, some = batch[rows], {hook: edit_rows(edit, hook, rows) for hook, edit in edited.items()}
            acts = known and {hook: rows_of(x, hook, rows) for hook, x in known.items()}
        made = partial(forward, on.params, batch, on.model, edits=some, known=acts, query_only=on.query_only)
        out = made(capture=asked)
        if not finite(out.final) and finite(on.final):
            axes = 3 if on.batch.everywhere else 2
            raise not_finite(conditions, out.final, axes, made(capture=some).acts)
        yield batch, out


def apply(
    params: Params,
    batch: TaskBatch,
    model: ModelConfig,
    conditions: Sequence[Intervention],
    *,
    capture: Iterable[str] = (),
    query_only: bool = True,
    checkpoint: Checkpoint | None = None,
) -> Output:
    """Run a model under interventions: `intact`, then `under`."""
    on = intact(params, batch, model, conditions, query_only=query_only, checkpoint=checkpoint)
    return under(conditions, on, capture=capture)


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
    less = tuple(
        taken if taken.instead is None else replace(taken, instead=rows_of(taken.instead, taken.source, rows))
        for taken in edit.less
    )
    return replace(edit, keep=keep, add=add, less=less)


def rows_of(x: Tensor, hook: str, rows: slice) -> Tensor:
    """Some sequences of an activation, or of what broadcasts against it."""
    axis = -rank(hook)
    if x.dim() < -axis or x.shape[axis] == 1:
        return x
    return x.movedim(axis, 0)[rows].movedim(0, axis)
