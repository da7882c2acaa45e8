"""A view as Python: a short script that gives the numbers on the page."""

from __future__ import annotations

import itertools
from pathlib import Path

from mechicl.interventions import AblateHeads
from mechicl.page.state import View

WIDTH = 88  # characters of a line, as code is usually set


def as_python(view: View, folder: str, other_intact: bool = False) -> str:
    """The script. Paths are absolute, so that it runs from wherever it is pasted.

    Args:
        folder: where the run's directory lies.
        other_intact: the run compared with has not all of the ablated heads: it is left intact.
    """
    root = Path(folder).absolute()
    compared = view.tab == "compare"
    other = view.with_run if compared else None
    ablate = ", ablate=ablation" if view.ablation else ""
    lines = ["import mechicl", "", f"series = mechicl.open_series({str(root / view.run)!r})"]
    if other is not None:
        lines.append(f"other = mechicl.open_series({str(root / other)!r})")
    if view.ablation:
        lines += _ablation(view.ablation)
    lines.append("")
    if other is not None:
        lines += [
            f"table = series.evaluate([{view.step}]{ablate})",
            f"beside = other.evaluate([{view.with_step}]{'' if other_intact else ablate})",
            "print(table.to_string(), beside.to_string(), sep='\\n')",
        ]
    elif compared:
        steps = sorted({s for s in (view.step, view.with_step) if s is not None})
        lines += [f"table = series.evaluate({steps}{ablate})", "print(table.to_string())"]
    else:
        sequence = "" if view.sequence is None else f", sequence={view.sequence}"
        lines += [
            f"table = series.evaluate([{view.step}]{ablate})",
            "print(table.to_string())",
            "",
            f"attention = mechicl.show_attention(series, {view.step}, {view.evaluator!r}{sequence}{ablate})",
            "attention  # shows itself in a notebook; attention.save('attention.html') elsewhere",
        ]
    return "\n".join(lines) + "\n"


def _ablation(done: AblateHeads) -> list[str]:
    """The ablation by name; with many heads, a line per layer."""
    one = f"ablation = mechicl.{done!r}"
    if len(one) <= WIDTH:
        return [one]
    lines = ["ablation = mechicl.AblateHeads(", "    heads=("]
    for _, heads in itertools.groupby(done.heads, key=lambda head: head[0]):
        its = list(heads)
        rows = [its[i : i + 9] for i in range(0, len(its), 9)]
        lines += ["        " + " ".join(f"{head}," for head in row) for row in rows]
    return [*lines, "    ),", f"    kind={done.kind!r},", ")"]
