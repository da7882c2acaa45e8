"""Choices that were made when the results were known, each with the status that the other choice would have given.
They are on the page, so that a reader can undo them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mechicl.statistics import LEVEL
from research import tables
from research.claim import Claim, table
from research.experiments import circuits, doses, transience
from research.experiments.dose_rules import STAYS
from research.runs import Runs
from research.statistics import STRICT, losses
from research.verdicts import SMALLEST, Part, Status, any_of, effect, share, together

NOT_RUN: Status = "not run yet"
HEAD = ("claim", "what we chose", "status with it", "the other choice", "status with that")


@dataclass(frozen=True)
class Choice:
    """keys: of the claims that it concerns. other: the status of each alternative, by its name, over the claims as they
    are; 'not run yet' where a table is missing."""

    keys: tuple[str, ...]
    chosen: str
    other: dict[str, Callable[[dict[str, Claim]], Status]]

    def rows(self, found: dict[str, Claim]) -> list[list[str]]:
        ours = ", ".join(
            found[key].status if len(self.keys) == 1 else f"{key}: {found[key].status}" for key in self.keys
        )
        return [[", ".join(self.keys), self.chosen, ours, name, status(found)] for name, status in self.other.items()]


def as_table(found: dict[str, Claim]) -> str:
    """Markdown: a row for every alternative. found: all claims by key."""
    return table(HEAD, [row for choice in CHOICES for row in choice.rows(found)])


def level(found: dict[str, Claim]) -> str:
    """Markdown: which claims keep their status, and which lose it, with intervals of 95%."""
    decided = [claim for claim in found.values() if claim.status in ("supported", "contradicted") and claim.parts]
    if not decided:
        return "No claim is decided yet."
    counted = [claim.key for claim in decided if claim.at_95 is None]
    kept = [claim.key for claim in decided if claim.at_95 == claim.status]
    lost = [f"{claim.key} ({claim.status})" for claim in decided if claim.at_95 not in (None, claim.status)]
    return (
        f"**The level.** Intervals are of {LEVEL:.0%}. Of the {len(decided)} decided claims, {len(kept) + len(lost)} "
        f"are decided by an interval. With {STRICT:.0%} intervals these keep their status: "
        f"{', '.join(kept) or 'none'}. The others are then inconclusive: {', '.join(lost) or 'none'}. Most have five "
        f"seeds each, and five seeds have no {STRICT:.0%} interval of a median. The rules of the rest count runs, so "
        f"no interval decides them: {', '.join(counted) or 'none'}."
    )


def _one(key: str, keys: tuple[str, ...]) -> Choice:
    """Claims that were one claim before and are counted separately now."""
    return Choice(
        (key, *keys),
        "counted apart",
        {
            "one claim that says all of it": lambda found: together(
                [part for k in (key, *keys) for part in found[k].parts]
            )
        },
    )


def _alone(name: str) -> Callable[[dict[str, Claim]], Status]:
    def status(_: dict[str, Claim]) -> Status:
        data = tables.read(name)
        return NOT_RUN if data is None else together(transience.parts({name: Runs(data)}, {name: losses(data)}))

    return status


def _of_sweep(key: str, parts: Callable[[Runs], list[Part]]) -> Callable[[dict[str, Claim]], Status]:
    """The status by other parts, over the runs of a claim about a sweep."""

    def status(_: dict[str, Claim]) -> Status:
        found = next(dose for dose in doses.DOSES if dose.key == key).runs()
        return NOT_RUN if found is None else together(parts(found[1]))

    return status


def _formed_only(runs: Runs) -> list[Part]:
    low = [share(s, runs.among_formed(STAYS, f"penalty_l2-{s}"), above=0.5) for s in ("1e-06", "1e-05", "0.0001")]
    return [any_of("up to 1e-4", low), share("1e-2", runs.among_formed(STAYS, "penalty_l2-0.01"), below=0.5)]


def _icl_itself(runs: Runs) -> list[Part]:
    def kept(strength: str) -> list[bool]:
        formed = [kind != "never" for kind in runs.regimes(f"penalty_l2-{strength}")]
        lasts = runs.of(f"penalty_l2-{strength}", "icl", "half_decay").isna()
        return [bool(a and b) for a, b in zip(formed, lasts, strict=True)]

    low = [share(s, kept(s), above=0.5) for s in ("1e-06", "1e-05", "0.0001")]
    return [any_of("up to 1e-4", low), share("1e-2", kept("0.01"), below=0.5)]


def _fall(runs: Runs) -> list[Part]:
    """The part of claim 3 about skew, judged by how far ICL falls, in all runs."""
    less = runs.of("zipf_zipf-1", "icl", "fall") - runs.of("demo", "icl", "fall")
    return [effect("ICL's fall", less.dropna(), below=-SMALLEST)]


def _end(runs: Runs) -> list[Part]:
    return [effect("ICL's end", runs.minus("zipf_zipf-1", "demo", "icl", "final_value"), above=SMALLEST)]


def _any_delay(_: dict[str, Claim]) -> Status:
    data = tables.read("competition")
    if data is None:
        return NOT_RUN
    return together([effect("ICL's onset", Runs(data).minus("icl-only", "mixed", "icl", "onset"), above=0.0)])


def _where_formed(name: str, parts: Callable) -> Callable[[dict[str, Claim]], Status]:
    def status(_: dict[str, Claim]) -> Status:
        data = tables.read(name)
        return NOT_RUN if data is None else together(parts(data, circuits.formed_seeds(data)))

    return status


def _until_27_november(_: dict[str, Claim]) -> Status:
    found = tables.read("circuits")
    if found is None:
        return NOT_RUN
    seeds = circuits.all_seeds(found)
    return together([circuits.halves_parts(found, seeds)[0], circuits.restored(found, seeds)])


CHOICES = (
    Choice(
        ("1.1",),
        "`demo` and `iwl` pooled: ten runs",
        {"`demo` alone, five runs": _alone("demo"), "`iwl` alone, five runs": _alone("iwl")},
    ),
    _one("2", ("2.1",)),
    Choice(
        ("3",),
        "Zipf's skew judged by how far ICL falls where it formed, one of four parts",
        {
            "that part by ICL's end, alone, as until 27 Nov": _of_sweep("3", _end),
            "that part by how far ICL falls in all runs, alone": _of_sweep("3", _fall),
        },
    ),
    Choice(
        ("6.1",),
        "all runs count; ICL stayed if it formed and Flip has no half-decay",
        {
            "only runs in which ICL formed": _of_sweep("6.1", _formed_only),
            "stayed if ICL formed and ICL itself has no half-decay": _of_sweep("6.1", _icl_itself),
        },
    ),
    _one("8.1", ("8.8",)),
    _one("8.2", ("8.11",)),
    _one("8.4", ("8.9", "8.10")),
    Choice(
        ("8.6",),
        "all five seeds; layer 1 is conserved if the end's second half costs the peak less than .1",
        {
            "the seeds in which ICL formed": _where_formed("circuits", circuits.halves_parts),
            "conserved if the peak's second half gives the end less than .1, as until 27 Nov": _until_27_november,
        },
    ),
    Choice(
        ("8.7",),
        "all five seeds",
        {"the seeds in which ICL formed": _where_formed("circuits-iwl", circuits.mlps_parts)},
    ),
    Choice(
        ("8.8",),
        "a delay counts from a factor of 1.4",
        {"any delay counts": _any_delay},
    ),
)
