"""`mechicl publish`: a run as a repository on the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from mechicl.cli.arguments import Run
from mechicl.cli.verbs import Group, app
from mechicl.system.commands import command


@app.command(Group.SHARE)
def publish(
    run: Run,
    to: Annotated[Positional[str], arg(metavar="HUB", help="the repository, as hub:USER/NAME")],
    *,
    states: bool = False,
    private: bool = False,
    dry_run: bool = False,
) -> None:
    """Upload a run to the Hugging Face hub.

    It becomes one repository: weights, index, curves, settings and a card.

    $ mechicl publish checkpoints/demo hub:me/demo --dry-run
    $ mechicl publish checkpoints/demo hub:me/demo

    `mechicl open hub:USER/NAME` downloads the run and checks every file. Run the same command again after an
    interruption, or when the run has grown: it uploads the missing files.

    Args:
        run: the run's folder.
        states: also upload optimiser states, so that the run can be resumed without a replay.
        private: make the repository private.
        dry_run: list the files and their sizes; upload nothing.
    """
    from mechicl.reporting.publish import listing, paths_in, uploads
    from mechicl.reporting.publish import publish as send
    from mechicl.series import open_series

    series = open_series(run)
    if dry_run:
        print(listing(uploads(series, to, states)))
    for path in paths_in(series):
        print(f"note: config.json contains a path of this machine, which others will see: {path}")
    if not dry_run:
        print(f"{send(series, to, states=states, private=private)}: open it with {command('open', to)}.")
