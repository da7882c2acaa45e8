"""The wiring: a question from the page, an answer from the view model. One function per panel.

A question is {"q": the view's query string, "seq": number} and its answer carries the number
back, so that the page can drop what it no longer asks for. Nothing is kept between questions.
What cannot be shown comes back as {"error": sentence}: a reader never sees a stack trace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output

from mechicl.app import figures, layout, payloads
from mechicl.app.compare import compare
from mechicl.app.heads import MEASURES, head_scores
from mechicl.app.inside import attention, logit_view
from mechicl.app.runs import Library, Run
from mechicl.app.state import View
from mechicl.app.view import Workbench, shown
from mechicl.config import ConfigError
from mechicl.storage import SeriesError

SLICE = 0.25  # seconds of a curve computed per question
_log = logging.getLogger(__name__)


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

    def base(self, query: str) -> dict[str, Any]:
        """What the page's script needs to know about a run, once."""
        run, view = self.view(query)
        model = run.series.config.model
        return {
            "view": dict(part.split("=", 1) for part in view.query().split("&")),
            "defaults": dict(part.split("=", 1) for part in View(run="").query().split("&") if part) | _defaults(),
            "steps": run.steps, "sequences": [run.series.sequences(s) for s in run.steps],
            "layers": model.n_layers, "heads": model.n_heads, "evaluators": shown(run),
            "sizes": {name: len(batch) for name, batch in run.sets.items()},
            "measures": {k: {"meaning": m.meaning, "unit": m.unit, "low": payloads.plain(m.limits[0], 1),
                             "high": payloads.plain(m.limits[1], 1), "gradient": payloads.gradient(m),
                             "on": k.startswith("effect_")} for k, m in MEASURES.items()},
            "kinds": layout.kinds(),
        }  # fmt: skip

    def effect(self, ask: dict[str, Any]) -> dict[str, Any]:
        """The numbers of a checkpoint, intact and ablated."""
        run, view = self.view(ask["q"])
        assert view.step is not None
        effects = self.bench.effects(run, view.step, view.ablation)
        return {"rows": payloads.effect_rows(effects), "place": payloads.place(view.step, run)}

    def heads(self, ask: dict[str, Any]) -> dict[str, Any]:
        """The head grid's numbers and colours."""
        run, view = self.view(ask["q"])
        model = run.series.config.model
        values = head_scores(self.bench, run, view)
        return {"cells": payloads.head_cells(values, view, model.n_layers, model.n_heads),
                "n": next(iter(values.values())).n if values else 0}  # fmt: skip

    def curve(self, ask: dict[str, Any]) -> dict[str, Any]:
        """The next piece of the curves under the view's ablation."""
        run, view = self.view(ask["q"])
        if view.ablation is None:
            return {"next": 0, "total": 0, "steps": [], "sequences": [], "values": {}}
        return payloads.curve_points(self.bench.curve(run, view.ablation, int(ask["from"]), SLICE))

    def timeline(self, ask: dict[str, Any]) -> Any:
        """The figure of the curves, with the cursor where the view is."""
        run, view = self.view(ask["q"])
        return figures.timeline(run, view.axis, view.unit, view.step).to_plotly_json()

    def attention(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Patterns, and the tokens they are of."""
        run, view = self.view(ask["q"])
        return payloads.attention_cells(attention(self.bench, run, view))

    def logits(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Who adds what to which label, as a figure, and the labels' probabilities."""
        run, view = self.view(ask["q"])
        found = logit_view(self.bench, run, view)
        return {"figure": figures.logits_figure(found).to_plotly_json(), "labels": payloads.label_rows(found),
                "what": found.what}  # fmt: skip

    def compare(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Two checkpoints or runs side by side."""
        run, view = self.view(ask["q"])
        return payloads.comparison(compare(self.bench, self.library, run, view), view)


def _defaults() -> dict[str, str]:
    blank = View(run="x")
    return {"kind": blank.kind, "measure": blank.measure, "evaluator": blank.evaluator, "axis": blank.axis,
            "unit": blank.unit, "tab": blank.tab, "heads": "", "sequence": "", "head": "", "with_run": "",
            "with_step": ""}  # fmt: skip


def wire(app: Dash, answers: Answers) -> None:
    """Register every callback on a Dash app."""

    @app.callback(Output("page", "children"), Output("base", "data"), Input("url", "search"))
    def start(search: str | None):
        try:
            run, view = answers.view(search or "")
            return layout.page(answers.library, run, view), answers.base(search or "")
        except (SeriesError, ConfigError) as error:
            return layout.trouble(str(error), answers.library), None
        except Exception:
            _log.exception("opening %r failed", search)
            return layout.trouble(_UNFORESEEN, answers.library), None

    app.clientside_callback(
        ClientsideFunction("mechicl", "begin"), Output("say", "title"), Input("base", "data"), prevent_initial_call=True
    )
    for name in layout.ASKS:
        app.callback(Output(f"answer-{name}", "data"), Input(f"ask-{name}", "data"), prevent_initial_call=True)(
            safely(getattr(answers, name))
        )
        app.clientside_callback(
            ClientsideFunction("mechicl", name), Output(f"answer-{name}", "modified_timestamp"),
            Input(f"answer-{name}", "data"), prevent_initial_call=True,
        )  # fmt: skip


_UNFORESEEN = "Something went wrong that should not have: the terminal where the app runs has the details."


def safely(answer: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any] | None], dict[str, Any]]:
    """An answer that always comes: with the question's number, and with a sentence on trouble."""

    def call(ask: dict[str, Any] | None) -> dict[str, Any]:
        number = ask.get("seq") if isinstance(ask, dict) else None
        try:
            if not isinstance(ask, dict) or not isinstance(ask.get("q"), str):
                raise SeriesError("the page asked for nothing; reload it.")
            return {"seq": number, "data": answer(ask)}
        except (SeriesError, ConfigError) as error:
            return {"seq": number, "error": str(error)}
        except Exception:
            _log.exception("answering %r failed", ask)
            return {"seq": number, "error": _UNFORESEEN}

    call.__name__ = answer.__name__
    return call
