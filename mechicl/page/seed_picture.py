"""The figure of several runs to take along: at a paper's width, with what it shows, n, intervals, and the command that
makes it."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.figures.save import save_figure
from mechicl.page.answers import SLICE, Answers
from mechicl.page.runs import Library, Run
from mechicl.page.seed_figure import seed_figure
from mechicl.page.seed_numbers import laid_over
from mechicl.page.seed_panel import said
from mechicl.page.seeds import Together, counted, together
from mechicl.page.state import View
from mechicl.page.view import Workbench
from mechicl.system.commands import command
from mechicl.system.disk import check_writable
from mechicl.system.paths import given
from mechicl.system.progress import bar

WIDTH = 672  # px: seven inches, the text of a page
_ACROSS = 104  # characters of a line at that width
_LINE = 15  # px


def seed_picture(answers: Answers, run: Run, view: View, seconds: float = SLICE) -> go.Figure:
    """The panel's figure. What is laid over is there as far as it is known or the time suffices; the figure says so.

    Raises:
        ConfigError: the view shows one run alone.
        ViewError: what is laid over is none of the view's.
    """
    found = _shown(answers, run, view)
    evaluator, condition = view.over or run.leading, found.of(run.series.name)
    over = laid_over(answers.bench, found, run, view, evaluator, seconds)
    fig = seed_figure(condition, run, evaluator, over, view.axis, view.unit)
    n = ", ".join(f"{each:,}" for each in sorted({len(each.sets[evaluator]) for each in condition.runs}))
    words = [
        f"{counted(condition)}.",
        f"Each curve has n = {n} sequences per checkpoint, as recorded in training; the band is the range of all runs.",
        f"Thick: {condition.name(run)}.",
        *said(over),
    ]
    above = textwrap.wrap(" ".join(words), _ACROSS)
    below = _lines(made_by(answers.library.folder, found, view), _ACROSS - 2)
    title = f"<b>{html.escape(condition.label)}: {EVALUATORS[evaluator].short} over training</b>"
    small = "<span style='font-size:11px;color:#555'>" + "<br>".join(map(html.escape, above)) + "</span>"
    top, bottom = 56 + _LINE * len(above), 84 + 24 + _LINE * len(below)
    height = fig.layout.height - 104 + top + bottom  # type: ignore[attr-defined]
    fig.update_layout(
        title={"text": f"{title}<br>{small}", "pad": {"t": 14}},
        margin={"t": top, "b": bottom},
        width=WIDTH,
        height=height,
        legend={"y": -56 / (height - top - bottom)},
    )
    return fig.add_annotation(
        text="<span style='font-family:monospace'>" + " \\<br>".join(map(html.escape, below)) + "</span>",
        **{"x": 0, "xref": "paper", "xanchor": "left", "y": 0, "yref": "paper", "yanchor": "bottom"},
        yshift=8 - bottom,
        align="left",
        showarrow=False,
        font={"size": 10, "color": "#555"},
    )


def _lines(command: str, width: int) -> list[str]:
    """A command in lines, to be joined by backslashes. Lines end between words; a quoted word may have spaces."""
    lines = [""]
    for word in re.findall(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""", command):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def write_picture(
    runs: Sequence[Path], query: str, path: Path, device: str | None = None, progress: bool = True
) -> Path:
    """Write the figure to a file once all that is laid over is computed: `mechicl app RUN RUN --save FILE`.

    Args:
        runs: of one folder (`named_together`). query: a view, as a page's address has it.
        path: its ending chooses the format (`save_figure`).
        progress: show a bar.

    Raises:
        ConfigError: there is one run alone, or the file cannot be of that kind.
        SeriesError: a run cannot be opened, or the view cannot be shown.
    """
    check_writable(given(path).parent, "Choose another file with --save FILE.")
    names = tuple(each.name for each in runs)
    answers = Answers(Library(runs[0].parent, names[0], device, names), Workbench(), names[0])
    run, view = answers.view(query)
    found, evaluator, share = _shown(answers, run, view), view.over or run.leading, 0.0
    with bar(100, "seeds", show=progress, delay=1.0, bar_format="{desc}: {percentage:3.0f}% [{elapsed}]") as shown:
        while (over := laid_over(answers.bench, found, run, view, evaluator, 1.0)) and over.done < over.total:
            shown.update(max(0.0, 100 * over.done / over.total - share))
            share = max(share, 100 * over.done / over.total)
    return save_figure(seed_picture(answers, run, view), path)


def _shown(answers: Answers, run: Run, view: View) -> Together:
    """The runs of a view. Raises ConfigError where it is one alone."""
    found = together(answers.library, run, view)
    if found is None:
        raise ConfigError(f"only one run was given, {run.series.name}: give several runs, or the folder of a sweep.")
    return found


def made_by(folder: Path, found: Together, view: View) -> str:
    """The command that makes the figure of a view."""
    roots = [folder / run.series.name for run in found.runs]
    shown = View(run=view.run, over=view.over, against=view.against, axis=view.axis, unit=view.unit).query()
    return command("app", *roots, "--view", shown, "--save", "seeds.pdf").strip("`")
