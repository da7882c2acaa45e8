"""Where ICL forms: feature dimension against number of classes, and by how easy each strategy's task is."""

from __future__ import annotations

import itertools

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from research import tables
from research.claim import table
from research.geometry import MEASURES
from research.plots import STYLE
from research.regimes import counts, most_common, regimes
from research.statistics import phases

_COLOURS = mpl.colormaps["YlGnBu"]
MARKERS = {"dimension": "o", "data": "D", "tokens": "^", "omniglot": "s", "faithful": "*"}


def phase(data: pd.DataFrame) -> tuple[list[str], dict[str, Figure]]:
    """What claim 3.1 says and shows beside its conditions; nothing before `python -m research geometry`."""
    geometry = tables.read("geometry")
    if geometry is None:
        return [], {}
    means = geometry[geometry.sweep == "dimension"].groupby("condition")[list(MEASURES)].mean()
    fields = data.groupby("condition")[["bank.dim", "bank.n_classes"]].first().astype(int)
    rows = [
        [str(dim), f"{classes:,}", *(f"{means[m][name]:.3f}" for m in MEASURES)]
        for name, (dim, classes) in fields.sort_values(["bank.dim", "bank.n_classes"]).iterrows()
    ]
    note = (
        f"How easy each strategy's task is, without a model ({geometry.seed.nunique()} banks x "
        f"{geometry.n.iloc[0]:,} queries, research/geometry.py). *match*: of one drawing of each of two classes, how "
        "often the nearer one is of the query's class. *recall*: how often the nearest of all class means is that "
        "of the query's class. *crowding*: the cosine between a class's mean and the nearest other class's mean. "
        "The right panel has the sweeps that its legend names. Crowding was chosen after most of these runs were seen."
    )
    others = {name: tables.read(name) for name in MARKERS if name != "dimension"}
    shown = {"dimension": data} | {name: table for name, table in others.items() if table is not None}
    text = [note, table(["dimensions", "classes", *MEASURES], rows), fitted(formed(shown, geometry))]
    return text, {"phase": figure(shown, geometry)}


def formed(sweeps: dict[str, pd.DataFrame], geometry: pd.DataFrame) -> pd.DataFrame:
    """Columns sweep, condition, match, recall, crowding and formed, whether ICL formed in most of a condition's
    complete runs. There is a row for each condition; of conditions with the same banks only the first counts."""
    rows = []
    for sweep, data in sweeps.items():
        kinds = regimes(data)
        for condition, mine in geometry[geometry.sweep == sweep].groupby("condition", sort=False):
            kind = most_common(kinds, condition)
            if kind:
                rows.append(
                    {
                        "sweep": sweep,
                        "condition": condition,
                        "banks": mine.bank.min(),
                        **mine[list(MEASURES)].mean(),
                        "formed": kind != "never",
                    }
                )
    return pd.DataFrame(rows).drop_duplicates("banks").drop(columns="banks")


def fitted(found: pd.DataFrame) -> str:
    """How well two bounds, both fitted, tell where ICL forms; and where they fail."""
    best = max(
        itertools.product(sorted(found.crowding), sorted(found.match)),
        key=lambda at: ((found.crowding >= at[0]) & (found.match >= at[1]) == found.formed).sum(),
    )
    said = (found.crowding >= best[0]) & (found.match >= best[1])
    wrong = found[said != found.formed]
    names = [
        f"`{x.sweep}`, {x.condition} ({'forms' if x.formed else 'never'}; {x.crowding:.3f} and {x.match:.3f})"
        for x in wrong.itertuples()
    ]
    right, of = len(found) - len(wrong), len(found)
    return (
        f"ICL forms, in most of a condition's seeds, where crowding is {best[0]:.3f} or more and match "
        f"{best[1]:.3f} or more, and nowhere else, in {right} of {of} conditions of different banks (both bounds "
        f"fitted to these). Exceptions: {'; '.join(names) or 'none'}."
    )


def highest(data: pd.DataFrame) -> pd.DataFrame:
    """Median over complete runs of the highest ICL and Flip and of ICL's end, per condition."""
    found = phases(data)
    wide = found.groupby(["condition", "evaluator"])[["highest", "final_value"]].median().unstack()
    return pd.DataFrame(
        {"icl": wide["highest"]["icl"], "flip": wide["highest"]["flip"], "end": wide["final_value"]["icl"]}
    )


def figure(sweeps: dict[str, pd.DataFrame], geometry: pd.DataFrame) -> Figure:
    """Left: a cell per dimension and number of classes. Right: every condition by how well matching works and how
    crowded its classes are. Colour: the highest Flip, median over seeds.

    Args:
        sweeps: tables by the name of their sweep, 'dimension' among them.
        geometry: of research/geometry.py.
    """
    with mpl.rc_context(STYLE):
        made = Figure(figsize=(9.8, 3.9), layout="constrained")
        left, right = made.subplots(1, 2, width_ratios=[1.25, 1])
        _cells(left, sweeps["dimension"])
        _tasks(right, geometry, sweeps)
        scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0.5, 1), _COLOURS)
        made.colorbar(scale, ax=right, label="highest Flip, median over seeds", extend="min")
    return made


def _cells(axis: Axes, data: pd.DataFrame) -> None:
    kinds, values = regimes(data), highest(data)
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


def _tasks(axis: Axes, geometry: pd.DataFrame, sweeps: dict[str, pd.DataFrame]) -> None:
    means = geometry.groupby(["sweep", "condition"])[list(MEASURES)].mean()
    for sweep, data in sweeps.items():
        if sweep not in means.index:
            continue
        rows = means.loc[sweep].join(highest(data), how="inner")
        axis.scatter(
            rows.crowding,
            rows.match,
            c=rows.flip,
            cmap=_COLOURS,
            vmin=0.5,
            vmax=1,
            marker=MARKERS[sweep],
            s=46,
            edgecolors="#555",
            linewidths=0.6,
            label=sweep,
            zorder=3,
        )
    axis.set_xlabel("crowding: cosine to the nearest other class mean")
    axis.set_ylabel("match: nearer of two drawings is right")
    axis.set_title("sweeps over data: where ICL forms", loc="left")
    for handle in axis.legend(loc="center left", bbox_to_anchor=(0.01, 0.62)).legend_handles:
        handle.set_array(None)  # the legend is of shapes: its colours would be read as values
        handle.set_facecolor("white")
