"""Tables over checkpoints: the one loop of all measures.

A measure says which rows some checkpoints give (`Work.rows`), and the loop does the rest: it takes as many checkpoints
at a time as the memory budget allows, shows how long it still takes, keeps what it has each second, goes on from there
after a kill, and shares the work out where the series has an executor (`open_series(..., workers=)`). The numbers do
not depend on any of this: which checkpoints are computed together is fixed before (`tables.chunks`), each chunk is
computed on one thread, and its rows are kept exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import pandas as pd

from mechicl.errors import SeriesError
from mechicl.measures import cache, tables
from mechicl.measures.asked import Steps, chosen_steps
from mechicl.measures.cache import Kept, Parts, Stamps, cached, named, stamps_of
from mechicl.measures.tables import Measured, at_once, by_evaluator, tidy
from mechicl.protocol.batch import TaskBatch
from mechicl.series import Series
from mechicl.system.executor import READABLE, Executor, Tell
from mechicl.system.progress import bar
from mechicl.system.surroundings import reading
from mechicl.system.work_queue import threads

SECONDS = 1.0  # of work that a kill may cost, where a chunk takes less
_ROWS = 10_000  # so many are held as dicts at most
_SHORT = 5.0  # seconds; quicker work shows no progress
Rows = Callable[[Series, list[int]], Iterable[dict[str, Any]]]
Keep = Callable[[list[int], pd.DataFrame, Stamps], Any]


@dataclass(frozen=True)
class Work:
    """One table to make. It can be pickled, so that another process can make a part of it.

    rows: of the steps of a chunk; a function of a module, or a `partial` of one. name: of the table (`cache.named`);
    '' where it is not kept. extra: names of number columns after those of every table.
    """

    series: Series
    chunks: tuple[list[int], ...]
    rows: Rows
    name: str
    extra: tuple[str, ...] = ()

    @cached_property
    def parts(self) -> Parts:
        return Parts(self.series, self.name)


def over_checkpoints(
    series: Series,
    measure: str,
    steps: Sequence[int],
    rows: Rows,
    settings: dict[str, Any] | None,
    *,
    bytes_per_step: float = 0.0,
    singly: bool = False,
    extra: Sequence[str] = (),
    label: str = "",
    progress: bool = True,
) -> pd.DataFrame:
    """The tidy table of some checkpoints: found from an earlier call, or made, and gone on with where it was begun.

    Args:
        measure: a name.
        rows: a function of the series and of steps that are measured together.
        settings: all that decides the numbers beside the checkpoints and the run, as plain data. None: that is not
            known, and nothing is kept.
        bytes_per_step: activations of one step.
        singly: one step at a time.
        extra: names of number columns after those of every table.
        label: what the bar is called (default: the measure's name).
        progress: a bar over work that takes long.

    Raises:
        ConfigError: one step alone needs more than the budget.
        SeriesError: a checkpoint is broken, or another process could not make its part; what there is, is kept.
    """
    chunks = tables.chunks(series, steps, bytes_per_step)
    if singly:
        chunks = [[step] for step in steps]
    work = Work(series, tuple(chunks), rows, "", tuple(extra))
    if settings is None or not cache.worth(len(steps), len(chunks)):
        if cache.only_kept():
            raise cache.NotKept(measure)
        return _made(work, label or measure, progress)
    work = replace(work, name=named(series, measure, steps, settings))
    return cached(series, work.name, steps, lambda: _made(work, label or measure, progress))


def over_evaluators(
    series: Series,
    measure: str,
    steps: Steps,
    sets: Mapping[str, TaskBatch],
    measured: Measured,
    bytes_each: float,
    settings: Mapping[str, Any] | None = None,
    *,
    singly: bool = False,
    extra: Sequence[str] = (),
    label: str = "",
    progress: bool = True,
) -> pd.DataFrame:
    """`over_checkpoints` of what a function of steps, stacked parameters, an evaluator's name and its set gives.

    Args:
        steps: default all.
        measured: of a module, or a `partial` of one.
        bytes_each: activations of one step on one evaluator's set.
        settings: all that decides the numbers beside the sets' sizes, the checkpoints and the run, as plain data.
    """
    size = at_once(sets) * bytes_each
    return over_checkpoints(
        series,
        measure,
        chosen_steps(series, steps),
        partial(by_evaluator, sets=sets, measure=measured, bytes_per_step=size),
        {"n": {name: len(batch) for name, batch in sets.items()}} | dict(settings or {}),
        bytes_per_step=size,
        singly=singly,
        extra=extra,
        label=label,
        progress=progress,
    )


def _made(work: Work, label: str, progress: bool) -> pd.DataFrame:
    sizes = [len(chunk) for chunk in work.chunks]
    found = work.parts.read(work.chunks, range(len(sizes))) if work.name else []
    done = {number for numbers, *_ in found for number in numbers}
    missing = [number for number in range(len(sizes)) if number not in done]

    def keep(numbers: list[int], table: pd.DataFrame, stamps: Stamps) -> None:
        found.append((numbers, table, stamps))
        if work.name and numbers[-1] != missing[-1]:  # else the table is whole
            work.parts.write(numbers, table, stamps)

    look = {"show": progress and len(work.chunks) > 1, "unit": " checkpoints", "delay": _SHORT}
    with bar(sum(sizes), label, initial=sum(sizes[number] for number in done), **look) as shown:
        executor = work.series.executor
        if executor is not None and work.name and len(missing) > 1:
            found += _shared_out(work, executor, missing, shown.update)
        elif missing:
            compute(work, missing, shown.update, keep)
    table = _joined(work, [table for _, table, _ in found])
    if work.name:
        work.parts.drop({file: stamp for *_, stamps in found for file, stamp in stamps.items()})
    return table


def compute(work: Work, numbers: Sequence[int], tell: Tell, keep: Keep) -> None:
    """Make the rows of some chunks.

    Args:
        numbers: which, ascending.
        tell: called with how many checkpoints were done since.
        keep: called with the numbers of some chunks in a row, their rows and the stamps of their files: at least once
            a second, or after each chunk that takes longer, and at the end.
    """
    rows: list[dict[str, Any]] = []
    frames: list[pd.DataFrame] = []
    done: list[int] = []
    stamps: Stamps = {}
    since = time.monotonic()

    def flush() -> None:
        nonlocal since
        frames.append(tidy(work.series, rows, work.extra))
        keep(list(done), _joined(work, frames), dict(stamps))
        for each in (rows, frames, done, stamps):
            each.clear()
        since = time.monotonic()

    with reading(), threads(1):
        for number in numbers:
            if done and number != done[-1] + 1:
                flush()
            chunk = work.chunks[number]
            stamps |= stamps_of(work.series, chunk) if work.name else {}
            for row in work.rows(work.series, chunk):
                rows.append(row)
                if len(rows) >= _ROWS:
                    frames.append(tidy(work.series, rows, work.extra))
                    rows.clear()
            done.append(number)
            tell(len(chunk))
            if time.monotonic() - since >= SECONDS:
                flush()
        if done:
            flush()


def _joined(work: Work, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table in the order of steps. A step's rows are all in one frame, so their own order stays."""
    some = [frame for frame in frames if len(frame)]
    if len(some) < 2:
        return some[0] if some else tidy(work.series, (), work.extra)
    return pd.concat(some, ignore_index=True).sort_values("step", kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Part:
    """A job of an executor (system/executor.py): the chunks first..last of a table, of which it makes those that are
    missing."""

    work: Work
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.work.name}-{self.first}-{self.last}"

    @property
    def after(self) -> None:
        """No part waits for another one."""

    def _left(self) -> list[int]:
        there = self.work.parts.numbers()
        return [number for number in range(self.first, self.last + 1) if number not in there]

    def run(self, tell: Tell) -> None:
        def keep(numbers: list[int], table: pd.DataFrame, stamps: Stamps) -> None:
            if not self.work.parts.write(numbers, table, stamps):
                raise SeriesError(
                    f"{self.work.series.root}: neither its folder cache nor ~/.cache/mechicl can be written to, but "
                    "several workers save their parts there. Use one worker."
                )

        compute(self.work, self._left(), tell, keep)

    def finished(self) -> bool:
        return not self._left()

    def progress(self) -> int:
        left = set(self._left())
        return sum(len(self.work.chunks[i]) for i in range(self.first, self.last + 1) if i not in left)

    def failure(self, kind: str, text: str) -> Exception:
        return READABLE.get(kind, SeriesError)(text)


def _shared_out(work: Work, executor: Executor, missing: Sequence[int], tell: Tell) -> list[Kept]:
    """Have an executor make what is missing; what it made."""
    count = len(work.chunks)
    alone = replace(work, series=replace(work.series, executor=None))
    size = max(1, -(-count // executor.pieces))
    ranges = [(first, min(first + size, count) - 1) for first in range(0, count, size)]
    wanted = set(missing)
    jobs = [Part(alone, first, last) for first, last in ranges if wanted.intersection(range(first, last + 1))]
    failed = [error for _, error in executor(jobs, lambda _, done: tell(done)) if error is not None]
    if failed and isinstance(failed[0], tuple(READABLE.values())) and len({str(error) for error in failed}) == 1:
        raise failed[0]
    found = alone.parts.read(work.chunks, wanted)
    lacking = wanted.difference(number for numbers, *_ in found for number in numbers)
    if failed or lacking:
        why = str(failed[0]).strip().splitlines()[-1] if failed else "their parts are not there"
        raise SeriesError(
            f"{work.series.root}: {len(lacking)} of {count} parts of the table failed ({why}). The others are "
            "saved: run the same call again to continue."
        )
    return found
