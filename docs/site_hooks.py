"""What mkdocs fills in while it builds the site (mkdocs.yml): the real `--help` texts, and CONTRIBUTING.md as a page.

A page says `<!-- help: train -->` where the help of `mechicl train` shall stand, so that it is never out of date.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

_HELP = re.compile(r"<!-- help:(.*?)-->")
_FILE = re.compile(r"<!-- file:(.*?)-->")
ROOT = Path(__file__).parents[1]


def help_of(verb: str = "") -> str:
    """What `mechicl VERB --help` prints, of no verb what `mechicl --help` prints; 80 columns wide, without colours."""
    from mechicl import cli

    out = io.StringIO()
    told = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    before = {key: os.environ.get(key) for key in told}
    os.environ.update(told)
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            cli.main([*verb.split(), "--help"])
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).strip()


def filled(markdown: str) -> str:
    """A page with what its comments ask for."""
    with_help = _HELP.sub(lambda m: f"```text\n{help_of(m[1].strip())}\n```", markdown)
    return _FILE.sub(lambda m: (ROOT / m[1].strip()).read_text(encoding="utf-8"), with_help)


def on_page_markdown(markdown: str, **_: object) -> str:
    """mkdocs calls this for every page."""
    return filled(markdown)
