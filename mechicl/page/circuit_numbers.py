"""What the page says about circuits: a run and a view in, numbers out, as far as they are computed.

As in `circuit_formation`, a circuit is the paths whose effect reaches the threshold on sequences of their own (split
1), and what is reported is measured on those that the page shows (split 0), so that it is not inflated by the choice.
The intact model's paths are cut, whatever else the view does to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pandas as pd

from mechicl.errors import SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.figures.scales import fitted
from mechicl.interventions import CutPaths, every_path
from mechicl.interventions.cut_paths import PATH_KINDS, PathKind
from mechicl.measures import path_ablation  # noqa: F401  (registers `path_effects`)
from mechicl.measures.circuits import circuit_of, cuts, share_kept
from mechicl.measures.door import MEASURES
from mechicl.measures.path_scores import DEEP
from mechicl.page.measured import known_at, measured_at, one_at_a_time
from mechicl.page.offered import reached
from mechicl.page.runs import Run
from mechicl.page.seed_over import Turn
from mechicl.page.state import View
from mechicl.page.view import Workbench

FOUND, SHOWN = 1, 0  # the splits on which a circuit is found, and on which it is reported
MOST = 3000  # paths: of more, one checkpoint takes minutes
_COLUMNS = ["step", "sequences", "evaluator", "metric", "intervention", "baseline", "n"]
_COLUMNS += ["effect", "effect_low", "effect_high"]


@dataclass(frozen=True)
class Share:
    """A faithfulness or a completeness with its interval, beside those of random circuits; NaN where the model does no
    better than with every path cut."""

    value: float
    low: float
    high: float
    random: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Circuit:
    """effects: rows of `path_effects` of this step and evaluator on the shown sequences, every path; None: not
    computed yet. paths: the circuit. shares: by name, as far as they are there. limit: the effect of the widest line.
    random: of how many random circuits the shares are known; of_random: of how many they will be.
    steps: how many checkpoints have their effects. left: there is more to compute.
    """

    kind: PathKind
    effects: pd.DataFrame | None = None
    paths: tuple[str, ...] = ()
    shares: dict[str, Share] = field(default_factory=dict)
    limit: float = 1.0
    random: int = 0
    of_random: int = 0
    steps: int = 0
    left: bool = True


def has_circuits(run: Run) -> bool:
    """Whether the run's model has paths, and not too many to cut while somebody looks."""
    return bool(reached(run)) and len(every_path(run.series.config.model)) <= MOST


def cut_kind(view: View) -> PathKind:
    """What is read in the place of what is cut: as the view cuts a path, if its kind is one for paths."""
    return view.kind if view.kind in PATH_KINDS else "zero"  # type: ignore[return-value]


def circuit(bench: Workbench, run: Run, view: View, seconds: float) -> Circuit:
    """The circuit of the view's evaluator at its checkpoint, as far as the time suffices; what is computed is
    remembered. When all of it is there, the effects at other checkpoints are computed ahead.

    Args:
        seconds: at least one thing is computed; then, until the time is up or a reader waits for something shorter.
    """
    with one_at_a_time:
        return _circuit(bench, run, view, Turn(seconds))


def _circuit(bench: Workbench, run: Run, view: View, turn: Turn) -> Circuit:
    assert view.step is not None
    kind, on = cut_kind(view), view.evaluator
    sides = [effects_at(bench, run, view.step, on, kind, split, turn) for split in (FOUND, SHOWN)]
    found, effects = sides
    if found is None or effects is None:
        return Circuit(kind, steps=_known(bench, run, on, kind))
    paths = circuit_of(found, view.step, on, view.threshold)
    paths = tuple(path for path in paths if path in set(effects.intervention))  # a deep model's table has some of them
    shares, random, of_random = _shares(bench, run, view.step, on, kind, paths, turn)
    left = random < of_random
    if not left:
        left = not _ahead(bench, run, on, kind, turn)
    limit = _limit(bench, run, view.step, on, kind, view.threshold)
    return Circuit(kind, effects, paths, shares, limit, random, of_random, _known(bench, run, on, kind), left)


def drawn_circuit(bench: Workbench, run: Run, view: View) -> Circuit:
    """The circuit with the effects of its paths, for a figure or a table to take along: its shares may be missing.

    Raises:
        SeriesError: the run has none.
    """
    if not has_circuits(run):
        raise SeriesError(f"{run.series.name}: its model has no paths that can be cut, or more than {MOST:,} paths.")
    found = circuit(bench, run, view, 0.0)
    while found.effects is None:
        found = circuit(bench, run, view, 0.0)
    return found


def effects_at(
    bench: Workbench, run: Run, step: int, evaluator: str, kind: PathKind, split: int, turn: Turn | None
) -> pd.DataFrame | None:
    """Rows of `path_effects` of the evaluator's primary metric, at a step, every path that was cut; None: not known,
    and no time left (`measured_at`)."""
    rows = _measured(bench, run, step, evaluator, kind, split, turn)
    return None if rows is None else _primary(rows, evaluator)


def _measured(
    bench: Workbench, run: Run, step: int, evaluator: str, kind: PathKind, split: int, turn: Turn | None
) -> pd.DataFrame | None:
    return measured_at(bench, run, MEASURES["path_effects"], step, evaluator, turn, kind=kind, split=split)


def _known_effects(bench: Workbench, run: Run, step: int, evaluator: str, kind: PathKind, split: int):
    rows = known_at(bench, run, MEASURES["path_effects"], step, evaluator, kind=kind, split=split)
    return None if rows is None else _primary(rows, evaluator)


def _primary(rows: pd.DataFrame, evaluator: str) -> pd.DataFrame:
    its = (rows.metric == EVALUATORS[evaluator].primary_metric) & rows.effect.notna()
    return rows.loc[its, _COLUMNS].reset_index(drop=True)


def _shares(
    bench: Workbench, run: Run, step: int, on: str, kind: PathKind, paths: Sequence[str], turn: Turn
) -> tuple[dict[str, Share], int, int]:
    """The shares as far as they are known or there is time; of how many random circuits, and of how many there are."""
    if not paths:
        return {}, 0, 0
    cut = cuts(paths, run.series.config.model)
    of_random = sum(what.endswith("alone") for what in cut) - 1
    right = {}
    for what, chosen in cut.items():
        asked = run, step, on, CutPaths(paths=chosen, kind=kind) if chosen else None
        if not turn.may(bench, [asked]):
            break
        right[what] = bench.right(*asked)
        if what == "circuit alone" and math.isnan(share_kept(what, *right.values())[0]):  # there is nothing to share
            of_random = 0
        if what == "without circuit" and not of_random:
            break
    share = {w: share_kept(w, right["intact"], right["nothing"], right[w]) for w in list(right)[2:]}
    out = {}
    for name, form in (("faithfulness", "{} alone"), ("completeness", "without {}")):
        if own := share.get(form.format("circuit")):
            others = [share[w] for j in range(of_random) if (w := form.format(f"random {j}")) in share]
            out[name] = Share(*own, [value for value, *_ in others])
    return out, sum(f"without random {j}" in share for j in range(of_random)), of_random


def _ahead(bench: Workbench, run: Run, on: str, kind: PathKind, turn: Turn) -> bool:
    """Compute the effects at other checkpoints while there is time; whether all are there. Those at which one looks
    first and last come first. Of deep models none: one alone takes long."""
    if run.series.config.model.n_layers >= DEEP:
        return True
    for step in dict.fromkeys([run.first_look(), *run.coarse_to_fine()]):
        for split in (SHOWN, FOUND):
            with suppress(SeriesError):  # a file is not what was written: the panel says so at that checkpoint
                if _measured(bench, run, step, on, kind, split, turn) is None:
                    return False
    return True


def _known(bench: Workbench, run: Run, on: str, kind: PathKind) -> int:
    entry, sides = MEASURES["path_effects"], (FOUND, SHOWN)
    there = [[known_at(bench, run, entry, s, on, kind=kind, split=x) is not None for x in sides] for s in run.steps]
    return sum(map(all, there))


def _limit(bench: Workbench, run: Run, step: int, on: str, kind: PathKind, least: float) -> float:
    """Fitted to this checkpoint, the first that one looks at and the last, as far as they are known, so that lines stay
    as wide while one scrubs."""
    tables = [_known_effects(bench, run, s, on, kind, SHOWN) for s in {step, run.first_look(), run.steps[-1]}]
    return fitted(_all(t.effect for t in tables if t is not None), least)


def _all(columns: Iterable[pd.Series]) -> list[float]:
    return [float(x) for column in columns for x in column]
