"""The printed numbers of the published mechanism, and what the rules of mechanism_2025.py say of a run's."""

from __future__ import annotations

import pandas as pd

# Singh et al. 2025, section 4 and appendix C.1, printed: in-context accuracy at 64 million sequences, one seed.
PRINTED = {
    "intact": {"train": 0.9862, "ciwl": 0.9874, "flip": 0.0146},
    "layer 0's direct output removed": {"train": 0.9852, "ciwl": 0.9848, "flip": 0.0178},
    "only queries recomputed": {"train": 0.9574, "ciwl": 0.954, "flip": 0.046},
    "only keys recomputed": {"train": 0.5706, "ciwl": 0.5748, "flip": 0.4466},
    "only values recomputed": {"train": 0.5928, "ciwl": 0.5864, "flip": 0.4},
    "direct path alone": {"train": 0.6268, "ciwl": 0.6242, "flip": 0.3752},
    "no direct path": {"train": 0.9674, "ciwl": 0.9672, "flip": 0.034},
}
CHANCE = 0.5


def rules(run: pd.DataFrame) -> dict[str, tuple[bool, str]]:
    """Rule -> whether a run meets it, and its numbers (mechanism_2025.py states the rules)."""
    last = run.step.max()
    by_hand = run[run.part == "interventions"].set_index(["condition", "evaluator"]).value
    intact = by_hand["intact", "ciwl"]

    def share(condition: str) -> float:
        return (by_hand[condition, "ciwl"] - CHANCE) / (intact - CHANCE)

    removed = abs(by_hand["layer 0's direct output removed", "ciwl"] - intact)
    kept = {name: share(f"only {name} recomputed") for name in ("queries", "keys", "values")}
    path, without = share("direct path alone"), share("no direct path")
    looks = run[run.part == "attention"]
    strength = looks[looks.metric == "induction_strength"].pivot(index="step", columns="condition", values="value")
    own = looks[(looks.metric == "query_to_own") & (looks.step == last)].value
    copier = run[run.part == "copier"].copy()
    copier = copier[copier.condition != "intact"]
    copier["strength"] = copier.condition.str.rsplit(" ", n=1).str[1].astype(float)
    at = {x: rows.value for x, rows in copier.groupby("strength")}
    apart, frozen = _apart(run), _frozen(run)
    mean = strength.mean(axis=1)
    return {
        "direct": (removed <= 0.02, f"CIWL moves by {removed:.3f}"),
        "queries": (kept["queries"] >= 0.75, f"{kept['queries']:.3f} of the margin kept"),
        "keys": (kept["keys"] <= 0.35, f"{kept['keys']:.3f} kept"),
        "values": (kept["values"] <= 0.35, f"{kept['values']:.3f} kept"),
        "path": (path <= 0.4 and without >= 0.85, f"alone {path:.3f} of the margin, without it {without:.3f}"),
        "strength": (
            mean.max() >= 0.15 and mean[last] <= -0.15 and bool((strength.loc[last] < 0).all()),
            f"highest {mean.max():+.2f}, at the end {mean[last]:+.2f} "
            f"({strength.loc[last].min():+.2f} to {strength.loc[last].max():+.2f} by head)",
        ),
        "looks": (own.mean() >= 0.6 and own.min() > 0.5, f"{own.mean():.2f} ({own.min():.2f} to {own.max():.2f})"),
        "copier": (
            at[0.0].max() <= 0.25 and at[0.5].between(0.4, 0.6).all() and at[1.0].min() >= 0.75,
            "; ".join(f"{x:g}: {at[x].min():.2f} to {at[x].max():.2f}" for x in (0.0, 0.5, 1.0)),
        ),
        "conserved": (apart <= 0.1, f"at most {apart:.3f} apart"),
        "frozen": (frozen <= 0.1, f"at most {frozen:.3f} apart"),
    }


ABOUT = {
    "direct": ("Layer 0's direct output does not matter (CIWL within .02)", "moves by .003"),
    "queries": ("Recomputed queries keep CIWL (at least .75 of its margin)", ".93"),
    "keys": ("Recomputed keys lose it (at most .35)", ".15"),
    "values": ("Recomputed values lose it (at most .35)", ".18"),
    "path": ("The embed-unembed path is a small part (alone at most .4; without it at least .85)", ".25; .96"),
    "strength": (
        "Induction strength on Flip rises and turns over, in all heads (+.15, then -.15)",
        "+.28 to +.33; -.5",
    ),
    "looks": ("On CIWL the query looks at its own label (at least .6; each head above .5)", "about .75"),
    "copier": ("Each head alone copies what it looks at (strength 0, .5, 1)", ".06 to .12; .5; .88 to .95"),
    "conserved": ("The second half hardly changes after Flip's highest (within .1)", "'nearly the whole course'"),
    "frozen": ("The first half decides: frozen, the scores stay (within .1)", "at most .03"),
}


def _apart(run: pd.DataFrame) -> float:
    moved, highest = late_half(run)
    return float(moved[moved.index >= highest].max())


def late_half(run: pd.DataFrame) -> tuple[pd.Series, float]:
    """By sequences, the largest change of a score with the second half of the end; and where Flip is highest."""
    halves = run[run.part == "halves"]
    wide = halves.pivot_table(index=["sequences", "evaluator"], columns="condition", values="value")
    moved = (wide["second half from the end"] - wide["intact"]).abs().groupby("sequences").max()
    return moved, wide["intact"].xs("flip", level="evaluator").idxmax()


def _frozen(run: pd.DataFrame) -> float:
    rows = run[(run.part == "frozen") & run.evaluator.isin(["icl", "flip"])]
    last, most = run.step.max(), 0.0
    for condition, at_end in rows[(rows.step == last) & (rows.condition != "intact")].groupby("condition"):
        step = int(str(condition).split("step ")[1].rstrip(")"))
        then = rows[(rows.step == step) & (rows.condition == "intact")].drop_duplicates("evaluator")
        apart = at_end.set_index("evaluator").value - then.set_index("evaluator").value
        most = max(most, float(apart.abs().max()))
    return most
