"""Fixtures of a small sweep."""

from small_sweep import small, small_file, swept

__all__ = ["small", "small_file", "swept"]
