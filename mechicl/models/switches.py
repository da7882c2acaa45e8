"""Hooks that a HookedTransformer runs only where its configuration asks for them: what each head reads, and writes.

`use_split_qkv_input`, `use_hook_mlp_in` and `use_attn_result` make every pass slower, and with the first LayerNorms run
once for each head, so they are on only while they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_SWITCHES = {
    "hook_q_input": "use_split_qkv_input",
    "hook_k_input": "use_split_qkv_input",
    "hook_v_input": "use_split_qkv_input",
    "hook_mlp_in": "use_hook_mlp_in",
    "hook_result": "use_attn_result",
}
Hook = tuple[str, Callable[..., Any]]


def _needed(hooks: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(_SWITCHES[end] for name in hooks if (end := name.rsplit(".", 1)[-1]) in _SWITCHES))


def _configs(model: Any) -> list[Any]:
    """A block without an MLP has a configuration of its own."""
    return list({id(part.cfg): part.cfg for part in (model, *model.blocks)}.values())


def _on(model: Any, needed: Iterable[str]) -> list[tuple[Any, str]]:
    """Switch on; where that was not so before."""
    changed = [(cfg, name) for cfg in _configs(model) for name in needed if not getattr(cfg, name)]
    for cfg, name in changed:
        setattr(cfg, name, True)
    return changed


def _off(changed: list[tuple[Any, str]]) -> None:
    for cfg, name in changed:
        setattr(cfg, name, False)
    changed.clear()


@contextmanager
def running(model: Any, hooks: Iterable[str]) -> Iterator[None]:
    """A HookedTransformer that runs these hooks, and then is as before."""
    changed = _on(model, _needed(hooks))
    try:
        yield
    finally:
        _off(changed)


def switched(model: Any, names: Iterable[str], hooks: list[Hook]) -> list[Hook]:
    """`hooks`, between others that switch on what the hooks of these names need, in each block that has some, and off
    again behind it."""
    by_block: dict[str, list[str]] = {}
    for name in names:
        if name.startswith("blocks.") and _needed([name]):
            by_block.setdefault(".".join(name.split(".")[:2]), []).append(name)
    changed: list[tuple[Any, str]] = []  # within the block that runs

    def on(needed: list[str]) -> Callable[..., Any]:
        return lambda x, hook: changed.extend(_on(model, needed))

    def off(x: Any, hook: Any) -> None:
        _off(changed)

    first = [(f"{block}.hook_resid_pre", on(_needed(asked))) for block, asked in by_block.items()]
    return [*first, *hooks, *((f"{block}.hook_resid_post", off) for block in by_block)]
