"""Claim 0: is the fast regime the published phenomenon? The faithful setting, point by point."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from evidence import plots, tables
from evidence.claim import Claim, by_parts, most, not_run, table
from evidence.geometry import MEASURES
from evidence.statistics import at, phases, spread
from mechicl.figures.style import short

# Singh et al. 2025, Fig. 1b, read off the figure (within .02 and 2e5 sequences; science.md 5.2): in-context accuracy.
PUBLISHED = {
    "icl": {4.0e6: 0.75, 7.8e6: 0.89, 1e7: 0.78, 1.5e7: 0.62, 2e7: 0.59},
    "flip": {4.0e6: 0.70, 4.3e6: 0.71, 6.4e6: 0.50, 1e7: 0.13, 1.5e7: 0.045, 2e7: 0.03},
    "ciwl": {4.3e6: 0.56, 6.4e6: 0.73, 1e7: 0.87, 1.5e7: 0.95, 2e7: 0.97},
}
PEAKS = {"icl": (0.89, 7.8e6), "flip": (0.71, 4.3e6)}
TITLES = {"omniglot": "Omniglot, 1,856 classes, 64 PCA features",
          "correlated": "Gaussian, 12,800 classes, effective dimension 13",
          "isotropic": "Gaussian, 12,800 classes, 512 dimensions",
          "low-dimensional": "Gaussian, 12,800 classes, 12 dimensions",
          "mid-dimensional": "Gaussian, 12,800 classes, 16 dimensions",
          "20-dimensional": "Gaussian, 12,800 classes, 20 dimensions",
          "24-dimensional": "Gaussian, 12,800 classes, 24 dimensions",
          "32-dimensional": "Gaussian, 12,800 classes, 32 dimensions"}  # fmt: skip


def claims() -> list[Claim]:
    return [_faithful(), _same_shape(), _longer(), _seeds()]


def _faithful() -> Claim:
    key, title = "0.1", "The published setting, to its 20 million sequences"
    says = ("Two layers of attention, 12,800 classes x 20 exemplars, Adam at a constant 1e-5, batches of 32: ICL peaks "
            "at .89 near 7.8M sequences and is at .57 to .61 by 20M; Flip .71 to .03; CIWL .97 (Singh et al. 2025, "
            "Fig. 1b). Their features are a pretrained ResNet18's, which cannot be had here.")  # fmt: skip
    command = "mechicl sweep sweeps/faithful.toml --data DIR_OF_OMNIGLOT"
    data = tables.read("faithful")
    if data is None:
        return not_run(key, title, says, command)
    shown = [c for c in TITLES if (data.condition == c).any()]
    rows = _points(lambda evaluator, sequences: [_value(data, c, evaluator, sequences) for c in shown])
    found = phases(data).set_index(["condition", "evaluator"]).sort_index()
    peaks = _peaks(found, shown)
    geometry = tables.read("geometry")
    if geometry is not None:
        means = geometry[geometry.sweep == "faithful"].groupby("condition")[list(MEASURES)].mean()
        peaks += [[f"*{measure}*", "-", *(f"{means[measure][c]:.3f}" for c in shown)] for measure in means]
    holds = []
    for c in shown:
        if (c, "icl") not in found.index:
            continue
        holds.append(all(_faded(found, c)))
    unfinished = [f"{TITLES[c]} only to {short(data[data.condition == c].sequences.max())}" for c in shown
                  if not data[data.condition == c].complete.any()]  # fmt: skip
    return Claim(
        key, title, says, f"`coopetition`, one seed each: {'; '.join(TITLES[c] for c in shown)}"
        + (f" ({'; '.join(unfinished)})" if unfinished else ""),
        "; ".join(f"{c}: ICL {_peak(found, c, 'icl')}, Flip {_peak(found, c, 'flip')}" for c in shown),
        "of the completed feature sets: ICL peaks above .8 and Flip above .6, and by the end ICL has lost .15 and Flip "
        "is below .1 (on some of them: partly). One seed: an observation (three of 24 dimensions: 0.4)",
        by_parts(holds) if holds else "not finished", command,
        [table(["", "published", *(TITLES[c] for c in shown)], peaks),
         "*match*, *recall* and *crowding* say how easy each strategy's task is, without a model (3.1).",
         "In-context accuracy at the published points:",
         table(["", "sequences", "published", *(TITLES[c] for c in shown)], rows)],
        {"faithful": plots.curves(data, {c: TITLES[c] for c in shown})},
    )  # fmt: skip


def _longer() -> Claim:
    key, title = "0.3", "The published setting, gone on with to 40 million sequences"
    says = ("In the published curve ICL is at .57 to .61 and Flip at .03 by 20M sequences (Singh et al. 2025, "
            "Fig. 1b). In 0.1 our fades were slower: do they come to the same end?")  # fmt: skip
    command = "mechicl sweep sweeps/faithful-longer.toml"
    data = tables.read("faithful-longer")
    if data is None:
        return not_run(key, title, says, command)
    (condition,) = data.condition.unique()
    times = [t for t in np.arange(4e6, 4.01e7, 4e6) if t <= data.sequences.max()]
    rows = [[short(t), *(_value(data, condition, e, t) for e in PUBLISHED)] for t in times]
    found = phases(data).set_index(["condition", "evaluator"]).sort_index()
    holds = _faded(found, condition) if len(found) else []
    return Claim(
        key, title, says, f"`coopetition`, Gaussian, 12,800 classes, 24 dimensions, one seed, to "
        f"{short(data.sequences.max())}: the run of 0.1, gone on with",
        f"ICL peaks at {_peak_and_end(found, condition, 'icl')}; Flip at {_peak_and_end(found, condition, 'flip')}",
        "parts: from a peak above .8 ICL has lost .15 by the end; from one above .6 Flip is below .1. 24 dimensions "
        "since Flip was lowest there at 20M. One seed: an observation (ICL stays in another to 20M: 0.4)",
        by_parts(holds) if holds else "not finished", command,
        [table(["sequences", *(e.upper() for e in PUBLISHED)], rows)],
        {"faithful-longer": plots.curves(data, {condition: TITLES["24-dimensional"]})},
    )  # fmt: skip


def _seeds() -> Claim:
    key, title = "0.4", "The published setting with other seeds"
    says = ("The published curve is of one seed (Singh et al. 2025, Fig. 1b), as is each of 0.1: how far do such "
            "numbers reach?")  # fmt: skip
    command = "mechicl sweep sweeps/faithful.toml --data DIR_OF_OMNIGLOT && mechicl sweep sweeps/faithful-seeds.toml"
    first, others = tables.read("faithful"), tables.read("faithful-seeds")
    if first is None or others is None:
        return not_run(key, title, says, command)
    (condition,) = others.condition.unique()
    data = pd.concat([first[first.condition == condition], others])
    data = data[data.complete]
    found = phases(data).set_index(["seed", "evaluator"]).sort_index()
    seeds = [int(s) for s in data.seed.unique()]
    rows = _points(lambda evaluator, sequences: [spread(at(data, evaluator, sequences))])
    icl, flip = zip(*(_faded(found, s) for s in seeds), strict=True)
    return Claim(
        key, title, says, f"`coopetition`, {TITLES[condition]}, seeds {', '.join(map(str, seeds))}, to 20M",
        f"at 20M: ICL {spread(at(data, 'icl', 2e7))}; Flip {spread(at(data, 'flip', 2e7))}",
        "parts, each in at least four fifths of the seeds: from a peak above .8 ICL has lost .15 by the end; from one "
        "above .6 Flip is below .1", by_parts([most(icl), most(flip)]), command,
        [table(["", "published", *(f"seed {s}" for s in seeds)], _peaks(found, seeds)),
         table(["", "sequences", "published", "median (lowest to highest)"], rows)],
        {"faithful-seeds": plots.curves(data.assign(condition=data.seed), {s: f"seed {s}" for s in seeds})},
    )  # fmt: skip


def _points(cells: Callable[[str, float], list[str]]) -> list[list[str]]:
    """A row for each published point. cells: of ours, at an evaluator and a number of sequences."""
    return [[evaluator.upper(), short(sequences), f"{published:g}", *cells(evaluator, sequences)]
            for evaluator, points in PUBLISHED.items() for sequences, published in points.items()]  # fmt: skip


def _peaks(found: pd.DataFrame, of: Sequence[str | int]) -> list[list[str]]:
    """A row for each published peak, a column for each of ours. of: conditions, or seeds."""
    return [[f"{evaluator.upper()} peak", f"{value:g} at {short(time)}", *(_peak(found, one, evaluator) for one in of)]
            for evaluator, (value, time) in PEAKS.items()]  # fmt: skip


def _faded(found: pd.DataFrame, which: str | int) -> list[bool]:
    """Whether ICL rose and lost .15 by the end; whether Flip rose and fell below .1. which: a condition, or a seed."""
    icl, flip = found.loc[(which, "icl")], found.loc[(which, "flip")]
    return [bool(icl.peak_value > 0.8 and icl.final_value < icl.peak_value - 0.15),
            bool(flip.peak_value > 0.6 and flip.final_value < 0.1)]  # fmt: skip


def _peak_and_end(found: pd.DataFrame, condition: str, evaluator: str) -> str:
    peak = _peak(found, condition, evaluator)
    if (condition, evaluator) not in found.index:
        return peak
    return f"{peak} and ends at {found.loc[(condition, evaluator)].final_value:.3f}"


def _value(data: pd.DataFrame, condition: str, evaluator: str, sequences: float) -> str:
    rows = data[(data.condition == condition) & (data.evaluator == evaluator)]
    if sequences > rows.sequences.max():
        return "-"
    return f"{at(rows, evaluator, sequences).iloc[0]:.3f}"


def _peak(found: pd.DataFrame, which: str | int, evaluator: str) -> str:
    if (which, evaluator) not in found.index:
        return "not finished"
    row = found.loc[(which, evaluator)]
    return "never rose" if pd.isna(row.peak) else f"{row.peak_value:.3f} at {short(row.peak)}"


def _same_shape() -> Claim:
    key, title = "0.2", "Is `demo` the same phenomenon? Its curve against the published one"
    says = ("The published curve has four marks: Flip peaks and decays before ICL does; ICL outlives Flip by several "
            "of its rise times; CIWL rises all along and takes over; the end state is CIWL, not recall "
            "(Singh et al. 2025; science.md 5.2).")  # fmt: skip
    command = "mechicl train demo --seeds 0..4"
    data = tables.read("demo")
    if data is None:
        return not_run(key, title, says, command)
    found = phases(data).set_index(["evaluator", "seed"]).sort_index()
    seeds = [s for s in found.loc["icl"].index if not np.isnan(found.loc[("flip", s)].peak)]
    order = [found.loc[("flip", s)].half_decay < found.loc[("icl", s)].half_decay for s in seeds]
    over = [found.loc[("ciwl", s)].final_value > 0.95 and found.loc[("iwl", s)].final_value < 0.5 for s in seeds]
    ratio = [found.loc[("icl", s)].half_decay / found.loc[("flip", s)].half_decay for s in seeds]
    onset = [found.loc[("icl", s)].onset for s in seeds]
    life = [found.loc[("flip", s)].half_decay / t for s, t in zip(seeds, onset, strict=True)]
    rows = [
        ["ICL's half-decay / Flip's half-decay", "about 1.7 (10.4M / 6M)", _range(ratio)],
        ["Flip's half-decay / ICL's onset", "about 1.6 (6M / 3.7M)", _range(life)],
        ["Flip at the end", ".03", _range([found.loc[("flip", s)].final_value for s in seeds])],
        ["CIWL at the end", ".97", _range([found.loc[("ciwl", s)].final_value for s in seeds])],
        ["IWL at the end (all labels)", "0 under in-context scoring", _range([found.loc[("iwl", s)].final_value
                                                                             for s in seeds])],
        ["ICL's peak", ".89", _range([found.loc[("icl", s)].peak_value for s in seeds])],
    ]  # fmt: skip
    return Claim(
        key, title, says, f"`demo`, the {len(seeds)} of {len(found.loc['icl'])} seeds in which Flip rose",
        f"ICL's half-decay / Flip's: {_range(ratio)} (published: about 1.7)",
        "in at least four fifths of the seeds Flip's half-decay comes before ICL's; and in as many CIWL ends above .95 "
        "with recall below .5; one of the two: partly",
        by_parts([most(order), most(over)]), command,
        [table(["mark", "published (read off Fig. 1b)", "`demo`, median (range over seeds)"], rows),
         "Half-way levels by the rule of mechicl/measures/phases.py; the published ones from figure readings."],
        {},
    )  # fmt: skip


def _range(values: list[float]) -> str:
    return f"{np.nanmedian(values):.2f} ({np.nanmin(values):.2f} to {np.nanmax(values):.2f})"
