"""Numbers to what the page's script writes: short texts and places, as plain JSON.

The script sets text content and nothing else, so a name from a run is text whatever is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mechicl.figures.scales import SCALES, SHADES, Meaning, colorscale, ink, shades
from mechicl.figures.style import NAMES
from mechicl.interventions import Intervention
from mechicl.measures.controls import said
from mechicl.page.compare import Comparison
from mechicl.page.heads import Grid, measures
from mechicl.page.inside import Attention, Logits
from mechicl.page.numbers import Number, percent
from mechicl.page.runs import Run
from mechicl.page.sequence import picture
from mechicl.page.state import View
from mechicl.page.texts import end, interval, plain, signed
from mechicl.page.timelines import two_timelines
from mechicl.page.view import Chunk, Controls, Effect
from mechicl.protocol.shown import Token
from mechicl.protocol.task import Task


def place(step: int, run: Run) -> dict[str, Any]:
    """Where a checkpoint is in training, in words."""
    at = run.steps.index(step)
    return {
        "step": step,
        "index": at,
        "text": f"step {step:,}",
        "sequences": f"{run.series.sequences_seen(step):,}",
        "of": f"checkpoint {at + 1:,} of {len(run.steps):,}",
    }


def effect_rows(
    effects: list[Effect], spans: Mapping[str, tuple[float, float]], done: bool = False
) -> dict[str, dict[str, Any]]:
    """evaluator -> the texts of its row and, in percent of its scale, where its marks go. spans: where each scale
    begins and ends; done: something is changed, if these sequences have it."""
    out = {}
    for e in effects:
        row: dict[str, Any] = {
            "intact": plain(e.intact.value),
            "intact_ci": interval(e.intact),
            "n": f"{e.intact.n:,}",
            "ablated": "–",
            "ablated_ci": "not in these sequences" if done else "",
            "change": "–",
            "change_ci": "",
        }
        bars = {"intact": _bar(e.intact, spans[e.evaluator])}
        if e.ablated is not None and e.change is not None:
            row |= {
                "ablated": plain(e.ablated.value),
                "ablated_ci": interval(e.ablated),
                "change": signed(e.change.value),
                "change_ci": interval(e.change, sign=True),
                "clear": e.change.low > 0 or e.change.high < 0,
            }
            bars["ablated"] = _bar(e.ablated, spans[e.evaluator])
        out[e.evaluator] = row | {"bars": bars}
    return out


def control_rows(found: Controls, done: Intervention) -> dict[str, Any]:
    """By evaluator, the range of what random others change; and what they are, in words. partial: there is more to
    ask for."""
    rows = {}
    for name, changes in found.changes.items():
        ends = dict.fromkeys(signed(x) for x in (min(changes), max(changes))) if changes else {}
        if ends:
            rows[name] = f"{'random' if len(changes) > 1 else 'the other'} {' to '.join(ends)}"
    if found.changes or found.interrupted:
        says = f"Controls: {said(done, found.others)}."
    else:
        says = "What is chosen is not in these sequences, so it has no controls."
    return {"rows": rows, "says": says, "partial": found.interrupted}


def _bar(number: Number, span: tuple[float, float]) -> list[float]:
    return [percent(x, span) for x in (number.value, number.low, number.high)]


def head_cells(grid: Grid, view: View, layers: int, heads: int) -> list[dict[str, Any]]:
    """One entry per head of the grid: its text, its colours, and a sentence for a tooltip. beside: what uniform
    attention scores; clear: whether the interval of a change excludes 0."""
    cells = []
    for head in ((la, h) for la in range(layers) for h in range(heads)):
        out = head in view.heads and not grid.measure.on_evaluator
        why = "it is ablated already" if out else f"not defined on {view.evaluator} sequences"
        cell = _cell(grid, grid.values.get(head), f"L{head[0]}H{head[1]}", why)
        cells.append(cell | {"head": f"{head[0]}.{head[1]}"})
    return cells


def mlp_cells(grid: Grid, view: View, layers: list[int]) -> list[dict[str, Any]]:
    """As `head_cells`, of the MLPs of these layers."""
    cells = []
    for layer in layers:
        why = "an MLP has none" if grid.measure.limits is not None else "this kind is only for heads"
        if layer in view.mlp and not grid.measure.on_evaluator:
            why = "it is ablated already"
        cells.append(_cell(grid, grid.mlps.get(layer), f"L{layer} MLP", why) | {"mlp": layer})
    return cells


def _cell(grid: Grid, number: Number | None, name: str, why: str) -> dict[str, Any]:
    """What a cell shows. why: there is no number, where there is none."""
    measure, write = grid.measure, (signed if grid.measure.signed else plain)
    if number is None:
        says = f"{name}: {measure.name}: {why}"
        return {"text": "–", "ground": "", "ink": "", "beside": "", "clear": False, "says": says}
    beside = "" if grid.uniform is None else write(grid.uniform, 2)
    ground, over = shade(grid.place(number.value), measure.colours)
    says = f"{name}: {measure.name} {write(number.value)} {interval(number, sign=measure.signed)} {measure.unit}, "
    says += f"n = {number.n:,}" + (f"; uniform attention: {beside}" if beside else "")
    return {
        "text": write(number.value, 2),
        "ground": ground,
        "ink": over,
        "beside": beside,
        "says": says,
        "clear": grid.uniform is None and (number.low > 0 or number.high < 0),
    }


def shade(place: float, meaning: Meaning) -> tuple[str, str]:
    """(ground, ink) at a place, 0 to 1, on a scale, for light and dark pages: a colour, and black or white,
    whichever reads better on it."""
    at = round(min(max(place, 0.0), 1.0) * (SHADES - 1))
    light, dark = shades(meaning, "light")[at], shades(meaning, "dark")[at]
    return f"light-dark({light},{dark})", f"light-dark({ink(light)},{ink(dark)})"


def scale(grid: Grid) -> dict[str, Any]:
    """The legend of a grid's colours: their ends, and what has none."""
    measure, write = grid.measure, (signed if grid.measure.signed else plain)
    none = f"no colour: {write(grid.uniform, 2)}, uniform attention" if grid.uniform is not None else ""
    if measure.limits is None:
        none = (
            "range: the largest value here and in the intact model at ICL's best checkpoint and at the end; "
            "framed: the interval excludes 0"
        )
    digits = 2 if 0 < abs(grid.high) < 0.1 or round(grid.high, 1) != grid.high else 1
    ends = [plain(x, digits) if x % 1 else end(x) for x in (grid.low, grid.high)]
    return {
        "low": ends[0],
        "high": ends[1],
        "unit": measure.unit,
        "says": none,
        "colours": [shade(grid.place(x), measure.colours)[0] for x in np.linspace(grid.low, grid.high, 13)],
    }


def colours() -> dict[str, dict[str, Any]]:
    """Every scale for the page's script: SHADES colours as CSS, for light and dark; and both as plotly takes them."""
    return {
        meaning: {
            "page": [shade(i / (SHADES - 1), meaning)[0] for i in range(SHADES)],
            "light": colorscale(meaning, "light"),
            "dark": colorscale(meaning, "dark"),
        }
        for meaning in SCALES
    }


def curve_points(chunk: Chunk) -> dict[str, Any]:
    """A piece of an ablated curve for the page to add to the figure."""
    return {
        "next": chunk.next,
        "total": chunk.total,
        "unreadable": chunk.unreadable,
        "steps": [p[0] for p in chunk.points],
        "sequences": [p[1] for p in chunk.points],
        "values": {k: [round(p[2][k], 5) for p in chunk.points] for k in (chunk.points[0][2] if chunk.points else {})},
    }


def _thousandths(x: np.ndarray | None) -> list[Any] | None:
    return None if x is None else (np.round(x, 3) * 1000).astype(int).tolist()


def attention_cells(
    found: Attention, right: dict[str, int | None], ablation: Intervention | None, task: Task
) -> dict[str, Any]:
    """Patterns in thousandths, row by row, for the page to draw; the sequence's tokens and answers. same: by
    head, why the ablation cannot change its pattern; note: what an ablation does to patterns."""
    return {
        "what": found.what,
        "tokens": [token(t) for t in found.tokens],
        "answers": [
            [mark, "is not in the context" if output is None else f"{task.answer} {output}"]
            for mark, output in right.items()
        ],
        "intact": _thousandths(found.intact),
        "ablated": _thousandths(found.ablated),
        "same": {f"{la}.{h}": why for (la, h), why in found.same.items()},
        "note": "" if ablation is None else ablation.note,
    }


def token(t: Token) -> dict[str, Any]:
    return {
        "name": t.name,
        "text": t.text,
        "marks": list(t.marks),
        "match": t.match,
        "image": None if t.picture is None else picture(t.picture),
        "label": t.output is not None,
    }


def label_rows(found: Logits) -> list[dict[str, Any]]:
    """The labels in play, winner first, with their probabilities in the full vocabulary."""
    rows = []
    for i, (label, marks) in enumerate(zip(found.labels, found.marks, strict=True)):
        row: dict[str, Any] = {"label": label, "marks": list(marks)}
        for key, logit, p in (
            ("intact", found.intact, found.probability),
            ("ablated", found.ablated, found.probability_ablated),
        ):
            if logit is not None and p is not None:
                mean, total = "mean " if found.average else "", signed(float(logit[:, i].sum()), 2)
                row[key] = {
                    "says": f"{mean}p = {plain(float(p[i]))}, {mean}logit {total}",
                    "share": round(100 * float(p[i]), 1),
                }
        rows.append(row)
    return rows


def comparison(found: Comparison, view: View) -> dict[str, Any]:
    """Both sides' numbers and grids as texts, the figure of their curves, and the second run's
    checkpoints for its slider."""
    sides = []
    for side in (found.a, found.b):
        model = side.run.series.config.model
        sides.append(
            {
                "run": side.run.series.name,
                "place": place(side.step, side.run),
                "note": side.note,
                "layers": model.n_layers,
                "heads": model.n_heads,
                "cells": head_cells(side.heads, view, model.n_layers, model.n_heads) if side.heads else [],
                "scale": scale(side.heads) if side.heads else None,
                "done": str(side.ablation) if side.ablation else "intact",
                "numbers": {k: [plain(n.value), interval(n), f"{n.n:,}"] for k, n in side.numbers.items()},
                "patterns": _thousandths(side.patterns),
                "what": side.attention.what,
                "tokens": [token(t) for t in side.attention.tokens],
            }
        )
    figure = two_timelines(found.a, found.b, view.unit, view.axis)
    return {
        "sides": sides,
        "steps": found.b.run.steps,
        "paired": found.same_sequences,
        "aligned": found.aligned,
        "caution": found.caution,
        "chosen": view.sequence is not None,
        "note": view.intervention.note if view.intervention else "",
        "sequences": [found.b.run.series.sequences_seen(s) for s in found.b.run.steps],
        "difference": {k: [signed(n.value), interval(n, sign=True)] for k, n in found.difference.items()},
        "clear": [k for k, n in found.difference.items() if n.low > 0 or n.high < 0],
        "names": {k: NAMES[k] for k in found.difference},
        "measure": measures()[view.measure].name,
        "figure": figure.to_plotly_json(),
    }
