"""The errors that a user is meant to read: what was given, what is expected, and what helps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """ " Did you mean 'd_model'?", of the most similar of the names: of whole names, or else of their parts after the
    last dot; '' if none is similar."""
    listed = list(names)
    by_last = {listed_name.rsplit(".", 1)[-1]: listed_name for listed_name in listed}
    close = difflib.get_close_matches(name, listed, n=1) or [
        by_last[last] for last in difflib.get_close_matches(name.rsplit(".", 1)[-1], list(by_last), n=1)
    ]
    return f" Did you mean {close[0]!r}?" if close else ""


class ConfigError(ValueError):
    """A setting that cannot be: says what was given, what is expected, and what to do."""


class SeriesError(ValueError):
    """A run that cannot be read or written as asked: says what was found and what helps."""


class ReplayError(SeriesError):
    """A replay came to other bytes than the run saved, as on another machine.

    nearest: the checkpoint nearest to where the replay should lead. From there a branch needs no replay.
    """

    def __init__(self, text: str, nearest: int = 0) -> None:  # the default: so that it can be pickled
        super().__init__(text)
        self.nearest = nearest
