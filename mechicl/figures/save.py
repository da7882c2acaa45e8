"""Figures as files, from code: what the page's export menu does, without a page."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from mechicl.errors import ConfigError
from mechicl.system.files import write_atomic
from mechicl.system.paths import given

PICTURES = ("png", "svg", "pdf", "jpg", "webp")
_TIMEOUT = 300  # seconds for one picture: a browser has to start first, also on a busy machine


def save_figure(
    figure: go.Figure, path: str | Path, *, width: int | None = None, height: int | None = None, scale: float = 2.0
) -> Path:
    """Write a figure of mechicl (or any plotly figure) to a file. The file name's extension sets the format.

    '.html' is one page that opens offline and needs no other program. '.png', '.svg', '.pdf', '.jpg' and '.webp' need
    Chrome or Chromium and kaleido (mechicl's extra `figures`); they work offline, too.

    Args:
        figure: a plotly figure, such as the functions of `mechicl.figures` and `Findings.figures` return.
        path: the file; its folder is made if it does not exist.
        width: width of an image in CSS pixels (default: the figure's own, else 960).
        height: height of an image in CSS pixels (default: the figure's own, else 460).
        scale: image pixels per CSS pixel in '.png', '.jpg' and '.webp'.

    Returns:
        The path.

    Raises:
        ConfigError: the extension is unknown, this is not a plotly figure, kaleido or a browser is missing, or the
            browser failed.

    Examples:
        >>> mechicl.save_figure(mechicl.seed_curves([series]), "curves.html").name
        'curves.html'
    """
    target = given(path)
    kind = target.suffix.removeprefix(".").lower().replace("jpeg", "jpg")
    if not isinstance(figure, go.Figure):
        raise ConfigError(
            f"expected a plotly figure to save, got {type(figure).__name__}; tables have to_csv, and "
            "mechicl.show_attention(...) has its own method save."
        )
    if kind == "html":
        data = figure.to_html(include_plotlyjs=True, full_html=True).encode()
    elif kind in PICTURES:
        size = {"width": width or figure.layout.width or 960, "height": height or figure.layout.height or 460}
        drawn_at = 1.0 if kind in ("svg", "pdf") else scale  # of lines, not of pixels: scaling would resize the page
        data = _drawn(figure, size | {"format": kind, "scale": drawn_at})
    else:
        raise ConfigError(
            f"{target}: a figure is saved as .html, {', '.join('.' + p for p in PICTURES)}; "
            f"given {target.suffix or 'no extension'!r}."
        )
    write_atomic(target, data)
    return target


def _drawn(figure: go.Figure, options: dict[str, Any]) -> bytes:
    try:
        kaleido, errors = (importlib.import_module(name) for name in ("kaleido", "kaleido.errors"))
    except ImportError:
        raise ConfigError(
            "images need kaleido (mechicl's extra `figures`), which is not installed: `python "
            "-m pip install 'kaleido>=1.0,<2'`. An .html file does not need it."
        ) from None
    try:
        # Without MathJax, which kaleido would fetch from a CDN: nothing here is typeset by it.
        return kaleido.calc_fig_sync(figure, opts=options, kopts={"mathjax": False, "timeout": _TIMEOUT})
    except errors.ChromeNotFoundError:
        raise ConfigError(
            "images need Chrome or Chromium, and neither was found: install one (Debian: "
            "`apt-get install chromium`; other systems: `plotly_get_chrome`). An .html file needs "
            "none."
        ) from None
    except (errors.BrowserFailedError, errors.BrowserClosedError, errors.KaleidoError, TimeoutError) as error:
        raise ConfigError(
            f"the browser failed to draw the image: {error or type(error).__name__}. An .html file needs none."
        ) from error
