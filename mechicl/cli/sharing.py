"""`mechicl export`: a run as one HTML file that computes in the browser."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

from mechicl.cli.arguments import Every, File, N, Run, Steps
from mechicl.cli.verbs import Group, app


@app.command(Group.SHARE)
def export(
    run: Run,
    *,
    out: File | None = None,
    max_mb: Annotated[float, arg(metavar="MB")] = 25.0,
    n: N | None = None,
    steps: Steps = None,
    every: Every = None,
    quiet: bool = False,
) -> None:
    """Write one HTML file to explore a run without Python.

    It opens from a disk, on any static host and on a phone.

    $ mechicl export checkpoints/demo --out demo.html
    $ mechicl export checkpoints/demo --every 1000 --max-mb 10 --out small.html

    The models run in the browser. Readers move through training, ablate heads and MLPs, and see scores with intervals,
    attention and logits. The file loads nothing from other places. It says what it leaves out. Runs with convolutions,
    runs with labels that change during training, and opened checkpoints of other libraries cannot be exported yet: use
    `mechicl report` for those.

    Args:
        run: the run's folder.
        out: the file (default: RUN/page.html), for example if the run is read-only.
        max_mb: the largest size of the file in megabytes. If not all checkpoints fit, it contains evenly spaced ones.
        n: sequences per evaluator (default: as in training).
        quiet: no progress bar.
    """
    from mechicl.export import export as write
    from mechicl.series import choosing, open_series
    from mechicl.system.paths import shown

    series = choosing.chosen(open_series(run), steps, every)
    path = write(series, out, max_mb=max_mb, n=n, progress=not quiet)
    print(f"{shown(path)} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser.")
