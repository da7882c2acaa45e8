"""How several interventions share one forward pass: each is one index of axis c, before the sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit, Taken
from mechicl.engine.forward import rank
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention
from mechicl.protocol.batch import TaskBatch


def edits(
    conditions: Sequence[Intervention], model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
) -> dict[str, Edit]:
    """The engine's edits for several interventions of one family, one per index of axis c.

    Args:
        conditions: c interventions, all of the same family.
        intact: the activations named by their `needs`, from the intact model on the same batch,
            [*lead, b, ...]. It may hold more.
        batch: the sequences; may be left out for interventions that do not depend on them.

    Raises:
        ConfigError: there are several families, or the model does not have a part that is to be changed.
    """
    families = {c.family for c in conditions}
    if len(families) != 1:
        raise ConfigError(f"all conditions of one forward pass must be of one kind; given {sorted(families)}.")
    for condition in conditions:
        condition.check(model)
    made = [checked_edits(condition, condition.edits(model, intact, batch), intact) for condition in conditions]
    hooks = dict.fromkeys(hook for each in made for hook in each)
    joined = {hook: _beside([each.get(hook, Edit()) for each in made], hook) for hook in hooks}
    like = next(iter(intact.values()), batch)
    return joined if like is None else {hook: edit.on(like.device) for hook, edit in joined.items()}


def checked_edits(condition: Intervention, made: Any, intact: Mapping[str, Tensor]) -> dict[str, Edit]:
    """What the `edits` of an intervention returned, when it was given `intact`.

    Raises:
        ConfigError: it is no Edit for each hook, or one has more axes than the activation.
    """
    wrong = "None" if made is None else f"a {type(made).__name__}"
    if isinstance(made, Mapping):
        for hook, edit in made.items():
            if not isinstance(edit, Edit):
                wrong = f"a {type(edit).__name__} for {hook}"
            elif not all(isinstance(part, (Tensor, float, int)) for part in (edit.keep, edit.add)):
                wrong = (
                    f"an Edit(keep={edit.keep!r}, add={edit.add!r}) for {hook}, whose parts are not numbers or tensors"
                )
            else:
                _check_axes(condition, hook, edit, intact)
                continue
            break
        else:
            return made  # type: ignore[return-value]
    raise ConfigError(
        f"{type(condition).__name__}.edits returned {wrong}: expected an Edit for each hook, such as "
        '{"blocks.0.attn.hook_v": Edit(0.5)}.'
    )


def _check_axes(condition: Intervention, hook: str, edit: Edit, intact: Mapping[str, Tensor]) -> None:
    """Raise ConfigError if an edit of one condition has axes that the activation has not.

    Before its own axes an activation has those of checkpoints and conditions, as `intact` may have them. What is more
    there would be other conditions, of which only one is shown.
    """
    axes = rank(hook)
    checkpoints = {1, *(len(x) for name, x in intact.items() if x.dim() == rank(name) + 2)}
    for name, part in (("keep", edit.keep), ("add", edit.add)):
        if not isinstance(part, Tensor) or part.dim() <= axes:
            continue
        lead = part.shape[:-axes]
        if len(lead) > 2 or lead[-1] != 1 or lead[0] not in checkpoints:
            raise ConfigError(
                f"{type(condition).__name__}.edits: the Edit of {hook} has {name}, of the shape {list(part.shape)}: "
                f"expected what broadcasts to the activation there, which has {axes} axes (docs/extending.md)."
            )


def _beside(parts: Sequence[Edit], hook: str) -> Edit:
    """Edits at one hook, next to each other on axis c."""
    if len({edit.at for edit in parts}) > 1:
        raise ConfigError(f"all conditions of one forward pass must move the positions of {hook} in the same way.")
    keep, add = (_joined([getattr(edit, name) for edit in parts], rank(hook)) for name in ("keep", "add"))
    less = _taken([edit.less for edit in parts])
    return Edit(keep, add, parts[0].at, _subspaces([edit.off for edit in parts]), less)


def _taken(parts: Sequence[tuple[Taken, ...]]) -> tuple[Taken, ...]:
    """What each condition takes off, next to each other on axis c: of one source and label together."""
    if len(parts) == 1:
        return parts[0]
    found: dict[tuple[str, str], dict[int, Taken]] = {}
    for i, each in enumerate(parts):
        for taken in each:
            found.setdefault(taken.key, {})[i] = taken
    out = []
    for by in found.values():
        like = next(iter(by.values()))
        none = torch.zeros_like(like.share)
        out.append(
            dataclasses.replace(like, share=torch.stack([by[i].share if i in by else none for i in range(len(parts))]))
        )
    return tuple(out)


def _subspaces(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Bases [d, count] next to each other on axis c, [c, 1, d, most]: columns of 0 take nothing off."""
    there = [part for part in parts if part is not None]
    if not there:
        return None
    if len({part.shape for part in parts if part is not None}) == 1 == len(parts):
        return there[0]
    out = there[0].new_zeros(len(parts), 1, there[0].shape[0], max(part.shape[-1] for part in there))
    for i, part in enumerate(parts):
        if part is not None:
            out[i, 0, :, : part.shape[-1]] = part
    return out


def _joined(parts: Sequence[Tensor | float], axes: int) -> Tensor | float:
    first = parts[0]
    if all(part is first or (isinstance(part, float) and isinstance(first, float) and part == first) for part in parts):
        return first  # the same for all conditions: held once
    where = next((part.device for part in parts if isinstance(part, Tensor)), torch.device("cpu"))
    tensors = [part if isinstance(part, Tensor) else torch.full((1,), part).to(where) for part in parts]
    wide = max(axes + 1, *(part.dim() for part in tensors))
    tensors = [part.reshape((1,) * (wide - part.dim()) + part.shape) for part in tensors]
    shape = torch.broadcast_shapes(*(part.shape for part in tensors))
    return torch.cat([part.expand(shape) for part in tensors], -(axes + 1))
