"""Numbers to what the page's script writes: short texts and places, as plain JSON.

The script sets text content and nothing else, so a name from a run is text whatever is in it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from mechicl.app.compare import Comparison
from mechicl.app.figures import two_timelines
from mechicl.app.heads import MEASURES, Scale
from mechicl.app.inside import Attention, Logits
from mechicl.app.runs import Run
from mechicl.app.sequence import MARKS, Answers, Token
from mechicl.app.state import Head, View
from mechicl.app.texts import interval, plain, signed
from mechicl.app.view import Chunk, Effect, Number
from mechicl.figures.style import DIVERGING, NAMES, SEQUENTIAL

_SHADES = 101


def place(step: int, run: Run) -> dict[str, Any]:
    """Where a checkpoint is in training, in words."""
    at = run.steps.index(step)
    return {"step": step, "index": at, "text": f"step {step:,}", "sequences": f"{run.series.sequences(step):,}",
            "of": f"checkpoint {at + 1:,} of {len(run.steps):,}"}  # fmt: skip


def effect_rows(effects: list[Effect]) -> dict[str, dict[str, Any]]:
    """evaluator -> the texts of its row and, in percent of the scale, where its marks go."""
    out = {}
    for e in effects:
        row: dict[str, Any] = {
            "intact": plain(e.intact.value), "intact_ci": interval(e.intact), "n": f"{e.intact.n:,}",
            "ablated": "–", "ablated_ci": "", "change": "–", "change_ci": "",
        }  # fmt: skip
        bars = {"intact": _bar(e.intact)}
        if e.ablated is not None and e.change is not None:
            row |= {"ablated": plain(e.ablated.value), "ablated_ci": interval(e.ablated),
                    "change": signed(e.change.value), "change_ci": interval(e.change, sign=True),
                    "clear": e.change.low > 0 or e.change.high < 0}  # fmt: skip
            bars["ablated"] = _bar(e.ablated)
        out[e.evaluator] = row | {"bars": bars}
    return out


def _bar(number: Number) -> list[float]:
    return [round(100 * x, 2) for x in (number.value, number.low, number.high)]


def head_cells(values: dict[Head, Number], view: View, layers: int, heads: int) -> list[dict[str, Any]]:
    """One entry per head of the grid: its text, its colours, and a sentence for a tooltip."""
    scale = MEASURES[view.measure]
    cells = []
    for head in ((la, h) for la in range(layers) for h in range(heads)):
        number = values.get(head)
        name = f"L{head[0]}H{head[1]}"
        if number is None:
            cells.append({"head": f"{head[0]}.{head[1]}", "text": "–", "ground": "", "ink": "",
                          "says": f"{name}: {scale.name} is not defined on {view.evaluator} sequences"})  # fmt: skip
            continue
        ground, ink = shade(number.value, scale)
        write = signed if scale.diverging else plain
        says = f"{name}: {scale.name} {write(number.value)} {interval(number, sign=scale.diverging)} {scale.unit}, "
        cells.append({"head": f"{head[0]}.{head[1]}", "text": write(number.value, 2), "ground": ground, "ink": ink,
                      "says": says + f"n = {number.n:,}"})  # fmt: skip
    return cells


def shade(value: float, scale: Scale) -> tuple[str, str]:
    """(ground, ink) of a value: the scale's colour, and black or white, whichever reads better."""
    low, high = scale.limits
    at = (value - low) / (high - low)
    return _shades(DIVERGING if scale.diverging else SEQUENTIAL)[round(min(max(at, 0.0), 1.0) * (_SHADES - 1))]


@cache
def _shades(colorscale: str) -> list[tuple[str, str]]:
    out = []
    for text in sample_colorscale(colorscale, np.linspace(0, 1, _SHADES).tolist()):
        r, g, b = (float(x) for x in str(text).removeprefix("rgb(").removesuffix(")").split(","))
        linear = [(c / 255) ** 2.2 for c in (r, g, b)]
        light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        out.append((f"rgb({r:.0f},{g:.0f},{b:.0f})", "#111" if light > 0.26 else "#fff"))
    return out


def gradient(scale: Scale) -> str:
    """The measure's colours as a CSS gradient, left to right."""
    shades = _shades(DIVERGING if scale.diverging else SEQUENTIAL)
    return "linear-gradient(to right," + ",".join(ground for ground, _ in shades[::10]) + ")"


def curve_points(chunk: Chunk) -> dict[str, Any]:
    """A piece of an ablated curve for the page to add to the figure."""
    return {
        "next": chunk.next, "total": chunk.total, "unreadable": chunk.unreadable,
        "steps": [p[0] for p in chunk.points],
        "sequences": [p[1] for p in chunk.points],
        "values": {k: [round(p[2][k], 5) for p in chunk.points] for k in (chunk.points[0][2] if chunk.points else {})},
    }  # fmt: skip


def _thousandths(x: np.ndarray | None) -> list | None:
    return None if x is None else (np.round(x, 3) * 1000).astype(int).tolist()


def _colours() -> dict[str, list[str]]:
    """What patterns are drawn in: 101 shades each of 0 to 1 and of -1 to 1."""
    return {"sequential": [s[0] for s in _shades(SEQUENTIAL)], "diverging": [s[0] for s in _shades(DIVERGING)]}


def attention_cells(found: Attention, right: Answers | None) -> dict[str, Any]:
    """Patterns in thousandths, row by row, for the page to draw; the sequence's tokens and answers."""
    aligned = any(t.text == "match" for t in found.tokens)  # not a class's name: those begin with 'class'
    return {
        "what": found.what + (" that show the matching pair first" if right is None and aligned else ""),
        "tokens": [token(t) for t in found.tokens],
        "answers": [] if right is None else [
            [mark, "is not in the context" if label is None else f"label {label}"]
            for mark, label in zip(MARKS, (right.true, right.in_context, right.in_weights), strict=True)],
        "intact": _thousandths(found.intact), "ablated": _thousandths(found.ablated),
    } | _colours()  # fmt: skip


def token(t: Token) -> dict[str, Any]:
    return {"name": t.name, "text": t.text, "marks": list(t.marks), "match": t.match, "image": t.image,
            "label": t.label is not None}  # fmt: skip


def label_rows(found: Logits) -> list[dict[str, Any]]:
    """The labels in play, winner first, with their probabilities in the full vocabulary."""
    rows = []
    for i, (label, marks) in enumerate(zip(found.labels, found.marks, strict=True)):
        row: dict[str, Any] = {"label": label, "marks": list(marks)}
        for key, logit, p in (("intact", found.intact, found.probability),
                              ("ablated", found.ablated, found.probability_ablated)):  # fmt: skip
            if logit is not None:
                total = signed(float(logit[:, i].sum()), 2)
                row[key] = {"logit": total, "p": None if p is None else plain(float(p[i])),
                            "share": 0 if p is None else round(100 * float(p[i]), 1)}  # fmt: skip
        rows.append(row)
    return rows


def comparison(found: Comparison, view: View) -> dict[str, Any]:
    """Both sides' numbers and grids as texts, the figure of their curves, and the second run's
    checkpoints for its slider."""
    sides = []
    for side in (found.a, found.b):
        model = side.run.series.config.model
        sides.append({
            "run": side.run.series.name, "place": place(side.step, side.run), "note": side.note,
            "layers": model.n_layers, "heads": model.n_heads,
            "cells": head_cells(side.heads, view, model.n_layers, model.n_heads),
            "numbers": {k: [plain(n.value), interval(n), f"{n.n:,}"] for k, n in side.numbers.items()},
            "patterns": _thousandths(side.patterns), "what": side.attention.what,
            "tokens": [token(t) for t in side.attention.tokens],
        })  # fmt: skip
    at = (found.a.step, found.b.step)
    figure = two_timelines(found.a.run, found.b.run, view.unit, view.axis, at)
    return {
        "sides": sides, "steps": found.b.run.steps, "paired": found.same_sequences, "aligned": found.aligned,
        "chosen": view.sequence is not None, "ablated": view.ablation is not None,
        "sequences": [found.b.run.series.sequences(s) for s in found.b.run.steps],
        "difference": {k: [signed(n.value), interval(n, sign=True)] for k, n in found.difference.items()},
        "names": {k: NAMES[k] for k in found.difference}, "measure": MEASURES[view.measure].name,
        "figure": figure.to_plotly_json(),
    } | _colours()  # fmt: skip
