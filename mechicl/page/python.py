"""A view as Python: a short script that gives the numbers on the page."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from mechicl import interventions
from mechicl.interventions import AblateHeads, Intervention, Together
from mechicl.interventions.cut_paths import PathKind
from mechicl.page.state import View

WIDTH = 88  # characters of a line, as code is usually set
CIRCUITS = "from mechicl.measures import circuit_of, circuit_shares, path_effects"


def as_python(view: View, folder: str, other_intact: bool = False, circuit: PathKind | None = None) -> str:
    """The script. Paths are absolute, so that it runs from wherever it is pasted.

    Args:
        folder: where the run's directory lies.
        other_intact: the run compared with has not all that is changed: it is left intact.
        circuit: the page shows the run's circuit, with paths cut in this way.
    """
    root = Path(folder).absolute()
    compared = view.tab == "compare"
    other = view.with_run if compared else None
    done = view.intervention
    ablate = ", ablate=ablation" if done else ""
    imports, assigned = _written(done) if done else ([], [])
    drawn = [] if compared or circuit is None else _circuit(view, circuit)
    lines = [
        "import mechicl",
        *imports,
        *([CIRCUITS] if drawn else []),
        "",
        f"series = mechicl.open_series({str(root / view.run)!r})",
    ]
    if other is not None:
        lines.append(f"other = mechicl.open_series({str(root / other)!r})")
    lines += assigned
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
            *drawn,
        ]
    return "\n".join(lines) + "\n"


def _circuit(view: View, kind: PathKind) -> list[str]:
    """The circuit's paths, chosen on sequences of their own (split 1), with their effects and shares."""
    how = "" if kind == "zero" else f", kind={kind!r}"
    of = f"series, [{view.step}], [{view.evaluator!r}]"
    return [
        "",
        f"chosen_on = path_effects({of}, split=1{how})",
        f"circuit = circuit_of(chosen_on, {view.step}, {view.evaluator!r}, {view.threshold})",
        f"effects = path_effects({of}{how})",
        "print(effects[effects.intervention.isin(circuit)].to_string())",
        f"shares = circuit_shares({of}, circuit, kind={kind!r})",
        "print(shares.to_string())",
    ]


def _written(done: Intervention) -> tuple[list[str], list[str]]:
    """What must be imported, and the intervention by name."""
    if isinstance(done, AblateHeads):
        return [], _assigned("ablation = mechicl.", done)
    homes: dict[str, list[str]] = {}
    for name in dict.fromkeys(type(part).__name__ for part in _parts(done)):
        home = "mechicl.interventions" if hasattr(interventions, name) else _home(name, done)
        homes.setdefault(home, []).append(name)
    imports = [f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(homes.items())]
    return imports, _assigned("ablation = ", done)


def _home(name: str, done: Intervention) -> str:
    """The module of one that is not among `mechicl.interventions`: of the measures, or somebody's own."""
    module = next(type(part).__module__ for part in _parts(done) if type(part).__name__ == name)
    return "mechicl.measures" if module.startswith("mechicl.") else module


def _parts(done: Intervention) -> list[Intervention]:
    return [done, *done.parts] if isinstance(done, Together) else [done]


def _assigned(start: str, done: Intervention) -> list[str]:
    first, *rest = _code(done, WIDTH - len(start))
    return [start + first, *rest]


def _code(value: object, room: int) -> list[str]:
    """A value as code, on one line where it fits into the room, else on several."""
    if isinstance(value, Intervention):
        return _call(value, room)
    whole = repr(value)
    if len(whole) <= room or not isinstance(value, tuple):
        return [whole]
    if all(isinstance(each, tuple) for each in value):  # heads: rows of a layer
        rows: list[str] = []
        for _, heads in itertools.groupby(value, key=lambda head: head[0]):
            its = list(heads)
            rows += [" ".join(f"{head}," for head in its[i : i + 9]) for i in range(0, len(its), 9)]
    else:
        rows = [f"{each!r}," for each in value]
    return ["(", *(f"    {row}" for row in rows), ")"]


def _call(done: Intervention, room: int) -> list[str]:
    """'AblateMLPs(layers=(1,), kind='mean')': the fields that are not as by default, and the kind."""
    name, given = type(done).__name__, {}
    for field in dataclasses.fields(done):  # type: ignore[arg-type] (every intervention is a dataclass)
        value = getattr(done, field.name)
        if field.name == "kind" or value != field.default:
            given[field.name] = value
    nested = any(
        isinstance(each, Intervention) for value in given.values() if isinstance(value, tuple) for each in value
    )
    line = f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"
    if len(line) <= room and not nested:
        return [line]
    lines = [f"{name}("]
    for key, value in given.items():
        inner = room - len(key) - 6
        if nested and isinstance(value, tuple):
            parts = [line for each in value for line in _ended(_code(each, room - 9))]
            shown = ["(", *(f"    {line}" for line in parts), ")"]
        else:
            shown = _code(value, inner)
        first, *rest = _ended(shown)
        lines += [f"    {key}={first}", *(f"    {line}" for line in rest)]
    return [*lines, ")"]


def _ended(lines: list[str]) -> list[str]:
    return [*lines[:-1], f"{lines[-1]},"]
