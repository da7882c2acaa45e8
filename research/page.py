"""docs/findings.md, one page with five claims, and its appendices in docs/findings/, from the tables."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from mechicl.system.files import write_atomic
from research import (
    choices,
    experiments,
    language,
    mechanism_2025,
    mechanism_2025_late,
    mechanism_2025_page,
    plots,
    tidy,
)
from research.claim import Claim, table
from research.declared import DECLARED
from research.verdicts import Part

DOCS = Path(__file__).parents[1] / "docs"
TEXT = Path(__file__).parent / "text"  # what is written by hand
FIRST = ("0.5", "1.1", "8.1", "8.6", "6.2")  # the claims of the page itself
PATHS = ("8.12", "8.13", "8.14")
OWN = (
    "0.6",
    "0.7",
    "0.8",
    "0.9",
    "0.10",
    "0.11",
    "0.12",
    "0.13",
    "0.14",
    "3.1",
    "3.2",
    "8.5",
    "8.9",
    "8.11",
    *PATHS,
    "9",
)  # hypotheses of ours
APPENDICES = {  # file -> title, its claims; those of OWN come last and are no replication
    "published-setting": ("The published setting", ("0.5", "0.1", "0.2", "0.3", "0.4")),
    "transience": ("ICL rises and fades", ("1.1", "1.2", "7")),
    "settings": ("Sizes, data, tokens and drawings", ("2", "2.1", "3", "4", "5", "5.1")),
    "regularization": ("L2 regularization", ("6.1", "6.2")),
    "competition": ("Competition and cooperation", ("8.1", "8.2", "8.3", "8.4", "8.8", "8.10")),
    "transience-2023": ("Data, size and L2 on drawings", tuple(f"10.{i}" for i in range(1, 8))),
    "circuits": ("Circuits", ("8.6", "8.7")),
    "hypotheses": ("Our own hypotheses", OWN),
}
# Made by induction_2024_page.py, from printed numbers that only some have.
BESIDE = ("induction-2024.md",)
HEAD = ("", "claim", "effect [90% interval], n", "status", "at 95%", "rule before its runs")


def claims() -> list[Claim]:
    """Of every module in `experiments`, in the order of their keys."""
    found: list[Claim] = []
    for module in pkgutil.iter_modules(experiments.__path__):
        if hasattr(loaded := importlib.import_module(f"research.experiments.{module.name}"), "claims"):
            found += loaded.claims()
    keys = [claim.key for claim in found]
    if len(set(keys)) < len(keys):
        raise ValueError(f"two claims have the same key: {sorted(keys)}")
    return sorted(found, key=lambda claim: [int(x) for x in claim.key.split(".")])


def build(docs: Path = DOCS) -> list[Path]:
    """Write docs/findings.md and, in docs/findings/, the appendices, figures and CSV files; returns their paths. Files
    of these kinds that are no longer made are removed."""
    found = {claim.key: claim for claim in claims()}
    folder = docs / "findings"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {docs / "findings.md": front(found)}
    pages |= {folder / f"{name}.md": appendix(name, found) for name in APPENDICES}
    pages |= {folder / "claims.csv": tidy.claims(found.values()), folder / "runs.csv": tidy.runs()}
    figures = {folder / f"{name}.svg": figure for claim in found.values() for name, figure in claim.figures.items()}
    if (measured := mechanism_2025.read()) is not None:
        longer = mechanism_2025.read(mechanism_2025_late.LATE)
        pages[folder / mechanism_2025_page.PAGE] = mechanism_2025_page.page(measured, longer)
        figures[folder / f"{mechanism_2025_page.FIGURE}.svg"] = mechanism_2025_page.figure(measured)
        if longer is not None:
            figures[folder / f"{mechanism_2025_late.FIGURE}.svg"] = mechanism_2025_page.figure(longer)
    if (in_language := language.read()) is not None:
        pages[folder / language.PAGE] = language.page(in_language)
    for path, text in pages.items():
        write_atomic(path, text.encode())
    for path, figure in figures.items():
        plots.save(figure, path)
    kept = {*pages, *figures, *(folder / name for name in BESIDE)}
    for old in {p for kind in ("svg", "md", "csv") for p in folder.glob(f"*.{kind}")} - kept:
        old.unlink()
    return [*pages, *figures]


def front(found: dict[str, Claim]) -> str:
    """The page: five claims, what differs from the published settings, methods, choices, limitations, our own
    hypotheses."""
    rows = [_row(f"[{n}](#{anchor(found[key], n)})", found[key]) for n, key in enumerate(FIRST, 1)]
    parts = [_text("intro"), table(HEAD, rows)]
    parts += [_first(n, found[key]) for n, key in enumerate(FIRST, 1)]
    rest = [key for key in found if key not in (*OWN, *FIRST)]
    parts += [
        _text("differs"),
        _text("methods"),
        tidy.sensitivity(),
        _text("choices"),
        choices.level(found),
        choices.as_table(found),
        _text("limitations"),
        _text("own"),
        index(found, [key for key in found if key in OWN], "findings/"),
        "## All other claims of the literature",
        _text("others"),
        index(found, rest, "findings/"),
        _text("files"),
    ]
    return "\n\n".join(parts) + "\n"


def _first(number: int, claim: Claim) -> str:
    """A claim on the page: one figure, its parts, its status."""
    figure = next(iter(claim.figures), None)
    lines = [f"## {number}. {claim.title}", f"**Claim.** {claim.says}", f"**Runs.** {claim.ran}."]
    lines += [f"![{claim.title}](findings/{figure}.svg)"] if figure else []
    lines += [*_judged(claim), *claim.front, f"Details: [{claim.key}](findings/{home(claim.key)}.md#{anchor(claim)})."]
    return "\n\n".join(lines)


def appendix(name: str, found: dict[str, Claim]) -> str:
    title, keys = APPENDICES[name]
    mine = [key for key in keys if key in found]
    parts = [
        f"# {title}",
        "An appendix of [Findings](../findings.md), which has the definitions and the methods.\n" + _text("terms"),
        index(found, mine, ""),
    ]
    if (TEXT / f"{name}.md").exists():
        parts.append(_text(name))
    return "\n\n".join([*parts, *(section(found[key]) for key in mine)]) + "\n"


def section(claim: Claim) -> str:
    """A claim in its appendix, whole."""
    lines = [f"## {claim.key} {claim.title}", f"**Claim.** {claim.says}"]
    if claim.ran == "-":
        return "\n\n".join([*lines, f"**Not run yet.** `{claim.command}` runs it."])
    lines.append(f"**Run.** {claim.ran}. `{claim.command}`")
    lines += [f"![{claim.title}]({name}.svg)" for name in claim.figures]
    return "\n\n".join([*lines, *_judged(claim), *claim.front, *claim.text])


def _judged(claim: Claim) -> list[str]:
    """The status with its reason, the parts, the rule, and whether it was there before the runs."""
    reason = claim.reason.removeprefix("running: ").rstrip(".")
    lines = [f"**Status: {claim.status}.**" + (f" {reason[:1].upper()}{reason[1:]}." if reason else "")]
    if claim.status == "not comparable":
        lines.append("The numbers below describe our runs. They do not judge the claim.")
    lines += [claim.awaited] if claim.awaited else []
    lines += [_parts(claim.parts, claim.status != "not comparable")] if claim.parts else []
    declared = DECLARED[claim.key]
    earlier = f" The earlier verdict: {declared.earlier}." if declared.earlier else ""
    return [*lines, f"Rule: {claim.rule} Rule before its runs: **{declared.before}** ({declared.why}).{earlier}"]


def _parts(parts: Sequence[Part], judged: bool) -> str:
    head = ["what was measured", "the claim says", "effect [90% interval], n", *(["status"] if judged else [])]
    return table(head, [[p.says, p.claim or "-", p.effect, *([p.status] if judged else [])] for p in parts])


def index(found: dict[str, Claim], keys: list[str], folder: str) -> str:
    """A row for every claim, leading to its section. folder: of the appendices, from the page that this is on; '' for
    the appendix itself."""
    at = {key: f"{folder}{home(key)}.md" if folder else "" for key in keys}
    return table(HEAD, [_row(f"[{key}]({at[key]}#{anchor(found[key])})", found[key]) for key in keys])


def _row(link: str, claim: Claim) -> list[str]:
    return [
        link,
        claim.title,
        _effect(claim),
        f"**{claim.status}**",
        claim.at_95 or "no interval",
        DECLARED[claim.key].before,
    ]


def _effect(claim: Claim) -> str:
    """The first part's effect, for a row; where there is no verdict yet, how far the runs are."""
    if not claim.parts:
        return claim.reason or "-"
    first, more = claim.parts[0], len(claim.parts) - 1
    return f"{first.says}: {first.effect}" + (f" (and {more} more)" if more else "")


def home(key: str) -> str:
    """The appendix that has a claim."""
    return next(name for name, (_, keys) in APPENDICES.items() if key in keys)


def _text(name: str) -> str:
    return (TEXT / f"{name}.md").read_text(encoding="utf-8").strip()


def anchor(claim: Claim, number: int | None = None) -> str:
    """GitHub's anchor of the section's heading; number: of the claim on the page itself."""
    heading = f"{f'{number}.' if number else claim.key} {claim.title}".lower()
    return "".join(ch for ch in heading.replace(" ", "-") if ch.isalnum() or ch in "-_")
