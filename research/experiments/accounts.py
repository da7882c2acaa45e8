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
        "Two mechanisms that share parts and get in one another's way (Singh et al. 2025, section 6), against two "
        "nearly independent ones of different rates (Nguyen & Reddy 2024). Fitted to the untreated curves only, "
        "each then predicts every other condition of `research/sweeps/competition.toml` with nothing "
        "refitted."
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
            f"error held out, {name} less control", means[name] - means[fitted.CONTROL], below=0.0, text="{:+.3f}"
        )
        for name in PUBLISHED
        if name in means.columns
    ]
    said += [
        verdicts.effect(
            f"error held out, coopetition less {name}", means["coopetition"] - means[name], below=0.0, text="{:+.3f}"
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
            "coopetition predicts held-out conditions better than the seed's own untreated curve does, as do both "
            "independent rates; and it predicts them better than either of these (paired by seed).",
            said,
            command,
            [
                "Held-out error (root mean squared), mean over seeds: "
                + ", ".join(f"{n} {v:.3f}" for n, v in best.items())
                + f"; control {means[fitted.CONTROL].mean():.3f}.",
                "Root mean squared error of the ICL, Flip and CIWL curves, median over seeds; `mixed` is what "
                "was fitted. "
                "'control' predicts the seed's own untreated curve unchanged; 'other seeds' the mean of the "
                "other seeds under "
                "that condition, which no account can know. `rates-noisy` is our own extension and not "
                "published: a noisier "
                "ICL is unlearned once recall works. Equations and the rules of what a condition changes: "
                "`research/theories`.",
                table(["condition", "seeds", *shown], rows),
                "Held-out error less another's, paired by seed, with the 95% interval:",
                table(["account", "less that of", "n", "difference"], compared),
                "Phases of the held-out curves: share whose presence is right, and the median error of times "
                "in octaves:",
                table(["", "presence right", "octaves off"], right),
                "Parameters are sloppy: several lie at the bounds of the search, and other values fit about "
                "as well, so a "
                "fitted value is not a measurement of it.",
            ],
            {"accounts": figure(found, measured)},
        )
    ]


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
