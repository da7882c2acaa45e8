"""The interactive page: `mechicl app RUN`, or `mechicl.app(series)` in a notebook.

    state.py      what is on the page, to and from a URL
    runs.py       the runs that may be shown; cache.py: results, remembered
    view.py       behaviour: intact and ablated numbers, curves under an ablation
    heads.py inside.py sequence.py compare.py    mechanism, one sequence, two checkpoints
    texts.py payloads.py figures.py answers.py    numbers to texts and plotly figures; a panel's question to them
    layout.py callbacks.py routes.py server.py    the page, its wiring and its server
    assets/       how it looks and reacts

Only layout, callbacks and server import dash; everything above them is pure and tested without.
As with `mechicl.train`, `mechicl.app` is the function; the package is `mechicl.app.state` and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechicl.app.server import Server
    from mechicl.series import Series


def app(series: Series, height: int = 900) -> Server:
    """Open the page inside a notebook, on a run and those beside it.

    Args:
        series: the run to begin with.
        height: of the frame, in pixels.

    Returns:
        The running server: it shows itself as a frame, has the address as `url`, and ends with
        `stop()`. It listens on this machine only.
    """
    from mechicl.app.server import open_server

    return open_server(series.root, port=0, height=height).start()
