"""Pictures of analyses/circuits: one function each, from the analysis' table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb
from plotly.subplots import make_subplots

from analyses.circuits.grafts import parts
from analyses.circuits.heads import SHOWN
from analyses.circuits.moments import Moments
from analyses.controls import described
from mechicl.figures.style import COLOURS, NAMES, finish, short
from mechicl.series import Series

_BLACK, _GREY = "#222222", "#999999"
_LAYERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw(series: Series, at: Moments, table: pd.DataFrame) -> dict[str, go.Figure]:
    """Every figure of the analysis."""
    topics = {str(name): rows for name, rows in table.groupby("topic")}
    peak = short(series.sequences_seen(at.peak))
    out = {
        "heads": _heads(topics["heads"], topics["correlations"], at, peak),
        "crossed": _crossed(topics["crossed"]),
        **({"mlps": _mlps(topics["mlps"])} if "mlps" in topics else {}),
        "subspaces": _subspaces(topics["subspaces"], topics.get("mlp_subspaces")),
        "removal": _removal(topics["removal"]),
        "halves": _halves(topics["halves"], peak),
        "back": _parts(series, topics["parts"], peak),
        "late": _late(series, topics["parts"], peak),
    }
    if at.peak > 0:
        for name in out.keys() - {"heads"}:
            out[name].add_vline(
                x=series.sequences_seen(at.peak),
                line={"color": "#bbb", "width": 1, "dash": "dash"},
                row="all",
                col="all",
            )  # type: ignore[reportArgumentType]
    return out


def _panels(titles: Sequence[str], rows: int = 1) -> go.Figure:
    across = -(-len(titles) // rows)
    return make_subplots(
        rows=rows,
        cols=across,
        shared_yaxes=True,
        shared_xaxes=rows > 1,
        subplot_titles=list(titles),
        horizontal_spacing=0.02,
        vertical_spacing=0.1,
    )


def _line(
    fig: go.Figure,
    table: pd.DataFrame,
    name: str,
    colour: str,
    at: tuple[int, int],
    *,
    dash: str = "solid",
    show: bool = True,
    value: str = "value",
) -> None:
    rows = table[table.sequences > 0].sort_values("sequences")
    fig.add_trace(
        go.Scatter(
            x=rows.sequences,
            y=rows[value],
            name=name,
            legendgroup=name,
            showlegend=show,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="%{y:.3f}",
        ),
        row=at[0],
        col=at[1],
    )


def _band(
    fig: go.Figure,
    x: pd.Index,
    low: pd.Series,
    high: pd.Series,
    name: str,
    at: tuple[int, int],
    show: bool,
    colour: str = _GREY,
) -> None:
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "legendgroup": name}
    fig.add_trace(go.Scatter(x=x, y=low, showlegend=False, **edge), row=at[0], col=at[1])
    fig.add_trace(
        go.Scatter(
            x=x,
            y=high,
            name=name,
            showlegend=show,
            fill="tonexty",
            fillcolor=f"rgba{(*hex_to_rgb(colour), 0.25)}",
            **edge,
        ),
        row=at[0],
        col=at[1],
    )


def _timed(fig: go.Figure, title: str, subtitle: str, height: int, label: str, bottom: float = -0.24) -> go.Figure:
    finish(fig, title, subtitle, height)
    fig.update_layout(legend={"orientation": "h", "y": bottom}, margin={"t": 104}, hovermode="x unified")
    fig.update_xaxes(type="log", dtick=1, exponentformat="SI")
    rows = len(fig._get_subplot_rows_columns()[0])
    fig.update_xaxes(title_text="sequences", row=rows)
    return fig.update_yaxes(title_text=label, col=1)


def _heads(single: pd.DataFrame, correlations: pd.DataFrame, at: Moments, peak: str) -> go.Figure:
    fig = _panels([f"CIWL at the peak ({peak})", "CIWL at the end", "IWL at the end"])
    rows = single[single.condition == "split 0"].set_index(["evaluator", "step", "layer", "head"]).effect.sort_index()
    x = rows.loc["flip", at.peak]
    for col, (evaluator, then) in enumerate((("ciwl", "peak"), ("ciwl", "end"), ("iwl", "end")), 1):
        y = rows.loc[evaluator, getattr(at, then)].reindex(x.index)
        for layer, values in x.groupby("layer"):
            heads = [f"L{la}H{h}" for la, h in values.index]
            fig.add_trace(
                go.Scatter(
                    x=values,
                    y=y.loc[values.index],
                    text=heads,
                    mode="markers",
                    name=f"layer {layer}",
                    legendgroup=f"layer {layer}",
                    showlegend=col == 1,
                    marker={"size": 9, "color": _LAYERS[int(str(layer)) % len(_LAYERS)]},
                    hovertemplate="%{text}: %{x:.3f}, %{y:.3f}",
                ),
                row=1,
                col=col,
            )
        pair = (correlations.evaluator == "flip at the peak") & (correlations.baseline == f"{evaluator} at the {then}")
        found = correlations[pair].set_index("metric").value
        fig.add_annotation(
            text=f"ρ = {found['rank_correlation']:+.2f}, p = {found['p_value']:.3f}",
            showarrow=False,
            xref="x domain",
            yref="y domain",
            x=0.04,
            y=0.97,
            row=1,
            col=col,
            bgcolor="rgba(255,255,255,0.8)",
        )
    finish(
        fig,
        "Does a head that ICL needs serve in-weights answers?",
        f"one mark per head: effect of its zero-ablation; n = {int(single.n.max()):,} sequences each; ρ and p "
        "within layers",
        420,
    )
    fig.update_layout(legend={"orientation": "h", "y": -0.24}, margin={"t": 104})
    fig.update_xaxes(title_text=f"effect on Flip at {peak}")
    return fig.update_yaxes(title_text="effect on in-weights answers", col=1)


def _crossed(table: pd.DataFrame) -> go.Figure:
    fig = _panels([NAMES[e] for e in SHOWN])
    groups = (("ICL heads", COLOURS["icl"]), ("CIWL heads", COLOURS["ciwl"]))
    sets = {str(condition): rows.intervention.unique() for condition, rows in table.groupby("condition")}
    controls = {name: described(sets[name][0], sets.get(f"random for {name}", ())) for name, _ in groups}
    for col, evaluator in enumerate(SHOWN, 1):
        rows = table[(table.evaluator == evaluator) & (table.sequences > 0)]
        for name, colour in groups:
            random = rows[rows.condition == f"random for {name}"].groupby("sequences").value
            low, label = random.min(), f"instead of {name}: {controls[name]}"
            _band(fig, low.index, low, random.max(), label, (1, col), False, colour)
            _line(fig, random.median().reset_index(), label, colour, (1, col), dash="dot", show=col == 1)
        _line(fig, rows[rows.condition == "intact"], "intact", _BLACK, (1, col), show=col == 1)
        for name, colour in groups:
            _line(fig, rows[rows.condition == name], f"{name} out", colour, (1, col), dash="dash", show=col == 1)
    named = {name: table[table.condition == name].intervention.iloc[0].removeprefix("zero ") for name, _ in groups}
    fig.update_yaxes(range=[0, 1.01])
    return _timed(
        fig,
        "ICL's heads and CIWL's heads, taken out at every step",
        f"ICL: {named['ICL heads']}; CIWL: {named['CIWL heads']}; each chosen on other sequences",
        420,
        "accuracy",
    )


def _mlps(table: pd.DataFrame) -> go.Figure:
    fig = _panels([NAMES[e] for e in SHOWN])
    layers = sorted(int(la) for la in table.layer.dropna().unique())
    for col, evaluator in enumerate(SHOWN, 1):
        rows = table[table.evaluator == evaluator]
        _line(fig, rows[rows.intervention == "intact"], "intact", _BLACK, (1, col), show=col == 1)
        for layer in layers:
            for kind, dash in (("mean", "dash"), ("zero", "dot")):
                name = f"{'its mean' if kind == 'mean' else 'nothing'} for layer {layer}'s MLP"
                _line(
                    fig,
                    rows[rows.intervention == f"{kind} L{layer} MLP"],
                    name,
                    _LAYERS[layer % len(_LAYERS)],
                    (1, col),
                    dash=dash,
                    show=col == 1,
                )
    fig.update_yaxes(range=[0, 1.01])
    return _timed(
        fig,
        "Which answers need the MLP?",
        f"its output replaced at every step; n = {int(table.n.max()):,} sequences per evaluator",
        420,
        "accuracy",
    )


def _subspaces(table: pd.DataFrame, mlp: pd.DataFrame | None) -> go.Figure:
    overlap = table[table.metric == "overlap"]
    panels = {
        "all heads of the last layer together": overlap[overlap["head"].isna()],
        "mean over its heads, each in its own space": overlap[overlap["head"].notna()],
    }
    if mlp is not None:
        panels["its MLP"] = mlp[mlp.metric == "overlap"]
    fig = _panels(list(panels))
    lines = (
        ("flip", "ciwl", "ICL and CIWL", COLOURS["ciwl"], "solid"),
        ("flip", "iwl", "ICL and IWL", COLOURS["iwl"], "solid"),
        ("flip", "other half", "ICL, two halves of the sequences", COLOURS["icl"], "dot"),
        ("ciwl", "other half", "CIWL, two halves", _BLACK, "dot"),
    )
    for col, rows in enumerate(panels.values(), 1):
        random = rows[(rows.baseline == "random") & (rows.sequences > 0)].groupby("sequences")
        low, high = random.ci_low.mean(), random.ci_high.mean()
        _band(fig, low.index, low, high, "random subspaces (95%)", (1, col), col == 1)
        for evaluator, baseline, name, colour, dash in lines:
            chosen = rows[(rows.evaluator == evaluator) & (rows.baseline == baseline)]
            mean = chosen.groupby("sequences").value.mean().reset_index()
            _line(fig, mean, name, colour, (1, col), dash=dash, show=col == 1)
    fig.update_yaxes(range=[0, 1.01])
    return _timed(
        fig,
        "Do ICL and in-weights answers use the same directions of the residual stream?",
        "mean squared cosine of principal angles between what is written for each at the query; "
        f"n = {int(overlap[overlap.baseline == 'ciwl'].n.iloc[0]):,} pairs of sequences",
        440,
        "overlap",
    )


def _removal(table: pd.DataFrame) -> go.Figure:
    fig = _panels([NAMES[e] for e in SHOWN])
    draws = table[table.intervention.str.startswith("without random")].intervention.nunique()
    label = f"without as many random directions ({draws} draws, range)"
    for col, evaluator in enumerate(SHOWN, 1):
        rows = table[(table.evaluator == evaluator) & (table.sequences > 0)]
        random = rows[rows.intervention.str.startswith("without random")].groupby("sequences").value
        low = random.min()
        _band(fig, low.index, low, random.max(), label, (1, col), col == 1)
        _line(fig, rows[rows.intervention == "intact"], "intact", _BLACK, (1, col), show=col == 1)
        for name, variation in (("ICL", "flip"), ("CIWL", "ciwl")):
            _line(
                fig,
                rows[rows.intervention == f"without {variation}"],
                f"without {name}'s directions",
                COLOURS["icl" if variation == "flip" else "ciwl"],
                (1, col),
                dash="dash",
                show=col == 1,
            )
    fig.update_yaxes(range=[0, 1.01])
    gone = table[table.baseline != ""].baseline.iloc[0]
    return _timed(
        fig,
        "What is lost when the last layer cannot write along those directions",
        f"{gone}, found on other sequences",
        420,
        "accuracy",
    )


def _halves(table: pd.DataFrame, peak: str) -> go.Figure:
    fig = _panels([NAMES[e] for e in SHOWN])
    lines = (
        ("intact", "each step, intact", _BLACK, "solid"),
        ("second half from the end", "first half of each step, second half of the end", "#0072B2", "dash"),
        ("first half from the end", "first half of the end, second half of each step", "#56B4E9", "dot"),
        ("first half from the peak", f"first half of the peak ({peak}), second half of each step", "#D55E00", "dash"),
        ("second half from the peak", "first half of each step, second half of the peak", "#E69F00", "dot"),
    )
    for col, evaluator in enumerate(SHOWN, 1):
        for condition, name, colour, dash in lines:
            rows = table[(table.evaluator == evaluator) & (table.condition == condition)]
            _line(fig, rows, name, colour, (1, col), dash=dash, show=col == 1)
    fig.update_yaxes(range=[0, 1.01])
    return _timed(
        fig,
        "Halves of different checkpoints put together",
        "first half: embeddings and all layers but the last; second half: last layer, final LayerNorm, "
        f"unembedding; n = {int(table.n.max()):,}",
        460,
        "accuracy",
        -0.2,
    )


def _parts(series: Series, table: pd.DataFrame, peak: str) -> go.Figure:
    names = list(parts(series.config.model))
    fig = _panels(names, rows=3)
    across = -(-len(names) // 3)
    for i, part in enumerate(names):
        at = (i // across + 1, i % across + 1)
        for evaluator in ("icl", "flip"):
            for kind, dash in (("back", "solid"), ("control", "dot")):
                rows = table[(table.condition == f"{kind} {part}") & (table.evaluator == evaluator)]
                source = "the peak" if kind == "back" else "before ICL"
                _line(
                    fig,
                    rows,
                    f"{NAMES[evaluator]}, part from {source}",
                    COLOURS[evaluator],
                    at,
                    dash=dash,
                    show=i == 0,
                    value="effect",
                )
    fig.update_yaxes(range=[-0.6, 0.9], zeroline=True, zerolinecolor="#999")
    return _timed(
        fig,
        f"Parts of ICL's peak ({peak}) in each other checkpoint",
        "grafted minus intact accuracy; ICL is back only where both lines rise, above the dotted control",
        760,
        "change",
        -0.1,
    )


def _late(series: Series, table: pd.DataFrame, peak: str) -> go.Figure:
    names = list(parts(series.config.model))
    fig = _panels(names, rows=3)
    across = -(-len(names) // 3)
    for i, part in enumerate(names):
        at = (i // across + 1, i % across + 1)
        for evaluator in SHOWN[:3]:
            rows = table[(table.condition == f"late {part}") & (table.evaluator == evaluator)]
            _line(fig, rows, NAMES[evaluator], COLOURS[evaluator], at, show=i == 0)
            rows = table[(table.condition == "intact") & (table.evaluator == evaluator)]
            name = f"{NAMES[evaluator]}, the checkpoint itself"
            _line(fig, rows, name, COLOURS[evaluator], at, dash="dot", show=i == 0)
    fig.update_yaxes(range=[0, 1.01])
    return _timed(
        fig,
        f"Parts of each checkpoint in the model of ICL's peak ({peak})",
        "accuracy; parts that are enough to end ICL bring the solid lines down to the dotted ones",
        760,
        "accuracy",
        -0.1,
    )
