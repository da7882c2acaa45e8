"""Where something is done, as text: heads, roles and edges with their layers, what is patched (words.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mechicl.errors import ConfigError

__all__: list[str] = []

Head = tuple[int, int]
Placed = tuple[str, int | Head | None]  # a role, a position's number or an edge, and its layer, or an edge's head
RELATIONS = ("previous", "self", "first", "same_token", "after_same_token")  # edges that have one name


def parse_heads(text: str, option: str = "--heads") -> tuple[Head, ...]:
    """'L0H5,L1H3' as ((0, 5), (1, 3)).

    Raises:
        ConfigError: it is written otherwise.
    """
    found = [re.fullmatch(r"\s*L([0-9]+)H([0-9]+)\s*", each, flags=re.IGNORECASE) for each in text.split(",")]
    pairs = {(int(m[1]), int(m[2])) for m in found if m}
    if not all(found):
        raise ConfigError(f"{option} {text}: expected layers and heads, counted from 0, such as L0H5,L1H3.")
    return tuple(sorted(pairs))


def split(text: str) -> list[str]:
    return [each.strip() for each in tight(text).split(",") if each.strip()]


def tight(text: str) -> str:
    """Edges without spaces around their arrows."""
    return re.sub(r"\s*->\s*", "->", text)


def placed(text: str, otherwise: int | None, message: str) -> tuple[Placed, ...]:
    """Names with their layers (of edges, also heads), in order, each once; what has none last."""
    out: list[Placed] = []
    edges, where = otherwise is None, "" if otherwise is None else str(otherwise)
    for each in reversed(tight(text).split(",")):
        name, colon, given = (part.strip() for part in each.partition(":"))
        if not name or (colon and not re.fullmatch(_EITHER if edges else r"[0-9]+", given, flags=re.IGNORECASE)):
            raise ConfigError(message)
        here = given if colon else where
        where = where if edges else here  # a position's layer goes on to those before it
        head = re.fullmatch(_HEAD, here, flags=re.IGNORECASE)
        out.append((name, (int(head[1]), int(head[2])) if head else int(here) if here else None))
    return tuple(sorted(set(out), key=order))


_HEAD = r"L([0-9]+)H([0-9]+)"
_EITHER = rf"[0-9]+|{_HEAD}"


def order(placed: Placed) -> tuple[bool, Head, str]:
    """Layers, then each one's heads; what has none last."""
    name, where = placed
    return where is None, where if isinstance(where, tuple) else (where or 0, -1), name


def written(where: int | Head) -> str:
    return f"L{where[0]}H{where[1]}" if isinstance(where, tuple) else str(where)


def by_layer(placed: Iterable[Placed]) -> list[tuple[int | None, tuple[str, ...]]]:
    """Of what is not of one head."""
    out: dict[int | None, list[str]] = {}
    for name, where in placed:
        if not isinstance(where, tuple):
            out.setdefault(where, []).append(name)
    return [(layer, tuple(names)) for layer, names in out.items()]


def patched(each: str, text: str, option: str) -> str:
    """One entry of a list of what is patched, as it is written."""
    if head := re.fullmatch(r"L([0-9]+)H([0-9]+)", each, flags=re.IGNORECASE):
        return f"L{int(head[1])}H{int(head[2])}"
    name, colon, layer = (part.strip() for part in each.partition(":"))
    edge = "->" in name or name in RELATIONS
    if not (re.fullmatch(r"mlp\.[0-9]+", each) or (name and re.fullmatch(r"[0-9]+", layer)) or (edge and not colon)):
        raise ConfigError(
            f"{option} {text}: expected heads, MLPs, positions before a layer, or edges, such as L1H3, mlp.1, "
            "match_label:1, query->match_label or query->match_label:1."
        )
    return f"{name}:{int(layer)}" if colon else name
