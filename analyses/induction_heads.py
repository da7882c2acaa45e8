"""Which heads form the induction circuit, when, and what becomes of them?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses.door import analysis
from analyses.findings import Findings
from mechicl.figures.heatmaps import heads_by_time
from mechicl.figures.style import short
from mechicl.measures.attention import attention_scores, standing_out, untrained_scores
from mechicl.measures.attribution import logit_attribution
from mechicl.measures.phases import series_phases
from mechicl.protocol.attention_scores import SCORES
from mechicl.registry import EVALUATORS
from mechicl.series import Series

QUESTION = (__doc__ or "").strip()


@analysis("induction_heads", question=QUESTION, of_circuit=True, place=2)
def run(series: Series, progress: bool = True) -> Findings:
    """The scores of the task's induction circuit (`Task.circuit`) and direct logit attribution per head and step, each
    beside its baseline. A head is named only where `standing_out` has it.

    Of exemplars and labels: previous-token score at labels and induction strength
    (docs/references.md#singh-2024-measures), on flip, where the in-context and the in-weights answer are the two
    labels of the context. Of tokens: previous-token and
    prefix-matching score over all positions.
    """
    circuit = series.task.circuit
    attention = attention_scores(series, progress=progress)
    logits = logit_attribution(series, progress=progress)
    looked_at = attention[attention.evaluator == circuit.evaluator]
    on = EVALUATORS[circuit.evaluator].name
    figures = {
        "induction_strength": _heatmap(looked_at, circuit.induction, on),
        "previous_token": _heatmap(looked_at, circuit.previous, on),
        "query_to_match": _heatmap(looked_at, circuit.match, on),
    }
    contrast = _contrast(logits[(logits.evaluator == on) & logits["head"].notna()])
    if len(contrast):
        limit = float(np.ceil(contrast.value.abs().max())) or 1.0
        figures["attribution"] = heads_by_time(
            contrast,
            f"Direct logit attribution on {on}",
            "what a head adds to the in-context label's logit, minus to the in-weights label's; 0: it favours neither",
            limits=(-limit, limit),
            colorbar="logits",
            meaning="logit",
        )
    table = pd.concat([attention, logits], ignore_index=True)
    return Findings("induction_heads", QUESTION, _text(series, looked_at, contrast), table, figures)


_READ = {  # score -> what a reader of its map must know
    "induction_strength": "attention from the query to the matching exemplar's label, minus to the other; above 0: "
    "follows the context; below: follows the weights",
    "label_to_exemplar": "attention from a label to the exemplar before it",
    "query_to_match": "attention from the query to the matching exemplar: the other way to find the label, since the "
    "next layer can follow its position",
}


def _heatmap(table: pd.DataFrame, metric: str, on: str) -> go.Figure:
    rows, score = table[table.metric == metric], SCORES[metric]
    title = score.name[0].upper() + score.name[1:]
    read = _READ.get(metric, score.meaning[0].lower() + score.meaning[1:].rstrip("."))
    return heads_by_time(
        rows,
        title,
        f"{read} ({on})",
        limits=score.limits,
        colorbar="attention",
        baseline=("uniform attention", float(rows.uniform.iloc[0])),
    )


def _contrast(heads: pd.DataFrame) -> pd.DataFrame:
    """Per step and head: logit_in_context - logit_in_weights."""
    key = ["step", "sequences", "layer", "head"]
    wide = heads.pivot_table(index=key, columns="metric", values="value")
    if {"logit_in_context", "logit_in_weights"} - set(wide):  # only where the two differ
        return pd.DataFrame(columns=[*key, "value"])
    return (wide.logit_in_context - wide.logit_in_weights).rename("value").reset_index()


def _text(series: Series, attention: pd.DataFrame, contrast: pd.DataFrame) -> list[str]:
    circuit = series.task.circuit
    name, on = EVALUATORS[circuit.evaluator].short, circuit.evaluator
    icl = "ICL" if on == "flip" else name
    found_at = series_phases(series)[on].peak
    if found_at is None:
        return [
            f"{icl} never formed in this run ({name} stays within .1 of chance): no head is called part of its circuit."
        ]
    peak, last = series.step_at(found_at), series.end
    strength, then = (_at(attention, circuit.induction, step) for step in (peak, last))
    deepest, now = (rows[rows.layer == rows.layer.max()] for rows in (strength, then))
    untrained = untrained_scores(series, on)
    best = f"{name}'s {EVALUATORS[on].best}"
    induction = _named(attention, circuit.induction, peak, "induction head", untrained)
    found = standing_out(attention, circuit.induction, peak, untrained)
    if len(found):
        same = then[(then.layer == found.layer.iloc[0]) & (then["head"] == found["head"].iloc[0])].iloc[0]
        induction += f" At the end it is {_value(same)}."
    return [
        f"At {best} ({short(series.sequences_seen(peak))} sequences, n = {strength.n.max():,}): {induction}",
        f"The heads of the last layer have a mean {SCORES[circuit.induction].name} of {deepest.value.mean():.2f} "
        f"({deepest.value.min():.2f} to {deepest.value.max():.2f}) at the peak and {now.value.mean():.2f} "
        f"({now.value.min():.2f} to {now.value.max():.2f}) at the end; uniform attention has "
        f"{deepest.uniform.iloc[0]:.2f}.",
        "At the peak: " + _named(attention, circuit.previous, peak, "previous-token head", untrained),
        *_attributed(contrast, peak, last),
        *(_through_the_match(attention, peak, untrained) if circuit.match == "query_to_match" else []),
    ]


def _attributed(contrast: pd.DataFrame, peak: int, last: int) -> list[str]:
    if not len(contrast):
        return []
    added = contrast[contrast.layer == contrast.layer.max()].groupby("step").value.sum()
    return [
        f"The last layer's heads together add {added.loc[peak]:+.2f} logits to the in-context label over the "
        f"in-weights one at the peak, and {added.loc[last]:+.2f} at the end."
    ]


def _named(table: pd.DataFrame, metric: str, step: int, what: str, untrained: dict[str, float]) -> str:
    """The strongest head of a kind, its baselines and how many others there are; or that no head is one."""
    rows, found = _at(table, metric, step), standing_out(table, metric, step, untrained)
    name = SCORES[metric].name
    highest = rows.sort_values("value").iloc[-1]
    level = f"uniform attention has {highest.uniform:.2f}, the highest of the untrained heads {untrained[metric]:.2f}"
    if not len(found):
        return (
            f"no head is called {'an' if what[0] in 'aeiou' else 'a'} {what}: the highest {name} is "
            f"{_value(highest)} (L{highest.layer}H{highest['head']}), and {level}."
        )
    best = found.iloc[0]
    return (
        f"the strongest {what} is L{best.layer}H{best['head']} ({name} {_value(best)}); {level}. "
        f"{len(found)} of {len(rows)} heads are above both (95% intervals for all {len(rows)} together)."
    )


def _through_the_match(table: pd.DataFrame, peak: int, untrained: dict[str, float]) -> list[str]:
    """The other circuit: heads before the last layer that find the matching exemplar itself."""
    before = table[table.layer < table.layer.max()]
    found = standing_out(before, "query_to_match", peak, untrained)
    if not len(found):
        return []
    best = found.iloc[0]
    text = (
        f"Before the last layer, the query finds the matching exemplar best through L{best.layer}H{best['head']} "
        f"({_value(best)} of its attention; uniform attention has {best.uniform:.2f}, the "
        f"highest of the untrained heads {untrained['query_to_match']:.2f})."
    )
    if not len(standing_out(before, "label_to_exemplar", peak, untrained)):
        text += (
            " Since no head there is a previous-token head, this may be the circuit: the query learns where its "
            "match stands, and the last layer goes to the label next to it."
        )
    return [text]


def _value(row: pd.Series) -> str:
    return f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]"


def _at(table: pd.DataFrame, metric: str, step: int) -> pd.DataFrame:
    return table[(table.metric == metric) & (table.step == step)]
