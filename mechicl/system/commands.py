"""Commands as messages suggest them. They can be pasted into a shell, whatever the path."""

from __future__ import annotations

import shlex
from pathlib import Path

from mechicl import plugins
from mechicl.system.paths import shown


def command(*words: object) -> str:
    """The line `mechicl WORDS` in backticks, each word quoted where a shell would split or expand it.

    A path that would read as an option (`-run`) is given as `./-run`. The plugins of this process are named, too.
    """
    named = [word for name in plugins.asked() for word in ("--plugin", name)]
    return f"`mechicl {shlex.join(map(_plain, [*words, *named]))}`"


def _plain(word: object) -> str:
    text = shown(word) if isinstance(word, Path) else str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text


def install(extra: str) -> str:
    """The command that installs an optional part. mechicl is not in a package index: it is installed from its
    repository's folder."""
    return f"`pip install --editable '.[{extra}]'` in the folder of mechicl's repository"


UPDATE = "`git pull` and then `pip install --editable .` in the folder of mechicl's repository"
