"""Text for a terminal, pipe or file whose encoding lacks some characters: these are replaced by plain ones."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

_PLAIN = str.maketrans(
    {
        **dict(zip("▁▂▃▄▅▆▇█", ".:-=+*#@", strict=True)),  # sparklines: darker is higher
        **dict.fromkeys("─━═╌", "-"),
        **dict.fromkeys("│┃║", "|"),
        **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
        "–": "-",
        "—": "-",
        "…": "...",
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "×": "x",
        "±": "+-",
        "→": "->",
        "•": "*",
    }
)


def never_crash() -> None:
    """Make stdout and stderr write plain characters for those that they cannot encode, whatever the locale is."""
    codecs.register_error("mechicl.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        strict = getattr(stream, "errors", None) in ("strict", "surrogateescape", "backslashreplace")
        if strict and isinstance(stream, io.TextIOWrapper):  # not what a notebook puts in its place
            stream.reconfigure(errors="mechicl.plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of `codecs`: the text to write for characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all("\udc80" <= ch <= "\udcff" for ch in text):  # bytes of a file's name, as the system has them
        return text.encode("ascii", "surrogateescape"), error.end
    simple = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    kept = "".join(ch for ch in simple if not unicodedata.combining(ch))
    return kept.encode("ascii", "replace").decode(), error.end
