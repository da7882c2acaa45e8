"""Pictures for the docs: `python docs/pictures.py NAME RUN [RUN ...]` writes docs/images/NAME.png.

One run: its evaluators over training. Several: every seed, and the medians (--linear: on a linear axis). NAME circuit:
the paths that carry its leading evaluator, at the peak beside the end (a minute or two). Of pages:

    app RUN             `mechicl app`, with some heads ablated
    branch RUN          the same at ICL's peak, beside a branch that is trained on without the heads that carry ICL
    export RUN          what `mechicl export` writes, with these heads ablated
    seeds-page RUN ...  `mechicl app` of several seeds, each without its own heads

Needs Chromium (Debian's `chromium`), which draws the same plotly figure that the report shows.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from analyses import circuit_formation
from analyses.head_ablations import icl_heads
from mechicl.export import export
from mechicl.figures.curves import evaluator_curves, seed_curves
from mechicl.measures.phases import chance_levels, series_phases
from mechicl.page.named import named_together
from mechicl.page.server import open_server
from mechicl.series import open_series
from mechicl.training.branching import branch

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
]


def picture(figure, path: Path, width: int = 1000, height: int = 560) -> None:
    """Draw a figure to a PNG."""
    figure.update_layout(width=width, height=height)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        body = figure.to_html(include_plotlyjs=True, full_html=True, config={"displayModeBar": False})
        page.write_text(body.replace("<body>", "<body style='margin:0'>"), encoding="utf-8")
        command = [
            "chromium",
            *FLAGS,
            f"--user-data-dir={folder}/profile",
            f"--window-size={width},{height}",
            f"--screenshot={path}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True)


def circuits(run: Path, path: Path) -> None:
    """The circuits that `mechicl analyze RUN circuit_formation` finds at the peak and at the end, side by side."""
    figures = circuit_formation.run(open_series(run)).figures
    with tempfile.TemporaryDirectory() as folder:
        halves = []
        for name in ("peak", "end"):
            half = Path(folder) / f"{name}.png"
            picture(figures[name], half, 960, 560)
            halves.append(Image.open(half).convert("RGB"))
        both = Image.new("RGB", (sum(half.width for half in halves), max(half.height for half in halves)), "white")
        for i, half in enumerate(halves):
            both.paste(half, (i * half.width, 0))
        both.save(path, optimize=True)


LARGEST = 250e3  # bytes of a picture
HINTS = "localStorage['mechicl-hints'] = 'seeds,timeline,effect,heads,attention'"  # read and closed
CURVE = "(document.getElementById('curve-progress')?.textContent || '').includes('all ')"


def shot(address: str, path: Path, ready: str, size: tuple[int, int] = (1280, 1130), before=lambda page: None) -> None:
    """A page as a reader sees it, hints read.

    Args:
        ready: an expression of the page's script, true once all is drawn.
        size: of the window.
        before: what the reader does first.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS[:-1])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=1.25)
        page.set_default_timeout(900_000)  # a busy machine is slow
        page.add_init_script(HINTS)
        page.goto(address)
        page.wait_for_selector("#effect[data-shown]")
        before(page)
        page.wait_for_function(f"() => {ready}")  # a function: the exported page's policy forbids eval
        page.wait_for_timeout(1500)
        page.screenshot(path=path)
        browser.close()
    if path.stat().st_size > LARGEST:  # 256 colours are enough for a page
        Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def page_of_app(run: Path, path: Path) -> None:
    """The app's page, the ablated curve complete."""
    server = open_server(run, port=0).start()
    shot(server.url + "?step=2400&heads=0.1,0.4&measure=effect_flip&evaluator=flip&sequence=3", path, CURVE)
    server.stop()


def page_of_branch(run: Path, path: Path) -> None:
    """A copy of the run, so that nothing is left beside it, with a branch from ICL's peak (some minutes)."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / run.name
        shutil.copytree(run, root)
        series = open_series(root)
        heads, peak = icl_heads(series), series.nearest(series_phases(series)["icl"].peak)
        branch(
            root, peak, without=heads, fresh_moments=True, steps=3 * peak, out=root.parent / "without", progress=False
        )
        server = open_server(root, port=0).start()
        traces = "document.querySelector('#timeline .js-plotly-plot')?.data"
        drawn = traces + "?.some((t) => String(t.meta).startsWith('branch '))"
        shot(
            f"{server.url}?step={peak}&axis=linear",
            path,
            drawn,
            (1280, 790),
            lambda page: page.click("#train-on > summary"),
        )
        server.stop()


def exported_page(run: Path, path: Path) -> None:
    """The file that needs no Python, opened from the disk, with the heads that carry ICL out at Flip's peak."""
    series = open_series(run)
    step = series.nearest(series_phases(series)["flip"].peak)
    names = ",".join(f"L{layer}H{head}" for layer, head in icl_heads(series))
    with tempfile.TemporaryDirectory() as folder:
        page = export(series, Path(folder) / "page.html", progress=False)
        done = "/([\\d,]+) of \\1 checkpoints/.test(document.getElementById('curve-progress').textContent)"
        shot(f"{page.as_uri()}#step={step}&heads={names}", path, done, (1280, 860))


def page_of_seeds(runs: list[Path], path: Path) -> None:
    """The panel of several runs, each without its own heads and without random ones."""
    named = named_together(runs)
    server = open_server(named[0], port=0, together=named).start()
    query = f"?run={named[0].name}&against=own"
    shot(server.url + query, path, "mechicl.seeds.settled()", (1280, 860))
    server.stop()


PAGES = {
    "app": lambda paths, out: page_of_app(paths[0], out),
    "branch": lambda paths, out: page_of_branch(paths[0], out),
    "export": lambda paths, out: exported_page(paths[0], out),
    "seeds-page": page_of_seeds,
    "circuit": lambda paths, out: circuits(paths[0], out),
}


if __name__ == "__main__":
    name, *paths = (word for word in sys.argv[1:] if word != "--linear")
    folder = Path(__file__).parent / "images"
    folder.mkdir(exist_ok=True)
    if name in PAGES:
        PAGES[name]([Path(each) for each in paths], folder / f"{name}.png")
        sys.exit()
    runs = [open_series(path) for path in paths]
    figure = (
        seed_curves(runs, log="--linear" not in sys.argv)
        if len(runs) > 1
        else evaluator_curves(runs[0], series_phases(runs[0]), chance=chance_levels(runs[0]))
    )
    picture(figure, folder / f"{name}.png")
