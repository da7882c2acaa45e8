"""Whether several runs are seeds of one recipe: only then do a median and an interval over them mean anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mechicl.config import to_dict
from mechicl.errors import SeriesError

if TYPE_CHECKING:
    from mechicl.series.series import Series

# What seeds of one recipe may differ in, beside the seeds: names, how much is kept, how many sequences are scored.
MAY_DIFFER = frozenset(("name", "seeds", "threads", "keep", "checkpoint_steps", "states", "weights_dtype", "n_eval"))
_NAMED = 6  # settings that differ


def not_seeds(runs: Sequence[Series]) -> str | None:
    """In a sentence, why these runs are not seeds of one recipe; None where they are."""
    told = [dict(_flat({k: v for k, v in to_dict(run.config).items() if k not in MAY_DIFFER})) for run in runs]
    names = sorted({name for each in told for name in each if any(each.get(name) != other.get(name) for other in told)})
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"these runs differ in {', '.join(names[:_NAMED])}{more}: they are not seeds of one recipe."
    for one, other in combinations(runs, 2):
        seeds = one.config.seeds
        if (seeds.init, seeds.data) == (other.config.seeds.init, other.config.seeds.data):
            said = f"{one.root} twice" if one.root == other.root else f"both {one.root} and {other.root}"
            return f"these runs have the same seed (init {seeds.init}, data {seeds.data}), {said}: give each seed once."
    return None


def check_seeds(runs: Sequence[Series]) -> None:
    """Raise SeriesError unless they are seeds of one recipe, each once."""
    if problem := not_seeds(runs):
        raise SeriesError(f"{problem} A median or an interval over them would not be one over seeds.")


def check_once(runs: Sequence[Series]) -> None:
    """Raise SeriesError if a run was given twice."""
    for one, other in combinations(runs, 2):
        if one.root == other.root and one.config == other.config:
            raise SeriesError(f"{one.root} was given twice: give each run once.")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
