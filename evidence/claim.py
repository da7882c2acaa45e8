"""A claim: what was said, what was run, what came out, and the verdict by a stated rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure

Verdict = Literal["reproduced", "partly", "not reproduced", "not finished", "not run yet"]


@dataclass(frozen=True)
class Claim:
    """One row of the page, and its section.

    says: the claim and its source. ran: recipe, seeds, sequences. number: the one number of the row,
    with its spread and n. rule: how the verdict follows. text: paragraphs and tables in Markdown.
    """

    key: str
    title: str
    says: str
    ran: str
    number: str
    rule: str
    verdict: Verdict
    command: str
    text: list[str] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)  # name -> figure, each an SVG of its own


def not_run(key: str, title: str, says: str, command: str) -> Claim:
    """A claim whose table does not exist: said so, never left out."""
    return Claim(key, title, says, "-", "-", "-", "not run yet", command)


def by_parts(holds: list[bool]) -> Verdict:
    """All parts of a claim hold: reproduced; some: partly; none: not."""
    return "reproduced" if all(holds) else "partly" if any(holds) else "not reproduced"


def most(holds: list[bool] | tuple[bool, ...]) -> bool:
    """Whether something holds in at least four fifths of the seeds."""
    return bool(holds) and sum(holds) >= 0.8 * len(holds)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
