"""How long the app takes, in a real browser: from a press to new numbers on the screen.

    python benchmarks/app_latency.py                      # checkpoints/demo
    python benchmarks/app_latency.py --checkpoints 1000   # a series as long as that, made of demo's
    python benchmarks/app_latency.py --press cut-edge patch-position remove-directions
    python benchmarks/app_latency.py --press jump --under 'edge=query->match_label'

Every press is a first visit: a set of heads, or a checkpoint, that was not asked for before, with
two heads ablated while the slider steps. An intervention of another kind is chosen and added at once, each at another
checkpoint than the one before, where nothing was changed yet. The clock starts at the browser's own event and stops
after the frame that shows the numbers. Between presses the page is given `--think` seconds,
in which it fills the grid, the patterns and the ablated curve, as it would under a reader's hand;
0 presses again as soon as the numbers are there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from long_series import long_series
from playwright.sync_api import sync_playwright

from mechicl.series import open_series

CHROMIUM = "/usr/bin/chromium"

WATCH = """() => {
  window.timings = [];
  let started = null;
  window.forget = () => { started = null; };
  const start = () => { started = performance.now(); window.pressed = started; };
  document.addEventListener('click', (e) => { if (e.target.closest('[data-head],[data-do]')) start(); }, true);
  document.addEventListener('input', (e) => { if (e.target.id === 'slider-input') start(); }, true);
  document.addEventListener('keydown', (e) => { if (e.key.startsWith('Arrow')) start(); }, true);
  new MutationObserver(() => {
    if (started === null) return;
    const from = started, step = document.getElementById('effect').dataset.step;
    if (step !== String(mechicl.view.step)) return;
    started = null;
    requestAnimationFrame(() => { const c = new MessageChannel();
      c.port1.onmessage = () => window.timings.push(performance.now() - from); c.port2.postMessage(0); });
  }).observe(document.getElementById('effect'), { attributes: true, attributeFilter: ['data-shown'] });
}"""


PRESSES = ("toggle", "step", "jump")
CHOSEN = (
    "cut-edge",
    "patch-edge",
    "patch-position",
    "replace-position",
    "patch-component",
    "remove-directions",
    "graft",
)

# Choose what is to be done, and the i-th of what each of its selects offers.
CHOOSE = """([what, i]) => {
  const pick = (select, value) => {
    select.value = value;
    select.dispatchEvent(new Event('change', { bubbles: true }));
  };
  pick(document.querySelector('[data-pick="what"]'), what);
  for (const select of document.querySelectorAll('#edits .choices:not([hidden]) select')) {
    const open = [...select.options].filter((o) => !o.disabled && !o.parentElement.disabled);
    pick(select, open[i % open.length].value);
    i = Math.floor(i / 2);
  }
}"""


def measure(
    root: Path, n: int, think: float, presses: Sequence[str] = PRESSES, under: str = ""
) -> Iterator[tuple[str, np.ndarray]]:
    """Milliseconds from press to numbers, n of each kind of press, each kind with a server of its
    own that has computed nothing yet."""
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        for name in presses:
            server = subprocess.Popen(
                [sys.executable, "-m", "mechicl", "app", str(root), "--port", "0", "--no-browser"],
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
            try:
                assert server.stdout is not None
                url = server.stdout.readline().split(" at ")[1].split()[0]
                if name in CHOSEN:
                    yield name, _chosen(browser, url, name, n, think)
                else:
                    yield name, _presses(browser, url, name, n, think, under)
            finally:
                server.terminate()
                server.wait()
        browser.close()


def _chosen(browser, url: str, what: str, n: int, think: float) -> np.ndarray:
    """n first visits of interventions of a kind: chosen, and added at once. Those that cannot be done, as an edge
    without which a position would see nothing, are passed over."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(180_000)  # a busy machine is slow, and that is what is measured
    page.goto(url + "?step=0")
    page.wait_for_selector("#effect[data-shown]")
    page.evaluate(WATCH)
    steps = page.evaluate("mechicl.base.steps.length")
    done = i = 0
    while done < n:
        page.evaluate("(i) => { forget(); mechicl.clear(); mechicl.go(i); }", (7 * i) % steps)
        page.wait_for_function("mechicl.settled() && !mechicl.done()", polling=5)
        page.wait_for_timeout(1000 * think)
        page.evaluate(CHOOSE, [what, i])
        page.locator('[data-do="add"]').click()
        page.wait_for_function(
            f"window.timings.length > {done} || document.getElementById('say').textContent", polling=5
        )
        done = page.evaluate("window.timings.length")
        i += 1
    times = page.evaluate("window.timings")
    page.close()
    return np.array(times)


def _presses(browser, url: str, what: str, n: int, think: float, under: str = "") -> np.ndarray:
    """n first visits of a kind: 'toggle' a head, 'step' to the next checkpoint by keyboard, 'jump'
    to one anywhere on the slider, each under an intervention. The end of the series reached, on with other heads
    ablated."""
    rng, times = np.random.default_rng(0), []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(180_000)  # a busy machine is slow, and that is what is measured
    for visit in range(n):
        start = time.perf_counter()
        done = under or f"heads=0.{visit % 8},1.{visit // 8 % 8}"
        page.goto(url + ("" if what == "toggle" else f"?step=0&{done}"))
        page.wait_for_selector("#effect[data-shown]")
        if not visit:
            print(f"  opened in {time.perf_counter() - start:.2f} s", file=sys.stderr)
        page.wait_for_timeout(1500)
        page.evaluate(WATCH)
        last = page.evaluate("mechicl.base.steps.length") - 1
        order = rng.permutation(np.arange(1, last + 1))
        presses = min(n - len(times), 60 if what == "toggle" else last)
        for i in range(presses):
            if what == "toggle":
                # A Gray code: every press changes one head and makes a set that was not there before.
                bit = (i + 1 & -(i + 1)).bit_length() - 1
                heads = page.locator("#grid [data-head]")
                heads.nth((bit * 5 + visit) % heads.count()).click()
            elif what == "step":
                page.locator("body").press("ArrowRight")
            else:
                page.evaluate(
                    "(i) => { const s = document.getElementById('slider-input'); s.value = i; "
                    "s.dispatchEvent(new Event('input', { bubbles: true })); }",
                    int(order[i]),
                )
            page.wait_for_function(f"window.timings.length > {i}", polling=5)
            page.wait_for_timeout(1000 * think)
        times += page.evaluate("window.timings")
        if len(times) >= n or under:  # only heads have another set for another round
            break
    page.close()
    return np.array(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="checkpoints/demo", type=Path)
    parser.add_argument("--checkpoints", type=int, help="on a series of this many, made of the run's")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--think", type=float, default=0.3)
    parser.add_argument("--press", choices=(*PRESSES, *CHOSEN), nargs="+", default=PRESSES)
    parser.add_argument("--under", default="", help="what is done while the slider moves, as a link says it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.run
        if options.checkpoints:
            root = Path(folder) / f"long-{options.checkpoints}"
            long_series(open_series(options.run), root, options.checkpoints)
        count = len(open_series(root).steps)
        for what, times in measure(root, options.n, options.think, options.press, options.under):
            p50, p95 = np.percentile(times, [50, 95])
            print(
                f"{what:<17} {count:>5} checkpoints   p50 {p50:5.0f} ms   p95 {p95:5.0f} ms   "
                f"worst {times.max():5.0f} ms   n = {len(times)}   p95 / 100 ms = {p95 / 100:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
