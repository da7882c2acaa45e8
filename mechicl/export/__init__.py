"""A run as one HTML file that needs no Python: `mechicl export RUN --out page.html`.

    shape.py sets.py    what of a run is shipped: its models, its sequences
    budget.py notes.py  which checkpoints there is room for; what the file leaves out, in words
    wat.py html.py      the file: WebAssembly from its text, scripts and styles joined
    assets/             the model in the browser (arena, model, answers, engine, worker), and the page around it

The model runs in the browser, in typed arrays and a product of matrices written by hand in WebAssembly: the models are
small, onnxruntime-web has 10 MB, and a forward pass of one's own starts in the middle, where an ablation begins.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, get_args

import mechicl
from mechicl.errors import ConfigError
from mechicl.export import budget
from mechicl.export.html import ASSETS, render
from mechicl.export.notes import without
from mechicl.export.sets import evaluators, moments, outputs, shipped_sets, shown_sets
from mechicl.export.shape import check_series, halves, shape_of
from mechicl.export.wat import assemble
from mechicl.figures.caption import facts
from mechicl.figures.scales import SCALES, SHADES
from mechicl.interventions import BASELINES
from mechicl.interventions.baselines import Plain
from mechicl.measures.phases import leading_phases, series_phases
from mechicl.page.answers import KINDS
from mechicl.page.payloads import shade
from mechicl.registry import ceiling, floor, looked_at, quantity
from mechicl.series import Series
from mechicl.series.placing import page_file
from mechicl.system.files import write_atomic
from mechicl.system.progress import each as progressing

MOST = 25.0  # MB of a page, unless told otherwise


def export(
    series: Series,
    out: str | Path | None = None,
    *,
    max_mb: float = MOST,
    n: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a run as one HTML file that computes in the browser.

    Args:
        series: the run; its `steps` are shipped, as many as there is room for.
        out: the file (default `<run>/page.html`); for a folder, `page.html` in it.
        max_mb: megabytes that the file may have; inf: any number. With more checkpoints than fit, an even choice is
            shipped.
        n: sequences of each evaluator (default: as many as the run was evaluated on, or fewer where they are long).
        progress: show a bar.

    Returns:
        The file's path.

    Raises:
        ConfigError: `out` does not end in .html, or lies in another run; the page cannot run this run's models or
            sequences; or there is no room.
        SeriesError: it cannot be written there, which is checked first.
    """
    target = page_file(series, out, "page.html", "Put the page elsewhere with --out FILE.")
    if not max_mb > 0:
        raise ConfigError(f"max_mb={max_mb}: expected a size in megabytes, such as {MOST:g}.")
    check_series(series)
    n = budget.sequences(series.config) if n is None else n
    sets = shown_sets(series, n)
    shipped = shipped_sets(series, sets)
    first = _first_look(series)
    data = _described(series, evaluators(series, sets, shipped), shape_of(series, next(iter(shipped.values()))), n)
    size = len(base64.b64encode(halves(series, first))) + 60
    fixed = len(render(series.name, data, {}).encode()) + 500
    steps = budget.kept(series.steps, first, fixed=fixed, each=size, most=max_mb * 1e6)
    data |= {
        "steps": steps,
        "first": first,
        "sequences": [series.sequences_seen(step) for step in steps],
        "without": without(series, len(steps), len(next(iter(sets.values())))),
    }
    checkpoints = {step: halves(series, step) for step in progressing(steps, "export", show=progress, delay=1.0)}
    write_atomic(target, render(series.name, data, checkpoints).encode())
    return target


def _first_look(series: Series) -> int:
    """The step at which the page opens: ICL's peak, where there is most to see; else the last."""
    led = leading_phases(series_phases(series)) if series.metrics.size else None
    return series.steps[-1] if led is None or led[1].peak is None else series.nearest(led[1].peak)


def _described(series: Series, each: list[dict[str, Any]], shape: dict[str, Any], n: int) -> dict[str, Any]:
    c, task = series.config, series.task
    highest = max((v for e in each for v in e["curve"]["value"]), default=0.0)
    names = {e["name"] for e in each}
    return {
        "name": series.name,
        "facts": facts(series),
        "version": mechicl.__version__,
        "batch": c.batch_size,
        "shape": shape,
        "kernel": base64.b64encode(assemble((ASSETS / "kernel.wat").read_text(encoding="utf-8"))).decode(),
        "evaluators": each,
        "leading": looked_at(c) if looked_at(c) in names else each[0]["name"],
        "moments": moments(series),
        "quantity": quantity(c),
        "floor": floor(c),
        "ceiling": ceiling(highest),
        "kinds": {
            kind: {"meaning": says, "baseline": BASELINES[kind], "plain": kind in get_args(Plain)}
            for kind, says in KINDS.items()
        },
        "colours": {meaning: [shade(i / (SHADES - 1), meaning) for i in range(SHADES)] for meaning in SCALES},
        "answer": task.answer,
        "outputs": outputs(series),
        "marks": dict(task.marks),
        "size": "" if n == c.n_eval else f" --n {n}",
        "steps": [],
        "sequences": [],
        "without": [],
        "first": 0,
    }
