"""Text for a terminal, a pipe or a file that may not know every character: what it lacks is written plainly."""

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
    """Have stdout and stderr write what they cannot encode in plain characters, whatever the locale is."""
    codecs.register_error("mechicl.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        strict = getattr(stream, "errors", None) in ("strict", "surrogateescape", "backslashreplace")
        if strict and isinstance(stream, io.TextIOWrapper):  # not what a notebook puts in its place
            stream.reconfigure(errors="mechicl.plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of `codecs`: what to write for the characters that cannot be."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all("\udc80" <= ch <= "\udcff" for ch in text):  # bytes of a file's name, as the system has them
        return text.encode("ascii", "surrogateescape"), error.end
    simple = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    kept = "".join(ch for ch in simple if not unicodedata.combining(ch))
    return kept.encode("ascii", "replace").decode(), error.end
