"""Progress of long work: a bar on a terminal and in a notebook, and a plain line at intervals in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")
TENTH, SECONDS = 0.1, 30.0  # a log has a line once both have gone by since the one before


class Bar(Protocol):
    """Where work reports its progress. It is used as a context manager."""

    def update(self, n: float = 1) -> Any: ...
    def set_postfix_str(self, s: str) -> Any: ...
    def close(self) -> Any: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> Any: ...


def bar(
    total: float, desc: str, *, show: bool = True, leave: bool = True, log_format: str | None = None, **settings: Any
) -> Bar:
    """Progress on stderr.

    Args:
        total: how much there is to do.
        show: False: say nothing.
        leave: whether the finished bar stays visible.
        log_format: the format of a line in a log file, as tqdm's `bar_format` (default: tqdm's numbers without the
            bar).
        settings: tqdm's; `delay`: seconds of work below which nothing is shown.
    """
    if not show or is_live(sys.stderr):
        return tqdm(total=total, desc=desc, disable=not show, leave=leave, dynamic_ncols=True, **settings)
    return Lines(total, desc, leave, log_format, settings)


def each(items: Sequence[T], desc: str, **settings: Any) -> Iterator[T]:
    """The items, with a `bar` over them."""
    with bar(len(items), desc, **settings) as shown:
        for item in items:
            yield item
            shown.update()


def is_live(stream: TextIO) -> bool:
    """Whether a line can be overwritten: on a terminal, and in a notebook (which is not a terminal)."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")


_FORMAT = "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class Lines:
    """Replaces the bar where lines cannot be overwritten. It writes a line when a tenth of the work and half a minute
    have passed since the last line, and one at the end."""

    def __init__(self, total: float, desc: str, leave: bool, log_format: str | None, settings: dict[str, Any]):
        shown = {key: settings[key] for key in ("unit", "unit_scale") if key in settings}
        self._meter = {"total": total, "prefix": desc, "bar_format": log_format or _FORMAT, "ncols": None, **shown}
        self._leave, self._postfix, self._delay = leave, "", settings.get("delay", 0.0)
        self.n: float = settings.get("initial", 0)
        self._initial = self._said = self.n
        self._begun = self._said_at = time.monotonic()
        self._total = total

    def update(self, n: float = 1) -> None:
        self.n += n
        now = time.monotonic()
        if self.n - self._said >= TENTH * self._total and now - self._said_at >= SECONDS and self.n < self._total:
            self._say()
            self._said, self._said_at = self.n, now

    def set_postfix_str(self, s: str) -> None:
        self._postfix = s

    def close(self) -> None:
        if self._leave and time.monotonic() - self._begun >= self._delay:
            self._say()
        self._leave = False

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        self.close()

    def _say(self) -> None:
        elapsed = time.monotonic() - self._begun
        text = tqdm.format_meter(self.n, elapsed=elapsed, initial=self._initial, postfix=self._postfix, **self._meter)
        print(text, file=sys.stderr, flush=True)
