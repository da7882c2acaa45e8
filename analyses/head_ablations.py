"""Which heads carry ICL at its peak, what do they do after it faded, and does removing them change IWL?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses.controls import described, random_sets, spread
from analyses.door import analysis
from analyses.findings import Findings
from mechicl.figures.heatmaps import heads_by_time
from mechicl.figures.scales import fitted
from mechicl.figures.style import COLOURS, NAMES, finish, sequences_axis, short
from mechicl.interventions import AblateHeads, every_head
from mechicl.measures.ablation import evaluate
from mechicl.measures.baselines import joint_intervals
from mechicl.measures.paired_effects import effects, gains
from mechicl.measures.phases import series_phases
from mechicl.registry import EVALUATORS, LOWEST_SHOWN, ceiling, looked_at, main, quantity
from mechicl.series import Series

QUESTION = (__doc__ or "").strip()


@analysis("head_ablations", question=QUESTION, of_circuit=True, place=4)
def run(series: Series, progress: bool = True) -> Findings:
    """Every head ablated alone (zero and mean) at every step, and the ICL heads together.

    The ICL heads are the quarter of all heads whose zero-ablation costs most of the evaluator that tells the task's
    circuit (`Task.circuit`; of exemplars and labels Flip) at its peak. They are chosen on an evaluation set of their
    own (split 1), so what is reported (split 0) is not inflated by the choice. Controls: the intact model, and
    random sets of as many other heads of the same layers (analyses/controls.py).
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
    mapped = _mapped(series)
    figures = {
        f"{kind}_{evaluator}": _heatmap(single, evaluator, kind, mapped)
        for kind in ("zero", "mean")
        for evaluator in mapped
    } | {"icl_heads": _group_figure(series, grouped, group)}
    table = pd.concat([single, grouped], ignore_index=True)
    return Findings("head_ablations", QUESTION, _text(series, single, grouped, group), table, figures)


def _mapped(series: Series) -> list[str]:
    """Shown head by head: the evaluator that leads, and the first that the weights answer."""
    names = main(series.config)
    return [looked_at(series.config), *[n for n in names if EVALUATORS[n].favours == "weights"][:1]]


def icl_heads(series: Series, split: int = 1) -> tuple[tuple[int, int], ...]:
    """The quarter of the heads (at least one) whose zero-ablation costs most of Flip, or what the task has in its
    place, at its peak."""
    on = series.task.circuit.evaluator
    peak = series_phases(series)[on].peak
    return costly_heads(series, series.step_at(peak) if peak is not None else series.end, on, split)


def costly_heads(series: Series, step: int, evaluator: str, split: int = 1) -> tuple[tuple[int, int], ...]:
    """The quarter of the heads (at least one) whose zero-ablation costs an evaluator most at a step."""
    table = evaluate(series, [step], [evaluator], every_head(series.config.model), metrics=None, split=split)
    drop = gains(effects(table)).sort_values("effect", kind="stable")
    count = max(1, len(drop) // 4)
    return tuple((int(la), int(h)) for la, h in drop[["layer", "head"]].head(count).to_numpy())


def _heatmap(single: pd.DataFrame, evaluator: str, kind: str, mapped: list[str]) -> go.Figure:
    """All of these maps have one range, so that they compare."""
    limit = fitted(single.effect[single.evaluator.isin(mapped)], 0.01)
    rows = single[(single.evaluator == evaluator) & single.intervention.str.startswith(f"{kind} ")]
    return heads_by_time(
        rows,
        f"{kind.capitalize()}-ablating one head: effect on {NAMES[evaluator]}",
        f"ablated minus intact {EVALUATORS[evaluator].quantity}, n = {int(rows.n.iloc[0]):,} sequences per cell",
        value="effect",
        limits=(-limit, limit),
        meaning="effect",
        colorbar=f"change in {EVALUATORS[evaluator].quantity}",
    )


def _group_figure(series: Series, table: pd.DataFrame, group: AblateHeads) -> go.Figure:
    shown = main(series.config)
    fig = make_subplots(
        rows=1, cols=len(shown), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=[NAMES[e] for e in shown]
    )
    others = table[table.condition == "random heads"].intervention.unique()
    controls = described(str(group), others)
    table = table[table.sequences > 0]
    for col, evaluator in enumerate(shown, 1):
        rows = table[table.evaluator == evaluator]
        random = rows[rows.condition == "random heads"].groupby("sequences").value
        style = {"showlegend": col == 1}
        grey = {"color": "#999", "width": 1.5, "dash": "dot"}
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        if len(others) > 1:
            low, high = random.min(), random.max()
            fig.add_trace(go.Scatter(x=low.index, y=low, **edge), 1, col)
            fig.add_trace(
                go.Scatter(x=high.index, y=high, **edge, fill="tonexty", fillcolor="rgba(150,150,150,0.25)"), 1, col
            )
        if len(others):
            middle = random.median()
            fig.add_trace(go.Scatter(x=middle.index, y=middle, line=grey, name=f"{controls}, ablated", **style), 1, col)
        for condition, dash in (("intact", "solid"), ("ICL heads", "dash")):
            line = rows[rows.condition == condition]
            name = "ICL heads ablated" if condition == "ICL heads" else condition
            fig.add_trace(
                go.Scatter(
                    x=line.sequences,
                    y=line.value,
                    name=name,
                    **style,
                    line={"color": COLOURS[evaluator] if condition == "intact" else "#111", "dash": dash, "width": 2},
                ),
                1,
                col,
            )
    heads = " ".join(f"L{la}H{h}" for la, h in group.heads)
    finish(
        fig,
        "The ICL heads, taken out at every step",
        f"zero-ablating {heads}, chosen at {_best(series)} on other sequences; controls: {controls}",
        420,
    )
    fig.update_yaxes(range=[min(0.0, max(LOWEST_SHOWN, table.value.min())), ceiling(table.value.max())])
    fig.update_yaxes(title_text=quantity(series.config), col=1)
    fig.update_layout(legend={"orientation": "h", "y": -0.24}, margin={"t": 104})
    sequences_axis(fig)
    return fig.update_xaxes(title_text="sequences")


def _short(series: Series) -> str:
    return EVALUATORS[series.task.circuit.evaluator].short


def _best(series: Series) -> str:
    """As "Flip's peak"; of an error, its minimum."""
    return f"{_short(series)}'s {EVALUATORS[series.task.circuit.evaluator].best}"


def _text(series: Series, single: pd.DataFrame, grouped: pd.DataFrame, group: AblateHeads) -> list[str]:
    on, phases = series.task.circuit.evaluator, series_phases(series)
    if phases[on].peak is None:
        return ["ICL never formed in this run, so there are no ICL heads to follow; the tables hold every ablation."]
    peak, last = series.step_at(phases[on].peak or 0), series.end
    led = looked_at(series.config)
    lines = [
        f"ICL heads (chosen at {short(series.sequences_seen(peak))} sequences on other sequences): "
        + " ".join(f"L{la}H{h}" for la, h in group.heads)
        + "."
    ]
    for name, step in ((f"{EVALUATORS[led].short}'s {EVALUATORS[led].best}", peak), ("the end", last)):
        at = grouped[grouped.step == step]
        parts = []
        for evaluator in main(series.config):
            rows = at[at.evaluator == evaluator]
            intact = rows[rows.condition == "intact"].value.item()
            cut = rows[rows.condition == "ICL heads"].value.item()
            random = rows[rows.condition == "random heads"].value
            parts.append(f"{NAMES[evaluator].split(' (')[0]} {intact:.3f} → {cut:.3f}, without others {spread(random)}")
        others = described(str(group), at[at.condition == "random heads"].intervention.unique())
        lines.append(f"Removing them at {name} (without others: {others}): " + "; ".join(parts) + ".")
    zero = single[single.intervention.str.startswith("zero ")]
    for name, step in ((f"At {_best(series)}", peak), ("At the end", last)):
        rows = zero[(zero.step == step) & (zero.evaluator == led)]
        lines.append(f"{name} {_costliest(rows, EVALUATORS[led].short)}")
    at_peak = effects(grouped[(grouped.step == peak) & (grouped.evaluator == on)])
    return [*lines, _against_others(at_peak, _short(series), EVALUATORS[on].best)]


def _against_others(rows: pd.DataFrame, name: str = "Flip", best: str = "peak") -> str:
    """Whether the ICL heads matter more than as many others; rows: of Flip (or what is called `name`) at its peak."""
    told = _told(rows[rows.condition == "ICL heads"].iloc[0])
    turned = gains(rows)
    group, others = turned[rows.condition == "ICL heads"].iloc[0], turned[rows.condition == "random heads"]
    if group.effect_high >= 0:
        return f"Without its ICL heads {name} at its {best} changes by {told}: they are not shown to matter."
    as_much = int((others.effect <= group.effect).sum())
    return (
        f"Without its ICL heads {name} at its {best} changes by {told}; {as_much} of {len(others)} other sets cost "
        "as much."
    )


def _told(row: pd.Series) -> str:
    """The change as it was measured."""
    return f"{row.effect:+.3f} [{row.effect_low:+.3f}, {row.effect_high:+.3f}]"


def _costliest(rows: pd.DataFrame, name: str = "ICL") -> str:
    """The single head whose loss costs most, where its interval excludes 0 though all heads were looked at."""
    joint = joint_intervals(gains(rows), "effect", "effect_low", "effect_high").sort_values("effect", kind="stable")
    worst, sure = joint.iloc[0], int((joint.joint_high < 0).sum())
    told = _told(rows[rows.index == worst.name].iloc[0])
    among = f"95% intervals for all {len(rows)} heads together"
    many = f"{int(joint.effect.lt(-0.05).sum())} of {len(rows)} heads cost more than .05"
    if worst.joint_high >= 0:
        return (
            f"no single head's loss is sure to cost {name} anything ({among}); the largest loss is "
            f"L{worst.layer}H{worst['head']}'s, {told}; {many}."
        )
    return (
        f"the single head whose loss costs {name} most is L{worst.layer}H{worst['head']} ({told}); for {sure} of "
        f"{len(rows)} heads a loss is sure ({among}); {many}."
    )
