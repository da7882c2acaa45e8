"""The hooks of one forward pass: what is replaced there, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from mechicl.engine.edit import Edit


@dataclass
class Hooks:
    """Applies edits and keeps captures: called with a hook's name and the activation there, it returns what goes on."""

    edits: dict[str, Edit]  # those not applied yet
    wanted: set[str]
    acts: dict[str, Tensor] = field(default_factory=dict)
    written: dict[str, Tensor] = field(default_factory=dict)  # of `sources`, those that were met

    def __post_init__(self) -> None:
        self.sources: set[str] = {taken.source for edit in self.edits.values() for taken in edit.less}

    def __call__(self, name: str, x: Tensor) -> Tensor:
        edit = self.edits.pop(name, None)
        if edit is not None:
            x = edit(x, self.written)
        if name in self.wanted:
            self.acts[name] = x
        if name in self.sources:
            self.written[name] = x
        return x

    def take_added(self, name: str, b: int, shape: tuple[int, ...]) -> Tensor | None:
        """What the edit there adds, [b or 1, h or 1, q, t], where shape is (h, q, t); the edit then counts as applied.
        None if it does something else, or if the activation is asked for."""
        edit = self.edits.get(name)
        if edit is None or name in self.wanted or name in self.sources or not edit.adds:
            return None
        add = edit.add
        if not isinstance(add, Tensor) or add.dim() != 4 or add.shape[2:] != shape[1:]:
            return None
        if len(add) not in (1, b) or add.shape[1] not in (1, shape[0]):
            return None
        del self.edits[name]
        return add

    def uses(self, name: str) -> bool:
        return name in self.edits or name in self.wanted or name in self.sources
