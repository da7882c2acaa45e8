"""Several interventions in one forward pass, as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit, Taken
from mechicl.errors import ConfigError
from mechicl.interventions.base import Checkpoint, Intervention
from mechicl.interventions.joint import joint_controls
from mechicl.interventions.one_pass import checked_edits
from mechicl.models.params import Params
from mechicl.protocol.batch import TaskBatch

if TYPE_CHECKING:
    from mechicl.series import Series


@dataclass(frozen=True, kw_only=True)
class Together(Intervention):
    """Apply all of `parts` at once, as one condition. Every part's intact values come from the intact model, even if
    another part changes its weights. If two parts change one activation, the later part is applied to the result of the
    earlier part."""

    parts: tuple[Intervention, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, (tuple, list)) or not self.parts or not all(map(_is_one, self.parts)):
            raise ConfigError(
                f"Together.parts={self.parts!r}: expected interventions, such as "
                "(AblateHeads(heads=((0, 1),)), RemoveDirectPath())."
            )
        object.__setattr__(self, "parts", tuple(self.parts))

    def __str__(self) -> str:
        return " + ".join(map(str, self.parts))

    def found_in(self, batch: TaskBatch) -> bool:
        return any(part.found_in(batch) for part in self.parts)

    @property
    def baseline(self) -> str:
        return "; ".join(part.baseline for part in self.parts)

    @property
    def first_layer(self) -> int:
        return min(part.first_layer for part in self.parts)

    @property
    def family(self) -> str:
        return " + ".join(part.family for part in self.parts)

    @property
    def reads(self) -> tuple[int, int] | None:
        return next((part.reads for part in self.parts if part.reads is not None), None)

    @property
    def alike(self) -> str:
        return ", ".join(dict.fromkeys(part.alike for part in self.parts))

    @property
    def leaves(self) -> tuple[Intervention, ...]:
        """The parts, and the parts of those that have some."""
        return tuple(leaf for part in self.parts for leaf in (part.leaves if isinstance(part, Together) else (part,)))

    def controls(self, model: ModelConfig, count: int) -> list[Intervention]:
        """Every part on random others, which are drawn for all parts at once (`joint.py`)."""
        return [Together(parts=parts) for parts in joint_controls(self.leaves, model, count)]

    def same_pattern(self, layer: int, head: int) -> str:
        why = [part.same_pattern(layer, head) for part in self.parts]
        if not all(why):
            return ""
        return why[0] if len(set(why)) == 1 else "nothing before it is changed"

    @property
    def of_step(self) -> bool:
        return any(part.of_step for part in self.parts)

    def at_step(self, series: Series, step: int) -> Intervention:
        return Together(parts=tuple(part.at_step(series, step) for part in self.parts)) if self.of_step else self

    @property
    def note(self) -> str:
        return " ".join(part.note for part in self.parts)

    @property
    def changes_weights(self) -> bool:
        return any(part.changes_weights for part in self.parts)

    @property
    def donors(self) -> tuple[int, ...]:
        return tuple(step for part in self.parts for step in part.donors)

    def weights(self, weights: Params, checkpoint: Checkpoint) -> Params:
        for part in self.parts:
            weights = part.weights(weights, checkpoint)
        return weights

    def check(self, model: ModelConfig) -> None:
        for part in self.parts:
            part.check(model)
        if len(read := {part.reads for part in self.parts} - {None}) > 1:
            raise ConfigError(f"the answer is read from one head, but {len(read)} were given: give one ClampCopy.")

    def check_on(self, batch: TaskBatch) -> None:
        for part in self.parts:
            part.check_on(batch)

    def needs(self, model: ModelConfig) -> list[str]:
        return list(dict.fromkeys(hook for part in self.parts for hook in part.needs(model)))

    def edits(
        self, model: ModelConfig, intact: Mapping[str, Tensor], batch: TaskBatch | None = None
    ) -> dict[str, Edit]:
        out: dict[str, Edit] = {}
        for part in self.parts:
            for hook, edit in checked_edits(part, part.edits(model, intact, batch), intact).items():
                out[hook] = _after(out[hook], edit) if hook in out else edit
        for hook, edit in out.items():
            if hook.endswith("hook_attn_scores") and isinstance(edit.add, Tensor):
                self._check_sight(edit.add)
        return out

    def _check_sight(self, add: Tensor) -> None:
        """Raise ConfigError if edges that several parts cut leave a position nothing to see. add: to scores."""
        asking, t = add.shape[-2:]
        seen = torch.ones(t, t, dtype=torch.bool, device=add.device).tril()[-asking:]
        if (torch.isinf(add) | ~seen).all(-1).any():
            raise ConfigError(
                f"{self}: some position could attend to nothing. Keep at least one edge from it, such as the one to "
                "itself."
            )


def _is_one(part: object) -> bool:
    return isinstance(part, Intervention)


def _after(first: Edit, then: Edit) -> Edit:
    """One edit that does both: (x k + a) k' + a'."""
    if isinstance(then.keep, float) and then.keep == 0.0:
        return then
    if then.less and (isinstance(first.keep, Tensor) or first.keep != 1.0 or first.off is not None):
        raise ConfigError(
            "paths must be cut before other parts change the input of the same component: put CutPaths first."
        )
    less = _less(first, then)
    if then.off is not None:
        if isinstance(first.keep, Tensor) or isinstance(first.add, Tensor) or first.off is not None:
            raise ConfigError(
                "a subspace must be removed before other parts change the same activation: put it first, "
                "and give several subspaces of one activation as one AblateSubspace."
            )
        return Edit(first.keep * then.keep, first.add * then.keep + then.add, first.at, then.off, less)
    if then.at is not None:
        if isinstance(first.keep, Tensor) or isinstance(first.add, Tensor):
            raise ConfigError("ClampLayer moves keys: put it before other parts that change keys.")
        return Edit(first.keep * then.keep, first.add * then.keep + then.add, _twice(first.at, then.at))
    return Edit(first.keep * then.keep, _kept(first.add, then.keep) + then.add, first.at, first.off, less)


def _less(first: Edit, then: Edit) -> tuple[Taken, ...]:
    """What both take off of what components wrote. A path that both cut is cut once.

    Raises:
        ConfigError: they put different things in its place.
    """
    found = {taken.key: taken for taken in first.less}
    for taken in then.less:
        same = [one for one in found.values() if one.source == taken.source]
        if any(one.key != taken.key and (one.share * taken.share).any() for one in same):
            raise ConfigError("two parts cut the same path with different replacements: cut it only once.")
        own = found.get(taken.key)
        found[taken.key] = taken if own is None else replace(own, share=torch.maximum(own.share, taken.share))
    return tuple(found.values())


def _kept(add: Tensor | float, keep: Tensor | float) -> Tensor | float:
    """What is left of an addition. Where nothing is kept, nothing is: also of the -inf of an edge that was cut."""
    if isinstance(add, Tensor) and isinstance(keep, Tensor):
        return torch.where(keep == 0, 0.0, add * keep)
    return add * keep


def _twice(first: tuple[int, ...] | None, then: tuple[int, ...]) -> tuple[int, ...]:
    return then if first is None else tuple(first[j] for j in then)
