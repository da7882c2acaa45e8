"""Where mechicl keeps what it computed for a user and can compute again: `~/.cache/mechicl`."""

from __future__ import annotations

import os
from pathlib import Path

from mechicl.errors import ConfigError
from mechicl.system.paths import given


def user_cache(*parts: str) -> Path | None:
    """A place in the user's cache folder; None for a user without a home. Nothing is made."""
    try:
        return given(os.environ.get("XDG_CACHE_HOME") or "~/.cache").joinpath("mechicl", *parts)
    except ConfigError:
        return None
