"""Pictures of analyses/circuits: one function each, from the analysis' table."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analyses.circuits import graft_figures
from analyses.circuits.heads import SHOWN
from analyses.circuits.moments import Moments
from analyses.circuits.panels import BLACK, band, line, panels, timed
from analyses.controls import described
from mechicl.figures.style import COLOURS, NAMES, finish, short
from mechicl.series import Series

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
        "halves": graft_figures.halves(topics["halves"], peak),
        "back": graft_figures.back(series, topics["parts"], peak),
        "late": graft_figures.late(series, topics["parts"], peak),
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


def _heads(single: pd.DataFrame, correlations: pd.DataFrame, at: Moments, peak: str) -> go.Figure:
    fig = panels([f"CIWL at the peak ({peak})", "CIWL at the end", "IWL at the end"])
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
    fig = panels([NAMES[e] for e in SHOWN])
    groups = (("ICL heads", COLOURS["icl"]), ("CIWL heads", COLOURS["ciwl"]))
    sets = {str(condition): rows.intervention.unique() for condition, rows in table.groupby("condition")}
    controls = {name: described(sets[name][0], sets.get(f"random for {name}", ())) for name, _ in groups}
    for col, evaluator in enumerate(SHOWN, 1):
        rows = table[(table.evaluator == evaluator) & (table.sequences > 0)]
        for name, colour in groups:
            random = rows[rows.condition == f"random for {name}"].groupby("sequences").value
            low, label = random.min(), f"instead of {name}: {controls[name]}"
            band(fig, low.index, low, random.max(), label, (1, col), False, colour)
            line(fig, random.median().reset_index(), label, colour, (1, col), dash="dot", show=col == 1)
        line(fig, rows[rows.condition == "intact"], "intact", BLACK, (1, col), show=col == 1)
        for name, colour in groups:
            line(fig, rows[rows.condition == name], f"{name} out", colour, (1, col), dash="dash", show=col == 1)
    named = {name: table[table.condition == name].intervention.iloc[0].removeprefix("zero ") for name, _ in groups}
    fig.update_yaxes(range=[0, 1.01])
    return timed(
        fig,
        "ICL's heads and CIWL's heads, taken out at every step",
        f"ICL: {named['ICL heads']}; CIWL: {named['CIWL heads']}; each chosen on other sequences",
        420,
        "accuracy",
    )


def _mlps(table: pd.DataFrame) -> go.Figure:
    fig = panels([NAMES[e] for e in SHOWN])
    layers = sorted(int(la) for la in table.layer.dropna().unique())
    for col, evaluator in enumerate(SHOWN, 1):
        rows = table[table.evaluator == evaluator]
        line(fig, rows[rows.intervention == "intact"], "intact", BLACK, (1, col), show=col == 1)
        for layer in layers:
            for kind, dash in (("mean", "dash"), ("zero", "dot")):
                name = f"{'its mean' if kind == 'mean' else 'nothing'} for layer {layer}'s MLP"
                line(
                    fig,
                    rows[rows.intervention == f"{kind} L{layer} MLP"],
                    name,
                    _LAYERS[layer % len(_LAYERS)],
                    (1, col),
                    dash=dash,
                    show=col == 1,
                )
    fig.update_yaxes(range=[0, 1.01])
    return timed(
        fig,
        "Which answers need the MLP?",
        f"its output replaced at every step; n = {int(table.n.max()):,} sequences per evaluator",
        420,
        "accuracy",
    )


def _subspaces(table: pd.DataFrame, mlp: pd.DataFrame | None) -> go.Figure:
    overlap = table[table.metric == "overlap"]
    shown = {
        "all heads of the last layer together": overlap[overlap["head"].isna()],
        "mean over its heads, each in its own space": overlap[overlap["head"].notna()],
    }
    if mlp is not None:
        shown["its MLP"] = mlp[mlp.metric == "overlap"]
    fig = panels(list(shown))
    lines = (
        ("flip", "ciwl", "ICL and CIWL", COLOURS["ciwl"], "solid"),
        ("flip", "iwl", "ICL and IWL", COLOURS["iwl"], "solid"),
        ("flip", "other half", "ICL, two halves of the sequences", COLOURS["icl"], "dot"),
        ("ciwl", "other half", "CIWL, two halves", BLACK, "dot"),
    )
    for col, rows in enumerate(shown.values(), 1):
        random = rows[(rows.baseline == "random") & (rows.sequences > 0)].groupby("sequences")
        low, high = random.ci_low.mean(), random.ci_high.mean()
        band(fig, low.index, low, high, "random subspaces (95%)", (1, col), col == 1)
        for evaluator, baseline, name, colour, dash in lines:
            chosen = rows[(rows.evaluator == evaluator) & (rows.baseline == baseline)]
            mean = chosen.groupby("sequences").value.mean().reset_index()
            line(fig, mean, name, colour, (1, col), dash=dash, show=col == 1)
    fig.update_yaxes(range=[0, 1.01])
    return timed(
        fig,
        "Do ICL and in-weights answers use the same directions of the residual stream?",
        "mean squared cosine of principal angles between what is written for each at the query; "
        f"n = {int(overlap[overlap.baseline == 'ciwl'].n.iloc[0]):,} pairs of sequences",
        440,
        "overlap",
    )


def _removal(table: pd.DataFrame) -> go.Figure:
    fig = panels([NAMES[e] for e in SHOWN])
    draws = table[table.intervention.str.startswith("without random")].intervention.nunique()
    label = f"without as many random directions ({draws} draws, range)"
    for col, evaluator in enumerate(SHOWN, 1):
        rows = table[(table.evaluator == evaluator) & (table.sequences > 0)]
        random = rows[rows.intervention.str.startswith("without random")].groupby("sequences").value
        low = random.min()
        band(fig, low.index, low, random.max(), label, (1, col), col == 1)
        line(fig, rows[rows.intervention == "intact"], "intact", BLACK, (1, col), show=col == 1)
        for name, variation in (("ICL", "flip"), ("CIWL", "ciwl")):
            line(
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
    return timed(
        fig,
        "What is lost when the last layer cannot write along those directions",
        f"{gone}, found on other sequences",
        420,
        "accuracy",
    )
