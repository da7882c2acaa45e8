"""The sequences that an exported page ships: as arrays that its model runs on, and as something to look at."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from torch import Tensor

from mechicl.errors import ConfigError
from mechicl.evaluators import chance
from mechicl.measures.phases import leading_phases, series_phases
from mechicl.page import payloads
from mechicl.protocol.batch import TaskBatch
from mechicl.protocol.shipped import Shipped
from mechicl.protocol.shown import Token
from mechicl.registry import EVALUATORS, on_page, span
from mechicl.series import Series

LOOKED_AT = 200  # sequences of each evaluator whose tokens are shipped


def shown_sets(series: Series, n: int | None) -> dict[str, TaskBatch]:
    """The evaluation sets of the evaluators that the page has.

    Raises:
        ConfigError: the run has none of them.
    """
    names = [name for name in on_page() if EVALUATORS[name].asked_of(series.config)]
    if not names:
        raise ConfigError(f"{series.name} has no evaluator that a page shows.")
    return {name: series.evaluation_set(name, n) for name in names}


def shipped_sets(series: Series, sets: dict[str, TaskBatch]) -> dict[str, Shipped]:
    """The same as plain arrays.

    Raises:
        ConfigError: the task has no such arrays (`TaskBatch.shipped`), or not all sets have as many positions.
    """
    model = series.config.model
    found = {name: batch.shipped(model, EVALUATORS[name].primary_metric) for name, batch in sets.items()}
    lengths = {name: each.tokens.shape[-1] for name, each in found.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(
            f"sequences of the evaluators have different numbers of positions ({lengths}), but the exported page has "
            "one for all. `mechicl report` writes a page of any run."
        )
    return found


def evaluators(series: Series, sets: dict[str, TaskBatch], shipped: dict[str, Shipped]) -> list[dict[str, Any]]:
    """Everything that the page says of each evaluator, as plain data."""
    return [
        {
            "name": name,
            "short": EVALUATORS[name].short,
            "label": EVALUATORS[name].label,
            "meaning": EVALUATORS[name].meaning,
            "explained": EVALUATORS[name].explained,
            "favours": EVALUATORS[name].favours,
            "colour": EVALUATORS[name].colour,
            "symbol": EVALUATORS[name].symbol,
            "sign": EVALUATORS[name].sign,
            "quantity": EVALUATORS[name].quantity,
            "metric": (metric := EVALUATORS[name].primary_metric),
            "chance": (guessing := chance(name, batch, series.task.n_outputs)[metric]),
            "curve": (curve := _curve(series, name, metric)),
            "span": span(name, [guessing, *curve["value"]]),
            "set": _arrays(shipped[name]),
            "look": _look(series, name, batch),
        }
        for name, batch in sets.items()
    ]


def moments(series: Series) -> list[dict[str, Any]]:
    """When ICL forms, peaks and has half gone, in sequences seen: lines of the timeline."""
    led = leading_phases(series_phases(series)) if series.metrics.size else None
    if led is None:
        return []
    return [{"says": f"{led.short} {label}", "label": label, "at": at} for label, at in led.moments()]


def outputs(series: Series) -> list[str] | None:
    """What each output is called; None: by its number, which the page knows."""
    task = series.task
    names = [task.output(series.source, y) for y in range(task.n_outputs)]
    return None if names == [f"{task.answer} {y}" for y in range(task.n_outputs)] else names


def text(array: Tensor | np.ndarray, kind: str) -> str:
    """Numbers as base64 of this type, little-endian."""
    return base64.b64encode(np.ascontiguousarray(np.asarray(array)).astype(kind).tobytes()).decode()


def _arrays(sequences: Shipped) -> dict[str, Any]:
    how = sequences.scored
    whole = {key: getattr(how, key) for key in ("at", "target", "among", "outputs")}
    numbers = {key: getattr(how, key) for key in ("weight", "offset", "share", "bound")}
    return {
        "n": len(how.offset),
        "tokens": text(sequences.tokens, "<i4"),
        "shown": text(sequences.shown, "<i4"),
        "inputs": text(sequences.inputs, "<f4"),
        "how": {
            "term": how.term,
            "yes_or_no": how.yes_or_no,
            **{key: None if x is None else text(x, "<i4") for key, x in whole.items()},
            **{key: None if x is None else text(x, "<f4") for key, x in numbers.items()},
        },
    }


def _curve(series: Series, name: str, metric: str) -> dict[str, list[float]]:
    """The recorded scores over training, with their intervals."""
    if not series.metrics.size:
        return {key: [] for key in ("sequences", "value", "low", "high", "n")}
    rows = series.metrics
    rows = rows[(rows.evaluator == name) & (rows.metric == metric)]
    return {
        "sequences": rows.sequences.tolist(),
        "value": rows.value.round(5).tolist(),
        "low": rows.ci_low.round(5).tolist(),
        "high": rows.ci_high.round(5).tolist(),
        "n": rows.n.tolist(),
    }


def _look(series: Series, name: str, batch: TaskBatch) -> dict[str, Any]:
    """The first sequences token by token; the answers of each; and over which sequences an average means something."""
    task, source = series.task, series.source
    several = range(min(LOOKED_AT, len(batch)))
    tokens = [[payloads.token(t) for t in task.shown(source, name, batch, i)] for i in several]
    rows, names = task.aligned(batch)
    attributed = task.attributed(batch)
    known: dict[str, int] = {}  # many tokens are the same: each once
    places = [[known.setdefault(repr(token), len(known)) for token in row] for row in tokens]
    each = {known[repr(token)]: token for row in tokens for token in row}
    return {
        "tokens": [each[i] for i in range(len(each))],
        "sequences": places,
        "answers": [task.marked(batch, i) for i in several],
        "candidates": [
            list(dict.fromkeys(task.candidates(batch, i) or [int(c.outputs[i]) for c in attributed])) for i in several
        ],
        "aligned": text(np.array(sorted(rows)), "<i4"),
        "named": [payloads.token(Token.read(each)) for each in names],
        "what": f"mean over {len(rows):,} {name} sequences {task.alignment(batch)}".rstrip(),
        "columns": [{"name": c.name, "marks": list(c.marks), "outputs": text(c.outputs, "<i4")} for c in attributed],
    }
