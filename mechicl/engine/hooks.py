"""The hooks of one forward pass: what is replaced there, and what is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mechicl.config import ModelConfig
from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError


class NoHook(ConfigError, KeyError):
    """An edit or capture names a hook that the model does not run."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would show the text in quotes


def no_hook(names: Iterable[str], model: ModelConfig) -> NoHook:
    """The error: says which hooks there are."""
    return NoHook(
        f"this model has no hook named {', '.join(sorted(names))}. There are hook_embed, hook_pos_embed, "
        "blocks.L.hook_resid_pre, hook_attn_out, hook_resid_post, blocks.L.attn.hook_q, hook_k, hook_v, hook_z, "
        "hook_attn_scores, hook_pattern, and of a layer with an MLP blocks.L.hook_mlp_out, blocks.L.mlp.hook_pre, "
        f"hook_post, with L from 0 to {model.n_layers - 1} (docs/extending.md)."
    )


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
            x = _edited(edit, name, x, self.written)
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


def _edited(edit: Edit, name: str, x: Tensor, written: Mapping[str, Tensor]) -> Tensor:
    """The activation, edited.

    Raises:
        ConfigError: the edit does not broadcast to it, or makes more of it.
    """
    try:
        out = edit(x, written)
    except (RuntimeError, IndexError) as error:
        if _fit(edit, x):
            raise
        raise _unfit(edit, name, x) from error
    if out.shape[-3:] != x.shape[-3:]:  # before them are sequences, conditions and checkpoints
        raise _unfit(edit, name, x)
    return out


def _fit(edit: Edit, x: Tensor) -> bool:
    try:
        for part in (edit.keep, edit.add):
            torch.broadcast_shapes(x.shape, part.shape if isinstance(part, Tensor) else ())
    except RuntimeError:
        return False
    return True


def _unfit(edit: Edit, name: str, x: Tensor) -> ConfigError:
    given = [
        f"{field}, of the shape {list(part.shape)}"
        for field, part in (("keep", edit.keep), ("add", edit.add))
        if isinstance(part, Tensor)
    ]
    return ConfigError(
        f"the Edit of {name} has {' and '.join(given) or 'parts'}: expected what broadcasts to the activation there, "
        f"{list(x.shape)}. Of a task with one answer the last layer has one query position (docs/extending.md)."
    )
