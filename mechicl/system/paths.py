"""Every path that a user gives passes through here and is absolute from then on.

A notebook may change its directory later. `~` means the home folder, although no shell has replaced it. Links are not
resolved: a run that is reached through a link keeps the link's name.
"""

from __future__ import annotations

import os
from pathlib import Path

from mechicl.errors import ConfigError


def given(path: str | os.PathLike[str]) -> Path:
    """The absolute path that a user means by `path`, whether or not something is there.

    Raises:
        ConfigError: it is not a path, it begins with the home of an unknown user, or it is relative to a directory that
            was deleted.
    """
    try:
        whole = Path(path).expanduser()
    except TypeError:
        raise ConfigError(
            f"expected a path, not {type(path).__name__}. mechicl.bank_file(array, PATH) writes an array "
            "as a file that a run can be trained on and opened with."
        ) from None
    except RuntimeError:
        raise ConfigError(f"{path}: there is no such user. For a folder with this name write ./{path}.") from None
    try:
        whole = whole.absolute()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: the current directory was deleted. Change to another directory, or give an absolute path."
        ) from None
    if ".." not in whole.parts:
        return whole
    after = len(whole.parts) - whole.parts[::-1].index("..")  # what `..` leaves may be a link: only the system knows
    return Path(*whole.parts[:after]).resolve().joinpath(*whole.parts[after:])


def given_or_none(path: str | os.PathLike[str] | None) -> Path | None:
    """`given`, of an option that may be left out."""
    return None if path is None else given(path)


def shown(path: Path) -> str:
    """A path in its shortest form: relative if it is in the current directory."""
    try:
        inside = path.relative_to(Path.cwd())
    except (OSError, ValueError):
        return str(path)
    return str(inside)


def name_of(path: Path) -> str:
    """A file's name as text that can be written to any file. For the system names are bytes, usually UTF-8. So they
    are read as UTF-8, whatever the locale of the process is."""
    return os.fsencode(path.name).decode("utf-8", "replace")
