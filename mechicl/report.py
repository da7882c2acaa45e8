"""One static HTML file about a series: opens offline, needs nothing beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

import mechicl
from mechicl.caption import caption
from mechicl.commands import command
from mechicl.config import Config, to_dict
from mechicl.disk import check_writable, own_place
from mechicl.figures.attention import circuitsvis_bundle, circuitsvis_element, patterns
from mechicl.figures.style import FONT, NAMES, short
from mechicl.measures.phases import chance_levels, series_phases
from mechicl.paths import given
from mechicl.registry import EVALUATORS, main
from mechicl.series import Series, SeriesError
from mechicl.storage import write_atomic

# Analyses whose sections `render` lays out itself; any other that is reported follows them.
_PLACED = ("transience", "induction_heads", "attention_over_time", "head_ablations")

_STYLE = f"""
:root {{ color-scheme: light; }}
body {{ font-family: {FONT}; color: #222; margin: 0; background: #f6f7f9; line-height: 1.5; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 32px 24px 80px; }}
h1 {{ font-size: 30px; margin: 0 0 4px; }} h2 {{ font-size: 21px; margin: 40px 0 4px; }}
p.lead {{ font-size: 17px; margin: 0 0 12px; color: #444; max-width: 78ch; }}
section > p {{ max-width: 78ch; color: #444; margin: 4px 0 10px; }}
.card {{ background: white; border: 1px solid #e3e6ea; border-radius: 8px; padding: 12px 16px; margin: 12px 0; }}
.card {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 4px 14px 4px 0; border-bottom: 1px solid #eee; }}
th:first-child, td:first-child {{ text-align: left; }}
.card p {{ margin: 8px 0 2px; color: #666; font-size: 14px; }}
li {{ margin: 4px 0; max-width: 86ch; }}
pre {{ font-size: 12.5px; overflow-x: auto; }} code {{ background: #eef1f4; padding: 1px 5px; border-radius: 4px; }}
footer {{ color: #777; font-size: 13px; margin-top: 48px; }}
"""


def report(series: Series, path: str | Path | None = None, *, progress: bool = True) -> Path:
    """Run the analyses that the page shows (their tables are saved too) and write it.

    Args:
        series: the run.
        path: where (default `<run>/report.html`); of a folder, `report.html` in it. The tables stay in the run,
            or, where it cannot be written to and a path was given, are not saved.
        progress: show a bar for each analysis.

    Returns:
        The page's path. At most 8 MB: plotly's and circuitsvis' scripts, once each, and data.

    Raises:
        SeriesError: nothing was recorded yet, or, before anything is computed, the page cannot be put there.
    """
    import analyses

    target = series.root / "report.html" if path is None else given(path)
    target = target / "report.html" if target.is_dir() else target
    check_writable(target.parent, "Put the page elsewhere with --out FILE.")
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


def render(series: Series, found: dict) -> str:
    """The page as text, from an analysis of each name."""
    from analyses.attention_over_time import moments

    draw = _drawer()
    transience, heads = found["transience"], found["induction_heads"]
    attention, ablations = found["attention_over_time"], found["head_ablations"]
    at = moments(series) if attention.figures else {}
    parts = [
        f"<h1>{_text(series.name)}</h1>", _summary(series),
        _section("In-context learning over training", transience.text,
                 draw(transience.figures["curves"]) + _phase_table(series)),
        _section(heads.question, heads.text, "".join(map(draw, heads.figures.values()))),
        _section(attention.question, attention.text,
                 "".join(draw(f) for k, f in attention.figures.items() if k != "animation")
                 + "".join(draw(f) for k, f in attention.figures.items() if k == "animation")),
        *([_section("Attention, head by head", [
            f"Click a head to enlarge it; rows attend to columns. Mean over the {series.task.circuit.evaluator} "
            f"sequences{' that show the matching pair first' if series.config.task is None else ''}."],
            _circuitsvis(series, at))] if at else []),
        _section(ablations.question, ablations.text, "".join(map(draw, ablations.figures.values()))),
        *(_section(more.question, more.text, "".join(map(draw, more.figures.values())))
          for name, more in found.items() if name not in _PLACED),
        _section("Configuration", [], "<div class='card'><pre>"
                 + _text(json.dumps(to_dict(series.config), indent=1)) + "</pre></div>"),
        f"<footer>mechicl {mechicl.__version__}; torch {_text(series.manifest['versions']['torch'])}. Definitions "
        "of every evaluator and measure are in the docstrings of <code>mechicl/evaluators.py</code> and "
        "<code>mechicl/measures/</code>.</footer>",
    ]  # fmt: skip
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{_text(series.name)} | mechicl</title>"
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script><script>{circuitsvis_bundle()}</script>"
        f"</head><body><main>{''.join(parts)}</main></body></html>"
    )


def _drawer() -> Callable[[go.Figure], str]:
    """Figures get numbered elements, so that the same series gives the same page."""
    count = iter(range(10_000))

    def draw(figure: go.Figure) -> str:
        page = figure.to_html(
            include_plotlyjs=False, full_html=False, div_id=f"figure-{next(count)}", auto_play=False,
            config={"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg"}},
        )  # fmt: skip
        return f"<div class='card'>{page}</div>"

    return draw


def _summary(series: Series) -> str:
    c, m = series.config, series.config.model
    body = "attention only" if not m.mlp_ratio else f"MLP ratio {m.mlp_ratio}"
    details = "; ".join(series.task.details(m))
    done = "" if series.complete else " <b>This run is not finished.</b>"
    return (
        f"<p class='lead'>{m.n_layers} layers, {m.n_heads} heads, width {m.d_model}, {body}; {caption(series)}"
        f"{details and '; '}{details}. "
        f"{short(series.seen)} training sequences, {len(series.steps)} checkpoints, "
        f"init seed {c.seeds.init}.{done}</p>"
        f"<p class='lead'>{_evaluators(c)}</p>"
    )


def _evaluators(config: Config) -> str:
    """What is asked of the run, in a few sentences."""
    names = main(config)
    if names == ["icl", "flip", "ciwl", "iwl"]:
        return ("<b>ICL</b>: the label shown with the query's class, relabelled 0/1. <b>Flip</b>: the two "
                "classes' labels swapped, so the context contradicts the weights. <b>CIWL</b>: the right label is in "
                "the context, on a wrong exemplar. <b>IWL</b>: it is not in the context at all.")  # fmt: skip
    return " ".join(f"<b>{_text(EVALUATORS[n].short)}</b>: {_text(EVALUATORS[n].meaning)}." for n in names)


def _section(title: str, lines: list[str], body: str) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<section><h2>{_text(title)}</h2>{f'<ul>{items}</ul>' if items else ''}{body}</section>"


def _phase_table(series: Series) -> str:
    chance = chance_levels(series)
    head = ("evaluator", "chance", "onset", "peak at", "peak", "half-decay", "final")
    rows = []
    for name, p in series_phases(series).items():
        when = [short(x) if x is not None else "–" for x in (p.onset, p.peak, p.half_decay)]
        peak = "–" if p.peak_value is None else f"{p.peak_value:.3f}"
        rows.append((NAMES[name], f"{chance[name]:.3f}", when[0], when[1], peak, when[2], f"{p.final_value:.3f}"))
    cells = "".join("<tr>" + "".join(f"<td>{_text(c)}</td>" for c in row) + "</tr>" for row in rows)
    title = "".join(f"<th>{h}</th>" for h in head)
    return (
        f"<div class='card'><table><tr>{title}</tr>{cells}</table><p>Onset and half-decay: the curve crosses half-way "
        "between chance and its peak, going up and coming down; in training sequences.</p></div>"
    )


def _circuitsvis(series: Series, at: dict[str, int]) -> str:
    shown = patterns(series, list(at.values()), series.task.circuit.evaluator)
    layers = range(series.config.model.n_layers)
    return "".join(
        f"<div class='card'><b>{_text(name)}</b>: {short(series.sequences(step))} sequences"
        + circuitsvis_element(shown, i, layers, f"circuitsvis-{name}") + "</div>"
        for i, (name, step) in enumerate(at.items())
    )  # fmt: skip


def _text(value: object) -> str:
    return html.escape(str(value))
