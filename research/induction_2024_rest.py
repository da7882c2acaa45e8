"""Rules R to X of `research/sweeps/induction-2024-rest.toml`: heads trained alone, layer 0 grafted, more classes and
labels, and the clamps measured on checkpoints instead of held in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from research.induction_2024_curves import (
    Drops,
    Judged,
    curve,
    declared_share,
    factors_said,
    half_drop,
    said,
    share_of_plateau,
    thousands,
)

HEADS = range(8)


def judged(every: pd.DataFrame, progress: pd.DataFrame, drops: Drops) -> list[Judged]:
    """R to X.

    Args:
        every: the table of training. progress: the table of `research.induction_2024_more`.
        drops: half-drops of all conditions, with those of `main`.
    """
    return [*_alone(drops), *_grafted(every, drops), *_larger(drops), *_measured(progress, drops)]


def _alone(drops: Drops) -> list[Judged]:
    """IH7: which heads learn alone, and whether all together are the fastest. Seeds that have all eight."""
    names = [f"alone-{h}" if h != 3 else "none" for h in HEADS]
    seeds = sorted(set.intersection(*(set(drops[n]) for n in names)) & set(drops["main"]))
    about = ("IH7: every head that is trained alone solves the task", "IH7: all heads together are the fastest")
    if not seeds:
        return [Judged(letter, text, "-", "not run") for letter, text in zip("RS", about, strict=True)]
    # L1H3 saw 300 thousand only: not reached there says nothing.
    own = {s: [drops[n][s] for n in names if n != "none" or np.isfinite(drops[n][s])] for s in seeds}
    all_learn = sum(np.isfinite(own[s]).all() for s in seeds)
    first = sum(drops["main"][s] < min(own[s]) for s in seeds)
    late = sum(drops["main"][s] > np.median(own[s]) for s in seeds)
    each = [x for s in seeds for x in own[s]]
    reached = f"{sum(np.isfinite(each))} of {len(each)} heads in {len(seeds)} seeds; half-drop {thousands(each)}"
    return [
        Judged("R", about[0], reached, said(all_learn, len(seeds), len(seeds) - all_learn)),
        Judged(
            "S",
            about[1],
            f"all {thousands([drops['main'][s] for s in seeds])}, the fastest head alone "
            f"{thousands([min(own[s]) for s in seeds])}",
            said(first, len(seeds), late),
        ),
    ]


def _grafted(every: pd.DataFrame, drops: Drops) -> list[Judged]:
    """IH12: layer 0 of a trained run, held fixed."""
    seeds = sorted(set(drops["own"]) & set(drops["none"]))
    other = {
        s: [f"from-s{k}" for k in (0, 1) if k != s and s in drops[f"from-s{k}"]] for s in sorted(set(drops["own"]))
    }
    other = {s: names for s, names in other.items() if names}
    about = ("IH12: own layer 0, trained: a head start", "IH12: layer 0 of another seed: no head start, no plateau")
    found = []
    if seeds:
        own, none = ([drops[name][s] for s in seeds] for name in ("own", "none"))
        start = sum(a < b / 2 for a, b in zip(own, none, strict=True))
        later = sum(a > b for a, b in zip(own, none, strict=True))
        text = f"{thousands(own)} against {thousands(none)}"
        found.append(Judged("T", about[0], text, said(start, len(seeds), later)))
    else:
        found.append(Judged("T", about[0], "-", "not run"))
    if not other:
        return [*found, Judged("U", about[1], "-", "not run")]
    ends = {(s, name): float(curve(every, name, s)[-1, 0]) for s, names in other.items() for name in names}
    late = {
        s: comes_late([(drops[name][s], ends[s, name]) for name in names], drops["own"][s])
        for s, names in other.items()
    }
    shares = {
        s: float(np.mean([share_of_plateau(curve(every, name, s)) for name in names])) for s, names in other.items()
    }
    smooth = {s: shares[s] < 0.3 for s in other}
    holds = sum(late[s] is True and smooth[s] for s in other)
    fails = max(sum(late[s] is False for s in other), sum(not smooth[s] for s in other))
    each = [drops[name][s] for s, names in other.items() for name in names]
    unknown = sum(known is None for known in late.values())
    text = (
        f"half-drop, each donor apart, {thousands(each)}, own {thousands([drops['own'][s] for s in other])}"
        + (f"; in {unknown} of {len(other)} seeds the runs end before twice their own" if unknown else "")
        + f"; plateau {np.median([*shares.values()]):.2f} of it "
        + f"({min(shares.values()):.2f} to {max(shares.values()):.2f})"
    )
    declared = _declared_u(every, drops, other)
    return [*found, Judged("U", about[1], text, said(holds, len(other), fails), declared)]


def _declared_u(every: pd.DataFrame, drops: Drops, other: dict[int, list[str]]) -> str:
    """U as written: the mean half-drop of the donors, where never is later than all, and K's plateau, where a run that
    never leaves it has none."""
    late = {s: np.mean([drops[name][s] for name in names]) >= 2 * drops["own"][s] for s, names in other.items()}
    flat = {s: np.mean([declared_share(curve(every, name, s)) for name in names]) >= 0.3 for s, names in other.items()}
    holds = sum(late[s] and not flat[s] for s in other)
    return said(holds, len(other), max(sum(not x for x in late.values()), sum(flat.values())))


def comes_late(reached: list[tuple[float, float]], own: float) -> bool | None:
    """Whether all come at twice `own` or later; None where a run ended before that. reached: half-drop, and the run's
    last sequences."""
    if any(np.isfinite(drop) and drop < 2 * own for drop, _ in reached):
        return False
    return True if all(np.isfinite(drop) or end >= 2 * own for drop, end in reached) else None


def _larger(drops: Drops) -> list[Judged]:
    """IH14: 100 classes against 50, 15 labels against 10."""
    found = []
    for letter, about, more, less, below in (
        ("V", "IH14: 100 classes, mildly later", "classes-100", "main", 2.0),
        ("W", "IH14: 15 labels, later than 10", "labels-15", "labels-10", np.inf),
    ):
        both = sorted(set(drops[more]) & set(drops[less]))
        if not both:
            found.append(Judged(letter, about, "-", "not run"))
            continue
        now, before = ([drops[name][s] for s in both] for name in (more, less))
        later = sum(a > b for a, b in zip(now, before, strict=True))
        sooner = sum(a < b for a, b in zip(now, before, strict=True))
        mild = np.median(now) < below * np.median(before) if np.isfinite(below) else True
        text = f"{thousands(now)} against {thousands(before)}"
        found.append(Judged(letter, about, text, said(int(mild) * later, len(both), sooner)))
    return found


def _measured(progress: pd.DataFrame, drops: Drops) -> list[Judged]:
    """IH13: half-drops under a clamp of the checkpoints of `main`, against those of runs trained with that clamp, each
    clamp apart. A loss that never falls is no late plateau: the clamp may break a trained model. (As declared it counts
    as one, and the two clamps together.)"""
    found, every = [], {}
    for name in ("match", "layer"):
        about = f"IH13: a {name} clamp of checkpoints still shows the plateau"
        seeds = sorted(set(progress.seed) & set(drops[name])) if len(progress) else []
        if not seeds:
            found.append(Judged("X", about, "-", "not run"))
            continue
        rows = progress[progress.measure == name].sort_values("sequences")
        curves = {s: rows[rows.seed == s][["sequences", "value"]].to_numpy(float) for s in seeds}
        factors = [half_drop(curves[s]) / drops[name][s] for s in seeds]
        ends = [curves[s][-1, 1] for s in seeds]
        holds = sum(np.isfinite(x) and x >= 2 for x in factors)
        fails = sum(1 / 1.25 <= x <= 1.25 for x in factors)
        text = f"a factor of {factors_said(factors)}; loss at the end {min(ends):.2f} to {max(ends):.2f}"
        every[name] = dict(zip(seeds, factors, strict=True))
        found.append(Judged("X", about, text, said(holds, len(seeds), fails)))
    both = sorted(set.intersection(*map(set, every.values()))) if len(every) == 2 else []
    if not both:
        return found
    holds = sum(all(each[s] >= 2 for each in every.values()) for s in both)
    fails = sum(all(1 / 1.25 <= each[s] <= 1.25 for each in every.values()) for s in both)
    return [replace(judged, declared=said(holds, len(both), fails)) for judged in found]
