"""What analyses/circuits found, in sentences with numbers."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analyses.circuits.grafts import MATTERS, parts, wide
from analyses.circuits.moments import Moments
from analyses.controls import spread
from mechicl.figures.style import short
from mechicl.series import Series

_NAMES = {"icl": "ICL", "flip": "Flip", "ciwl": "CIWL", "iwl": "IWL"}


def sentences(series: Series, at: Moments, table: pd.DataFrame) -> list[str]:
    """The findings, or first that ICL never formed."""
    topics = {str(name): rows for name, rows in table.groupby("topic")}
    n = int(topics["crossed"].n.max())
    before, peak, end = (short(series.sequences_seen(s)) for s in (at.before, at.peak, at.end))
    what = {"flip": "Flip's peak", "icl": "ICL's peak; Flip never formed"}.get(at.formed or "")
    first = f"Compared: {peak} sequences ({what}), {end} (the end), {before} (before ICL); n = {n:,} per evaluator."
    if what is None:
        first = f"ICL never formed in this run (Flip too is within .1 of chance); 'peak' stands for {peak} sequences."
    return [
        first,
        *_heads(topics["correlations"]),
        *_crossed(topics["crossed"], at),
        *(_mlps(topics["mlps"], at) if "mlps" in topics else []),
        _overlaps(topics["subspaces"], "heads of the last layer write", at),
        *([_overlaps(topics[x], "MLP of the last layer writes", at)] if (x := "mlp_subspaces") in topics else []),
        *_removal(topics["removal"], at),
        *_halves(topics["halves"], at),
        *_parts(series, topics["parts"], topics["times"], at),
    ]


def _values(table: pd.DataFrame, key: list[str]) -> dict[tuple[Any, ...], float]:
    return dict(zip(table[key].itertuples(index=False, name=None), table.value.astype(float), strict=True))


def _heads(table: pd.DataFrame) -> list[str]:
    found = _values(table, ["evaluator", "baseline", "metric"])

    def said(a: str, b: str) -> str:
        rho = found[a, b, "rank_correlation"]
        return f"ρ = {rho:+.2f} (p = {found[a, b, 'p_value']:.3f})" if not math.isnan(rho) else "no ρ (no head matters)"

    flip, ciwl, iwl = "flip at the peak", "ciwl at the end", "iwl at the end"
    return [
        f"Over {int(table.n.max())} heads, ranked within layers, effects of ablating one on Flip at the peak correlate "
        f"with those on CIWL at the end by {said(flip, ciwl)}, on IWL at the end by {said(flip, iwl)} and on CIWL at "
        f"the peak by {said(flip, 'ciwl at the peak')}. Ceilings, each with itself on other sequences: Flip "
        f"{said(flip, flip)}, CIWL {said(ciwl, ciwl)}, IWL {said(iwl, iwl)}."
    ]


def _crossed(table: pd.DataFrame, at: Moments) -> list[str]:
    heads = {c: rows.intervention.iloc[0].removeprefix("zero ") for c, rows in table.groupby("condition")}
    shared = set(heads["ICL heads"].split()) & set(heads["CIWL heads"].split())
    lines = [
        f"ICL's heads (chosen at the peak) are {heads['ICL heads']}, CIWL's (at the end) {heads['CIWL heads']}: "
        f"{len(shared)} in common."
    ]
    for name, step in (("the peak", at.peak), ("the end", at.end)):
        each = []
        for evaluator, label in _NAMES.items():
            rows = table[(table.step == step) & (table.evaluator == evaluator)]
            values = {str(c): found.value.astype(float) for c, found in rows.groupby("condition")}
            without = [
                f"{values[f'{x} heads'].item():.3f} without {x}'s, others "
                + spread(values.get(f"random for {x} heads", pd.Series(dtype=float)))
                for x in ("ICL", "CIWL")
            ]
            each.append(f"{label} {values['intact'].item():.3f} → " + ", ".join(without))
        lines.append(f"Heads out at {name}, or as many others of the same layers: " + "; ".join(each) + ".")
    return lines


def _mlps(table: pd.DataFrame, at: Moments) -> list[str]:
    found = _values(table, ["step", "intervention", "evaluator"])
    lines = []
    for layer in sorted(table.layer.dropna().unique()):
        for name, step in (("the peak", at.peak), ("the end", at.end)):
            each = [
                f"{label} {found[step, 'intact', e]:.3f} → {found[step, f'mean L{layer} MLP', e]:.3f} "
                f"({found[step, f'zero L{layer} MLP', e]:.3f} with nothing)"
                for e, label in _NAMES.items()
            ]
            lines.append(f"With its mean in place of the MLP of layer {layer} at {name}: " + "; ".join(each) + ".")
    return lines


def _overlaps(table: pd.DataFrame, writes: str, at: Moments) -> str:
    rows = table[table["head"].isna() & (table.metric == "overlap")]
    found = {(r.step, r.evaluator, r.baseline): r for r in rows.itertuples()}
    first = found[int(rows.step.min()), "flip", "ciwl"]

    def said(step: int, a: str, b: str) -> str:
        row = found[step, a, b]
        return f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]"

    return (
        f"What the {writes} for ICL and for CIWL at the query overlaps by {said(at.peak, 'flip', 'ciwl')} at "
        f"the peak and {said(at.end, 'flip', 'ciwl')} at the end (mean squared cosine of principal angles). Two halves "
        f"of the same sequences overlap by {found[at.peak, 'flip', 'other half'].value:.2f} (ICL) and "
        f"{found[at.peak, 'ciwl', 'other half'].value:.2f} (CIWL) at the peak, random subspaces by "
        f"{found[at.peak, '', 'random'].value:.2f}; before any of it was learned (first checkpoint) ICL's and CIWL's "
        f"overlap by {first.value:.2f}."
    )


def _removal(removal: pd.DataFrame, at: Moments) -> list[str]:
    lines = []
    gone = removal[removal.baseline != ""].baseline.iloc[0]
    for name, step in (("the peak", at.peak), ("the end", at.end)):
        now = removal[removal.step == step].pivot(index="intervention", columns="evaluator", values="value")
        random = now[now.index.str.startswith("without random")]
        each = [
            f"{label} {now.loc['intact', e]:.3f} → {now.loc['without flip', e]:.3f} without ICL's, "
            f"{now.loc['without ciwl', e]:.3f} without CIWL's, without random ones " + spread(random[e], "draws")
            for e, label in _NAMES.items()
        ]
        lines.append(f"With {gone} taken from what its heads can write at {name}: " + "; ".join(each) + ".")
    return lines


def _halves(table: pd.DataFrame, at: Moments) -> list[str]:
    intact = wide(table, "intact")
    after = intact.index >= at.peak
    lines = []
    for half, other in (("second", "first"), ("first", "second")):
        off = (wide(table, f"{half} half from the end") - intact)[after].abs().mean()
        lines.append(
            f"The {other} half of each step from the peak on with the {half} half of the end differs from the intact "
            f"step by {off['flip']:.3f} in Flip, {off['icl']:.3f} in ICL and {off['ciwl']:.3f} in CIWL "
            f"(means over {int(after.sum())} checkpoints)."
        )
    said, end = [], intact.loc[at.end]
    for half in ("first", "second"):
        now, then = (wide(table, f"{half} half from {m}").loc[at.end] for m in ("the peak", "before ICL"))
        said.append(
            f"with the {half} half of the peak {now['icl']:.3f} and {now['flip']:.3f} (of before ICL: "
            f"{then['icl']:.3f} and {then['flip']:.3f})"
        )
    last = f"The last checkpoint has ICL {end['icl']:.3f} and Flip {end['flip']:.3f}, " + ", ".join(said) + "."
    return [*lines, last]


def _parts(series: Series, table: pd.DataFrame, times: pd.DataFrame, at: Moments) -> list[str]:
    found = _values(times, ["intervention", "evaluator", "metric"])

    def when(name: str, evaluator: str) -> str:
        step = found[name, evaluator, "matters_from"]
        return "never" if math.isnan(step) else f"from {short(series.sequences_seen(int(step)))}"

    def swapped(part: str) -> str:
        end, before = (wide(table, f"late {part}").loc[step] for step in (at.end, at.before))
        said = (f"{x['icl']:.2f} / {x['flip']:.2f} / {x['ciwl']:.2f}" for x in (end, before))
        return f"{part} {next(said)} (of before ICL: {next(said)})"

    names, both = list(parts(series.config.model)), "icl & flip"
    back = [
        f"{p} {when(f'back {p}', both)} (largest {found[f'back {p}', both, 'largest']:+.2f}, control "
        f"{found[f'control {p}', both, 'largest']:+.2f})"
        for p in names
    ]
    late = [f"{p} {when(f'late {p}', 'icl')} / {when(f'late {p}', 'flip')}" for p in names]
    n = int(times.n.max())
    return [
        f"Parts of the peak that, in a later checkpoint, raise ICL and Flip both by {MATTERS} or more: "
        + "; ".join(back)
        + f" ({n} checkpoints).",
        f"Parts of a later checkpoint that cost the peak's model {MATTERS} or more of ICL / of Flip: "
        + "; ".join(late)
        + f" ({n} checkpoints).",
        "The peak's model with parts of the end has ICL / Flip / CIWL: " + "; ".join(map(swapped, names)) + ".",
    ]
