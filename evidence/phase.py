"""Where ICL forms: feature dimension against number of classes, and against what a rule without a model could do."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evidence import tables
from evidence.claim import table
from evidence.plots import STYLE
from evidence.regimes import counts, regimes
from evidence.statistics import phases

_COLOURS = mpl.colormaps["YlGnBu"]


def phase(data: pd.DataFrame) -> tuple[list[str], dict[str, Figure]]:
    """What claim 3.1 says and shows beside its conditions; nothing before `python -m evidence ceilings`."""
    ceilings = tables.read("ceilings")
    if ceilings is None:
        return [], {}
    means = ceilings[ceilings.sweep == "dimension"].groupby("condition")[["match", "recall"]].mean()
    fields = data.groupby("condition")[["bank.dim", "bank.n_classes"]].first().astype(int)
    rows = [[str(dim), f"{classes:,}", f"{means.match[name]:.3f}", f"{means.recall[name]:.3f}"]
            for name, (dim, classes) in fields.sort_values(["bank.dim", "bank.n_classes"]).iterrows()]  # fmt: skip
    note = (f"How well each strategy's task could be done without a model ({ceilings.seed.nunique()} banks x "
            f"{ceilings.n.iloc[0]:,} queries, evidence/ceilings.py): *match*, of one drawing of each of two classes "
            "the nearer is of the query's class; *recall*, of all class means the nearest is.")  # fmt: skip
    more = tables.read("data")
    return [note, table(["dimensions", "classes", "match", "recall"], rows)], {"phase": figure(data, ceilings, more)}


def highest(data: pd.DataFrame) -> pd.DataFrame:
    """Median over seeds of the highest ICL and Flip and of ICL's end, per condition."""
    found = phases(data)
    wide = found.groupby(["condition", "evaluator"])[["highest", "final_value"]].median().unstack()
    return pd.DataFrame({"icl": wide["highest"]["icl"], "flip": wide["highest"]["flip"],
                         "end": wide["final_value"]["icl"]})  # fmt: skip


def figure(dimension: pd.DataFrame, ceilings: pd.DataFrame, more: pd.DataFrame | None) -> Figure:
    """Left: a cell per dimension and number of classes. Right: every condition by how well its task can be done by
    matching and by recall. Colour: the highest Flip, median over seeds.

    Args:
        dimension: table of sweeps/dimension.toml. ceilings: of evidence/ceilings.py. more: table of sweeps/data.toml.
    """
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(9.8, 3.5), layout="constrained")
        left, right = made.subplots(1, 2, width_ratios=[1.25, 1])
        _cells(left, dimension)
        _tasks(right, ceilings, {"dimension": dimension, "data": more})
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0.5, 1), _COLOURS)
        made.colorbar(scale, ax=right, label="highest Flip, median over seeds")
    return made


def _cells(axis: Axes, data: pd.DataFrame) -> None:
    kinds, values = regimes(data), highest(data[data.complete])
    fields = data.groupby("condition")[["bank.dim", "bank.n_classes"]].first().astype(int)
    dims, classes = (sorted(fields[name].unique()) for name in fields)
    for name, (dim, count) in fields.iterrows():
        if name not in values.index:
            continue
        x, y, row = dims.index(dim), classes.index(count), values.loc[name]
        axis.add_patch(mpl.patches.Rectangle((x - 0.5, y - 0.5), 1, 1, color=_COLOURS(2 * row.flip - 1), lw=0))
        text = [*counts(kinds, name).split(", "), f"ICL {row.icl:.2f} → {row.end:.2f}", f"Flip {row.flip:.2f}"]
        colour = "white" if row.flip > 0.75 else "#222"
        axis.text(x, y, "\n".join(text), ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks(range(len(dims)), map(str, dims))
    axis.set_yticks(range(len(classes)), [f"{c:,}" for c in classes])
    axis.set_xlim(-0.5, len(dims) - 0.5)
    axis.set_ylim(-0.5, len(classes) - 0.5)
    axis.set_xlabel("feature dimensions")
    axis.set_ylabel("classes")
    axis.set_title("what became of ICL in its seeds; its highest value → its end", loc="left")
    axis.grid(False)


def _tasks(axis: Axes, ceilings: pd.DataFrame, sweeps: dict[str, pd.DataFrame | None]) -> None:
    means = ceilings.groupby(["sweep", "condition"])[["match", "recall"]].mean()
    for (sweep, marker), data in zip((("dimension", "o"), ("data", "D")), sweeps.values(), strict=True):
        if data is None:
            continue
        values = highest(data[data.complete])
        rows = means.loc[sweep].join(values, how="inner")
        axis.scatter(rows.recall, rows.match, c=rows.flip, cmap=_COLOURS, vmin=0.5, vmax=1, marker=marker, s=42,
                     edgecolors="#555", linewidths=0.6, label=f"sweeps/{sweep}.toml", zorder=3)  # fmt: skip
    axis.set_xlabel("recall: nearest of all class means is right")
    axis.set_ylabel("match: nearer of two drawings is right")
    axis.set_title("the same, by how easy each strategy's task is", loc="left")
    for handle in axis.legend(loc="lower right").legend_handles:
        handle.set_facecolor("white")
