"""Twenty people on one server: how long a head takes, and whether every answer is right and its reader's own.

    python benchmarks/crowd.py                        # checkpoints/demo, 20 people, 15 presses each
    python benchmarks/crowd.py --people 5 --think 0.5
    python benchmarks/crowd.py --branches 2           # while branches that one of them began are trained

Everybody does what the page does: a click takes a head out or puts one back and waits for the numbers; then come the
grid, the patterns, the random controls, and the dashed curve piece by piece, until the next press, about `--think`
seconds later. Everybody stands at a checkpoint of their own, and goes on to the next after some presses. Then all
leave, half of them in the middle of a question. Each answer is compared with `series.evaluate`. One person alone is
measured first: on a busy machine the ratio says more.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from mechicl.evaluators import EVALUATORS
from mechicl.interventions import AblateHeads
from mechicl.page.texts import plain
from mechicl.series import Series, open_series

STAYS = 4  # presses at a checkpoint
QUIET = 3.0  # seconds in which a server that nobody asks is watched


@dataclass
class Crowd:
    """What was measured. waits: seconds from a press to its numbers, and alone: of one person before; wrong: answers
    that are not `evaluate`'s, in words; mb: of the server, before and at most; idle: share of a core that it uses once
    all have left; threads: before and after; trained: branches that were."""

    waits: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    mb: tuple[float, float] = (0.0, 0.0)
    idle: float = 0.0
    threads: tuple[int, int] = (0, 0)
    load: float = 0.0
    trained: int = 0


@dataclass(frozen=True)
class Press:
    """What somebody did, and what the page said: evaluator -> (intact, ablated)."""

    step: int
    heads: tuple[tuple[int, int], ...]
    said: dict[str, tuple[str, str]]


class Server:
    """`mechicl app` in a process of its own."""

    def __init__(self, run: Path, out: Path):
        words = ["app", str(run), "--port", "0", "--no-browser", "--out", str(out)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mechicl", *words], stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert self.process.stdout is not None
        self.place = urlsplit(self.process.stdout.readline().split(" at ")[1].split()[0]).netloc

    def ask(self, address: str, body: object = None) -> dict:
        """The data of an answer."""
        asked = http.client.HTTPConnection(self.place, timeout=300)
        method, text = ("GET", None) if body is None else ("POST", json.dumps(body))
        asked.request(method, address, text, {"Content-Type": "application/json", "X-Mechicl": "1"})
        found = json.loads(asked.getresponse().read())
        asked.close()
        if "data" not in found:
            raise RuntimeError(f"{address}: {found}")
        return found["data"]

    def leave(self, address: str) -> None:
        """Ask, and be gone before the answer."""
        asked = http.client.HTTPConnection(self.place, timeout=300)
        asked.request("GET", address)
        asked.close()

    def seconds(self) -> float:
        """Of CPU that the process has used."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def status(self, what: str) -> int:
        """A number of /proc/PID/status."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith(what + ":")).split()[1])


@contextmanager
def served(run: Path, out: Path) -> Iterator[Server]:
    server = Server(run, out)
    try:
        yield server
    finally:
        server.process.terminate()
        with server.process:  # waits for it, and closes what it wrote to
            pass


def measure(run: Path, people: int = 20, presses: int = 15, think: float = 5.0, branches: int = 0) -> Crowd:
    """So many people, each with so many presses; and so many branches that the first of them begins."""
    series, found = open_series(run), Crowd()
    rows: list[list[Press]] = [[] for _ in range(people)]
    with tempfile.TemporaryDirectory() as folder, served(run, Path(folder)) as server:
        server.ask(f"/answer/effect/0?step={series.steps[-1]}")
        alone: list[Press] = []
        _visit(server, series, people, presses, 0.2 * think, alone, found.alone)
        before, threads = server.status("VmRSS") / 1e3, server.status("Threads")
        for step in series.steps[-1 - branches : -1]:
            server.ask(f"/branches/start?step={step}", {"way": "as_before", "fresh": True})
        waits: list[list[float]] = [[] for _ in range(people)]
        crowd = [
            threading.Thread(target=_visit, args=(server, series, i, presses, think, rows[i], waits[i]))
            for i in range(people)
        ]
        for person in crowd:
            person.start()
        for person in crowd:
            person.join()
        found.load = os.getloadavg()[0]
        if branches:
            known = server.ask("/branches")["rows"]
            found.trained = sum(row["state"] in ("running", "finished") for row in known)
            for row in known:
                server.ask("/branches/act/discard", {"name": row["name"]})
        for i in range(people // 2):
            server.leave(
                f"/answer/curve/0?step={series.steps[-1]}&heads=L0H0,L{series.config.model.n_layers - 1}H{i % 2}"
            )
        time.sleep(2.0)  # what was begun ends
        at = server.seconds()
        time.sleep(QUIET)
        found.idle = (server.seconds() - at) / QUIET
        found.mb, found.threads = (before, server.status("VmHWM") / 1e3), (threads, server.status("Threads"))
    found.waits = [wait for each in waits for wait in each]
    found.wrong = _wrong(series, [press for each in [alone, *rows] for press in each], (people + 1) * presses)
    return found


def _visit(
    server: Server, series: Series, who: int, presses: int, think: float, rows: list[Press], waits: list[float]
) -> None:
    """One person, as the page asks for them."""
    rng, model = np.random.default_rng(who), series.config.model
    every = [(layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]
    time.sleep(float(rng.uniform(0, think)))
    at_step, out = int(rng.integers(len(series.steps))), set()
    for press in range(presses):
        if press and press % STAYS == 0:
            at_step, out = (at_step + 1) % len(series.steps), set()
        others = 1 if press % STAYS else 2
        out ^= {every[i] for i in rng.choice(len(every), others, replace=False)}
        heads, step = tuple(sorted(out)) or every[:1], series.steps[at_step]
        view = f"step={step}&heads=" + ",".join(f"L{layer}H{head}" for layer, head in heads)
        start = time.perf_counter()
        found = server.ask(f"/answer/effect/0?{view}")
        waits.append(time.perf_counter() - start)
        until = start + think * float(rng.uniform(0.5, 1.5))
        rows.append(Press(step, heads, {name: (x["intact"], x["ablated"]) for name, x in found["rows"].items()}))
        for panel in ("heads", "attention", "controls"):
            if time.perf_counter() < until:
                server.ask(f"/answer/{panel}/0?{view}")
        at, total = 0, 1
        while at < total and time.perf_counter() < until:
            piece = server.ask(f"/answer/curve/{at}?{view}")
            at, total = piece["next"], piece["total"]
        time.sleep(max(0.0, until - time.perf_counter()))


def _wrong(series: Series, presses: list[Press], wanted: int) -> list[str]:
    """What the page said that `series.evaluate` does not say."""
    out = [] if len(presses) == wanted else [f"{len(presses)} of {wanted} presses had an answer"]
    for step in sorted({press.step for press in presses}):
        here = [press for press in presses if press.step == step]
        conditions = {press.heads: AblateHeads(heads=press.heads) for press in here}
        table = series.evaluate([step], ablate=list(conditions.values()))
        values = {(x.evaluator, x.metric, x.intervention): x.value for x in table.itertuples()}
        for press in here:
            for name, said in press.said.items():
                sides = ("intact", str(conditions[press.heads]))
                want = tuple(plain(values[name, EVALUATORS[name].primary_metric, side]) for side in sides)
                if said != want:
                    out.append(f"step {step}, {sides[1]}, {name}: {said}, expected {want}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="checkpoints/demo", type=Path)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--presses", type=int, default=15)
    parser.add_argument("--think", type=float, default=5.0, help="seconds from a press to the next, on average")
    parser.add_argument("--branches", type=int, default=0)
    options = parser.parse_args()
    found = measure(options.run, options.people, options.presses, options.think, options.branches)
    p50, p95 = np.percentile(found.waits, [50, 95])
    print(
        f"one person: p50 {1e3 * np.median(found.alone):.0f} ms, worst {1e3 * max(found.alone):.0f} ms; "
        f"{options.people} people, {len(found.waits)} presses: p50 {1e3 * p50:.0f} ms, p95 {1e3 * p95:.0f} ms, worst "
        f"{1e3 * max(found.waits):.0f} ms; {len(found.wrong)} wrong; server {found.mb[0]:.0f} MB before, at most "
        f"{found.mb[1]:.0f} MB; once all have left {100 * found.idle:.1f}% of a core, {found.threads[1]} threads "
        f"({found.threads[0]} before); {found.trained} branches trained; load average {found.load:.1f}"
    )
    for line in found.wrong[:10]:
        print(line)


if __name__ == "__main__":
    main()
