"""The page of a series that is published: README.md, with its curves, values, settings, and how to open it."""

from __future__ import annotations

from mechicl import card, settings
from mechicl.reporting import summary
from mechicl.series import Series

_HEAD = """---
library_name: mechicl
tags:
- mechanistic-interpretability
- training-dynamics
- checkpoints
- transformer-lens
---
"""


def readme(series: Series, place: str, states: bool) -> str:
    """Markdown. place: where it is published, hub:USER/NAME; states: whether optimiser states are there too."""
    curves = summary.one(series).split("\n", 1)[1]  # without the run's folder on this machine
    kept = "with" if states else "without"
    return "\n".join(
        [
            f"{_HEAD}# {series.name}",
            "",
            f"A checkpoint series of [mechicl](https://pypi.org/project/mechicl/): {card.summary(series.config)}. "
            f"{_sentence(card.progress(series))}, {kept} optimiser states.",
            "",
            "```sh",
            f"mechicl open {place} --out checkpoints/{place.rsplit('/', 1)[1]}",
            "```",
            "",
            "downloads it and checks every file against the sha256 in `index.jsonl`.",
            "",
            "## Curves",
            "",
            "```text",
            curves,
            "```",
            "",
            "## Last values",
            "",
            *_values(series),
            "",
            "## Settings",
            "",
            "```toml",
            *settings.as_lines(series.config),
            "```",
            "",
        ]
    )


def _values(series: Series) -> list[str]:
    """A table of every evaluator and metric at the last step."""
    rows = series.metrics
    last = rows[rows.step == rows.step.max()]
    lines = [f"At step {int(last.step.iloc[0]):,}, with 95% intervals over n sequences.", ""]
    lines += ["| evaluator | metric | value | 95% interval | n |", "|---|---|---|---|---|"]
    for row in last.itertuples():
        lines.append(
            f"| {row.evaluator} | {row.metric} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} | {row.n:,} |"
        )
    return lines


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
