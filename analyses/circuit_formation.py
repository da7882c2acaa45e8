"""Which paths between components carry in-context learning, when does each come and go, and how much do they carry?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analyses.door import analysis
from analyses.findings import Findings
from mechicl.figures.circuit import circuit_graph, share_text
from mechicl.figures.scales import fitted
from mechicl.figures.style import finish, sequences_axis, short
from mechicl.interventions.cut_paths import other_paths
from mechicl.measures.circuits import circuit_of, circuit_shares
from mechicl.measures.paired_effects import gains
from mechicl.measures.path_ablation import path_effects
from mechicl.measures.path_scores import DEEP
from mechicl.measures.phases import MIN_RISE, Phases, phase_times, series_phases
from mechicl.registry import EVALUATORS, looked_at
from mechicl.series import Series
from mechicl.statistics import holm

QUESTION = (__doc__ or "").strip()
THRESHOLD = 0.02  # the least effect of a path of the circuit, in the unit of the primary metric
PERMUTED = 999  # orders of the checkpoints
OTHERS = 20  # random sets of paths
DRAWN = 8  # curves
_LEVEL = 0.05


@analysis("circuit_formation", question=QUESTION, place=6, reported=False)  # seconds for each checkpoint
def run(series: Series, progress: bool = True, threshold: float = THRESHOLD) -> Findings:
    """The circuits of the leading evaluator at its peak and at the end, and their paths over training.

    A circuit is the paths whose effect is at least `threshold` at that step, found on sequences of their own (split 1),
    so that what is reported (split 0) is not inflated by the choice. What a path carries is intact minus cut. Its onset
    and half-decay follow the phase rule (measures/phases.py, chance level 0). Controls: the same curve with its
    checkpoints in random order, and as many random other paths between the same kinds of components.

    The table has the rows of `path_effects` at all steps, and of `circuit_shares` at the peak and at the end.
    """
    on = looked_at(series.config)
    phases = series_phases(series).get(on)
    model, name = series.config.model, EVALUATORS[on].short
    if model.n_layers >= DEEP:
        said = (
            f"Skipped: of {model.n_layers} layers there are too many paths to cut at every step; `mechicl measure RUN "
            "path_effects` cuts the strongest."
        )
        return Findings("circuit_formation", QUESTION, [said], pd.DataFrame())
    formed = phases is not None and phases.peak is not None
    last = series.end
    peak = series.step_at(phases.peak or 0) if phases is not None and formed else last
    steps = sorted({peak, last})
    chosen = path_effects(series, steps, [on], split=1, progress=progress)
    circuits = {step: circuit_of(chosen, step, on, threshold) for step in steps}
    effects = path_effects(series, evaluators=[on], progress=progress)
    shares = {
        step: circuit_shares(series, [step], [on], paths=paths, progress=progress) for step, paths in circuits.items()
    }
    met = tuple(dict.fromkeys(path for paths in circuits.values() for path in paths))
    carried = what_paths_carry(effects)
    limit = fitted(carried.loc[steps, list(met)].to_numpy().ravel(), threshold)
    figures = {
        "peak" if step == peak and formed else "end": circuit_graph(
            effects, step, on, threshold, circuits[step], shares[step], limit
        )
        for step in steps
        if circuits[step]
    }
    if met:
        figures["paths"] = _curves(effects, on, carried, met)
    text = [
        f"{name} never formed in this run (it stays within {MIN_RISE:g} of chance): no path is called part of its "
        "circuit."
    ]
    if formed:
        moments = {EVALUATORS[on].best: peak} | ({"end": last} if last != peak else {})
        text = [_size(series, on, what, step, circuits[step], shares[step]) for what, step in moments.items()]
        text.append(_against_others(series, carried.loc[[peak]].iloc[0], circuits[peak]))
        text += _formation(series, carried, met)
    table = pd.concat([effects, *shares.values()], ignore_index=True)
    return Findings("circuit_formation", QUESTION, text, table, figures)


def what_paths_carry(effects: pd.DataFrame) -> pd.DataFrame:
    """[step, path]: what the path adds, intact minus cut; of an error, cut minus intact."""
    return -gains(effects).pivot_table(index="step", columns="intervention", values="effect")


def _size(series: Series, on: str, what: str, step: int, circuit: tuple[str, ...], shares: pd.DataFrame) -> str:
    when, rows = short(series.sequences_seen(step)), shares.set_index("intervention")
    name, n = EVALUATORS[on].short, int(shares.n.iloc[0])
    begins = f"{len(circuit)} paths reach the threshold on {name} at its {what} ({when} sequences, n = {n:,})"
    if what == "end":
        begins = begins.replace("at its end", "at the end")
    if not np.isfinite(rows.share["circuit alone"]):
        return f"{begins}: the model does no better than with every path cut ({rows.value['nothing']:.3f})."
    random = {kind: rows.share[rows.index.str.fullmatch(kind)] for kind in (r"random \d+ alone", r"without random \d+")}
    told = [
        f"{word} {share_text(rows.loc[[of]].iloc[0])} (random circuits: {random[kind].median():.2f})"
        for word, of, kind in (
            ("faithfulness", "circuit alone", r"random \d+ alone"),
            ("completeness", "without circuit", r"without random \d+"),
        )
    ]
    low = rows.share["circuit alone"] < 0.5
    miss = " Paths that stand in for one another would have no effect by themselves, and be missed." if low else ""
    return f"{begins}: {', '.join(told)}.{miss}"


def _against_others(series: Series, carried: pd.Series, circuit: tuple[str, ...]) -> str:
    if not circuit:
        return "At the peak there are 0 paths to compare with others."
    rng = np.random.default_rng(0)
    drawn = [other_paths(circuit, series.config.model, rng) for _ in range(OTHERS)]
    sizes = [float(carried[list(other)].abs().mean()) for other in drawn if other]
    own = f"At the peak a path of the circuit changes {carried[list(circuit)].abs().mean():.3f} on average"
    if not sizes:
        return f"{own}; there are no others of the same kinds."
    return f"{own}, other paths of the same kinds {np.median(sizes):.3f} (up to {max(sizes):.3f} of {len(sizes)} sets)."


def orderly(curves: np.ndarray, seed: int = 0) -> np.ndarray:
    """How likely a curve that is as smooth would be if its checkpoints came in random order: one p of each.

    Args:
        curves: [path, step]. The statistic is the sum of |changes| from checkpoint to checkpoint.
    """
    rng = np.random.default_rng(seed)
    rough = np.abs(np.diff(curves, axis=1)).sum(1)
    below = np.zeros(len(curves))
    for _ in range(PERMUTED):
        shuffled = curves[:, rng.permutation(curves.shape[1])]
        below += np.abs(np.diff(shuffled, axis=1)).sum(1) <= rough + 1e-12
    return (1 + below) / (1 + PERMUTED)


def formation(series: Series, carried: pd.DataFrame, paths: tuple[str, ...]) -> pd.DataFrame:
    """Each path's phases, and p of its order in training (Holm's, of all of them): a row per path that has an onset."""
    times = np.array([series.sequences_seen(int(step)) for step in carried.index], dtype=float)
    found: dict[str, Phases] = {path: phase_times(times, carried[path].to_numpy(), 0.0) for path in paths}
    risen = [path for path, p in found.items() if p.onset is not None]
    p = holm(orderly(carried[risen].to_numpy().T).tolist()) if risen else []
    rows = [{"path": path, **vars(found[path]), "p": float(value)} for path, value in zip(risen, p, strict=True)]
    columns = ["path", "onset", "peak", "peak_value", "half_decay", "final_value", "p"]
    return pd.DataFrame(rows, columns=columns).sort_values("onset", kind="stable", ignore_index=True)


def _formation(series: Series, carried: pd.DataFrame, paths: tuple[str, ...]) -> list[str]:
    table = formation(series, carried, paths)
    lines = [
        f"{len(table)} of these {len(paths)} paths ever carry {MIN_RISE:g} or more: those have times by the phase rule."
    ]
    for row in table.to_dict("records"):
        decay = row["half_decay"]
        falls = "does not fall half-way" if pd.isna(decay) else f"is half-way back at {short(decay)}"
        sure = "unlike" if row["p"] < _LEVEL else "not shown to differ from"
        lines.append(
            f"{row['path']} rises through half-way at {short(row['onset'])} sequences, carries most at "
            f"{short(row['peak'])} ({row['peak_value']:.3f}), {falls}, and ends at {row['final_value']:.3f}; {sure} "
            f"the same checkpoints in random order (p = {row['p']:.3f})."
        )
    return lines


def _curves(effects: pd.DataFrame, on: str, carried: pd.DataFrame, paths: tuple[str, ...]) -> go.Figure:
    """The strongest paths over training."""
    strongest = sorted(paths, key=lambda path: -float(carried[path].abs().max()))[:DRAWN]
    fig = go.Figure()
    for path in strongest:
        rows = effects[(effects.intervention == path) & (effects.sequences > 0)].sort_values("sequences")
        error = {"array": rows.effect_high - rows.effect, "arrayminus": rows.effect - rows.effect_low, "width": 0}
        fig.add_trace(
            go.Scatter(
                x=rows.sequences, y=rows.effect, error_y={**error, "thickness": 1}, name=path, mode="lines+markers"
            )
        )
    shown = EVALUATORS[on]
    finish(
        fig,
        f"The strongest paths of {shown.short} over training",
        f"change of {shown.quantity} where the path is cut, {len(strongest)} of {len(paths)} paths, "
        f"n = {int(effects.n.iloc[0]):,}; bars: paired 95% intervals",
    )
    fig.update_yaxes(title_text=f"change in {shown.quantity}", zeroline=True, zerolinecolor="#999")
    return sequences_axis(fig)
