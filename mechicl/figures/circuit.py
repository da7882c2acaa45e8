"""A circuit as a graph by layers: who reads whom at one checkpoint, and how much of an evaluator hangs on it.

Below is the embedding, above it each layer's heads and then its MLP, at the top the output. Each component has its
place whether it is drawn or not, so that pictures of one run compare. A path that passes a layer goes between its
heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.figures.scales import SHADES, fitted, shades
from mechicl.figures.style import finish, short
from mechicl.interventions.components import Component, Path, parse
from mechicl.measures.circuits import THRESHOLD, circuit_of

Place = tuple[float, float]

WIDEST, THINNEST = 9.0, 1.2  # pixels
_PALEST = 0.35  # of the scale's length: the least that is seen on white
PORTS = {"q": -0.24, "k": 0.0, "v": 0.24}  # where a head's node is entered
HALF = 0.2  # of a node's height, in rows
_DASHES = {"q": "solid", "k": "dash", "v": "dot", "": "solid"}
_PARTS = {"q": "read as a query (q)", "k": "as a key (k)", "v": "as a value (v)"}


def circuit_graph(
    table: pd.DataFrame,
    step: int,
    evaluator: str,
    threshold: float = THRESHOLD,
    paths: Sequence[str] | None = None,
    shares: pd.DataFrame | None = None,
    limit: float | None = None,
) -> go.Figure:
    """The paths that carry an evaluator at one step, as a graph by layers.

    Args:
        table: of `path_effects`.
        threshold: the least effect that is drawn, in the unit of the evaluator's primary metric, above 0.
        paths: which are drawn, as of a circuit that was found on other sequences (default: those of the threshold).
        shares: of `circuit_shares` with the same paths, to state faithfulness and completeness.
        limit: the effect of the widest line (default: fitted to what is drawn). Give the same to pictures to compare.

    Raises:
        ConfigError: the table has no such step or evaluator, or not one of the paths; or the threshold is not above 0.
    """
    drawn = circuit_of(table, step, evaluator, threshold) if paths is None else tuple(paths)
    rows = table[(table.step == step) & (table.evaluator == evaluator)]
    rows = rows[(rows.metric == EVALUATORS[evaluator].primary_metric) & rows.effect.notna()].set_index("intervention")
    if missing := sorted(set(drawn) - set(rows.index)):
        raise ConfigError(
            f"path {missing[0]}: the table has no effect of this path at step {step}: measure it with path_effects."
        )
    places, ladder = component_places(map(parse, table.intervention.unique()))
    strongest = rows.loc[list(drawn)].sort_values("effect", key=abs) if drawn else rows.iloc[:0]
    limit = limit or fitted(strongest.effect, threshold)
    fig = go.Figure()
    for name, row in strongest.iterrows():  # the strongest are drawn last, above the others
        fig.add_trace(_edge(parse(str(name)), row, limit, places))
    ends = {node_of(end) for name in drawn for end in (parse(name).sender, parse(name).receiver)}
    _nodes(fig, ends, places)
    _legend(fig, strongest)
    if not drawn:
        fig.add_annotation(
            x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, text="no path has an effect of this size"
        )
    finish(fig, *_title(rows, step, evaluator, threshold, drawn, shares, paths is not None, limit), 520)
    sides = max(abs(x) for x, _ in places.values()) + 1.1
    fig.update_xaxes(visible=False, range=[-sides, sides], fixedrange=True)
    fig.update_yaxes(
        range=[-0.5, max(y for _, y in places.values()) + 0.5],
        tickvals=list(ladder.values()),
        ticktext=list(ladder),
        showgrid=False,
        ticks="",
        linecolor="white",
        fixedrange=True,
    )
    return fig.update_layout(
        hovermode="closest", margin={"l": 84, "t": 104, "b": 56}, legend={"orientation": "h", "y": -0.02, "x": 0}
    )


def _title(
    rows: pd.DataFrame,
    step: int,
    evaluator: str,
    threshold: float,
    drawn: Sequence[str],
    shares: pd.DataFrame | None,
    given: bool,
    limit: float,
) -> tuple[str, str]:
    what = EVALUATORS[evaluator]
    seen, n = float(rows.sequences.iloc[0]), int(rows.n.iloc[0])
    chosen = "found on other sequences" if given else "here"
    lines = [
        f"{len(drawn)} of {len(rows)} paths change {what.quantity} by {threshold:g} or more when cut ({chosen}); "
        f"n = {n:,}; the widest line is {limit:g}",
        f"cut: {rows.baseline.iloc[0]}",
    ]
    if shares is not None:
        its = shares[(shares.step == step) & (shares.evaluator == evaluator)].set_index("intervention")
        named = {"circuit alone": "faithfulness", "without circuit": "completeness"}
        if (size := its["size"].get("circuit alone")) != len(drawn):
            raise ConfigError(
                f"shares are of a circuit of {size} paths, but the figure has {len(drawn)} paths: use the same paths "
                "for both."
            )
        lines[1] += "; " + ", ".join(f"{word} {share_text(its.loc[[row]].iloc[0])}" for row, word in named.items())
    return f"The circuit of {what.short} at step {step:,} ({short(seen)} sequences)", "<br>".join(lines)


def share_text(row: pd.Series) -> str:
    """A row's share and its interval, of a table of `circuit_shares`."""
    if not np.isfinite(row.share):
        return "undefined (no better than with all paths cut)"
    return f"{row.share:.2f} [{row.share_low:.2f}, {row.share_high:.2f}]"


def node_of(end: Component) -> Component:
    """A component without the part of it that reads."""
    return Component(end.kind, end.layer, end.head)


def component_places(paths: Iterable[Path]) -> tuple[dict[Component, Place], dict[str, float]]:
    """Where each component stands, in heads and rows, and each row's name."""
    ends = {node_of(end) for path in paths for end in (path.sender, path.receiver)}
    heads = 1 + max((end.head for end in ends), default=0)
    rows = sorted({(end.layer, end.kind == "mlp") for end in ends if end.kind in ("head", "mlp")})
    height = {row: i + 1.0 for i, row in enumerate(rows)}
    ladder = {"embedding": 0.0}
    ladder |= {f"{'MLP' if mlp else 'heads'} of layer {layer}": y for (layer, mlp), y in height.items()}
    ladder["output"] = len(rows) + 1.0
    places: dict[Component, Place] = {Component("embed"): (0.0, 0.0), Component("out"): (0.0, ladder["output"])}
    for end in ends:
        if end.kind in ("head", "mlp"):
            y = height[end.layer, end.kind == "mlp"]
            places[end] = (end.head - (heads - 1) / 2 if end.kind == "head" else 0.0, y)
    return places, ladder


def course_of(path: Path, places: dict[Component, Place]) -> list[Place]:
    """From the sender's upper side to the receiver's lower side, between the nodes of the rows on the way."""
    (x0, y0), (x1, y1) = places[path.sender], places[node_of(path.receiver)]
    x1 += PORTS.get(path.receiver.part, 0.0)
    left = min((x for end, (x, _) in places.items() if end.kind == "head"), default=0.0)
    mlps = {y for end, (_, y) in places.items() if end.kind == "mlp"}
    course = [(x0, y0 + HALF)]
    for y in range(round(y0) + 1, round(y1)):
        at = x0 + (x1 - x0) * (y - y0) / (y1 - y0)
        aside = 0.09 * float(np.tanh(x1 - x0))  # not all on one line
        if y in mlps:
            x = at if abs(at) > 0.8 else float(np.copysign(0.8, at)) + aside
        else:
            x = left + float(np.floor(at - left)) + 0.5 + aside  # halfway between two heads
        course += [(x, y - HALF), (x, y + HALF)]
    return [*course, (x1, y1 - HALF)]


def _smooth(course: list[Place], points: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A curve that is upright at every point of a course."""
    t = np.linspace(0, 1, points)
    ease = t * t * (3 - 2 * t)
    xs = [a[0] + (b[0] - a[0]) * ease for a, b in pairwise(course)]
    ys = [a[1] + (b[1] - a[1]) * t for a, b in pairwise(course)]
    return np.concatenate(xs), np.concatenate(ys)


def _edge(path: Path, row: pd.Series, limit: float, places: dict[Component, Place]) -> go.Scatter:
    x, y = _smooth(course_of(path, places))
    width, shade = stroke(float(row.effect), limit)
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name=str(path),
        meta=str(path),
        showlegend=False,
        line={
            "width": width,
            "color": _colour(shade),
            "dash": _DASHES[path.receiver.part],
        },
        hovertemplate=f"<b>{path}</b><br>cut: {row.effect:+.3f} [{row.effect_low:+.3f}, {row.effect_high:+.3f}], "
        f"n = {int(row.n):,}<extra></extra>",
    )


def stroke(effect: float, limit: float) -> tuple[float, float]:
    """How wide the line of an effect is, in pixels, and where its colour lies on a scale from -1 to 1.

    Args:
        limit: the effect of the widest line.
    """
    size = min(abs(effect) / limit, 1.0)
    return THINNEST + (WIDEST - THINNEST) * size, float(np.sign(effect)) * max(size, _PALEST)


def _colour(share: float) -> str:
    return shades("effect", "light")[round((1 + share) / 2 * (SHADES - 1))]


def _nodes(fig: go.Figure, ends: Iterable[Component], places: dict[Component, Place]) -> None:
    for end in sorted(ends):
        x, y = places[end]
        head = end.kind == "head"
        wide = 0.38 if head else 0.6
        box: dict[str, Any] = {"fillcolor": "white", "line": {"color": "#777", "width": 1}}
        fig.add_shape(type="rect", x0=x - wide, x1=x + wide, y0=y - HALF, y1=y + HALF, **box)
        fig.add_annotation(x=x, y=y, text=str(end), showarrow=False, yshift=6 if head else 0, name="component")
        for part, at in PORTS.items() if head else ():
            style = {"showarrow": False, "font": {"size": 10, "color": "#777"}}
            fig.add_annotation(x=x + at, y=y - HALF, text=part, yanchor="bottom", **style)


def _legend(fig: go.Figure, drawn: pd.DataFrame) -> None:
    """What is in this picture, and no more."""
    parts = {parse(str(name)).receiver.part for name in drawn.index}
    said = [(_PARTS[part], "#555", _DASHES[part]) for part in _PARTS if part in parts]
    said += [("cutting it lowers", _colour(-0.8), "solid")] if (drawn.effect < 0).any() else []
    said += [("cutting it raises", _colour(0.8), "solid")] if (drawn.effect > 0).any() else []
    for name, colour, dash in said:
        line = {"color": colour, "dash": dash, "width": 3}
        fig.add_trace(go.Scatter(x=[None], y=[None], mode="lines", name=name, line=line, hoverinfo="skip"))
