"""What functions of a series are given: a path, or one run for several, is the usual mistake, and is told before it
fails somewhere inside."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mechicl.errors import ConfigError
from mechicl.series.series import Series

F = TypeVar("F", bound=Callable[..., Any])


def of_series(function: F) -> F:
    """A function whose first argument is `series`, or `runs` of several, which refuses all else.

    Raises:
        ConfigError: it was given something else, such as a path; what to write instead.
    """
    first = next(iter(inspect.signature(function).parameters))
    check = _check_one if first == "series" else _check_several

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        if args:
            check(args[0], function.__name__)
        elif first in named:
            check(named[first], function.__name__)
        return function(*args, **named)

    return call  # type: ignore[return-value]


def _check_one(given: object, name: str) -> None:
    if isinstance(given, (str, Path)):
        raise ConfigError(f"{name}({str(given)!r}): open it first: {name}(mechicl.open_series({str(given)!r})).")
    if isinstance(given, Sequence):
        raise ConfigError(f"{name} takes one series, but was given several ({type(given).__name__}).")


def _check_several(given: object, name: str) -> None:
    if isinstance(given, Series):
        raise ConfigError(f"{name} takes several series: expected a list, such as {name}([series]).")
    listed = [given] if isinstance(given, (str, Path)) else given if isinstance(given, Sequence) else []
    for each in listed:
        if isinstance(each, (str, Path)):
            raise ConfigError(f"{name}: open {str(each)!r} first: {name}([mechicl.open_series({str(each)!r}), ...]).")
