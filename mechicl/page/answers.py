"""The answers of every panel: a view's query string in, plain data out.

Nothing is kept between questions. What cannot be shown comes back as {"error": sentence}: a
reader never sees a stack trace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import BASELINES
from mechicl.interventions.baselines import Plain
from mechicl.interventions.cut_paths import PATH_KINDS
from mechicl.interventions.heads import HELD
from mechicl.measures import words
from mechicl.page import figures, payloads, timelines
from mechicl.page.compare import compare
from mechicl.page.heads import even, head_grid, measures
from mechicl.page.inside import attention, logit_view
from mechicl.page.offered import known_edges, partner, partners, reached, relations
from mechicl.page.runs import Library, Run
from mechicl.page.sequence import answers as sequence_answers
from mechicl.page.state import PARTS, View, ViewError, effect_of
from mechicl.page.texts import plain
from mechicl.page.view import Chunk, Workbench, shown

PANELS = ("timeline", "effect", "ahead", "controls", "heads", "curve", "attention", "logits", "compare")
SLICE = 0.25  # seconds of a curve computed per question
UNFORESEEN = "Something went wrong. The terminal in which the app runs shows the details."
_log = logging.getLogger(__name__)

KINDS = {
    "zero": "The output is replaced by 0.",
    "mean": "The output is replaced by its mean over the evaluator's sequences, at each position. This keeps what is "
    "the same in all sequences and removes what depends on this sequence.",
    "resample": "The output is replaced by the output on another sequence. It has its usual size, but the wrong "
    "content.",
    "pattern_preserving": "The head's values are set to 0, and all attention patterns keep their intact values. "
    "So the head's output is removed, and other heads attend to the same positions.",
    "value_preserving": "The head's values are set to 0, and all later layers keep their intact values. "
    "So other heads may attend to other positions, but they copy the same values.",
}


@dataclass(frozen=True)
class Answers:
    """The answers of every panel: plain functions of a view, which tests call directly."""

    library: Library
    bench: Workbench
    default_run: str

    def view(self, query: str) -> tuple[Run, View]:
        """The run and the settled view of a query string.

        Raises:
            SeriesError: what is wrong with it.
        """
        view = self.library.settled(View.from_query(query or "", self.default_run))
        return self.library.run(view.run), view

    def to(self, panel: str, query: str, start: int = 0, left: Callable[[], bool] = bool) -> dict[str, Any]:
        """The answer that always comes: {"data": ...} or, on trouble, {"error": a sentence}.

        Args:
            panel: one of PANELS.
            start: for 'curve', the first checkpoint (of `Run.coarse_to_fine`) that is wanted.
            left: whether nobody waits for the answer any more: then it is {"data": None}.
        """
        if panel not in PANELS:
            return {"error": f"the page has no panel {panel!r}."}
        more = {"start": start} if panel == "curve" else {}
        if panel == "ahead" and self.bench.turns.crowded:
            return {"data": {"ready": 0}}
        return self.in_turn(panel, query, lambda: getattr(self, panel)(query, **more), left, urgent=panel == "effect")

    def in_turn(
        self,
        panel: str,
        query: str,
        answer: Callable[[], dict[str, Any]],
        left: Callable[[], bool],
        urgent: bool = False,
    ) -> dict[str, Any]:
        """As `to`, of any answer: computed when it is its turn (`Turns`), and not if nobody waits for it any more."""
        return self.bench.turns.compute(lambda: {"data": None} if left() else told(panel, query, answer), urgent)

    def base(self, query: str) -> dict[str, Any]:
        """What the page's script needs to know about a run, once."""
        run, view = self.view(query)
        model = run.series.config.model
        uniform = {name: even(run, name) for name in run.sets}
        return {
            "view": dict(part.split("=", 1) for part in view.query().split("&")),
            "defaults": _defaults() | {"over": run.leading},
            "parts": list(PARTS),
            "changed": [name for name in words.NAMES if name != "kind"],
            "steps": run.steps,
            "sequences": [run.series.sequences_seen(s) for s in run.steps],
            "layers": model.n_layers,
            "heads": model.n_heads,
            "evaluators": shown(run),
            "sizes": {name: len(batch) for name, batch in run.sets.items()},
            "measures": {
                k: {
                    "meaning": m.meaning,
                    "unit": m.unit,
                    "on": m.on_evaluator,
                    "edited": m.edited,
                    "undefined": [e for e, has in uniform.items() if m.colours == "change" and k not in has],
                }
                for k, m in measures().items()
            },
            "relations": relations(run),
            "edges": known_edges(run),
            "reached": reached(run),
            "partners": {name: partner(name)[1] for name in partners(run)},
            "held": HELD,
            "colours": payloads.colours(),
            "kinds": {
                kind: {
                    "meaning": text,
                    "baseline": BASELINES[kind],
                    "plain": kind in get_args(Plain),
                    "paths": kind in PATH_KINDS,
                }
                for kind, text in KINDS.items()
            },
        }

    def effect(self, query: str) -> dict[str, Any]:
        """The numbers of a checkpoint, intact and ablated."""
        run, view = self.view(query)
        assert view.step is not None
        effects = self.bench.effects(run, view.step, view.intervention)
        return {
            "rows": payloads.effect_rows(effects, run.spans, view.intervention is not None),
            "place": payloads.place(view.step, run),
        }

    def ahead(self, query: str) -> dict[str, Any]:
        """Nothing to show: a reader may ask for this view's numbers next."""
        run, view = self.view(query)
        assert view.step is not None
        return {"ready": self.bench.prepare(run, view.step, view.intervention)}

    def controls(self, query: str) -> dict[str, Any]:
        """What the same done to random others changes."""
        run, view = self.view(query)
        assert view.step is not None
        if view.intervention is None:
            return {"rows": {}, "says": "", "partial": False}
        done = self.bench.at_step(run, view.step, view.intervention)
        return payloads.control_rows(self.bench.controls(run, view.step, done), done)

    def heads(self, query: str) -> dict[str, Any]:
        """The head grid's numbers and colours."""
        run, view = self.view(query)
        model = run.series.config.model
        measure = measures()[view.measure]
        if measure.edited:
            _check_there(run, view, effect_of(view.measure) or view.evaluator)
        grid = head_grid(self.bench, run, view)
        return {
            "cells": payloads.head_cells(grid, view, model.n_layers, model.n_heads),
            "mlps": payloads.mlp_cells(grid, view, [la for la in range(model.n_layers) if model.has_mlp(la)]),
            "scale": payloads.scale(grid),
            "n": next(iter(grid.values.values())).n if grid.values else 0,
        }

    def curve(self, query: str, start: int = 0) -> dict[str, Any]:
        """The next piece of the curves under the view's ablation."""
        run, view = self.view(query)
        if view.intervention is None:
            return payloads.curve_points(Chunk(0, 0, []))
        return payloads.curve_points(self.bench.curve(run, view.intervention, start, SLICE))

    def timeline(self, query: str) -> Any:
        """The figure of the curves; the page lays its own cursor over it."""
        run, view = self.view(query)
        return timelines.timeline(run, view.axis, view.unit).to_plotly_json()

    def attention(self, query: str) -> dict[str, Any]:
        """Patterns, and the tokens they are of."""
        run, view = self.view(query)
        _check_there(run, view, view.evaluator)
        right = {} if view.sequence is None else sequence_answers(run, view.evaluator, view.sequence)
        return payloads.attention_cells(attention(self.bench, run, view), right, view.intervention, run.series.task)

    def logits(self, query: str) -> dict[str, Any]:
        """Who adds what to which label, as a figure, and the labels' probabilities."""
        run, view = self.view(query)
        _check_there(run, view, view.evaluator)
        found = logit_view(self.bench, run, view)
        return {
            "figure": figures.logits_figure(found).to_plotly_json(),
            "labels": payloads.label_rows(found),
            "what": found.what,
            "limit": plain(found.limit, 1),
            "answer": run.series.task.answer,
        }

    def compare(self, query: str) -> dict[str, Any]:
        """Two checkpoints or runs side by side."""
        run, view = self.view(query)
        return payloads.comparison(compare(self.bench, self.library, run, view), view)


def told(what: str, query: str, answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """An answer that always comes: {"data": ...} or, on trouble, {"error": a sentence}.

    Args:
        what: is asked for, for the log.
    """
    try:
        return {"data": answer()}
    except (SeriesError, ConfigError) as error:
        return {"error": str(error)}
    except Exception:
        _log.exception("answering %s for %r failed", what, query)
        return {"error": UNFORESEEN}


def _check_there(run: Run, view: View, evaluator: str) -> None:
    """Raise ViewError if an evaluator's sequences have not what is changed: say whose have it."""
    if not run.fits(evaluator, view.intervention):
        have = ", ".join(EVALUATORS[name].short for name in run.fitting(view.intervention))
        which = EVALUATORS[evaluator].short
        raise ViewError(f"{view.intervention}: {which} sequences have no such positions. Look at those of {have}.")


def _defaults() -> dict[str, str]:
    blank = View(run="x")
    return {
        "kind": blank.kind,
        "measure": blank.measure,
        "evaluator": blank.evaluator,
        "axis": blank.axis,
        "unit": blank.unit,
        "tab": blank.tab,
        **{name: "" for name in words.NAMES if name != "kind"},
        "sequence": "",
        "head": "",
        "with_run": "",
        "with_step": "",
        "seeds": "",
        "against": "",
        "threshold": str(blank.threshold),
        "track": blank.track,
        "score": "",
        "items": "",
    }
