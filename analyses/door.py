"""How an analysis registers itself: one decorator, in a module of this package or of yours.

    from analyses import Findings, analysis

    @analysis("far_classes", question="How well are far classes told apart?", needs=("icl",))
    def far_classes(series, progress=True):
        return Findings("far_classes", "...", ["a sentence with a number"], table, {"curve": figure})

`mechicl analyze` has it from then on, and `mechicl report`, unless `reported` is False.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl import unimported
from mechicl.doors import Door, check_name
from mechicl.errors import ConfigError
from mechicl.options import check_takes

if TYPE_CHECKING:
    from analyses.findings import Findings

LAST = 100  # place of one that names none: after mechicl's own


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One analysis.

    run: (series, progress=...) -> Findings
    question: what it answers, one sentence
    needs: evaluators that it looks at; it is skipped for a run that lacks one of them
    of_circuit: whether it needs the one that tells the task's circuit, too (`Task.circuit`)
    reported: whether a report shows it
    place: where it stands among the others, from 1
    """

    name: str
    run: Callable[..., Findings]
    question: str
    needs: tuple[str, ...] = ()
    of_circuit: bool = False
    reported: bool = True
    place: int = LAST


ANALYSES: Door[Analysis] = Door("analysis")


Function = Callable[..., "Findings"]


def analysis(name: str, *, question: str = "", **said: Any) -> Callable[[Function], Function]:
    """Register a function of a series as an analysis; `question` and the rest as in `Analysis`.

    Raises:
        ConfigError: there is one of this name, it has no question, or it does not take `series` and `progress=`.
    """
    check_name(ANALYSES.what, name)
    if not question:
        raise ConfigError(
            f"the analysis {name!r}: say what it answers, as in "
            f'@analysis("{name}", question="When do heads look at the match?").'
        )

    def register(run: Callable[..., Findings]) -> Callable[..., Findings]:
        unimported.refuse_taken(Path(__file__).parent, "analysis", name, run.__module__)
        check_takes(run, f"the analysis {name!r}", "series", by_name=("progress",))
        ANALYSES.add(name, Analysis(name=name, run=run, question=question, **said), run.__module__)
        return run

    return register
