"""Sentences for what the system says about a place on the disk: it cannot be written to, read or locked.

Writing never follows a link inside a run: in a run from a stranger it could lead anywhere.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mechicl.errors import SeriesError

_log = logging.getLogger("mechicl")  # unless told otherwise, Python prints its warnings as they are, a line each


def reason(error: OSError) -> str:
    """What the system says, without Python's number."""
    return error.strerror or str(error)


def is_file(path: Path) -> bool:
    """Whether a regular file is there; links are followed.

    Raises:
        SeriesError: this cannot be known, for example in a folder that this user may not enter.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise SeriesError(f"{path} cannot be read: {reason(error)}.") from error


def check_writable(folder: Path, instead: str = "") -> None:
    """Check before long work that files can be made in a folder, or that the folder can be made if there is none yet.

    Args:
        instead: a sentence that says what else to do.

    Raises:
        SeriesError: they cannot be made; it names the folder and the system's reason.
    """
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise SeriesError(f"{there} cannot be written to: {reason(error)}. {instead}".rstrip()) from error


def own_place(root: Path, path: Path) -> Path:
    """`path`, a place in the folder `root` to write at.

    Raises:
        SeriesError: a folder between the two is a link.
    """
    at = root
    for part in path.relative_to(root).parts[:-1]:
        at /= part
        if at.is_symlink():
            raise SeriesError(
                f"{at} is a link to another folder: mechicl does not write through links inside a run. "
                "Replace it with a folder; the run itself may be a link."
            )
    return path


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Writing at `path`: an error of the system becomes a SeriesError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SeriesError(
                f"the disk is full: {path} was not written. All files saved before are complete. "
                "Free some space, then continue with `mechicl train --resume RUN`."
            ) from error
        raise SeriesError(f"{path} was not written: {reason(error)}. All files saved before are complete.") from error


def is_locked(root: Path) -> bool:
    """Whether another process writes a run right now, as far as can be told."""
    return is_held(root / ".lock")


def is_held(path: Path) -> bool:
    """Whether another process holds a lock file, as far as can be told without writing: False where not."""
    try:
        import fcntl

        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return False


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold a run for writing, so that two processes never write one series. If the disk has no file locks, a warning
    says so, and the user must take care.

    Raises:
        SeriesError: another process is writing the run, or it cannot be written to.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: there the user sees to it
        yield
        return
    check_writable(root)
    path = root / ".lock"
    if path.is_symlink():
        raise SeriesError(f"{path} is a link: mechicl does not write through links inside a run. Delete it.")
    with explained(path):
        file = open(path, "ab")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SeriesError(f"{root} is being written by another process; wait for it.") from None
        except OSError as error:  # network disks and some of containers
            _log.warning(
                "mechicl: %s lies on a disk without file locks (%s): going on without one. See to it that no "
                "other process writes there.",
                root,
                reason(error),
            )
        yield
