"""Which parts of ICL's peak bring it back later, which later parts end it at its peak, and when?

    halves   the first half of each step with the second half of the end, the peak, or a step before
             ICL, and the reverse
    back     parts of the peak in each later checkpoint: are they enough? Control: the same parts from
             before ICL
    late     parts of each later checkpoint in the peak's model: are they enough to end ICL? Control:
             of checkpoints back to before ICL, which do not fit the peak's model better

A part (or several together) *starts to matter* at the first checkpoint from the peak on at which, there and at the next
checkpoint, it moves accuracy by at least MATTERS (n = 1000: five standard errors of one accuracy
at .5). 'back' counts only where ICL and Flip both rise, since Flip alone also rises where
in-weights answers are damaged (docs/references.md#flip-alone); it is reported with the best rise that it reaches.
'late' is given for ICL and Flip on their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from analyses.circuits.moments import Moments
from mechicl.config import ModelConfig
from mechicl.measures.grafts import Graft, evaluate_grafts, first_half, second_half
from mechicl.measures.paired_effects import effects
from mechicl.series import Series

MATTERS = 0.1
EVALUATORS = ("icl", "flip", "ciwl", "iwl")


def parts(model: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Name -> what is grafted together: each part of each layer, then what the first half is made of."""
    layers, lower = range(model.n_layers), range(model.n_layers - 1)
    encoder, positions = model.encoder == "conv", model.positions == "learned"
    tables = (
        "embeddings",
        *(["encoder"] if encoder else []),
        "exemplar_embed",
        "embed",
        *(["pos_embed"] if positions else []),
    )
    single = [*tables, *(f"{half}.{la}" for la in layers for half in ("qk", "ov"))]
    single += [*(f"mlp.{la}" for la in layers if model.has_mlp(la)), "qk", "ov", "unembedding"]
    together = [("embeddings", *(f"{half}.{la}" for la in lower)) for half in ("qk", "ov")] if len(lower) else []
    return {" + ".join(names): names for names in [*((name,) for name in single), *together, first_half(model)]}


def half_grafts(model: ModelConfig, at: Moments) -> dict[str, Graft]:
    """Condition -> graft into each step: '<half> from the <moment>'."""
    halves = {"first half": first_half(model), "second half": second_half(model)}
    return {
        f"{name} from {_moment(when)}": Graft(parts=half, source=getattr(at, when))
        for when in ("end", "peak", "before")
        for name, half in halves.items()
    }


def part_grafts(model: ModelConfig, at: Moments) -> dict[str, Graft]:
    """Condition -> graft into each step: 'back P', 'control P', 'late P'."""
    out: dict[str, Graft] = {}
    for name, taken in parts(model).items():
        out[f"back {name}"] = Graft(parts=taken, source=at.peak)
        out[f"control {name}"] = Graft(parts=taken, source=at.before)
        out[f"late {name}"] = Graft(parts=taken, source=at.peak, rest=True)
    return out


def _moment(when: str) -> str:
    return {"end": "the end", "peak": "the peak", "before": "before ICL"}[when]


def measured(series: Series, grafts: dict[str, Graft], steps: list[int], progress: bool) -> pd.DataFrame:
    """The graft table, one copy of rows per condition; columns condition, and effect: grafted minus
    intact host."""
    distinct = list(dict.fromkeys(grafts.values()))
    table = evaluate_grafts(series, distinct, steps, EVALUATORS, metrics=None, progress=progress)
    changes = effects(table)
    rows = [changes[changes.intervention == str(graft)].assign(condition=name) for name, graft in grafts.items()]
    intact = table[table.intervention == "intact"].assign(condition="intact", effect=0.0)
    return pd.concat([intact, *rows], ignore_index=True)


def wide(table: pd.DataFrame, condition: str, value: str = "value") -> pd.DataFrame:
    """One condition as steps x evaluators."""
    return table[table.condition == condition].pivot(index="step", columns="evaluator", values=value)


def change_times(table: pd.DataFrame, at: Moments, names: Iterable[str]) -> list[dict[str, Any]]:
    """When each part starts to matter, by the module's rule.

    Returns:
        Rows metric 'matters_from' (value in steps, NaN: never) and 'largest' (the largest change, and its
        step), intervention 'back P', 'control P' or 'late P'; evaluator 'icl & flip' for the first two.
    """
    at_peak, table, out = wide(table, "intact").loc[at.peak], table[table.step >= at.peak], []
    for part in names:
        for kind in ("back", "control"):
            rise = wide(table, f"{kind} {part}", "effect")
            out += _times(f"{kind} {part}", "icl & flip", rise[["icl", "flip"]].min(axis=1), at)
        fall = at_peak - wide(table, f"late {part}")
        for evaluator in ("icl", "flip"):
            out += _times(f"late {part}", evaluator, fall[evaluator], at)
    return out


def _times(name: str, evaluator: str, moved: pd.Series, at: Moments) -> list[dict[str, Any]]:
    first = first_lasting(moved)
    named = {"intervention": name, "evaluator": evaluator, "baseline": f"step {at.peak}", "n": len(moved)}
    return [
        named | {"step": at.peak, "metric": "matters_from", "value": float("nan") if first is None else first},
        named
        | {
            "step": int(moved.index.to_numpy()[moved.to_numpy().argmax()]),
            "metric": "largest",
            "value": float(moved.max()),
        },
    ]


def first_lasting(moved: pd.Series, level: float = MATTERS) -> int | None:
    """The first index at which, and at the next one, the values are at least `level`."""
    over = (moved >= level).to_numpy()
    both = (over[:-1] & over[1:]).nonzero()[0]
    return int(moved.index.to_numpy()[both[0]]) if len(both) else None
