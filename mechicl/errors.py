"""The errors that a user is meant to read: what was given, what is expected, and what helps."""

from __future__ import annotations


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
