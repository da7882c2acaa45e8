"""A run, or several seeds of one, as text for a terminal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mechicl.card import body
from mechicl.config import Config
from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.figures.caption import caption
from mechicl.figures.style import short
from mechicl.measures.phases import chance_levels, leading_phases, over_seeds, series_phases
from mechicl.protocol.known import task_of
from mechicl.registry import quantity as measured
from mechicl.registry import with_phases
from mechicl.series import Series, elsewhere
from mechicl.series.alike import check_once, not_seeds
from mechicl.series.family import family
from mechicl.series.recorded import lacking
from mechicl.system.commands import command
from mechicl.system.paths import shown

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 56


def one(series: Series) -> str:
    """Settings, small curves over log time, and phase times of one run."""
    c = series.config
    state = "complete" if series.complete else f"NOT FINISHED: {command('train', '--resume', series.root)}"
    lines = [
        f"{shown(series.root)}  {state}",
        f"  {c.model.n_layers} layers x {c.model.n_heads} heads, width {c.model.d_model}, "
        f"{body(c.model)}; "
        f"{series.task.n_outputs:,} {series.task.outputs}; "
        f"seeds init {c.seeds.init} data {c.seeds.data}",
        f"  {caption(series)}",
        f"  {len(series.steps)} checkpoints, {short(series.seen)} sequences seen",
        *([f"  SEQUENCES: {note}"] if (note := elsewhere.assumed(series)) else []),
        *([f"  INCOMPLETE METRICS: {problem}"] if (problem := lacking(series)) else []),
        *(f"  {line}" for line in family(series)),
        "",
    ]
    try:
        phases, levels = series_phases(series), chance_levels(series)
        level = ", ".join(f"{name} {value:.3f}" for name, value in levels.items())
    except ConfigError as error:  # the data are not here; all else was recorded
        phases, level = {}, f"unknown without the data, and with it the phases. {error}"
    wide = max(12, *(len(name) + 1 for name in phases), 0)
    recorded = set(series.metrics.evaluator)
    for name in (*[n for n in EVALUATORS if n in recorded and n not in phases], *phases):
        x, y = series.curve(name, EVALUATORS[name].primary_metric)
        p = phases.get(name)
        tail = f"  ends at {y[-1]:.3f}"
        if p is not None and p.peak_value is not None:
            tail = f"  {EVALUATORS[name].best} {p.peak_value:.3f} at {short(p.peak or 0):>5}, ends at {y[-1]:.3f}"
        lines.append(f"  {name:<{wide}}{sparkline(x, y)}{tail}")
    loss = series.training_loss
    if len(loss):
        curve = sparkline(loss.sequences, np.log(loss.loss))
        lines.append(f"  {'loss':<{wide}}{curve}  ends at {loss.loss.iloc[-1]:.3f}")
        first, end = short(loss.sequences.iloc[0]), short(series.seen)
        gap = " " * max(1, _WIDTH - len(first) - len(end))
        lines.append(f"  {'':<{wide}}{first}{gap}{end}  sequences, log scale; {_heights(c)}")
    n = int(series.metrics.n.iloc[0])
    within = f": 95% intervals within +-{0.98 / n**0.5:.3f}" if series.task.accuracies else ""
    return "\n".join([*lines, "", f"  n = {n:,} sequences per evaluator{within}", f"  chance: {level}"])


def _heights(config: Config) -> str:
    """What the bars' heights are; `sparkline` gives a curve that leaves 0 to 1 a range of its own."""
    return "accuracies 0 to 1" if task_of(config).accuracies else f"{measured(config)} 0 to 1, or each in its own range"


def several(runs: list[Series]) -> str:
    """Every seed's phases, then their median and range. Runs that are not seeds of one recipe stand side by side, and
    a line says why.

    Raises:
        SeriesError: a run was given twice.
    """
    check_once(runs)
    phases, problem, beyond = [series_phases(s) for s in runs], not_seeds(runs), False
    spread = ["median", "range", "mean, 95% interval"] if problem is None else []
    head = ["", *[s.name for s in runs], *spread]
    rows = [head]
    for name in with_phases():
        for quantity in ("onset", "peak", "peak_value", "half_decay", "final_value"):
            values = [getattr(p[name], quantity) if name in p else None for p in phases]
            if all(v is None for v in values):
                continue
            show = (lambda v: f"{v:.3f}") if quantity.endswith("value") else short
            s = over_seeds(values)
            some = f" ({s['n']} of {s['of_n']})" if s["n"] < s["of_n"] else ""
            lowest, highest = _range(name, quantity)
            wide = s["n"] > 1 and not lowest <= s["ci_low"] <= s["ci_high"] <= highest
            beyond |= wide and problem is None
            over = [
                show(s["median"]) + some,
                f"{show(s['low'])} to {show(s['high'])}",
                f"{show(s['mean'])} [{show(s['ci_low'])}, {show(s['ci_high'])}]{'*' * wide}" if s["n"] > 1 else "-",
            ]
            rows.append(
                [
                    f"{name} {quantity.replace('peak', EVALUATORS[name].best).replace('_', ' ')}",
                    *["-" if v is None else show(v) for v in values],
                    *over[: len(spread)],
                ]
            )
    none = [""] * len(spread)
    rows.append(["final training loss", *[_final_loss(s) for s in runs], *none])
    led = next((f"{found.short}'s {found.best}" for p in phases if (found := leading_phases(p))), "ICL's peak")
    rows.append([f"loss at {led}", *[_loss_at_peak(s, p) for s, p in zip(runs, phases, strict=True)], *none])
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    lines = [
        "  ".join([r[0].ljust(widths[0]), *[x.rjust(w) for x, w in zip(r[1:], widths[1:], strict=True)]]) for r in rows
    ]
    if problem is not None:
        lines += ["", f"No median and no interval: {problem}"]
    if beyond:
        lines += ["", "* reaches beyond what it can be: of so few seeds, the t-interval says little; see the range."]
    return "\n".join(lines)


def _range(evaluator: str, quantity: str) -> tuple[float, float]:
    """The least and the most that a quantity of a curve can be: a time, or a value of the curve."""
    if not quantity.endswith("value"):
        return 0.0, math.inf
    return (0.0, 1.0) if EVALUATORS[evaluator].quantity == "accuracy" else (-math.inf, math.inf)


def _final_loss(series: Series) -> str:
    loss = series.training_loss.loss
    return f"{loss.iloc[-1]:.3f}" if len(loss) else "-"


def _loss_at_peak(series: Series, phases: dict[str, Any]) -> str:
    led, loss = leading_phases(phases), series.training_loss
    peak = None if led is None else led[1].peak
    return "-" if peak is None or not len(loss) else f"{loss.loss[(loss.sequences - peak).abs().idxmin()]:.3f}"


def sparkline(x: ArrayLike, y: ArrayLike) -> str:
    """A curve as one line of bars over log x; 0..1 when it lies within, else its own range."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    x, y = x[x > 0], y[x > 0]
    if not len(x):
        return " " * _WIDTH
    at = np.interp(np.linspace(np.log(x[0]), np.log(x[-1]), _WIDTH), np.log(x), y)
    low, high = (0.0, 1.0) if at.min() >= 0 and at.max() <= 1 else (at.min(), at.max() + 1e-12)
    return "".join(_BARS[round(v)] for v in np.clip((at - low) / (high - low), 0, 1) * (len(_BARS) - 1))
