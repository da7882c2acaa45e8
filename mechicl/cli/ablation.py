"""`mechicl ablate`: one intervention, its random controls, and what each changes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    CutEdges,
    Graft,
    Intervention,
    PatchActivations,
    RemoveSubspace,
    Together,
    matched_sets,
)
from mechicl.measures.ablation import effects, evaluate
from mechicl.measures.tables import checked_file, keep
from mechicl.series import Series, open_series

CONTROLS = 8  # random sets of as many other heads of the same layers, or of as many random directions


def asked(
    heads: str = "",
    kind: str = "zero",
    hold: str = "",
    mlp: str = "",
    edge: str = "",
    position: str = "",
    patch: str = "",
    graft: str = "",
    also: Intervention | None = None,
) -> Intervention:
    """What a command line names, as an intervention: heads as 'L0H5,L1H3', MLPs by layer as '0,1', edges as
    'query->match_label,previous', positions as 'match_label:1' (before layer 1), heads to patch as 'L1H3', weights as
    'qk.1@1400' (W_Q and W_K of layer 1 of step 1400). also: one more that stands beside these.

    Raises:
        ConfigError: nothing is named, or it is written otherwise.
    """
    parts: list[Intervention] = []
    named: dict[str, Any] = {"kind": kind}  # checked by the interventions themselves
    if heads:
        named_held: Any = tuple(filter(None, hold.split(",")))
        parts.append(AblateHeads(heads=parse_heads(heads), hold=named_held, **named))
    elif hold:
        raise ConfigError(f"--hold {hold}: it goes with --heads.")
    if mlp:
        if not re.fullmatch(r"\d+(,\d+)*", mlp):
            raise ConfigError(f"--mlp {mlp}: expected layers, such as --mlp 1 or --mlp 0,1.")
        parts.append(AblateMLPs(layers=tuple(map(int, mlp.split(","))), **named))
    if edge:
        parts.append(CutEdges(edges=tuple(each.strip() for each in edge.split(","))))
    if position:
        parts.append(AblatePositions(**_positions(position), **named))
    if patch:
        parts.append(PatchActivations(heads=parse_heads(patch, "--patch")))
    if graft:
        parts.insert(0, _graft(graft))
    parts += [] if also is None else [also]
    if not parts:
        raise ConfigError(
            "say what to ablate: --heads L0H5,L1H3, --mlp 1, --edge 'query->match_label', --position "
            "match_label:1, --patch L1H3, --graft qk.1@1400 or --without-subspace flip."
        )
    return parts[0] if len(parts) == 1 else Together(parts=tuple(parts))


def _positions(text: str) -> dict[str, Any]:
    """'match_label,query:1' as positions and the layer before which."""
    names, _, layer = text.partition(":")
    if not names or not (layer or "0").isdecimal():
        raise ConfigError(f"--position {text}: expected roles or numbers, and a layer, as match_label:1 or 0,query:1.")
    return {"positions": tuple(each.strip() for each in names.split(",")), "layers": (int(layer or 0),)}


def _graft(text: str) -> Graft:
    """'qk.1,ov.0@1400' as a Graft."""
    parts, _, step = text.partition("@")
    if not parts or not step.isdecimal():
        raise ConfigError(
            f"--graft {text}: expected parts and the step they come from, as qk.1@1400 or qk.1,embeddings@1400."
        )
    return Graft(parts=tuple(each.strip() for each in parts.split(",")), source=int(step))


def subspace(series: Series, step: int, variation: str, n: int | None = None) -> RemoveSubspace:
    """The directions in which the last layer's heads write one answer, found on sequences of their own (fold 1).

    Raises:
        ConfigError: no variation of that name, or another task than exemplars and labels.
    """
    from mechicl.measures.removal import without_directions
    from mechicl.measures.subspaces import VARIATIONS, carried
    from mechicl.models.params import pack

    if series.config.task is not None or variation not in VARIATIONS:
        task = "" if series.config.task is None else ", of a run of exemplars and labels"
        raise ConfigError(f"--without-subspace {variation}: expected one of {', '.join(VARIATIONS)}{task}.")
    basis = carried(series, pack(series.weights(step)), variation, n, fold=1)
    return without_directions(basis, series.config.model, variation)


def parse_heads(text: str, option: str = "--heads") -> tuple[tuple[int, int], ...]:
    """'L0H5,L1H3' as ((0, 5), (1, 3))."""
    found = [re.fullmatch(r"\s*L(\d+)H(\d+)\s*", each, flags=re.IGNORECASE) for each in text.split(",")]
    pairs = tuple((int(m[1]), int(m[2])) for m in found if m)
    if len(pairs) < len(found):
        raise ConfigError(f"{option} {text}: expected layers and heads, counted from 0, as L0H5,L1H3.")
    return pairs


def controls(condition: Intervention, model: ModelConfig) -> list[Intervention]:
    """The same with random other heads in place of its own, as many of each layer, or with as many random directions,
    from a fixed seed; fewer where there are no more, none where it names neither."""
    part = next((x for x in _parts(condition) if isinstance(x, (AblateHeads, PatchActivations, RemoveSubspace))), None)
    if part is None:
        return []
    if isinstance(part, RemoveSubspace):
        from mechicl.measures.removal import random_directions

        drawn = random_directions(model, part.count, CONTROLS)
        return [_with(condition, part, replace(part, directions=x, name=f"random {i}")) for i, x in enumerate(drawn)]
    sets = matched_sets(model, part.heads, CONTROLS, 8 * CONTROLS)
    return [_with(condition, part, replace(part, heads=others)) for others in sets]


def _parts(condition: Intervention) -> tuple[Intervention, ...]:
    return condition.parts if isinstance(condition, Together) else (condition,)


def _with(condition: Intervention, old: Intervention, new: Intervention) -> Intervention:
    if not isinstance(condition, Together):
        return new
    return Together(parts=tuple(new if part is old else part for part in condition.parts))


def table(
    series: Series, condition: Intervention, step: int | None = None, n: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is printed, and the tidy table behind it with the column `effect` (its intact rows left as they are).

    The first has a row per evaluator: the primary metric intact and ablated, the paired change with its 95% interval,
    n, and the range of the changes of the random controls.
    """
    condition.check(series.config.model)
    others = controls(condition, series.config.model)
    steps = [series.steps[-1] if step is None else step]
    rows = evaluate(series, steps, None, [condition, *others], n, metrics=None, progress=False)
    changed, intact = effects(rows), rows[rows.intervention == "intact"].set_index("evaluator").value
    own = changed[changed.intervention == str(condition)].set_index("evaluator")
    random = changed[changed.intervention != str(condition)].groupby("evaluator").effect
    printed = pd.DataFrame(
        {
            "intact": intact,
            "ablated": own.value,
            "change": own.effect,
            "low": own.effect_low,
            "high": own.effect_high,
            "n": own.n,
            "controls_low": random.min(),
            "controls_high": random.max(),
        }
    ).loc[intact.index]
    return printed, pd.concat([rows[rows.intervention == "intact"], changed], ignore_index=True)


def run(
    run: Path,
    condition: Intervention,
    step: int | None,
    n: int | None,
    out: Path | None,
    device: str | None = None,
) -> str:
    """Measure, save where asked, and say it in a few lines."""
    series = open_series(run, device=device)
    if out is not None:
        out = checked_file(out)
    printed, rows = table(series, condition, step, n)
    at, others = int(rows.step.iloc[0]), len(controls(condition, series.config.model))
    lines = [f"{series.name} at step {at:,}: {condition} ({condition.baseline})", ""]
    lines.append(f"{'':<12}{'intact':>8}{'ablated':>9}{'change':>9}{'95% interval':>18}{'n':>7}" + _heading(others))
    for name, row in printed.iterrows():
        interval = f"{row.low:+.3f} .. {row.high:+.3f}"
        control = f"{row.controls_low:+.3f} .. {row.controls_high:+.3f}" if others else ""
        lines.append(
            f"{name!s:<12}{row.intact:>8.3f}{row.ablated:>9.3f}{row.change:>+9.3f}{interval:>18}{int(row.n):>7}"
            f"{control:>22}".rstrip()
        )
    if others:
        alike = any(isinstance(part, RemoveSubspace) for part in _parts(condition))
        sets = "as many random directions" if alike else "as many other heads of the same layers"
        lines += ["", f"controls: the changes of {others} random sets of {sets}."]
    if out is not None:
        lines.append(keep(rows, out))
    return "\n".join(lines)


def _heading(others: int) -> str:
    return f"{'controls':>22}" if others else ""
