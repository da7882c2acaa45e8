"""Where pages and tables about a run are put: not into another run."""

from __future__ import annotations

from pathlib import Path

from mechicl.errors import ConfigError
from mechicl.series.series import Series
from mechicl.system.disk import check_writable, is_file
from mechicl.system.paths import given, shown


def page_file(series: Series, out: str | Path | None, name: str, helps: str) -> Path:
    """The file of a page about a run, before the page is computed.

    Args:
        series: the run.
        out: the file, or a folder for it (default: the run's).
        name: how the page is called in a folder, such as report.html.
        helps: what to do if the folder cannot be written to.

    Raises:
        ConfigError: it does not end in .html, or lies in another run.
        SeriesError: the folder cannot be written to.
    """
    target = series.root / name if out is None else given(out)
    target = target / name if target.is_dir() else target
    if target.suffix != ".html":
        raise ConfigError(f"--out {out}: expected a file that ends in .html, or a folder that is there.")
    check_own(series, target.parent)
    check_writable(target.parent, helps)
    return target


def check_own(series: Series, folder: Path) -> None:
    """See that a folder is not that of another run.

    Raises:
        ConfigError: it is.
    """
    if is_file(folder / "manifest.json") and folder.resolve() != series.root.resolve():
        raise ConfigError(f"--out: {shown(folder)} is another run than {shown(series.root)}. Write elsewhere.")
