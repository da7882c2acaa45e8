"""The one door through which a path comes that a user gave: absolute from then on.

A notebook may change its directory afterwards, and `~` means the home folder although no shell has
seen it. Links stay as they were named: a run behind one keeps the link's name.
"""

from __future__ import annotations

import os
from pathlib import Path

from mechicl.errors import ConfigError


def given(path: str | os.PathLike[str]) -> Path:
    """The absolute path that a user means by `path`, whether or not something is there.

    Raises:
        ConfigError: it is no path; it begins with the home of a user who is not known, or is relative to a directory
            that was deleted.
    """
    try:
        whole = Path(path).expanduser()
    except TypeError:
        raise ConfigError(
            f"expected a path, not {type(path).__name__}. mechicl.bank_file(array, PATH) writes an array "
            "as a file that a run can be opened with again."
        ) from None
    except RuntimeError:
        raise ConfigError(f"{path}: there is no such user's home. Write ./{path} for a folder of that name.") from None
    try:
        whole = whole.absolute()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: the directory that this path starts from was deleted. Change to one that is "
            "there, or give the whole path."
        ) from None
    if ".." not in whole.parts:
        return whole
    after = len(whole.parts) - whole.parts[::-1].index("..")  # what `..` leaves may be a link: only the system knows
    return Path(*whole.parts[:after]).resolve().joinpath(*whole.parts[after:])


def given_or_none(path: str | os.PathLike[str] | None) -> Path | None:
    """`given`, of an option that may be left out."""
    return None if path is None else given(path)


def shown(path: Path) -> str:
    """A path as short as it can be typed from here: relative where it lies in the current directory."""
    try:
        inside = path.relative_to(Path.cwd())
    except (OSError, ValueError):
        return str(path)
    return str(inside)


def name_of(path: Path) -> str:
    """A file's name as text that every file can hold. Names are bytes to the system, and UTF-8 by custom: the
    locale of the process does not decide how they read."""
    return os.fsencode(path.name).decode("utf-8", "replace")
