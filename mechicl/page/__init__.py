"""The interactive page: `mechicl app RUN`, or `mechicl.app(series)` in a notebook.

    state.py      what is on the page, to and from a URL; python.py: as a script; tables.py: as tables
    runs.py       the runs that may be shown; cache.py: results, remembered
    view.py       behaviour: intact and ablated numbers, curves under an ablation; turns.py: who computes next
    heads.py inside.py sequence.py compare.py    mechanism, one sequence, two checkpoints
    plugged.py    measures of one's own, by head
    texts.py payloads.py figures.py timelines.py answers.py    numbers to texts and figures; a panel's question to them
    named.py seeds.py seed_over.py seed_numbers.py seed_own.py    several seeds or runs together, and what is laid over
    seed_figure.py seed_panel.py seed_picture.py seed_routes.py    them; their figure on the page, and to take along
    sharing.py    'Export page', figures as PDF
    circuit_numbers.py circuit_panel.py circuit_routes.py    who reads whom at a checkpoint
    measured.py tracked.py track_figure.py track_panel.py    any measure over training, of heads or paths
    offered.py    what can be done to a run by hand; own.py: what plugins add
    branches.py jobs.py branch_panel.py branch_routes.py    training on from a checkpoint, beside the page
    grid.py editing.py looking.py controls.py layout.py    the page's elements
    callbacks.py routes.py server.py    its wiring and its server
    address.py guard.py    where the page is reached, also through a proxy, and who is answered
    assets/       how it looks and reacts

Only its elements, callbacks and server import dash; everything above them is pure and tested without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mechicl.page.server import Server
    from mechicl.series import Series


def app(
    series: Series,
    height: int = 900,
    *,
    port: int = 0,
    root_path: str | None = None,
    allow_hosts: Iterable[str] = (),
) -> Server:
    """Open the page inside a notebook, on a run and those beside it.

    Run again, the cell shows the same server; with other settings it replaces it.

    Args:
        series: the run to begin with; runs are evaluated on its device.
        height: of the frame, in pixels.
        port: where to listen; 0 is any free port.
        root_path: the path under which a proxy shows this machine's port, as '/user/me/proxy/{port}/'. Default:
            found out on Colab, JupyterHub, Binder, Codespaces and where VSCODE_PROXY_URI is set; '/' is none.
        allow_hosts: names, other than this machine's, under which a proxy asks for the page: 'hub.example.org', or
            '.example.org' for all under it.

    Returns:
        The running server: it shows itself as a frame, has the address as `url`, and ends with
        `stop()`. It listens on this machine only.

    Raises:
        ConfigError: the port is taken, or a setting is not one. SeriesError: the run cannot be opened.
    """
    from mechicl.page.server import show

    return show(series.root, height, port, root_path, allow_hosts, series.device)
