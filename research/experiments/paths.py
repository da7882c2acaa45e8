"""Claims 8.12 to 8.14: is ICL's circuit of paths sufficient at ICL's peak, and does it come apart as ICL fades?"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mechicl.figures.style import COLOURS, NAMES
from mechicl.measures.phases import phase_times
from research import plots, tables
from research.claim import Claim, not_run, table
from research.definitions import FORMED
from research.paths import NAME, ON
from research.statistics import spread
from research.verdicts import Part, effect

PLANNED = 5
RULE = (
    "The circuit is the paths whose cutting alone changes ICL by .02 or more at ICL's highest value, found on other "
    "sequences. (a) What it keeps by itself (faithfulness) is above what random circuits of as many paths of each kind "
    "keep by more than .25. (b) At the end more than half of its paths carry less than half of what they carried then. "
    "(c) At the end its paths together have lost a larger share of what they carried then than ICL has lost of its "
    "distance from chance. All seeds count: where there is no circuit, or nothing for one to keep, (a) is 0; where ICL "
    "never reached .75, (c) has no value."
)
CLAIMS = {
    "8.12": ("demo", "`demo`", "python -m research paths checkpoints/demo-s0 ..."),
    "8.13": ("iwl", "`iwl`", "python -m research paths checkpoints/iwl-s0 ..."),
    "8.14": (
        "coopetition",
        "`coopetition` on raw features of EfficientNet-Lite0 (the published setting), to 20M sequences",
        "python -m research paths checkpoints/figure-1b/raw-s0 ...",
    ),
}


def claims() -> list[Claim]:
    return [_claim(key, *CLAIMS[key]) for key in CLAIMS]


def _claim(key: str, recipe: str, ran: str, command: str) -> Claim:
    title = f"ICL's circuit of paths comes apart as ICL fades: {recipe}"
    says = (
        "The paths between components that carry in-context learning (ICL) at its height are enough for most of it, "
        "and they are taken apart, not merely outvoted, while it fades (a hypothesis of ours)."
    )
    found = tables.read(NAME)
    found = None if found is None else found[found.recipe == recipe]
    if found is None or found.empty:
        return not_run(key, title, says, command)
    seeds = [int(s) for s in sorted(found.seed.unique())]
    runs = {s: found[found.seed == s] for s in seeds}
    few = f"{len(seeds)} of {PLANNED} planned seeds are measured" if len(seeds) < PLANNED else ""
    return Claim(
        key,
        title,
        says,
        f"{ran}; {_seeds(len(seeds))} (ICL reached {FORMED.icl:g} in "
        f"{sum(_icl(r).max() >= FORMED.icl for r in runs.values())}), about 30 checkpoints each",
        RULE,
        parts(runs),
        command,
        [
            "By seed, ICL's highest value, the size of the circuit there, the share of ICL that it keeps alone "
            "(faithfulness) and the share that is lost without it (completeness), both beside the median of 8 random "
            "circuits (n = 1,000 sequences; nothing is kept where every path is cut), and how many of its paths carry "
            "less than half of what they did at the end:",
            table(
                ["seed", "highest ICL", "paths", "faithfulness", "random", "completeness", "random", "fallen"],
                [_row(seed, run) for seed, run in runs.items()],
            ),
            *_times(runs),
        ],
        {f"paths-{recipe}": figure(runs)},
        instead="running" if few else None,
        reason=f"running: {few}" if few else "",
    )


def parts(runs: dict[int, pd.DataFrame]) -> list[Part]:
    return [
        effect(
            "faithfulness of the circuit minus that of random ones (median of 8)",
            [_margin(run) for run in runs.values()],
            above=0.25,
        ),
        effect(
            "share of its paths that carry less than half of it at the end",
            [fallen(run) for run in runs.values()],
            above=0.5,
            text="{:.2f}",
        ),
        effect(
            "share of what all its paths carry that is lost at the end, minus the share of ICL that is lost",
            [lost(run) for run in runs.values()],
            above=0.0,
        ),
    ]


def carried(run: pd.DataFrame) -> pd.DataFrame:
    """[step, path] what each path of the circuit carries; empty where there is no circuit."""
    rows = run[(run.part == "paths") & (run.metric == "carried")]
    return rows.pivot_table(index="step", columns="name", values="value")


def fallen(run: pd.DataFrame) -> float:
    """The share of the circuit's paths that at the end carry less than half of what they carried at ICL's height."""
    table_ = carried(run)
    if table_.empty:
        return np.nan
    then, end = table_.loc[_icl(run).idxmax()], table_.loc[table_.index.max()]
    return float((end / then < 0.5).mean())  # a path that hurts then and no longer does has fallen, too


def lost(run: pd.DataFrame) -> float:
    """The share of what the circuit's paths carry together that is lost at the end, minus ICL's; NaN without either."""
    table_, icl = carried(run).abs().sum(axis=1), _icl(run)
    above = icl - 0.5
    if table_.empty or above.max() < FORMED.icl - 0.5:
        return np.nan
    of_paths = 1 - table_.iloc[-1] / table_[icl.idxmax()]
    return float(of_paths - (1 - above.iloc[-1] / above.max()))


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _margin(run: pd.DataFrame) -> float:
    own, random = _shares(run, r"circuit alone"), _shares(run, r"random \d+ alone")
    return float(own.iloc[0] - random.median()) if len(own) and np.isfinite(own.iloc[0]) and len(random) else 0.0


def _shares(run: pd.DataFrame, names: str) -> pd.Series:
    rows = run[(run.part == "shares") & (run.metric == "share")]
    return rows[rows["name"].str.fullmatch(names)].value.astype(float)


def _icl(run: pd.DataFrame) -> pd.Series:
    """[step] as recorded."""
    return run[run.part == "icl"].set_index("step").value.astype(float).sort_index()


def _row(seed: int, run: pd.DataFrame) -> list[str]:
    size = run[(run.part == "shares") & (run.metric == "size")].value.iloc[0]
    names = (r"circuit alone", r"random \d+ alone", r"without circuit", r"without random \d+")
    shares = [_shares(run, name).median() for name in names]
    there = fallen(run)
    said = "-" if np.isnan(there) else f"{there * size:.0f} of {size:.0f}"
    return [str(seed), f"{_icl(run).max():.2f}", f"{size:.0f}", *map(_number, shares), said]


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def _times(runs: dict[int, pd.DataFrame]) -> list[str]:
    """When paths rise and fall, beside ICL itself: medians over a seed's paths, over the seeds that have a circuit."""
    own = {seed: run for seed, run in runs.items() if not carried(run).empty and _icl(run).max() >= FORMED.icl}
    if not own:
        return []
    ratios = {what: [_ratio(run, what) for run in own.values()] for what in ("onset", "half_decay")}
    never = [int(run[(run.part == "paths") & (run.metric == "half_decay")].value.isna().sum()) for run in own.values()]
    return [
        f"In the {_seeds(len(own))} in which ICL formed, the median path of a circuit rises through half-way at "
        f"{spread(ratios['onset'])} times the sequences at which ICL does, and falls half-way back at "
        f"{spread(ratios['half_decay'])} times those at which ICL does. Paths that never fall half-way, by seed: "
        f"{', '.join(map(str, never))}."
    ]


def _ratio(run: pd.DataFrame, what: str) -> float:
    """The median time of a circuit's paths over ICL's own; NaN where either has none."""
    curve = run[run.part == "icl"].sort_values("step")
    own = getattr(phase_times(curve.sequences.to_numpy(float), curve.value.to_numpy(float), 0.5), what)
    times = run[(run.part == "paths") & (run.metric == what)].value.astype(float).dropna()
    return np.nan if own is None or times.empty else float(times.median()) / own


def figure(runs: dict[int, pd.DataFrame]) -> Figure:
    """A panel per seed: ICL, and what each path of its circuit carries."""
    fig, axes = plots.grid(len(runs), columns=5)
    with mpl.rc_context(plots.STYLE):
        for axis, (seed, run) in zip(axes, runs.items(), strict=True):
            seen = run[["step", "sequences"]].drop_duplicates().set_index("step").sequences
            for i, (_, curve) in enumerate(carried(run).items()):
                its = curve[curve.index > 0]
                said = "what a path carries (cut alone)" if i == 0 else None
                axis.plot(seen[its.index], its, color="#888", lw=0.7, label=said)
            icl = _icl(run)
            icl = icl[icl.index > 0]
            axis.plot(seen[icl.index], icl - 0.5, color=COLOURS[ON], lw=1.6, label=f"{NAMES[ON].split(' (')[0]} - .5")
            axis.set_xscale("log")
            axis.set_xlim(seen.max() / 300, 1.1 * seen.max())  # nothing happens before
            axis.set_title(f"seed {seed}", loc="left")
            axis.axhline(0, color="#bbb", lw=0.8, ls=":", zorder=0)
        fig.supxlabel("training sequences seen", fontsize=8)
        fig.supylabel("accuracy", fontsize=8)
        handles = {
            label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        fig.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=2)
    return fig
