"""Evaluators over training: one series, or several seeds of one recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mechicl.evaluators import EVALUATORS
from mechicl.figures.style import (
    COLOURS,
    MARKED,
    NAMES,
    SYMBOLS,
    curve,
    finish,
    heights,
    name_ends,
    sequences_axis,
    short,
)
from mechicl.measures.phases import Phases, leading_phases
from mechicl.measures.seeds import aligned
from mechicl.registry import main, quantity
from mechicl.series import Series
from mechicl.series.alike import check_seeds
from mechicl.series.given import of_series


@of_series
def evaluator_curves(
    series: Series,
    phases: dict[str, Phases] | None = None,
    log: bool = True,
    chance: Mapping[str, float] | None = None,
) -> go.Figure:
    """Every evaluator's primary metric over training with its 95% interval, and the training loss below.

    Args:
        series: the run.
        phases: the result of `series_phases`; those of ICL are drawn as vertical lines (default: none).
        log: whether the axis of training sequences is logarithmic.
        chance: what guessing scores in each evaluator, as `measures.phases.chance_levels` gives it; the subtitle says
            it (default: it does not).

    Returns:
        A plotly figure.

    Examples:
        >>> figure = mechicl.evaluator_curves(series, mechicl.series_phases(series))
        >>> type(figure).__name__
        'Figure'
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.05)
    metrics = series.metrics
    ends = {}
    for name in [n for n in EVALUATORS if n in set(metrics.evaluator)]:
        rows = metrics[(metrics.evaluator == name) & (metrics.metric == EVALUATORS[name].primary_metric)]
        rows = rows[rows.sequences > 0] if log else rows
        if len(rows):
            ends[name] = float(rows.sequences.iloc[-1]), float(rows.value.iloc[-1])
        for trace in _band(rows, name):
            fig.add_trace(trace, row=1, col=1)
    loss = series.training_loss
    fig.add_trace(
        go.Scatter(
            x=loss.sequences,
            y=loss.loss,
            name="Training loss",
            line={"color": "#444", "width": 1.5},
            hovertemplate="%{y:.3f}",
            legendgroup="loss",
        ),
        row=2,
        col=1,
    )
    for label, when in _moments(phases):
        fig.add_vline(x=when, line={"color": "#999", "width": 1, "dash": "dash"}, row=1, col=1)  # type: ignore
        fig.add_annotation(
            x=_place(when, log),
            y=1.04,
            yref="y domain",
            text=label,
            showarrow=False,
            font={"size": 11, "color": "#666"},
        )
    n = int(metrics.n.iloc[0])
    guess = _guessing({name: level for name, level in (chance or {}).items() if name in ends})
    finish(
        fig,
        f"{series.name}: in-context learning over training",
        f"{n:,} sequences per evaluator; bands are 95% intervals{guess}",
        560,
    )
    fig.update_layout(hovermode="x unified", legend={"orientation": "h", "y": -0.14})
    sequences_axis(fig, log)
    fig.update_xaxes(title_text="", row=1, col=1)
    fig.update_yaxes(title_text=quantity(series.config), range=heights(series.config, fig, whole=True), row=1, col=1)
    fig.update_yaxes(title_text="loss", type="log", dtick=1, row=2, col=1)
    fig.update_layout(margin={"r": 128})
    return name_ends(fig, ends, log)


@of_series
def seed_curves(runs: list[Series], log: bool = True) -> go.Figure:
    """The same recipe over several seeds: thin lines for the seeds, a thick line for the median. If runs saved
    different steps, their curves are interpolated linearly between checkpoints.

    Args:
        runs: the series: seeds of one recipe, each once.
        log: whether the axis of training sequences is logarithmic.

    Returns:
        A plotly figure.

    Raises:
        SeriesError: they are not seeds of one recipe.

    Examples:
        >>> type(mechicl.seed_curves([series])).__name__
        'Figure'
    """
    check_seeds(runs)
    fig = go.Figure()
    ends = {}
    recorded = [set(series.metrics.evaluator) for series in runs]
    for name in [n for n in main() if all(n in found for found in recorded)]:
        metric = EVALUATORS[name].primary_metric
        for series in runs:
            x, y = series.curve(name, metric)
            fig.add_trace(
                go.Scatter(
                    x=x,
                    y=y,
                    line={"color": COLOURS[name], "width": 1},
                    opacity=0.35,
                    showlegend=False,
                    hovertemplate=f"{NAMES[name]} %{{y:.3f}}, seed {series.config.seeds.init}<extra></extra>",
                )
            )
        median = aligned(runs, name, metric).median(axis=1)
        marker = {"symbol": SYMBOLS[name], "size": 9, "maxdisplayed": MARKED}
        fig.add_trace(
            go.Scatter(
                x=median.index,
                y=median,
                name=NAMES[name],
                mode="lines+markers",
                marker=marker,
                line={"color": COLOURS[name], "width": 3},
            )
        )
        seen = median[median.index > 0] if log else median
        if len(seen):
            ends[name] = float(seen.index[-1]), float(seen.iloc[-1])
    seeds = ", ".join(str(s.config.seeds.init) for s in runs)
    finish(fig, f"{runs[0].config.name}: {len(runs)} seeds", f"seeds {seeds}; thick lines are medians", 460)
    fig.update_yaxes(title_text=quantity(runs[0].config), range=heights(runs[0].config, fig, whole=True))
    fig.update_layout(legend={"orientation": "h", "y": -0.18}, margin={"r": 64})
    return name_ends(sequences_axis(fig, log), ends, log)


def _guessing(chance: Mapping[str, float]) -> str:
    """'; guessing scores .5 in ICL and Flip, .031 in CIWL'; '' where nothing is known."""
    names: dict[str, list[str]] = {}
    for name, level in chance.items():
        names.setdefault(f"{level:.2g}".removeprefix("0") or "0", []).append(EVALUATORS[name].short)
    said = ", ".join(f"{level} in {' and '.join(of)}" for level, of in names.items())
    return f"; guessing scores {said}" if said else ""


def _band(rows: pd.DataFrame, name: str) -> list[go.Scatter]:
    x = rows.sequences
    fill = COLOURS[name] + "26"
    edge = {"width": 0}
    return [
        go.Scatter(x=x, y=rows.ci_low, mode="lines", line=edge, showlegend=False, hoverinfo="skip", legendgroup=name),
        go.Scatter(
            x=x,
            y=rows.ci_high,
            mode="lines",
            line=edge,
            fill="tonexty",
            fillcolor=fill,
            showlegend=False,
            hoverinfo="skip",
            legendgroup=name,
        ),
        go.Scatter(x=x, y=rows.value, name=NAMES[name], legendgroup=name, hovertemplate="%{y:.3f}", **curve(name)),
    ]


def _moments(phases: dict[str, Phases] | None) -> list[tuple[str, float]]:
    led = leading_phases(phases or {})
    return [] if led is None else [(f"{label} {short(when)}", when) for label, when in led.moments()]


def _place(when: float, log: bool) -> float:
    """Annotations on a log axis are placed by the logarithm (plotly's rule; lines are not)."""
    return math.log10(when) if log else when
