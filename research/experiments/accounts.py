"""Claim 9: which quantitative account predicts conditions that it was not fitted to?"""

from __future__ import annotations

import numpy as np

from research import accounts as fitted
from research import tables, verdicts
from research.accounts_data import read, runs
from research.accounts_figure import figure
from research.claim import Claim, not_run, table

PUBLISHED = ("coopetition", "rates-outvoted", "rates-regularized")
ORDER = (*PUBLISHED, "rates-noisy", fitted.CONTROL, fitted.OTHERS)


def claims() -> list[Claim]:
    key, title = "9", "Coopetition predicts unseen conditions better than independent rates"
    says = (
        "One account has two mechanisms that share parts and hinder each other (Singh et al. 2025, section 6). The "
        "other has two nearly independent mechanisms of different rates (Nguyen & Reddy 2024). Each is fitted to the "
        "untreated curves only. Then it predicts every other condition of `research/sweeps/competition.toml` without a "
        "new fit."
    )
    command = "python -m research accounts"
    found = tables.read("accounts")
    if found is None:
        return [not_run(key, title, says, command)]
    measured = runs(read())
    means, summary = fitted.held_out(found), fitted.summary(found)
    shown = [name for name in ORDER if name in summary.columns]
    rows = [
        [str(condition), f"{row['seeds']:.0f}", *(_number(row[name]) for name in shown)]
        for condition, row in summary.iterrows()
    ]
    against = {name: fitted.comparison(found, name) for name in (fitted.CONTROL, "coopetition")}
    compared = [
        [account, other, f"{row['n']:.0f}", f"{row['mean']:+.3f} [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"]
        for other, frame in against.items()
        for account, row in frame.iterrows()
        if account not in (other, fitted.CONTROL)
    ]
    phases = fitted.phase_summary(found)
    right = [
        [n, f"{phases.loc[n, 'presence right']:.2f}", f"{phases.loc[n, 'octaves off']:.2f}"]
        for n in shown
        if n in phases.index
    ]
    said = [
        verdicts.effect(
            f"error held out, {name} minus control", means[name] - means[fitted.CONTROL], below=0.0, text="{:+.3f}"
        )
        for name in PUBLISHED
        if name in means.columns
    ]
    said += [
        verdicts.effect(
            f"error held out, coopetition minus {name}", means["coopetition"] - means[name], below=0.0, text="{:+.3f}"
        )
        for name in PUBLISHED[1:]
        if name in means.columns
    ]
    best = means[[n for n in PUBLISHED if n in means.columns]].mean().sort_values()
    return [
        Claim(
            key,
            title,
            says,
            f"the competition sweep, {len(means)} seeds with every condition",
            "coopetition and both accounts with independent rates predict held-out conditions better than the seed's "
            "own untreated curve does; and coopetition predicts them better than either of the other two (paired by "
            "seed).",
            said,
            command,
            [
                "Held-out error (root mean squared), mean over seeds: "
                + ", ".join(f"{n} {v:.3f}" for n, v in best.items())
                + f"; control {means[fitted.CONTROL].mean():.3f}.",
                "The table has the root mean squared error of the ICL, Flip and CIWL curves, median over seeds. "
                "`mixed` is the condition that was fitted. 'control' predicts the seed's own untreated curve. "
                "'other seeds' predicts the mean of the other seeds under that condition, which no account can "
                "know. `rates-noisy` is our own extension and not published: recall that works makes the model "
                "unlearn a noisier ICL. `research/theories` has the equations and the rules of what a condition "
                "changes.",
                table(["condition", "seeds", *shown], rows),
                "Difference of held-out errors, paired by seed, with its 95% interval:",
                table(["account", "minus that of", "n", "difference"], compared),
                "Phases of the held-out curves: the share of phases that are rightly there or not there, and the "
                "median error of times in octaves (factors of 2):",
                table(["", "presence right", "octaves off"], right),
                "The data determine the parameters badly: several lie at the bounds of the search, and other values "
                "fit about as well. So a fitted value does not measure the parameter.",
            ],
            {"accounts": figure(found, measured)},
        )
    ]


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
