"""docs/findings/mechanism-2025.md: the published mechanism of Figure 1b's run, and ours, number by number."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from mechicl.figures.style import NAMES
from research import mechanism_2025_late as late
from research import plots
from research.claim import table
from research.mechanism_2025_rules import ABOUT, PRINTED, late_half, rules

PAGE, FIGURE = "mechanism-2025.md", "mechanism-2025"
SEEDS, MOST = 5, 4  # planned; of which so many must agree


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
            moved, highest = late_half(run)
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


def page(every: pd.DataFrame, longer: pd.DataFrame | None = None) -> str:
    """every, longer: the tables at 20 and at 64 million sequences."""
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
                *([late.section(every, longer)] if longer is not None else []),
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
interventions are of its checkpoint at 64 million sequences, ours end at 20 million (two of them at 64: last table). Its
attention patterns over training (Figure 3) end at 20 million, as ours do. At 20 million ICL has not fallen as far here,
so the rules compare shares of the margin: CIWL above chance (.5), over the same of the intact model. A rule is
supported where four of five seeds meet it, contradicted where four do not.

Three terms. The *embed-unembed path* is what goes from the embeddings straight to the output ('direct path' below).
*Induction strength* is the query's attention to the label after its match, less that to the other label; below 0 the
query looks at the wrong one. In the last rule on heads, *strength* is the attention that is set by hand on the right
label: 0, .5 or 1.

`python -m research mechanism RUN ...` measures finished runs; `make findings` builds this page."""

DIFFERS = """## What differs, and why

- **Values alone keep more (.24 to .40 of the margin, published .18), and the embed-unembed path alone has more (.37 to
  .49, published .25).** The time of measurement is not the reason: by 64 million both grow in both seeds, to .44 and
  .45, and to .56 and .58. So these models answer more from the query's embedding alone than the published one. Our
  encoder has 1,280 features, the published one 512, and recall may be easier on ours. This was not tested: **open**.
- **Without the embed-unembed path Flip is at .07 to .47, published .034**, and intact at .03 to .27, published .015.
  The time of measurement is the reason: at 64 million both are as published, or lower (.022 and .034; .005 and .006),
  and CIWL is, too (.990 and .989, published .987).
- **Induction strength is at -.02 to -.51 at 20 million, published -.52 to -.55 at the same time.** The fade is later
  here, so the runs are at different stages. Where Flip has fallen to the published .03 (near 29 million in seed 0, 35
  in seed 1) induction strength is -.43 and -.37, and at 64 million it is -.64 and -.57. So the later fade is a part of
  the reason. Whether it is all of it, in two seeds and read after the runs: **open**. (Until 27 November ours at 64
  million stood beside the published number of 20 million.)
- **In seed 0, measured to 64 million, Flip changes by .12 with the end's second half, and by .11 with the first half
  frozen** (bound .1; at 20 million .04 and .02). So the second half does change a little in the long run.

**Printed numbers that have none of ours here.** Five are accuracies among all labels at 320 million sequences (Train
.9946, ICL .4664, CIWL .9948, Flip .0054, pure in-weights .0008): our longest runs of this setting end at 64 million.
Three are in-context accuracies of pure in-weights sequences. Their right label is not in the context, so they are 0 by
construction, there and here."""
