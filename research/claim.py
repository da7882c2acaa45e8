"""A claim: the statement, its runs, the result of each part, and its status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from research.verdicts import Part, Status, together


@dataclass(frozen=True)
class Claim:
    """One row of an index, and its section.

    says: the claim and its source. ran: recipe, seeds, sequences. rule: how the parts follow from the data. parts: each
    with its effect, interval, n and status. text: paragraphs and tables in Markdown. reason: why the setting is not the
    claim's, or how far the runs are; its status is then `instead`, and the parts are shown as a description. awaited:
    which commands will bring a status that is still missing. front: paragraphs and tables that the page itself shows,
    too.
    """

    key: str
    title: str
    says: str
    ran: str
    rule: str
    parts: Sequence[Part]
    command: str
    text: Sequence[str] = ()
    figures: dict[str, Figure] = field(default_factory=dict)  # name -> figure, each an SVG of its own
    instead: Status | None = None
    reason: str = ""
    awaited: str = ""
    front: Sequence[str] = ()

    @property
    def status(self) -> Status:
        return self.instead or together(self.parts)

    @property
    def at_95(self) -> Status | None:
        """What the status would be by intervals of 95%; None where its rule counts runs and no interval decides it."""
        if not self.instead and self.parts and not any(part.strict for part in self.parts):
            return None
        return self.instead or together(self.parts, strict=True)

    @property
    def number(self) -> str:
        """The effect of every part, for a row of an index; how far the runs are, where there is no verdict yet."""
        if not self.parts and self.reason:
            return self.reason
        return "; ".join(f"{part.says}: {part.effect}" for part in self.parts) or "-"


def not_run(key: str, title: str, says: str, command: str) -> Claim:
    """A claim whose table does not exist. The page says so and does not leave it out."""
    return Claim(key, title, says, "-", "-", (), command)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
