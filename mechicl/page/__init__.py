"""The interactive page: `mechicl app RUN`, or `mechicl.app(series)` in a notebook.

    state.py      what is on the page, to and from a URL; python.py: as a script; tables.py: as tables
    runs.py       the runs that may be shown; cache.py: results, remembered
    view.py       behaviour: intact and ablated numbers, curves under an ablation; turns.py: who computes next
    numbers.py    a mean with its interval, and the difference of two
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
    """Open the page inside a notebook, for a run and the other runs in its folder.

    If you run the cell again, it shows the same server. With other settings it starts a new server and stops the old.

    Args:
        series: the first run to show; all runs are evaluated on its device.
        height: height of the frame in pixels.
        port: the port to listen on; 0 means any free port.
        root_path: the proxy's path to this machine's port, such as '/user/me/proxy/{port}/'. Default: detected on
            Colab, JupyterHub, Binder, Codespaces and if VSCODE_PROXY_URI is set; '/' means no path.
        allow_hosts: host names of a proxy's requests, other than this machine's: 'hub.example.org', or
            '.example.org' for all names with this ending.

    Returns:
        The running server. It shows itself as a frame; `url` is its address, and `stop()` stops it. It accepts
        connections only from this machine.

    Raises:
        ConfigError: the port is taken, or a setting is not valid.
        SeriesError: the run cannot be opened.
    """
    from mechicl.page.server import show

    return show(series.root, height, port, root_path, allow_hosts, series.device)
