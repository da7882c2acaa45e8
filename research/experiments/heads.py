"""Claim 8.5: a seed's own ICL heads taken out during training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from research import plots, tables, verdicts
from research.claim import Claim, not_run, table
from research.effects import compare
from research.statistics import p_text, phases, spread, spread_times

TITLES = {
    "mixed": "untreated",
    "icl-heads-start": "without ICL heads from the start",
    "random-heads-start": "without random heads from the start",
    "icl-heads-peak": "without ICL heads from Flip's peak",
    "random-heads-peak": "without random heads from Flip's peak",
}
ASKED = (
    ("icl", "highest"),
    ("icl", "final_value"),
    ("flip", "highest"),
    ("ciwl", "onset"),
    ("ciwl", "final_value"),
    ("iwl", "final_value"),
)


def claims() -> list[Claim]:
    key, title = "8.5", "Without ICL's own heads, in-weights learning comes sooner"
    says = (
        "If the heads that carry ICL hold resources that in-weights learning needs, then training without them should "
        "learn in weights sooner than training without as many random heads. In the paper, ablating the heads with "
        "previous-token behaviour only delays ICL (Singh et al. 2025, Fig. 4)."
    )
    command = (
        "mechicl sweep research/sweeps/competition.toml && mechicl train demo --seeds 0..4 && "
        "python -m research heads checkpoints/demo-s0 ... && "
        "python -m research collect-runs heads checkpoints/heads/*"
    )
    treated, untreated = tables.read("heads"), tables.read("competition")
    if treated is None or untreated is None:
        return [not_run(key, title, says, command)]
    seeds = sorted(treated.seed.unique())
    untreated = untreated[(untreated.condition == "mixed") & untreated.seed.isin(seeds)]
    data = pd.concat([untreated, treated], ignore_index=True)
    found = phases(data).set_index(["condition", "evaluator", "seed"]).sort_index()
    rows = [
        [title_, *((spread_times if q == "onset" else spread)(found.loc[(name, e)][q]) for e, q in ASKED)]
        for name, title_ in TITLES.items()
        if (name, "icl") in found.index
    ]
    effect = compare(
        {
            (when, evaluator, quantity): [
                found.loc[(f"{kind}-heads-{when}", evaluator)][quantity] for kind in ("icl", "random")
            ]
            for when in ("start", "peak")
            for evaluator, quantity in ASKED
        }
    )
    lines = []
    for (when, evaluator, quantity), e in effect.items():
        size = "{:+,.0f} [{:+,.0f}, {:+,.0f}]" if quantity == "onset" else "{:+.3f} [{:+.3f}, {:+.3f}]"
        lines.append(
            [
                f"from the {when}",
                f"{evaluator.upper()} {quantity.replace('_', ' ')}",
                str(e["n"]),
                size.format(e["difference"], e["low"], e["high"]),
                p_text(e["p_holm"]).removeprefix("= "),
            ]
        )
    own, random = (
        {q: found.loc[(f"{kind}-heads-start", e)][q] for e, q in (("icl", "highest"), ("ciwl", "onset"))}
        for kind in ("icl", "random")
    )
    judged = [
        verdicts.effect(
            "ICL's highest, own heads minus random heads removed from the start",
            own["highest"] - random["highest"],
            below=-verdicts.SMALLEST,
        ),
        verdicts.effect(
            "CIWL's onset, own against random heads removed from the start (log2)",
            np.log2(own["onset"].fillna(np.inf) / random["onset"]),
            below=-verdicts.FACTOR,
        ),
    ]
    return [
        Claim(
            key,
            title,
            says,
            f"`demo`, seeds {', '.join(map(str, seeds))} (those in which Flip rose), 4 of 16 heads; "
            "control: one random set of others per seed",
            "if a seed is trained without its own ICL heads from the start, its ICL peaks lower by .1 or more, and "
            "CIWL's onset comes sooner by a factor of 1.4 or more, than without as many random heads of the same "
            "layers. Only seeds in which Flip rose have such heads, and four are too few for an exact interval.",
            judged,
            command,
            [
                table(["condition", *(f"{e.upper()} {q.replace('_', ' ')}" for e, q in ASKED)], rows),
                "ICL heads against random heads of the same seed (paired; p corrected for this table by Holm's "
                "method):",
                table(["removed", "difference in", "n", "ICL heads minus random heads", "p"], lines),
            ],
            {"heads": plots.curves(data, TITLES)},
        )
    ]
