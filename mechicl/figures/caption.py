"""A run in one line: the part of its setting that a picture must state, and all that stands at the head of a page."""

from __future__ import annotations

from mechicl.figures.style import short
from mechicl.protocol.task import task_of
from mechicl.series import Series


def caption(series: Series) -> str:
    """As '12,800 classes x 20 exemplars of 1,280 encoder features, raw: norm 45.4, common mean 34.4'."""
    return task_of(series.config).caption(series.manifest)


def facts(series: Series) -> str:
    """A run in one line, for the head of a page: its model, its setting, how far it is trained."""
    c, m = series.config, series.config.model
    body = f"MLP ratio {m.mlp_ratio}" if m.mlp_ratio else "attention only"
    return (
        f"{m.n_layers} layers × {m.n_heads} heads, width {m.d_model}, {body} · {caption(series)} · "
        f"{short(series.seen)} sequences seen · seed {c.seeds.init}" + ("" if series.complete else " · not finished")
    )
