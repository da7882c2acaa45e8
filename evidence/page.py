"""docs/findings.md from the claims: a row each, then a section each, then what it all supports."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from evidence import experiments, plots
from evidence.claim import Claim, table
from mechicl.storage import write_atomic

DOCS = Path(__file__).parents[1] / "docs"
INTRO = """# Findings

Every claim with what was run, the number over seeds, and a verdict by a stated rule. This page is built from
the tables in `evidence/tables` by `make findings`; nothing on it is written by hand but the claims, the rules and the
last section. Times are training sequences seen. 'a (b to c; n = 5)' is the median over seeds with the lowest and the
highest seed. Intervals in brackets are 95% t-intervals over seeds. Effects are paired: a treated run and its
untreated twin share initial weights, bank and sequences; p-values are corrected for the conditions compared (Holm).
An accuracy of one run has n = 1,000 sequences, so its own 95% interval is within ±.031. ICL stands beside Flip
everywhere, since either alone misleads (science: a Flip that rises is not yet ICL).
"""


def claims() -> list[Claim]:
    """Of every module in `experiments`, in the order of their keys."""
    found: list[Claim] = []
    for module in pkgutil.iter_modules(experiments.__path__):
        found += importlib.import_module(f"evidence.experiments.{module.name}").claims()
    keys = [claim.key for claim in found]
    if len(set(keys)) < len(keys):
        raise ValueError(f"two claims have the same key: {sorted(keys)}")
    return sorted(found, key=lambda claim: [int(x) if x.isdigit() else x for x in claim.key.split(".")])


def build(docs: Path = DOCS) -> list[Path]:
    """Write docs/findings.md and docs/findings/*.svg; returns their paths. Figures of claims that
    are gone are removed."""
    found, folder = claims(), docs / "findings"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for claim in found:
        for name, figure in claim.figures.items():
            written.append(folder / f"{name}.svg")
            plots.save(figure, written[-1])
    for old in set(folder.glob("*.svg")) - set(written):
        old.unlink()
    page = docs / "findings.md"
    write_atomic(page, (text(found)).encode())
    return [page, *written]


def text(found: list[Claim]) -> str:
    rows = [[f"[{c.key}](#{anchor(c)})", c.title, c.ran, c.number, f"**{c.verdict}**"] for c in found]
    parts = [INTRO, table(["", "claim", "what was run", "number", "verdict"], rows)]
    parts += [section(claim) for claim in found]
    parts.append((Path(__file__).parent / "conclusion.md").read_text(encoding="utf-8").rstrip())
    return "\n\n".join(parts) + "\n"


def section(claim: Claim) -> str:
    lines = [f"## {claim.key} {claim.title}", f"**Claim.** {claim.says}"]
    if claim.verdict == "not run yet":
        lines.append(f"**Not run yet.** `{claim.command}` runs it.")
        return "\n\n".join(lines)
    lines.append(f"**Run.** {claim.ran}. `{claim.command}`")
    lines += [f"![{claim.title}](findings/{name}.svg)" for name in claim.figures]
    lines += claim.text
    lines.append(f"**Verdict: {claim.verdict}.** Rule: {claim.rule}")
    return "\n\n".join(lines)


def anchor(claim: Claim) -> str:
    """GitHub's anchor of the section's heading."""
    heading = f"{claim.key} {claim.title}".lower()
    return "".join(ch for ch in heading.replace(" ", "-") if ch.isalnum() or ch in "-_")
