"""Measured curves and what the accounts predicted, as one matplotlib figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from research.accounts import ACCOUNTS
from research.accounts_data import Runs
from research.theories.fit import on_grid
from research.theories.flow import predict
from research.theories.training import COMPETITION, Setting

STYLES = {  # none of the evaluators' colours, which other figures have
    "coopetition": ("#762a83", "-"),
    "rates-outvoted": ("#000000", ":"),
    "rates-regularized": ("#8c510a", "--"),
    "rates-noisy": ("#e7298a", "-."),
}
SHOWN = {"icl": "ICL", "flip": "Flip", "ciwl": "CIWL"}
_ACROSS = 6  # conditions beside one another, so that they can be read on a page


def figure(
    table: pd.DataFrame, measured: Runs, fitted: str = "joint", setting: Setting = COMPETITION, scale: str = "log"
) -> Figure:
    """A row per evaluator, a column per measured condition, in blocks: the measured mean and range over seeds in grey,
    and each account's prediction, the mean over the same seeds.

    Args:
        table: of `python -m research accounts`.
        measured: accounts_data.runs.
        fitted: 'joint' or 'alone'.
        setting: whose conditions are shown.
        scale: of the axis of sequences.
    """
    names = [c for c in setting.conditions if any(condition == c for condition, _ in measured)]
    blocks = -(-len(names) // _ACROSS)
    across = -(-len(names) // blocks)
    made = Figure(figsize=(1.55 * across + 0.6, 1.35 * len(SHOWN) * blocks + 0.9), layout="constrained")
    axes = made.subplots(len(SHOWN) * blocks, across, sharex=True, sharey=True, squeeze=False)
    full = len(names) - across * (blocks - 1)  # columns of the last block
    for empty in axes[-len(SHOWN) :, full:].flat:
        empty.set_visible(False)
    for number, condition in enumerate(names):
        block, column = divmod(number, across)
        top = len(SHOWN) * block
        seeds = [s for c, s in measured if c == condition and _has(table, s)]
        curves = [on_grid(measured[condition, s], setting.grid) for s in seeds]
        said = {
            a.name: [
                predict(a, _parameters(table, a.name, fitted, s), setting.conditions[condition], setting.grid)
                for s in seeds
            ]
            for a in ACCOUNTS
            if a.name in set(table.account)
        }
        for row, evaluator in enumerate(SHOWN):
            _panel(axes[top + row, column], evaluator, curves, said, setting.grid)
        axes[top, column].set_title(f"{condition}\n{len(seeds)} seed{'s'[: len(seeds) != 1]}", fontsize=7)
    for row, label in enumerate([*SHOWN.values()] * blocks):
        axes[row, 0].set_ylabel(label, fontsize=8)
    axes[0, 0].set_xscale(scale)
    for ax in (*axes[-1, :full], *(axes[-1 - len(SHOWN), full:] if full < across else ())):
        ax.set_xlabel("million sequences", fontsize=7)
        ax.tick_params(labelbottom=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    return made


def _has(table: pd.DataFrame, seed: int) -> bool:
    return bool(((table.kind == "parameter") & (table.seed == seed)).any())


def _parameters(table: pd.DataFrame, account: str, fitted: str, seed: int) -> dict[str, float]:
    rows = table[(table.kind == "parameter") & (table.account == account)]
    rows = rows[(rows.fitted == fitted) & (rows.seed == seed)]
    return dict(zip(rows.name, rows.value, strict=True))


def _panel(ax: Axes, evaluator: str, curves: list[dict], said: dict[str, list[dict]], grid: np.ndarray) -> None:
    values = np.array([c[evaluator] for c in curves])
    ax.fill_between(grid, values.min(0), values.max(0), color="0.85", linewidth=0, label="lowest to highest seed")
    ax.plot(grid, values.mean(0), color="0.35", linewidth=2, label="measured, mean")
    for name, predicted in said.items():
        color, style = STYLES[name]
        mean = np.mean([p[evaluator] for p in predicted], axis=0)
        on_top = style == ":"  # dots on a line are seen, and under one they are not
        ax.plot(grid, mean, color=color, linestyle=style, linewidth=1 + on_top, zorder=3 if on_top else 2, label=name)
    ax.set_ylim(0, 1)
    ax.tick_params(labelsize=6)
