"""Random others for several parts at once. They are drawn for all parts together: none gets a component of another,
and what is in two parts has the same other in both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mechicl.config import ModelConfig
from mechicl.interventions.base import Intervention, controls_of
from mechicl.interventions.cut_paths import path_draws
from mechicl.interventions.heads import matched_sets
from mechicl.interventions.others import other_sets, random_names
from mechicl.interventions.subspaces import AblateSubspace
from mechicl.interventions.weights import other_parts

_TRIES = 20  # times as many as are wanted
_IN_EACH = ("positions", "edges")  # kinds whose others are drawn in each sequence, by name


def components(parts: Iterable[Intervention]) -> dict[str, tuple[Any, ...]]:
    """What these act on that others can take the place of, by kind: {'heads': ((0, 5), (1, 3))}."""
    out: dict[str, dict[Any, None]] = {}
    for part in parts:
        for kind, field in part.drawn.items():
            if named := getattr(part, field):
                out.setdefault(kind, {}).update(dict.fromkeys(named))
    return {kind: tuple(named) for kind, named in out.items()}


def joint_controls(parts: Sequence[Intervention], model: ModelConfig, count: int) -> list[tuple[Intervention, ...]]:
    """Up to `count` different sets of the same parts on random others, from a fixed seed; none where nothing has
    others. What has none stays as it is. If the model has fewer others than all parts together have components, some
    parts have fewer, and a part that gets none is left out."""
    own = components(parts)
    sets = {kind: found for kind, found in _sets(own, parts, model, count).items() if found}
    alone = [_alone(part, parts, model, count) for part in parts]
    if not (sets or any(kind in own for kind in _IN_EACH) or any(alone)):
        return []
    rng, met = np.random.default_rng(0), {}
    for i in range(_TRIES * count):
        drawn = {kind: _each(own[kind], found[i % len(found)], rng) for kind, found in sets.items()}
        named = {kind: own[kind] for kind in _IN_EACH if kind in own}
        others = [
            random[i % len(random)] if random else _other(part, drawn, named, i % count)
            for part, random in zip(parts, alone, strict=True)
        ]
        if made := tuple(other for other in others if other is not None):
            met[made] = None
        if len(met) == count:
            break
    return list(met)


def _sets(
    own: Mapping[str, tuple[Any, ...]], parts: Sequence[Intervention], model: ModelConfig, count: int
) -> dict[str, list[Any]]:
    """By kind the draws for all that is named: sets of others, or component -> other."""
    kept = {head for part in parts for head in part.kept_heads}
    with_mlp = [layer for layer in range(model.n_layers) if model.has_mlp(layer)]
    heads, grafted = own.get("heads", ()), own.get("parts", ())
    return {
        "heads": matched_sets(model, heads, count, 100 * count, kept) if heads else [],
        "MLPs": other_sets(own.get("MLPs", ()), with_mlp, count),
        "paths": path_draws(own.get("paths", ()), model, count),
        "parts": [dict(zip(grafted, drawn, strict=True)) for drawn in other_parts(grafted, model, count)],
    }


def _alone(part: Intervention, parts: Sequence[Intervention], model: ModelConfig, count: int) -> list[Intervention]:
    """Controls of a part that shares no kind of component with others. The same directions in two parts have the same
    random ones, and others have others."""
    if isinstance(part, AblateSubspace):
        different = list(dict.fromkeys(each.directions for each in parts if isinstance(each, AblateSubspace)))
        return part.with_random(model, count, different.index(part.directions))
    return [] if part.drawn else controls_of(part, model, count)


def _each(own: Sequence[Any], others: Sequence[Any] | Mapping[Any, Any], rng: np.random.Generator) -> Mapping[Any, Any]:
    """Component -> its other. A head gets one of its layer, where there is one; which one is random."""
    if isinstance(others, Mapping):
        return others
    waiting, left = ([of[int(i)] for i in rng.permutation(len(of))] for of in (own, others))
    out = {}
    for same_layer in (True, False):
        for x in list(waiting):
            fits = [y for y in left if not same_layer or (isinstance(x, tuple) and x[0] == y[0])]
            if fits:
                out[x] = fits[0]
                waiting.remove(x)
                left.remove(fits[0])
    return out


def _other(
    part: Intervention, drawn: Mapping[str, Mapping[Any, Any]], named: Mapping[str, Iterable[str]], draw: int
) -> Intervention | None:
    """A part with others in place of its components; None if it has components of which none has another."""
    changed: dict[str, Any] = {}
    for kind, field in part.drawn.items():
        own = getattr(part, field)
        if own and kind in named:
            changed[field] = random_names(own, draw + 1, named[kind])[draw]
        elif own and kind in drawn:
            changed[field] = tuple(drawn[kind][x] for x in own if x in drawn[kind])
            if not changed[field]:
                return None
    return replace(part, **changed) if changed else part  # type: ignore[type-var] (subclasses are dataclasses)
