"""The errors that a user is meant to read: what was given, what is expected, and what helps."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting that cannot be: says what was given, what is expected, and what to do."""


class SeriesError(ValueError):
    """A run that cannot be read or written as asked: says what was found and what helps."""
