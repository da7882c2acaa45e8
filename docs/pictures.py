"""Pictures for the docs: `python docs/pictures.py NAME RUN [RUN ...]` writes docs/images/NAME.png.

One run: its evaluators over training. Several: every seed, and the medians (--linear: on a linear axis). NAME app: the
page of `mechicl app` on that run, with some heads ablated. NAME circuit: the paths that carry its leading evaluator, at
the peak beside the end (a minute or two).

Needs Chromium (Debian's `chromium`), which draws the same plotly figure that the report shows.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from analyses import circuit_formation
from mechicl.figures.curves import evaluator_curves, seed_curves
from mechicl.measures.phases import series_phases
from mechicl.series import open_series

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


def page_of_app(run: Path, path: Path) -> None:
    """The app's page as a reader sees it, hints read and the ablated curve complete."""
    from playwright.sync_api import sync_playwright

    from mechicl.page.server import open_server

    server = open_server(run, port=0).start()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS[:-1])
        page = browser.new_page(viewport={"width": 1280, "height": 1130}, device_scale_factor=1.25)
        page.add_init_script("localStorage['mechicl-hints'] = 'timeline,effect,heads,attention'")
        page.goto(server.url + "?step=2400&heads=0.1,0.4&measure=effect_flip&evaluator=flip&sequence=3")
        page.wait_for_function("(document.getElementById('curve-progress')?.textContent || '').includes('all ')")
        page.wait_for_timeout(500)
        page.screenshot(path=path)
        browser.close()
    server.stop()


if __name__ == "__main__":
    name, *paths = (word for word in sys.argv[1:] if word != "--linear")
    runs = [open_series(path) for path in paths]
    folder = Path(__file__).parent / "images"
    folder.mkdir(exist_ok=True)
    if name == "app":
        page_of_app(Path(paths[0]), folder / "app.png")
        sys.exit()
    if name == "circuit":
        circuits(Path(paths[0]), folder / "circuit.png")
        sys.exit()
    figure = (
        seed_curves(runs, log="--linear" not in sys.argv)
        if len(runs) > 1
        else evaluator_curves(runs[0], series_phases(runs[0]))
    )
    picture(figure, folder / f"{name}.png")
