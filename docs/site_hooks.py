"""What mkdocs fills in while it builds the site (mkdocs.yml), so that no page is older than the code.

<!-- help: train -->       becomes what `mechicl train --help` prints
<!-- file: NAME -->        becomes the text of a file of the repository
docs/PAGE.md#ANCHOR        becomes a link, in the docstrings of the reference
(PAGE.md#ANCHOR)           in notebooks, whose links mkdocs leaves as they are
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from typing import Any

_HELP = re.compile(r"<!-- help:(.*?)-->")
_FILE = re.compile(r"<!-- file:(.*?)-->")
_HREF = re.compile(r'(<a [^>]*?href=")(?!\w+:)([\w/-]+)\.md(#[\w-]+)?"')
_PAGE = re.compile(r"docs/([\w/-]+)\.md(#[\w-]+)?")
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


def linked(html: str, to_root: str) -> str:
    """HTML in which every `docs/PAGE.md` that there is leads to that page."""

    def link(match: re.Match[str]) -> str:
        if not (ROOT / "docs" / f"{match[1]}.md").is_file():
            return match[0]
        return f'<a href="{to_root}{match[1]}/{match[2] or ""}">{match[0]}</a>'

    return _PAGE.sub(link, html)


def followed(html: str) -> str:
    """HTML of a notebook in which links to PAGE.md, as they are in the repository, lead to the page on the site."""
    return _HREF.sub(lambda m: f'{m[1]}../{m[2]}/{m[3] or ""}"', html)


def on_page_markdown(markdown: str, **_: object) -> str:
    """mkdocs calls this for every page, before it is rendered."""
    return filled(markdown)


def on_page_content(html: str, page: Any, **_: object) -> str:
    """mkdocs calls this for every page, once it is rendered."""
    if page.file.src_path.endswith(".ipynb"):
        return followed(html)
    return linked(html, "../" * page.url.count("/")) if page.url.startswith("reference/") else html
