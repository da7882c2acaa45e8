"""Do the heads that ICL needs at its peak and those that in-weights answers need overlap?

Every head is zero-ablated alone. Its effects on Flip at the peak and on CIWL (or IWL) later are
correlated by rank within layers, so that a layer which matters more to both is no overlap of
heads. The ceiling is an evaluator with itself on other sequences (split 1). Then the quarter of the
heads that each needs most, chosen on split 1, is taken out at every step (split 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analyses.circuits.moments import Moments
from analyses.controls import random_sets
from analyses.head_ablations import costly_heads
from mechicl.interventions import AblateHeads, every_head
from mechicl.measures.ablation import evaluate
from mechicl.measures.paired_effects import effects
from mechicl.series import Series

SHOWN = ("icl", "flip", "ciwl", "iwl")
PERMUTATIONS = 9999
PAIRS = (  # (evaluator, moment) of one side, of the other; the same twice is the ceiling
    (("flip", "peak"), ("ciwl", "end")),
    (("flip", "peak"), ("iwl", "end")),
    (("flip", "peak"), ("ciwl", "peak")),
    (("flip", "peak"), ("flip", "peak")),
    (("ciwl", "end"), ("ciwl", "end")),
    (("iwl", "end"), ("iwl", "end")),
)


def single_effects(series: Series, at: Moments) -> pd.DataFrame:
    """Ablated minus intact of every head alone, at the peak and the end; column split: 0 or 1."""
    parts = []
    for split in (0, 1):
        table = evaluate(
            series, sorted({at.peak, at.end}), SHOWN, every_head(series.config.model), metrics=None, split=split
        )
        parts.append(effects(table).assign(split=split))
    return pd.concat(parts, ignore_index=True)


def correlations(single: pd.DataFrame, at: Moments) -> list[dict[str, Any]]:
    """Rows metric 'rank_correlation' (value) and 'p_value' for each of PAIRS; n counts heads."""
    out = []
    for (left, when), (right, then) in PAIRS:
        x = _effects_of(single, left, getattr(at, when), 0)
        y = _effects_of(single, right, getattr(at, then), int((left, when) == (right, then)))
        rho, p = rank_correlation(x.to_numpy(), y.to_numpy(), x.index.get_level_values("layer").to_numpy())
        named = {
            "step": getattr(at, then),
            "evaluator": f"{left} at the {when}",
            "baseline": f"{right} at the {then}",
            "n": len(x),
        }
        out += [named | {"metric": "rank_correlation", "value": rho}, named | {"metric": "p_value", "value": p}]
    return out


def _effects_of(single: pd.DataFrame, evaluator: str, step: int, split: int) -> pd.Series:
    rows = single[(single.evaluator == evaluator) & (single.step == step) & (single.split == split)]
    return rows.set_index(["layer", "head"])["effect"].sort_index()


def rank_correlation(x: np.ndarray, y: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    """Spearman's rho within strata (ranks are taken in each, and centred), and its two-sided p from
    PERMUTATIONS of y within strata. NaN where one side is constant in each."""
    places = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    left, right = (_centred_ranks(values, places) for values in (x, y))
    scale = np.sqrt((left**2).sum() * (right**2).sum())
    if scale == 0:
        return float("nan"), float("nan")
    rng, shuffled = np.random.default_rng(0), np.tile(right, (PERMUTATIONS, 1))
    for where in places:
        shuffled[:, where] = rng.permuted(shuffled[:, where], axis=1)
    beyond = np.abs(shuffled @ left) >= np.abs(right @ left) - 1e-9
    return float(right @ left / scale), float((1 + beyond.sum()) / (1 + PERMUTATIONS))


def _centred_ranks(values: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    out = np.zeros(len(values))
    for where in places:
        ranks = rankdata(values[where])
        out[where] = ranks - ranks.mean()
    return out


def crossed(series: Series, at: Moments, steps: list[int], progress: bool) -> pd.DataFrame:
    """Both groups, and for each as many random others of the same layers, taken out at every step; column
    condition: 'intact', 'ICL heads', 'CIWL heads', 'random for ICL heads' or 'random for CIWL heads'."""
    groups = {
        "ICL heads": costly_heads(series, at.peak, at.formed or "flip"),
        "CIWL heads": costly_heads(series, at.end, "ciwl"),
    }
    conditions = {name: [AblateHeads(heads=heads)] for name, heads in groups.items()}
    conditions |= {f"random for {name}": random_sets(series.config.model, heads) for name, heads in groups.items()}
    distinct = list(dict.fromkeys(c for listed in conditions.values() for c in listed))
    table = evaluate(series, steps, SHOWN, distinct, metrics=None, progress=progress)
    named = {"intact": ["intact"]} | {name: list(map(str, listed)) for name, listed in conditions.items()}
    parts = [table[table.intervention.isin(texts)].assign(condition=name) for name, texts in named.items()]
    return pd.concat(parts, ignore_index=True)
