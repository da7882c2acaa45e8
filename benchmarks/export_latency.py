"""How long an exported page takes, in a real browser: to its first numbers, and from a press on a head to new ones.

    python benchmarks/export_latency.py                 # exports checkpoints/demo to a temporary file
    python benchmarks/export_latency.py page.html       # a page that is there

Every press is a first visit. The goal for a head is 150 ms, for all evaluators together. Run it on a quiet machine: the
page computes on all cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from mechicl.export import export
from mechicl.series import open_series

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
CHANGED = "before => document.getElementById('effect').dataset.shown !== before"


def measure(page, path: Path, think: float) -> dict[str, list[float]]:
    """What is timed -> milliseconds. think: seconds between two presses."""
    begun = time.perf_counter()
    page.goto(path.resolve().as_uri())
    page.wait_for_selector("#effect[data-shown]")
    out: dict[str, list[float]] = {"first numbers": [1000 * (time.perf_counter() - begun)]}
    page.wait_for_selector("#grid[data-shown]")
    for kind in ("zero", "mean"):
        page.select_option('[data-set="kind"]', kind)
        for layer in (0, 1):
            times = out.setdefault(f"a head of layer {layer}, {kind}", [])
            for button in page.locator(f'[data-part^="L{layer}H"]').all():
                time.sleep(think)
                before = page.get_attribute("#effect", "data-shown")
                button.click()
                page.wait_for_function(CHANGED, arg=before)
                times.append(float(page.get_attribute("#effect", "data-ms")))
            page.keyboard.press("Escape")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path)
    parser.add_argument("--think", type=float, default=1.0, help="seconds between two presses")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = given.page or export(open_series("checkpoints/demo"), folder, progress=False)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        found = measure(browser.new_page(), path, given.think)
        browser.close()
    for what, times in found.items():
        print(f"{what}: median {np.median(times):.0f} ms, slowest {max(times):.0f} ms, n = {len(times)}")


if __name__ == "__main__":
    main()
