"""What do labels and the query attend to, layer by layer, as ICL comes and goes?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses.door import analysis
from analyses.findings import Findings
from mechicl.figures.attention import attention_grid, head_animation, patterns
from mechicl.figures.style import MARKED, finish, sequences_axis, short
from mechicl.measures.attention import attention_scores
from mechicl.measures.phases import leading_phases, series_phases
from mechicl.series import Series

QUESTION = (__doc__ or "").strip()
_SHADE = {"dark": "#2E1470", "middle": "#7B61C4", "pale": "#B7A6E3"}  # attention's hue (`figures.scales`)
TARGETS = {  # score -> (words, colour, marker): filled, what labels attend to; open, what the query does
    "label_to_exemplar": ("label → its exemplar", _SHADE["dark"], "circle"),
    "label_to_self": ("label → itself", _SHADE["pale"], "square"),
    "query_to_match": ("query → matching exemplar", _SHADE["dark"], "triangle-up-open"),
    "query_to_label": ("query → its label", _SHADE["middle"], "diamond-open"),
    "query_to_wrong": ("query → other labels", _SHADE["pale"], "x-open"),
    "query_to_self": ("query → itself", "#777777", "square-open"),
}
OF_TOKENS = {
    "previous_token": ("→ the position before", _SHADE["dark"], "circle"),
    "prefix_matching": ("→ what followed the same token", _SHADE["middle"], "diamond-open"),
    "same_token": ("→ the same token", _SHADE["pale"], "triangle-up-open"),
    "to_first": ("→ the first position", "#444444", "x-open"),
    "to_self": ("→ itself", "#777777", "square-open"),
}


@analysis("attention_over_time", question=QUESTION, of_circuit=True, place=3)
def run(series: Series, progress: bool = True) -> Findings:
    """Attention by kind of target, averaged over the heads of a layer, on flip (or the evaluator that tells the task's
    circuit), beside what uniform attention has; pictures at ICL's onset, peak and end; an animation of the head of the
    highest induction strength."""
    on = series.task.circuit.evaluator
    table = attention_scores(series, progress=progress)
    looked_at = table[table.evaluator == on]
    figures = {"targets": _targets(series, looked_at)}
    for name, step in moments(series).items():
        figures[f"patterns_{name}"] = attention_grid(patterns(series, [step], on), series)
    layer, head = strongest_head(series, looked_at)
    shown = series.steps[:: max(1, len(series.steps) // 50)]
    figures["animation"] = head_animation(patterns(series, shown, on), series, layer, head)
    return Findings("attention_over_time", QUESTION, _text(series, looked_at), table, figures)


def targets(table: pd.DataFrame) -> dict[str, tuple[str, str, str]]:
    """What is drawn of a table of attention scores: score -> (words, colour, marker)."""
    return TARGETS if "query_to_label" in set(table.metric) else OF_TOKENS


def moments(series: Series) -> dict[str, int]:
    """The saved steps nearest to ICL's onset and peak, and the last one. Where ICL never
    formed, the first, the middle and the last."""
    led = leading_phases(series_phases(series))
    icl = led[1] if led else None
    if icl is None or icl.onset is None or icl.peak is None:
        return {"start": series.steps[0], "middle": series.steps[len(series.steps) // 2], "end": series.steps[-1]}
    return {"onset": series.step_at(icl.onset), "peak": series.step_at(icl.peak), "end": series.end}


def strongest_head(series: Series, table: pd.DataFrame) -> tuple[int, int]:
    """(layer, head) with the highest induction strength at any step."""
    rows = table[table.metric == series.task.circuit.induction]
    best = rows.sort_values("value").iloc[-1]
    return int(best["layer"]), int(best["head"])


def _targets(series: Series, table: pd.DataFrame) -> go.Figure:
    layers = range(series.config.model.n_layers)
    fig = make_subplots(
        rows=1,
        cols=len(layers),
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=[f"layer {la}" for la in layers],
    )
    for layer in layers:
        for metric, (label, colour, symbol) in targets(table).items():
            rows = table[(table.metric == metric) & (table.layer == layer) & (table.sequences > 0)]
            mean = rows.groupby("sequences").value.mean()
            fig.add_trace(
                go.Scatter(
                    x=mean.index,
                    y=mean,
                    name=label,
                    legendgroup=label,
                    showlegend=layer == 0,
                    mode="lines+markers",
                    line={"color": colour, "width": 2},
                    marker={"symbol": symbol, "size": 8, "maxdisplayed": MARKED},
                    hovertemplate="%{y:.3f}",
                ),
                row=1,
                col=layer + 1,
            )
            even = rows.groupby("sequences").uniform.first()
            fig.add_trace(
                go.Scatter(
                    x=even.index,
                    y=even,
                    name="uniform attention",
                    legendgroup="uniform",
                    showlegend=layer == 0 and metric == next(iter(targets(table))),
                    mode="lines",
                    line={"color": colour, "width": 1, "dash": "dot"},
                    opacity=0.6,
                    hoverinfo="skip",
                ),
                row=1,
                col=layer + 1,
            )
    on, n = series.task.circuit.evaluator, int(table.n.max())
    finish(
        fig,
        "Where attention goes",
        f"mean over heads, {on}, n = {n:,} sequences; "
        "dotted: what attention to all positions alike has, in the colour of its line",
        440,
    )
    fig.update_yaxes(title_text="attention", range=[0, 1], col=1)
    fig.update_layout(hovermode="x unified", legend={"orientation": "h", "y": -0.22}, margin={"t": 96})
    return sequences_axis(fig)


def _text(series: Series, table: pd.DataFrame) -> list[str]:
    lines = []
    for name, step in moments(series).items():
        rows = table[table.step == step]
        at, even = rows.groupby(["layer", "metric"]).value.mean(), rows.groupby("metric").uniform.first()
        last = series.config.model.n_layers - 1
        if "query_to_label" not in even:
            told = "; ".join(
                f"{words.removeprefix('→ ')} {at[0, score]:.2f} and {at[last, score]:.2f} ({even[score]:.2f})"
                for score, (words, _, _) in OF_TOKENS.items()
                if score in even
            )
            lines.append(
                f"At {name} ({short(series.sequences_seen(step))} sequences), attention in layer 0 and layer "
                f"{last}, means over heads (uniform attention in brackets): {told}."
            )
            continue
        lines.append(
            f"At {name} ({short(series.sequences_seen(step))} sequences): labels attend "
            f"{at[0, 'label_to_exemplar']:.2f} to their exemplar and {at[0, 'label_to_self']:.2f} to themselves "
            f"in layer 0 (uniform attention: {even['label_to_exemplar']:.2f} each); the query attends "
            f"{at[last, 'query_to_label']:.2f} to the matching exemplar's label and "
            f"{at[last, 'query_to_wrong']:.2f} to the others in layer {last} "
            f"(uniform attention: {even['query_to_label']:.2f} and {even['query_to_wrong']:.2f}; means over heads)."
        )
    return lines
