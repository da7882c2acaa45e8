"""Rules J to Q of the sweeps' files: when the loss falls with clamps, other features, more classes or labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from research.induction_2024_curves import (
    HALF,
    Drops,
    Judged,
    curve,
    declared_share,
    factors_said,
    said,
    seeds_of,
    thousands,
)


def timed(every: pd.DataFrame, drops: Drops) -> list[Judged]:
    """J to Q, of the table of training (`induction_2024_curves.training`) and the half-drops in it."""
    out = []
    pairs = [("none", "previous"), ("previous", "layer"), *(("layer", q) for q in ("match", "copy", "layer-copy"))]
    for slow, quick in pairs:
        both = sorted(set(drops[slow]) & set(drops[quick]))
        if not both:
            out.append(Judged("J", f"IH10: {slow} later than {quick}", "-", "not run"))
            continue
        more = sum(drops[slow][s] > drops[quick][s] for s in both)
        less = sum(drops[slow][s] < drops[quick][s] for s in both)
        text = f"{thousands([drops[slow][s] for s in both])} against {thousands([drops[quick][s] for s in both])}"
        out.append(Judged("J", f"IH10: {slow} later than {quick}", text, said(more, len(both), less)))
    for name, wants in (("none", True), ("previous", True), ("layer", False), ("match", False)):
        found = [declared_share(curve(every, name, s)) for s in drops[name]]
        what = f"IH10: {'a' if wants else 'no'} plateau with {name}"
        if not found:
            out.append(Judged("K", what, "-", "not run"))
            continue
        good = sum((x >= 0.4) if wants else (x < 0.3) for x in found)
        bad = sum((x < 0.3) if wants else (x >= 0.4) for x in found)
        text = f"share of the half-drop {np.median(found):.2f} ({min(found):.2f} to {max(found):.2f}; n = {len(found)})"
        out.append(Judged("K", what, text, said(good, len(found), bad)))
    strengths = (_strength(every, "three-quarters", True), _strength(every, "wrong", False))
    return [*out, *strengths, _scale(drops), *_which(drops), *_size(drops)]


def _strength(every: pd.DataFrame, name: str, generalises: bool) -> Judged:
    seeds = seeds_of(every, name, 99_000)
    learned = ".75 is learned, and of held-out pairs too" if generalises else "0 is learned, not of held-out pairs"
    about = f"IH15: match at strength {learned}"
    if not seeds:
        return Judged("L", about, "-", "not run")
    loss = [float(curve(every, name, s)[-1, 1]) for s in seeds]
    held = [float(curve(every, name, s, "holdout_pairs", "acc")[-1, 1]) for s in seeds]
    good = sum(a < HALF and (b >= 0.9 if generalises else b <= 0.5) for a, b in zip(loss, held, strict=True))
    bad = len(seeds) - good
    text = (
        f"training loss {np.median(loss):.3f} ({min(loss):.3f} to {max(loss):.3f}), accuracy on held-out pairs "
        f"{np.median(held):.3f} ({min(held):.3f} to {max(held):.3f}; n = {len(seeds)}), at "
        f"{max(curve(every, name, seeds[0])[:, 0]) / 1000:.0f}k"
    )
    return Judged("L", about, text, said(good, len(seeds), bad))


def _scale(drops: Drops) -> Judged:
    mine, about = drops["norm-25"], "Why sooner: the size of the features?"
    if not mine:
        return Judged("M", about, "-", "not run")
    base = [drops["main"][s] for s in mine]
    now, before = np.median(list(mine.values())), np.median(base)
    verdict = (
        "accounts for it"
        if now >= 230_000
        else "plays no part"
        if abs(now / before - 1) <= 0.1
        else "part of the reason"
        if now > before
        else "not the reason: sooner still"
    )
    return Judged(
        "M",
        about,
        f"half-drop at norm 25 {thousands(list(mine.values()))}, at norm 46 {thousands(base)}",
        verdict,
    )


def _which(drops: Drops) -> list[Judged]:
    """N and O: which heads of layer 0 have their attention held, against L0H2 alone."""
    factors = {
        name: [found / drops["previous"][s] for s, found in drops[name].items() if s in drops["previous"]]
        for name in ("held-6", "held-125", "held-all")
    }
    outside = {name: [not 1 / 1.5 <= x <= 1.5 for x in factors[name]] for name in ("held-6", "held-125")}
    holds = [not (a or b) for a, b in zip(*outside.values(), strict=False)]
    late = factors["held-all"]
    return [
        _factors(
            "N",
            "IH11: one head or three held, as L0H2 alone",
            {k: factors[k] for k in outside},
            sum(holds),
            max(map(sum, outside.values())),
        ),
        _factors(
            "O",
            "IH11: all eight held, later by half or more",
            {"held-all": late},
            sum(x >= 1.5 for x in late),
            sum(x < 1 for x in late),
        ),
    ]


def _size(drops: Drops) -> list[Judged]:
    """P and Q: more classes and more labels, against the main runs."""
    more, labels = ([x / drops["main"][s] for s, x in drops[name].items()] for name in ("classes-200", "labels-10"))
    mild = bool(more) and float(np.median(more)) < 2
    return [
        _factors(
            "P",
            "IH14: 200 classes, mildly later",
            {"classes-200": more},
            mild * sum(x > 1 for x in more),
            sum(x < 1 for x in more),
        ),
        _factors(
            "Q",
            "IH14: 10 labels, later by a factor of 2",
            {"labels-10": labels},
            sum(x >= 2 for x in labels),
            sum(x < 1 for x in labels),
        ),
    ]


def _factors(letter: str, about: str, factors: dict[str, list[float]], holds: int, against: int) -> Judged:
    """A verdict on ratios of half-drops; 'never' where a run never reached it."""
    n = min(map(len, factors.values()))
    if not n:
        return Judged(letter, about, "-", "not run")
    said_of = [f"{name}: a factor of {factors_said(x)}" for name, x in factors.items()]
    return Judged(letter, about, "; ".join(said_of), said(holds, n, against))
