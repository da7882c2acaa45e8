"""One static HTML file about a series. It opens offline and needs no other file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import mechicl
from mechicl.card import body
from mechicl.config import Config, to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.figures.attention import circuitsvis_bundle, circuitsvis_element, patterns
from mechicl.figures.caption import caption, how_counted
from mechicl.figures.style import FONT, NAMES, short
from mechicl.measures.phases import chance_levels, series_phases
from mechicl.registry import EVALUATORS, main
from mechicl.series import Series
from mechicl.series.choosing import counted
from mechicl.series.family import family
from mechicl.series.given import of_series
from mechicl.series.placing import page_file
from mechicl.system.commands import command
from mechicl.system.disk import check_writable, own_place
from mechicl.system.files import write_atomic

# Analyses whose sections `render` lays out itself; any other that is reported follows them.
_PLACED = ("transience", "induction_heads", "attention_over_time", "head_ablations")


@of_series
def report(
    series: Series, path: str | Path | None = None, *, out: str | Path | None = None, progress: bool = True
) -> Path:
    """Run the analyses of the report, save their tables, and write the report as one HTML page.

    Args:
        series: the run.
        path: the file (default `<run>/report.html`); for a folder, `report.html` in it. Tables are saved in the run. If
            a path is given and the run cannot be written to, they are not saved.
        out: the same, as on the command line.
        progress: show a bar for each analysis.

    Returns:
        The page's path. At most 8 MB: plotly's and circuitsvis' scripts, once each, and data.

    Raises:
        ConfigError: `path` does not end in .html, or lies in another run.
        SeriesError: nothing was recorded yet; or the page cannot be written there, which is checked before anything is
            computed.
    """
    import analyses

    if path is not None and out is not None:
        raise ConfigError(f"report(path={str(path)!r}, out={str(out)!r}): both are the file: give one.")
    path = out if path is None else path
    target = page_file(series, path, "report.html", "Choose another file with --out FILE.")
    tables: Path | None = series.root / "analysis"
    try:
        check_writable(own_place(series.root, tables / "x").parent)
    except SeriesError:
        if path is None:
            raise
        tables = None
    if not series.metrics.size:
        raise SeriesError(f"{series.root} has no metrics yet: {command('train', '--resume', series.root)}.")
    found = {name: analyses.get(name)(series, progress=progress) for name in analyses.reported()}
    if tables is not None:
        for findings in found.values():
            findings.save(tables)
    write_atomic(target, render(series, found).encode())
    return target


@dataclass(frozen=True)
class Section:
    """One part of the page: `lines` are text, `cards` HTML that is safe as it is, `phases` rows of a table."""

    title: str
    lines: list[str]
    cards: list[Markup] = field(default_factory=list)
    phases: list[tuple[str, ...]] = field(default_factory=list)
    errors: str = ""  # names of those of `phases` of which less is better


def render(series: Series, found: dict[str, Any]) -> str:
    """The page as text, from an analysis of each name."""
    from analyses.attention_over_time import moments

    draw = _drawer()
    transience, heads = found["transience"], found["induction_heads"]
    attention, ablations = found["attention_over_time"], found["head_ablations"]
    at = moments(series) if attention.figures else {}
    moving = sorted(attention.figures, key=lambda name: name == "animation")  # last
    sections = [
        Section(
            "In-context learning over training",
            transience.text,
            [draw(transience.figures["curves"])],
            _phase_rows(series),
            " and ".join(NAMES[name] for name in series_phases(series) if EVALUATORS[name].sign < 0),
        ),
        Section(heads.question, heads.text, [draw(f) for f in heads.figures.values()]),
        Section(attention.question, attention.text, [draw(attention.figures[name]) for name in moving]),
        *(
            [
                Section(
                    "Attention, head by head",
                    [f"Click a head to enlarge it; rows attend to columns. Mean over the {_averaged(series)}."],
                    _circuitsvis(series, at),
                )
            ]
            if at
            else []
        ),
        Section(ablations.question, ablations.text, [draw(f) for f in ablations.figures.values()]),
        *(
            Section(more.question, more.text, [draw(f) for f in more.figures.values()])
            for name, more in found.items()
            if name not in _PLACED
        ),
    ]
    return _template().render(
        name=series.name,
        font=FONT,
        scripts=[Markup(get_plotlyjs()), Markup(circuitsvis_bundle())],
        summary=_summary(series),
        complete=series.complete,
        family=family(series),
        evaluators=_evaluators(series.config),
        sections=sections,
        config=json.dumps(to_dict(series.config), indent=1),
        version=mechicl.__version__,
        torch=series.manifest["versions"]["torch"],
    )


def _template() -> Template:
    loader = PackageLoader("mechicl.reporting", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("report.html.j2")


def _drawer() -> Callable[[go.Figure], Markup]:
    """Figures get numbered elements, so that the same series gives the same page."""
    count = iter(range(10_000))

    def draw(figure: go.Figure) -> Markup:
        return Markup(
            figure.to_html(
                include_plotlyjs=False,
                full_html=False,
                div_id=f"figure-{next(count)}",
                auto_play=False,
                config={"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg"}},
            )
        )

    return draw


def _summary(series: Series) -> str:
    c, m = series.config, series.config.model
    details = "; ".join(series.task.details(m))
    return (
        f"{m.n_layers} layers, {m.n_heads} heads, width {m.d_model}, {body(m)}; {caption(series)}"
        f"{details and '; '}{details}. {short(series.seen)} training sequences{how_counted(series)}, "
        f"{counted(series)}, init seed {c.seeds.init}."
    )


def _averaged(series: Series) -> str:
    """Over which sequences attention is averaged."""
    name = series.task.circuit.evaluator
    return f"{name} sequences {series.task.alignment(series.evaluation_set(name))}".rstrip()


def _evaluators(config: Config) -> list[tuple[str, str]]:
    """The evaluators of the run: each one's name and what its sequences are."""
    return [(EVALUATORS[n].short, EVALUATORS[n].explained) for n in main(config)]


def _phase_rows(series: Series) -> list[tuple[str, ...]]:
    chance, rows = chance_levels(series), []
    for name, p in series_phases(series).items():
        onset, at, decay = (short(x) if x is not None else "–" for x in (p.onset, p.peak, p.half_decay))
        peak = "–" if p.peak_value is None else f"{p.peak_value:.3f}"
        rows.append((NAMES[name], f"{chance[name]:.3f}", onset, at, peak, decay, f"{p.final_value:.3f}"))
    return rows


def _circuitsvis(series: Series, at: dict[str, int]) -> list[Markup]:
    shown = patterns(series, list(at.values()), series.task.circuit.evaluator)
    layers = range(series.config.model.n_layers)
    return [
        Markup("<b>{}</b>: {} sequences").format(name, short(series.sequences_seen(step)))
        + Markup(circuitsvis_element(shown, i, layers, f"circuitsvis-{name}"))
        for i, (name, step) in enumerate(at.items())
    ]
