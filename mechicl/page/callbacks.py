"""The wiring to Dash: an address in, the page of its run out; from there the page's script asks.

Only the page itself comes through Dash. Its numbers are fetched as plain JSON (routes.py): the
way through Dash's stores and callbacks took 50 to 120 ms per click in the browser, all of what
a click may take.
"""

from __future__ import annotations

import logging

from dash import ClientsideFunction, Dash, Input, Output

from mechicl.errors import ConfigError, SeriesError
from mechicl.page import layout
from mechicl.page.answers import UNFORESEEN, Answers

_log = logging.getLogger(__name__)


def wire(app: Dash, answers: Answers) -> None:
    """Register the callbacks on a Dash app."""

    @app.callback(Output("page", "children"), Output("base", "data"), Input("url", "search"))
    def start(search: str | None):
        try:
            run, view = answers.view(search or "")
            return layout.page(answers.library, run, view), answers.base(search or "")
        except (SeriesError, ConfigError) as error:
            return layout.trouble(str(error), answers.library), None
        except Exception:
            _log.exception("opening %r failed", search)
            return layout.trouble(UNFORESEEN, answers.library), None

    app.clientside_callback(
        ClientsideFunction("mechicl", "begin"), Output("say", "title"), Input("base", "data"), prevent_initial_call=True
    )
