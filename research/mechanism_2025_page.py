"""docs/findings/mechanism-2025.md: the published mechanism of Figure 1b's run, and ours, number by number."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from mechicl.figures.style import NAMES
from research import plots
from research.claim import table
from research.mechanism_2025 import TABLE

PAGE, FIGURE = "mechanism-2025.md", "mechanism-2025"
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
SEEDS, MOST = 5, 4  # planned; of which so many must agree


def read() -> pd.DataFrame | None:
    return pd.read_csv(TABLE) if TABLE.exists() else None


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
    moved, highest = _moved(run)
    return float(moved[moved.index >= highest].max())


def _moved(run: pd.DataFrame) -> tuple[pd.Series, float]:
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


def figure(every: pd.DataFrame) -> Figure:
    """By seed: induction strength, and how far the curves move with the second half taken from the end."""
    with mpl.rc_context(plots.STYLE):
        drawn = Figure(figsize=(8.4, 2.7), layout="constrained")
        left, right = drawn.subplots(1, 2)
        for at, (seed, run) in enumerate(every.groupby("seed")):
            colour = mpl.colormaps["viridis"](at / max(1, every.seed.nunique() - 1) * 0.9)
            looks = run[(run.part == "attention") & (run.metric == "induction_strength")]
            mean = looks.groupby("sequences").value.mean()
            left.plot(mean.index / 1e6, mean.values, color=colour, lw=1.4, label=f"seed {seed}")
            moved, highest = _moved(run)
            right.plot(moved.index / 1e6, moved.values, color=colour, lw=1.4)
            right.plot(highest / 1e6, moved[highest], "o", color=colour, ms=4)
        left.axhline(0, color="#888", lw=0.8)
        left.set(
            title="On Flip, mean of layer 1's eight heads",
            xlabel="training sequences seen, million",
            ylabel="induction strength",
            ylim=(-1, 1),
        )
        right.axhline(0.1, color="#888", lw=0.8, ls=":")
        right.set(
            title="With the end's second half (dot: Flip's highest)",
            xlabel="training sequences seen, million",
            ylabel="largest change of ICL, Flip, CIWL",
            ylim=(0, None),
        )
        drawn.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return drawn


def page(every: pd.DataFrame) -> str:
    runs = {int(seed): run for seed, run in every.groupby("seed")}
    judged = {seed: rules(run) for seed, run in runs.items()}
    names = [f"seed {seed}" for seed in runs]
    rows = [
        [
            about,
            paper,
            *[f"{'yes' if met else 'no'}: {text}" for met, text in (judged[s][key] for s in runs)],
            _status(judged, key),
        ]
        for key, (about, paper) in ABOUT.items()
    ]
    return (
        "\n\n".join(
            [
                HEAD,
                f"## Rules\n\n{table(['rule', 'paper', *names, 'status'], rows)}",
                f"![mechanism]({FIGURE}.svg)",
                "## Interventions at the end\n\n"
                "In-context accuracy: the paper's at 64 million sequences, ours at 20 million.",
                _by_hand(runs),
                DIFFERS,
            ]
        )
        + "\n"
    )


def _status(judged: dict[int, dict], key: str) -> str:
    if len(judged) < SEEDS:
        return f"{len(judged)} of {SEEDS} seeds"
    met = sum(each[key][0] for each in judged.values())
    return "supported" if met >= MOST else "contradicted" if SEEDS - met >= MOST else "inconclusive"


def _by_hand(runs: dict[int, pd.DataFrame]) -> str:
    rows = []
    for condition, printed in PRINTED.items():
        for name, value in printed.items():
            found = [
                r[(r.part == "interventions") & (r.condition == condition) & (r.evaluator == name)].iloc[0]
                for r in runs.values()
            ]
            rows.append(
                [
                    condition,
                    NAMES[name],
                    f"{value:.3f}",
                    *[f"{x.value:.3f} ({x.ci_low:.3f} to {x.ci_high:.3f})" for x in found],
                ]
            )
    return table(
        ["condition", "evaluator", "paper", *[f"seed {s}, n = {int(r.n.iloc[0]):,}" for s, r in runs.items()]], rows
    )


HEAD = """# The mechanism of Figure 1b's run

Singh et al. 2025 (["Strategy coopetition"](../references.md#singh-2025), sections 4 and 5) take one run apart, in which
in-context learning (ICL) gives way to in-weights learning among the context's labels (CIWL). Flip is ICL's score where
the context contradicts the weights. This page does the same to our runs of that setting on features of real drawings
(`research/sweeps/figure-1b.toml`).

The rules stand in `research/mechanism_2025.py`. They were committed before any of these numbers was measured; the
curves of seed 0 had been seen. Layers are counted from 0: the paper's layers 1 and 2 are 0 and 1 here. The paper's
interventions are of its checkpoint at 64 million sequences, ours end at 20 million. There ICL has not fallen as far, so
the rules compare shares of the margin: CIWL above chance (.5), over the same of the intact model. A rule is supported
where four of five seeds meet it, contradicted where four do not.

Three terms. The *embed-unembed path* is what goes from the embeddings straight to the output ('direct path' below).
*Induction strength* is the query's attention to the label after its match, less that to the other label; below 0 the
query looks at the wrong one. In the last rule on heads, *strength* is the attention that is set by hand on the right
label: 0, .5 or 1.

`python -m research mechanism RUN ...` measures finished runs; `make findings` builds this page."""

DIFFERS = """## What differs, and why

- **Values alone keep more (.24 to .40 of the margin, published .18), and the embed-unembed path alone has more (.37 to
  .49, published .25).** One reason may be the time of measurement: 20 million sequences, where CIWL is at .87 to .97,
  and not 64 million (published .99). In seed 2, whose CIWL is furthest (.97), both are below the bounds. The runs to
  64 million (`research/sweeps/figure-1b-long.toml`) are to test it. Until then: **open**.
- **Without the embed-unembed path Flip is at .07 to .47, published .034**, and intact at .03 to .27, published .015. As
  above: **open**.
- **Induction strength ends at -.02 to -.51, published -.5.** Only seed 2, whose fade is the fastest, comes as far. As
  above: **open**.

**Printed numbers that have none of ours here.** Five are accuracies among all labels at 320 million sequences (Train
.9946, ICL .4664, CIWL .9948, Flip .0054, pure in-weights .0008): our runs of this setting end at 20 million. Three are
in-context accuracies of pure in-weights sequences. Their right label is not in the context, so they are 0 by
construction, there and here."""
