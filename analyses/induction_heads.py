"""Which heads form the induction circuit, when, and what becomes of them?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analyses.findings import Findings
from mechicl.figures.heatmaps import heads_by_time
from mechicl.figures.style import short
from mechicl.measures.attention import attention_scores
from mechicl.measures.attribution import logit_attribution
from mechicl.measures.phases import series_phases
from mechicl.series import Series

QUESTION = (__doc__ or "").strip()


def run(series: Series, progress: bool = True) -> Findings:
    """Previous-token score, induction strength and direct logit attribution per head and step.

    Attention on the flip and icl evaluators (science.md 4.2); attribution on flip, where the
    in-context and the in-weights answer are the two labels of the context.
    """
    attention = attention_scores(series, progress=progress)
    logits = logit_attribution(series, progress=progress)
    on_flip = attention[attention.evaluator == "flip"]
    heads = logits[(logits.evaluator == "flip") & logits["head"].notna()]
    contrast = _contrast(heads)
    limit = float(np.ceil(contrast.value.abs().max())) or 1.0
    figures = {
        "induction_strength": heads_by_time(
            on_flip[on_flip.metric == "induction_strength"], "Induction strength",
            "attention from the query to the matching exemplar's label, minus to the other (flip); "
            "above 0: follows the context; below: follows the weights", colorbar="strength"),
        "previous_token": heads_by_time(
            on_flip[on_flip.metric == "label_to_exemplar"], "Previous-token score at labels",
            "attention from a label to the exemplar before it (flip)", limits=(0, 1), colorbar="attention"),
        "query_to_match": heads_by_time(
            on_flip[on_flip.metric == "query_to_match"], "Attention from the query to the matching exemplar",
            "the other way to find the label: the query finds its match, and the next layer follows its position "
            "(flip)", limits=(0, 1), colorbar="attention"),
        "attribution": heads_by_time(
            contrast, "Direct logit attribution on flip",
            "what a head adds to the in-context label's logit, minus to the in-weights label's",
            limits=(-limit, limit), colorbar="logits", meaning="logit"),
    }  # fmt: skip
    table = pd.concat([attention, logits], ignore_index=True)
    return Findings("induction_heads", QUESTION, _text(series, on_flip, contrast), table, figures)


def _contrast(heads: pd.DataFrame) -> pd.DataFrame:
    """Per step and head: logit_in_context - logit_in_weights."""
    key = ["step", "sequences", "layer", "head"]
    wide = heads.pivot_table(index=key, columns="metric", values="value")
    return (wide.logit_in_context - wide.logit_in_weights).rename("value").reset_index()


def _text(series: Series, attention: pd.DataFrame, contrast: pd.DataFrame) -> list[str]:
    phases = series_phases(series)
    if phases["flip"].peak is None:
        return ["ICL never formed in this run (Flip stays within .1 of chance): no head is called part of its circuit."]
    peak, last = series.step_at(phases["flip"].peak), series.end
    strength = _at(attention, "induction_strength", peak).sort_values("value", ascending=False)
    previous = _at(attention, "label_to_exemplar", peak).sort_values("value", ascending=False)
    matching = _at(attention[attention.layer == 0], "query_to_match", peak).sort_values("value").iloc[-1]
    top, then = strength.iloc[0], _at(attention, "induction_strength", last)
    same = then[(then.layer == top.layer) & (then["head"] == top["head"])].iloc[0]
    deepest = strength[strength.layer == strength.layer.max()]
    now = then[then.layer == then.layer.max()]
    added = contrast[contrast.layer == contrast.layer.max()].groupby("step").value.sum()
    return [
        f"At Flip's peak ({short(series.sequences(peak))} sequences) the strongest induction head is "
        f"L{top.layer}H{top['head']}: strength {top.value:.2f} [{top.ci_low:.2f}, {top.ci_high:.2f}], n = {top.n:,}; "
        f"at the end it is {same.value:.2f} [{same.ci_low:.2f}, {same.ci_high:.2f}].",
        f"The heads of the last layer move together: mean strength {deepest.value.mean():.2f} "
        f"(range {deepest.value.min():.2f} to {deepest.value.max():.2f}) at the peak, {now.value.mean():.2f} "
        f"({now.value.min():.2f} to {now.value.max():.2f}) at the end.",
        f"The strongest previous-token head at the peak is L{previous.iloc[0].layer}H{previous.iloc[0]['head']} "
        f"({previous.iloc[0].value:.2f} at label positions), then L{previous.iloc[1].layer}"
        f"H{previous.iloc[1]['head']} ({previous.iloc[1].value:.2f}).",
        f"The last layer's heads together add {added.loc[peak]:+.2f} logits to the in-context label over the "
        f"in-weights one at the peak, and {added.loc[last]:+.2f} at the end.",
        f"Before the last layer, the query finds the matching exemplar best through L0H{matching['head']} "
        f"({matching.value:.2f} of its attention). Where no label attends to the exemplar before it, this is the "
        "circuit: the query learns where its match stands, and the last layer goes to the label next to it.",
    ]


def _at(table: pd.DataFrame, metric: str, step: int) -> pd.DataFrame:
    return table[(table.metric == metric) & (table.step == step)]
