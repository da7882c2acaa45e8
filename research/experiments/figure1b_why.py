"""Claims 0.6 to 0.12: what of the input decides whether ICL forms in the published setting, what sets when it rises,
and what how fast it fades. The rules are the comments of research/sweeps/figure-1b-input.toml and
research/sweeps/figure-1b-speed.toml, written before the runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mechicl.figures.style import short
from research import published
from research.claim import Claim
from research.experiments.against_raw import Why
from research.experiments.figure1b import PEAK
from research.figure_1b_runs import RAW, SEEDS
from research.statistics import at, phases, spread, spread_times
from research.verdicts import Part, decided

SOONER = 500_000  # sequences by which an onset is sooner
TITLES = {
    RAW: "raw features",
    "scaled": "scaled to norm 1",
    "centred": "centred",
    "centred-scaled": "centred, norm 1",
    "gaussian": "Gaussian clusters with four properties of the features",
    "spread-0.8": "spread x 0.8",
    "spread-1.3": "spread x 1.3",
    "spread-1.6": "spread x 1.6",
    "layout-released": "released layout",
    "model.init-normal": "normal, not cut",
}


def claims() -> list[Claim]:
    return [why.claim() for why in WHY]


def formed(data: pd.DataFrame, condition: str) -> pd.Series:
    """By seed: whether ICL reaches .8."""
    found = phases(data[(data.condition == condition) & (data.evaluator == "icl")])
    return found.set_index("seed").highest >= PEAK


def pattern(forms: tuple[str, ...], not_in: tuple[str, ...]) -> Callable[[pd.DataFrame], bool]:
    """ICL forms in every run of some conditions, and in none of others."""
    return lambda data: all(formed(data, c).all() for c in forms) and not any(formed(data, c).any() for c in not_in)


SIZE = pattern((RAW, "centred"), ("scaled", "centred-scaled"))
MEAN = pattern((RAW, "scaled"), ("centred", "centred-scaled"))


def _decides(mine: Callable[[pd.DataFrame], bool], other: Callable[[pd.DataFrame], bool]) -> Callable:
    def judged(data: pd.DataFrame) -> Part:
        status = decided(mine(data), other(data))
        said = "; ".join(
            f"{TITLES[c]} {int(f.sum())} of {len(f)}"
            for c in (RAW, "centred", "scaled", "centred-scaled")
            for f in [formed(data, c)]
        )
        return Part("ICL reaches .8", said, status, "in the runs that the rule names, and in no others")

    return judged


def geometry(data: pd.DataFrame) -> Part:
    """Whether Gaussian clusters of the same norm, mean and participation ratio do as the features do."""
    flip = at(data, "flip", 4.0e6)
    difference = (flip["gaussian"] - flip[RAW]).dropna()
    near, forms = abs(difference.median()) <= 0.1, formed(data, "gaussian")
    status = decided(near and bool(forms.all()), not forms.any())
    return Part(
        "as the features do",
        f"ICL reaches .8 in {int(forms.sum())} of {len(forms)}; Flip at 4.0M, Gaussian "
        f"less features {spread(difference)}",
        status,
        "in all; within .1",
    )


def half_decay(data: pd.DataFrame, condition: str) -> pd.Series:
    """Flip's, by seed: infinite where it rose and never fell half-way, NaN where it never rose."""
    rows = phases(data[(data.condition == condition) & (data.evaluator == "flip")]).set_index("seed")
    return rows.half_decay.where(rows.half_decay.notna() | rows.peak.isna(), np.inf)


def matching(data: pd.DataFrame) -> Part:
    """The wider the spread within classes, the worse two exemplars match, and the sooner Flip decays."""
    order = ("spread-0.8", RAW, "spread-1.3", "spread-1.6")
    times = pd.DataFrame({c: half_decay(data, c) for c in order})
    steps = times.to_numpy()[:, :-1] >= times.to_numpy()[:, 1:]
    monotone = int(steps.all(1).sum())
    sooner, later = (times[order[0]] > times[order[-1]]).sum(), (times[order[0]] < times[order[-1]]).sum()
    status = decided(monotone >= 2 and sooner == len(SEEDS), later == len(SEEDS))
    said = "; ".join(f"{TITLES[c]} {spread_times(times[c])}" for c in order)
    return Part(
        "Flip's half-decay",
        f"{said}; in order in {monotone} of {len(times)} seeds",
        status,
        "sooner the wider the spread",
    )


def layout(data: pd.DataFrame) -> Part:
    """The released layout of classes matches better, so Flip decays later."""
    ours, released = half_decay(data, RAW), half_decay(data, "layout-released")
    status = decided((released > ours).sum() == len(SEEDS), (released < ours).sum() == len(SEEDS))
    said = f"ours {spread_times(ours)}; released layout {spread_times(released)}"
    return Part("Flip's half-decay", said, status, "later with the released layout")


def initialisation(data: pd.DataFrame) -> Part:
    """A normal that is not cut at 2 sigma changes half-decay by less than the spread over seeds."""
    ours, normal = half_decay(data, RAW), half_decay(data, "model.init-normal")
    change, over = (normal - ours).abs(), ours.max() - ours.min()
    status = decided((change < over).sum() == len(SEEDS), (change >= over).sum() == len(SEEDS))
    width = short(over) if np.isfinite(over) else "-"
    signed = ", ".join("-" if np.isnan(d) else f"{d / 1e6:+.1f}M" for d in normal - ours)
    return Part(
        "change of Flip's half-decay",
        f"{signed} by seed, where seeds span {width}",
        status,
        "less than the seeds span",
    )


def onset(data: pd.DataFrame, condition: str) -> pd.Series:
    """ICL's, by seed: infinite where it never formed."""
    rows = phases(data[(data.condition == condition) & (data.evaluator == "icl")]).set_index("seed")
    return rows.onset.fillna(np.inf)


def rise(data: pd.DataFrame) -> Part:
    """With a normal that is not cut at 2 sigma ICL rises sooner than with one that is."""
    cut, normal = onset(data, RAW), onset(data, "model.init-normal")
    sooner = int((normal <= cut - SOONER).sum())
    status = decided(sooner == len(SEEDS), sooner == 0)
    said = f"cut {spread_times(cut)}; not cut {spread_times(normal)}; sooner in {sooner} of {len(normal)} seeds"
    return Part("ICL's onset", said, status, "sooner by .5M or more if not cut")


_INPUTS = (RAW, "scaled", "centred", "centred-scaled")
_OURS = "Ours, to be tested: "
WHY = (
    Why(
        "0.6",
        "On these features ICL forms only if the input is large",
        _OURS + "with inputs of norm 1 the embedding is too small to be learned from at a rate of 1e-5.",
        "figure-1b-input",
        _INPUTS,
        "(comments of the sweep) ICL reaches .8 in each of three seeds on raw and on centred inputs, and in none on "
        "inputs scaled to norm 1. Contradicted where it does so on raw and on scaled inputs and in no seed on "
        "centred ones. All other patterns are inconclusive.",
        _decides(SIZE, MEAN),
        TITLES,
    ),
    Why(
        "0.7",
        "On these features ICL forms only with the common mean",
        _OURS + "the large mean that all raw features share moves every embedding at once.",
        "figure-1b-input",
        _INPUTS,
        "(comments of the sweep) ICL reaches .8 in each of three seeds on raw inputs and on inputs scaled to norm 1, "
        "and in none on centred ones. Contradicted where it does so on raw and on centred inputs and in no seed on "
        "scaled ones. All other patterns are inconclusive. This is the other answer to the question of 0.6, from the "
        "same runs: the two count as one result.",
        _decides(MEAN, SIZE),
        TITLES,
    ),
    Why(
        "0.8",
        "Is it the geometry? Gaussian clusters in place of drawings",
        _OURS + "beyond norm, common mean and participation ratio, the look of the drawings does not matter.",
        "figure-1b-input",
        (RAW, "gaussian"),
        "(comments of the sweep) on Gaussian clusters of the same norm, mean and "
        "participation ratio ICL reaches .8, and Flip at 4.0 million lies within .1 of the features'. Contradicted "
        "where ICL reaches .8 in no seed.",
        geometry,
        TITLES,
    ),
    Why(
        "0.9",
        "What sets the speed of the fade: matching",
        _OURS + "the worse two exemplars of a class match, the sooner Flip decays.",
        "figure-1b-speed",
        ("spread-0.8", RAW, "spread-1.3", "spread-1.6"),
        "(comments of the sweep) the wider the spread, the sooner comes Flip's half-decay: in this order in at "
        "least two of three seeds, and in all three sooner with 1.6 than with .8. Contradicted where it comes later "
        "in all three.",
        matching,
        TITLES,
    ),
    Why(
        "0.10",
        "What sets the speed of the fade: the layout of classes",
        _OURS + "the released layout of classes matches better, so Flip decays later than in ours.",
        "figure-1b-speed",
        (RAW, "layout-released"),
        "(comments of the sweep) Flip's half-decay comes later in all "
        "three seeds. Contradicted where it comes sooner in all three.",
        layout,
        TITLES,
    ),
    Why(
        "0.11",
        "The initialisation hardly sets the speed of the fade",
        _OURS + "an initial normal that is not cut at two standard deviations changes little.",
        "figure-1b-speed",
        (RAW, "model.init-normal"),
        "(comments of the sweep) in every seed it changes Flip's half-decay by less than the seeds with the "
        "published initialisation differ. Contradicted where it changes it by as much or more in all three. The "
        "seeds differ by so much that only a very large change could fail this rule, so 'supported' says little.",
        initialisation,
        TITLES,
    ),
    Why(
        "0.12",
        "What sets when ICL rises: the initialisation",
        _OURS + "a run with an initial normal that is not cut at two standard deviations had its onset where the "
        "published run has it; our runs with the published, cut one rise later.",
        "figure-1b-speed",
        (RAW, "model.init-normal"),
        "(comments of the sweep) with the uncut normal ICL's onset comes sooner by half a million sequences or more in "
        "all three seeds. Contradicted where it does so in none.",
        rise,
        TITLES,
        drawn=("icl",),
        mark=(published.half_way("icl").onset / 1e6, "published onset"),
    ),
)
