"""A run in one line: the part of its setting that a picture must state, and all that stands at the head of a page."""

from __future__ import annotations

from mechicl.card import body
from mechicl.figures.style import short
from mechicl.protocol.known import task_of
from mechicl.series import Series, elsewhere


def caption(series: Series) -> str:
    """What the task says of a run's setting (`Task.caption`), as '28 Markov chains over 5 states, ...'."""
    return task_of(series.config).caption(series.manifest)


def facts(series: Series) -> str:
    """A run in one line, for the head of a page: its model, its setting, how far it is trained."""
    c, m = series.config, series.config.model
    return (
        f"{m.n_layers} layers × {m.n_heads} heads, width {m.d_model}, {body(m)} · {caption(series)} · "
        f"{short(series.seen)} sequences seen{how_counted(series)} · seed {c.seeds.init}"
        + ("" if series.complete else " · not finished")
    )


def how_counted(series: Series) -> str:
    """' (32 per step assumed)' behind a number of sequences, where nobody said how many each step had; else ''."""
    return f" ({series.config.batch_size:,} per step assumed)" if elsewhere.assumed(series) else ""
