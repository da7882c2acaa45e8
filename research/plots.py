"""The figures of the page, in one style, by matplotlib. They are saved as SVG (text stays text), and the same tables
give the same bytes."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mechicl.figures.style import COLOURS, NAMES

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#eee",
    "axes.edgecolor": "#888",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "mechicl",
    "figure.facecolor": "white",
    "xtick.color": "#444",
    "ytick.color": "#444",
}
SHOWN = ("icl", "flip", "ciwl", "iwl")
CELL = (2.45, 1.9)  # inches per panel
FLAT = 300  # of a logarithmic axis, the first part of the run that is left out: nothing happens there


def save(figure: Figure, path: Path) -> None:
    """As SVG; without a date, so that it only changes with its data."""
    with mpl.rc_context(STYLE):
        figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def grid(count: int, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels that share their axes."""
    rows = math.ceil(count / columns)
    columns = math.ceil(count / rows)  # five panels are three and two, not four and one
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(CELL[0] * columns, CELL[1] * rows + 0.45), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
        for axis in axes[count:]:
            axis.remove()
        for axis in axes[max(0, count - columns) : count]:  # the last of its column
            axis.tick_params(labelbottom=True)
    return figure, axes[:count]


def curves(
    table: pd.DataFrame,
    conditions: dict[str, str],
    shown: tuple[str, ...] = SHOWN,
    linear: bool = False,
    mark: tuple[float, str] | None = None,
) -> Figure:
    """One panel per condition: every seed thin, the median over seeds thick, in-context accuracy (IWL: accuracy over
    all labels) over training sequences, on a logarithmic axis. `linear`: on a linear axis, every seed and no median.
    conditions: name -> title. mark: a time, in millions where linear, and what it is."""
    present = {name: title for name, title in conditions.items() if (table.condition == name).any()}
    figure, axes = grid(len(present))
    table = table.assign(sequences=table.sequences / 1e6) if linear else table
    with mpl.rc_context(STYLE):
        for axis, (name, title) in zip(axes, present.items(), strict=True):
            rows = table[table.condition == name]
            for evaluator in shown:
                drawn = seeds_alone if linear else over_seeds
                drawn(axis, rows[rows.evaluator == evaluator], COLOURS[evaluator], NAMES[evaluator].split(" (")[0])
            count = f"(n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{rows.seed.nunique()})"
            axis.set_title(textwrap.fill(f"{title} {count}", 34), loc="left")  # as wide as a panel
            axis.set_xscale("linear" if linear else "log")
            if not linear:
                axis.set_xlim(left=table.sequences.max() / FLAT)
            axis.set_ylim(-0.02, 1.02)
            axis.axhline(0.5, color="#bbb", lw=0.8, ls=":", zorder=0)
            if mark is not None:
                axis.axvline(mark[0], color="#444", lw=1, ls="--", label=mark[1])
        figure.supxlabel(f"training sequences seen{', million' if linear else ''}", fontsize=8)
        figure.supylabel("accuracy; lines are seeds" if linear else "accuracy; thick: median of seeds", fontsize=8)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    return figure


def against_published(
    table: pd.DataFrame,
    published: pd.DataFrame,
    points: dict[str, dict[float, float]],
    title: str = "ours",
    until: float = 20.0,
    metric: str = "in-context accuracy",
    chance: float | None = 0.5,
) -> Figure:
    """Our runs over the published curves, on a linear axis to so many million sequences. The published ones are broad
    and pale, with their readings as circles; of ours there is every seed, and no median. Both tables have evaluator,
    sequences, value; ours also seed."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axis = figure.subplots()
        for evaluator in points:
            colour, name = COLOURS[evaluator], NAMES[evaluator].split(" (")[0]
            theirs = published[published.evaluator == evaluator]
            axis.plot(
                theirs.sequences / 1e6, theirs.value, color=colour, lw=3.2, alpha=0.28, label=f"{name}, published"
            )
            axis.plot(
                [t / 1e6 for t in points[evaluator]],
                [*points[evaluator].values()],
                "o",
                mfc="white",
                mec=colour,
                ms=4,
                alpha=0.6,
            )
            mine = table[table.evaluator == evaluator]
            if len(mine):
                seeds_alone(axis, mine.assign(sequences=mine.sequences / 1e6), colour, f"{name}, {title}")
        axis.set_xlim(0, until)
        axis.set_ylim(-0.02, 1.02)
        if chance is not None:
            axis.axhline(chance, color="#bbb", lw=0.8, ls=":", zorder=0)
        axis.set_xlabel("training sequences seen, million")
        axis.set_ylabel(metric)
        count = table.seed.nunique() if len(table) else 0
        ours = f"n = {count}, raw features of EfficientNet-Lite0 (norm 45)" if count else "none yet"
        axis.set_title(f"published: one seed; ours: {ours}", loc="left")
        figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper")
    return figure


def over_seeds(axis: Axes, rows: pd.DataFrame, colour: str, label: str) -> None:
    """Each seed's curve thin, their median thick, straight between evaluated steps."""
    wide = by_seed(rows)
    axis.plot(wide.index, wide.to_numpy(), color=colour, lw=0.7, alpha=0.5)
    middle = wide.dropna().median(axis=1)
    axis.plot(middle.index, middle, color=colour, lw=1.8, label=label)


def seeds_alone(axis: Axes, rows: pd.DataFrame, colour: str, label: str) -> None:
    """Each seed's curve, no median: where seeds rise at other times, the median is a course that none of them has."""
    wide = by_seed(rows)
    lines = axis.plot(wide.index, wide.to_numpy(), color=colour, lw=1.1, alpha=0.75)
    for line in lines[:1]:
        line.set_label(label)


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """A column per seed over sequences, straight between evaluated steps."""
    wide = rows[rows.sequences > 0].pivot(index="sequences", columns="seed", values="value").sort_index()
    return wide.interpolate(method="index", limit_area="inside")
