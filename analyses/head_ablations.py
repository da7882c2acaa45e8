"""Which heads carry ICL at its peak, what do they do after it faded, and does removing them change IWL?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses.findings import Findings
from mechicl.config import ModelConfig
from mechicl.figures.heatmaps import heads_by_time
from mechicl.figures.scales import fitted
from mechicl.figures.style import COLOURS, NAMES, finish, sequences_axis, short
from mechicl.interventions import AblateHeads, every_head, matched_heads
from mechicl.measures.ablation import effects, evaluate
from mechicl.measures.phases import series_phases
from mechicl.series import Series

QUESTION = (__doc__ or "").strip()
SHOWN = ("icl", "flip", "ciwl", "iwl")
MAPPED = ("icl", "ciwl")  # shown head by head
CONTROLS = 10  # random sets of heads, as many as the chosen ones in each layer


def run(series: Series, progress: bool = True) -> Findings:
    """Every head ablated alone (zero and mean) at every step, and the ICL heads together.

    The ICL heads are the quarter of all heads whose zero-ablation costs most Flip accuracy
    at Flip's peak. They are chosen on an evaluation set of their own (fold 1), so what is
    reported (fold 0) is not inflated by the choice. Controls: the intact model, and
    random sets of as many other heads of the same layers.
    """
    model = series.config.model
    singles = [*every_head(model), *every_head(model, "mean")]
    single = effects(evaluate(series, ablate=singles, metrics=None, progress=progress))
    chosen = icl_heads(series)
    controls = random_sets(model, chosen)
    group = AblateHeads(heads=chosen)
    grouped = evaluate(series, ablate=[group, *controls], metrics=None, progress=progress)
    names = {str(group): "ICL heads", "intact": "intact"}
    grouped["condition"] = [names.get(str(x), "random heads") for x in grouped.intervention]
    figures = {
        f"{kind}_{evaluator}": _heatmap(single, evaluator, kind)
        for kind in ("zero", "mean") for evaluator in MAPPED
    } | {"icl_heads": _group_figure(series, grouped, group)}  # fmt: skip
    table = pd.concat([single, grouped], ignore_index=True)
    return Findings("head_ablations", QUESTION, _text(series, single, grouped, group), table, figures)


def icl_heads(series: Series, fold: int = 1) -> tuple[tuple[int, int], ...]:
    """The quarter of the heads (at least one) whose zero-ablation lowers Flip most at its peak."""
    peak = series_phases(series)["flip"].peak
    return costly_heads(series, series.step_at(peak) if peak is not None else series.end, "flip", fold)


def costly_heads(series: Series, step: int, evaluator: str, fold: int = 1) -> tuple[tuple[int, int], ...]:
    """The quarter of the heads (at least one) whose zero-ablation lowers an evaluator most at a step."""
    table = evaluate(series, [step], [evaluator], every_head(series.config.model), metrics=None, fold=fold)
    drop = effects(table).sort_values("effect", kind="stable")
    count = max(1, len(drop) // 4)
    return tuple((int(la), int(h)) for la, h in drop[["layer", "head"]].head(count).to_numpy())


def random_sets(model: ModelConfig, like: tuple[tuple[int, int], ...]) -> list[AblateHeads]:
    """Up to CONTROLS distinct random sets of as many other heads, of the same layers where there are enough
    (`interventions.matched_heads`), from a fixed seed."""
    rng = np.random.default_rng(0)
    distinct = dict.fromkeys(matched_heads(model, like, rng) for _ in range(20 * CONTROLS))
    return [AblateHeads(heads=heads) for heads in sorted(list(distinct)[:CONTROLS])]


def spread(controls: pd.Series) -> str:
    """'0.950 (0.923 to 0.970, 10 random sets)' of the controls' values, or '0.759 (the only such set)'."""
    if len(controls) == 1:
        return f"{controls.item():.3f} (the only such set)"
    return f"{controls.median():.3f} ({controls.min():.3f} to {controls.max():.3f}, {len(controls)} random sets)"


def _heatmap(single: pd.DataFrame, evaluator: str, kind: str) -> go.Figure:
    """All of these maps have one range, so that they compare."""
    limit = fitted(single.effect[single.evaluator.isin(MAPPED)], 0.01)
    rows = single[(single.evaluator == evaluator) & single.intervention.str.startswith(f"{kind} ")]
    return heads_by_time(
        rows, f"{kind.capitalize()}-ablating one head: effect on {NAMES[evaluator]}",
        f"ablated minus intact accuracy, n = {int(rows.n.iloc[0]):,} sequences per cell",
        value="effect", limits=(-limit, limit), colorbar="change in accuracy", meaning="effect",
    )  # fmt: skip


def _group_figure(series: Series, table: pd.DataFrame, group: AblateHeads) -> go.Figure:
    fig = make_subplots(rows=1, cols=len(SHOWN), shared_yaxes=True, horizontal_spacing=0.02,
                        subplot_titles=[NAMES[e] for e in SHOWN])  # fmt: skip
    table = table[table.sequences > 0]
    for col, evaluator in enumerate(SHOWN, 1):
        rows = table[table.evaluator == evaluator]
        random = rows[rows.condition == "random heads"].groupby("sequences").value
        low, high, middle = random.min(), random.max(), random.median()
        style = {"showlegend": col == 1}
        grey = {"color": "#999", "width": 1.5, "dash": "dot"}
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        fig.add_trace(go.Scatter(x=low.index, y=low, **edge), 1, col)
        fig.add_trace(go.Scatter(x=high.index, y=high, **edge, fill="tonexty",
                                 fillcolor="rgba(150,150,150,0.25)"), 1, col)  # fmt: skip
        name = "as many others of their layers (median, range)"
        fig.add_trace(go.Scatter(x=middle.index, y=middle, line=grey, name=name, **style), 1, col)
        for condition, dash in (("intact", "solid"), ("ICL heads", "dash")):
            line = rows[rows.condition == condition]
            name = "ICL heads ablated" if condition == "ICL heads" else condition
            fig.add_trace(go.Scatter(x=line.sequences, y=line.value, name=name, **style,
                                     line={"color": COLOURS[evaluator] if condition == "intact" else "#111",
                                           "dash": dash, "width": 2}), 1, col)  # fmt: skip
    heads = " ".join(f"L{la}H{h}" for la, h in group.heads)
    controls = table[table.condition == "random heads"].intervention.nunique()
    finish(fig, "The ICL heads, taken out at every step",
           f"zero-ablating {heads}, chosen at Flip's peak on other sequences; "
           f"{controls} random set{'s' if controls > 1 else ''} of as many others of the same layers", 420)  # fmt: skip
    fig.update_yaxes(range=[0, 1.01])
    fig.update_yaxes(title_text="accuracy", col=1)
    fig.update_layout(legend={"orientation": "h", "y": -0.24}, margin={"t": 104})
    sequences_axis(fig)
    return fig.update_xaxes(title_text="sequences")


def _text(series: Series, single: pd.DataFrame, grouped: pd.DataFrame, group: AblateHeads) -> list[str]:
    phases = series_phases(series)
    if phases["flip"].peak is None:
        return ["ICL never formed in this run, so there are no ICL heads to follow; the tables hold every ablation."]
    peak, last = series.step_at(phases["flip"].peak), series.end
    lines = [f"ICL heads (chosen at {short(series.sequences(peak))} sequences on other sequences): "
             + " ".join(f"L{la}H{h}" for la, h in group.heads) + "."]  # fmt: skip
    for name, step in (("ICL's peak", peak), ("the end", last)):
        at = grouped[grouped.step == step]
        parts = []
        for evaluator in SHOWN:
            rows = at[at.evaluator == evaluator]
            intact = rows[rows.condition == "intact"].value.item()
            cut = rows[rows.condition == "ICL heads"].value.item()
            random = rows[rows.condition == "random heads"].value
            parts.append(f"{NAMES[evaluator].split(' (')[0]} {intact:.3f} → {cut:.3f}, without others {spread(random)}")
        lines.append(f"Removing them at {name}, or as many others of the same layers: " + "; ".join(parts) + ".")
    zero = single[single.intervention.str.startswith("zero ")]
    for name, step in (("At Flip's peak", peak), ("At the end", last)):
        rows = zero[(zero.step == step) & (zero.evaluator == "icl")]
        worst = rows.sort_values("effect", kind="stable").iloc[0]
        lines.append(
            f"{name} the single head whose loss costs ICL most is L{worst['layer']}H{worst['head']} "
            f"({worst['effect']:+.3f}; {rows.effect.lt(-0.05).sum()} of {len(rows)} heads cost more than .05)."
        )
    return lines
