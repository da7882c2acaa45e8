"""The rules of the sweeps' files (induction-2024.toml and its siblings), applied to the tables.

If no such file declares a rule for a claim, the page shows its numbers, and its verdict is `UNDECLARED`.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from research.induction_2024_compare import HEADS, MAIN, by_rank, lookup, ours, printed
from research.induction_2024_curves import (
    Judged,
    curve,
    half_drop,
    half_drops,
    plateau,
    said,
    seeds_of,
    thousands,
    training,
)
from research.induction_2024_rest import judged as rest
from research.induction_2024_times import timed
from research.tables import TABLES

SWEEPS = Path(__file__).parent / "sweeps"
UNDECLARED = "no rule declared before"


def judge(published: Path) -> list[Judged]:
    """Each rule and what follows from it. A claim without a declared rule has its numbers only."""
    every, runs, theirs = training(), ours(), printed(published)
    own = {int(str(s)): lookup(t) for s, t in runs.groupby("seed")}
    progress = pd.read_csv(TABLES / "induction-2024-progress.csv")
    drops = half_drops(every)
    found = [
        *_loss(every, published),
        *_heads(own, theirs),
        *timed(every, drops),
        *rest(every, progress, drops),
        _toy(),
    ]
    rules = declared()
    return [j if j.letter[0] in rules else replace(j, verdict=UNDECLARED) for j in found]


def declared() -> set[str]:
    """Letters of the rules in the sweeps' files, which were committed before the runs that they judge."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SWEEPS.glob("induction-2024*.toml")))
    return set(re.findall(r"^#   ([A-Z])  ", text, re.MULTILINE))


def _loss(every: pd.DataFrame, published: Path) -> list[Judged]:
    seeds = seeds_of(every, "main", 999_000)
    figure = pd.read_csv(published / "ih_fig3a.csv")
    theirs = half_drop(figure[figure.curve == "train"][["sequences", "value"]].to_numpy(float))
    curves = [curve(every, "main", s) for s in seeds]
    halves = [half_drop(c) for c in curves]
    factors = [b / a for a, b in (plateau(c, 0.55, 0.85) for c in curves)]
    ends = {e: [float(curve(every, "main", s, e)[-1, 1]) for s in seeds] for e in ("holdout_pairs", "holdout_classes")}
    near = max(np.median(halves) / theirs, theirs / np.median(halves)) <= 1.25
    goals = {"holdout_pairs": 0.03, "holdout_classes": 0.12}
    held = [sum(abs(v - goal) <= 0.1 for v in ends[e]) for e, goal in goals.items()]
    text = {e: f"{np.median(v):.3f} ({min(v):.3f} to {max(v):.3f})" for e, v in ends.items()}
    return [
        Judged(
            "A1",
            "IH1: a plateau near ln 2",
            f"loss in .55 to .85 over a factor of {np.median(factors):.2f} "
            f"({min(factors):.2f} to {max(factors):.2f}; n = {len(seeds)})",
            said(sum(f >= 1.5 for f in factors), len(seeds), sum(f < 1.5 for f in factors)),
        ),
        Judged(
            "A2",
            "IH1: when it ends",
            f"half-drop {thousands(halves)}; published {theirs / 1000:.0f}k",
            "as published" if near else "differs: sooner" if np.median(halves) < theirs else "differs: later",
        ),
        Judged(
            "A3",
            "IH1: losses at the end",
            f"held-out pairs {text['holdout_pairs']} (.03), held-out classes {text['holdout_classes']} (.12)",
            said(min(held), len(seeds), len(seeds) - max(held)),
        ),
    ]


def _published_by_rank(theirs: pd.DataFrame, table: str) -> np.ndarray:
    """[seeds, 8]: a table's numbers of the paper's runs, heads by accuracy alone."""
    out = []
    for _, rows in theirs.groupby("init_seed"):
        value = {(t[:4], c): v for t, c, v in zip(rows.table, rows.condition, rows.value, strict=True)}
        ranks = by_rank([value["IH4:", f"l1h{h}"] for h in HEADS])
        out.append([value[table, f"l1h{h}"] for h in ranks])
    return np.array(out)


def _ours_by_rank(own: dict, table: str) -> np.ndarray:
    ranks = [(v, by_rank([v["alone", f"l1h{h}"] for h in HEADS])) for v in own.values()]
    return np.array([[v[table, f"l1h{h}"] for h in heads] for v, heads in ranks])


def _in_range(mine: np.ndarray, theirs: np.ndarray, wider: float = 0.05) -> int:
    """At how many ranks our median lies in the paper's range, widened."""
    median = np.median(mine, 0)
    return int(((median >= theirs.min(0) - wider) & (median <= theirs.max(0) + wider)).sum())


def _heads(own: dict[int, dict], theirs: pd.DataFrame) -> list[Judged]:
    n = len(own)
    intact = [v["intact", "intact"] for v in own.values()]
    lost = [v["intact", "intact"] - v["intact", "no layer-0 output"] for v in own.values()]
    strength, alone = (_ours_by_rank(own, t) for t in ("strength", "alone"))
    their_strength, their_alone = (_published_by_rank(theirs, t) for t in ("IH2:", "IH4:"))
    positive = int((strength > 0).all(1).sum())
    c, d = _in_range(strength, their_strength), _in_range(alone, their_alone)
    together = [rank_correlation(a, b) for a, b in zip(strength, alone, strict=True)]
    rows = pd.read_csv(TABLES / "induction-2024-printed.csv", dtype={"init_seed": str})
    e = _shares(rows)
    t1 = {k: [v["table-1", k] for v in own.values()] for k in ("pt pp", "pt pv", "rest pp", "rest pv")}
    each = list(zip(*t1.values(), strict=True))
    f = sum(pt_pp > rest_pp and pt_pv < rest_pv for pt_pp, pt_pv, rest_pp, rest_pv in each)
    f_not = sum(pt_pp <= rest_pp or pt_pv >= rest_pv for pt_pp, pt_pv, rest_pp, rest_pv in each)
    h = rows[rows.table.str.startswith("IH16")]
    near = int(((h["mean"] - h.published).abs() <= 0.1).sum())
    added = np.array([[v["added", str(k)] for k in range(1, 9)] for v in own.values()])
    falls = int((np.diff(added, axis=1) < 0).all(1).sum())
    return [
        Judged(
            "B",
            "IH3, IH18: intact; layer 0 acts through layer 1 alone",
            f"accuracy at least {min(intact):.5f}; at most {max(lost):.5f} lost (n = {n})",
            "supported" if min(intact) >= 0.995 and max(lost) <= 0.005 else "not supported",
        ),
        Judged(
            "C1",
            "IH2: all heads become induction heads",
            f"all eight positive in {positive} of {n}",
            said(positive, n, n - positive),
        ),
        Judged(
            "C2",
            "IH2: strengths by rank",
            f"in the paper's range at {c} of 8 ranks",
            "supported" if c >= 6 else "differs",
        ),
        Judged(
            "D1",
            "IH4: accuracies alone by rank",
            f"in the paper's range at {d} of 8 ranks",
            "supported" if d >= 6 else "differs",
        ),
        Judged(
            "D2",
            "IH4: stronger heads do more alone",
            "Spearman " + ", ".join(f"{x:.2f}" for x in together),
            said(sum(x >= 0.8 for x in together), n, sum(x < 0.8 for x in together)),
        ),
        Judged(
            "E",
            "IH5, Table 2: shares of mistakes by rank",
            f"in the paper's range at {e[0]} of {e[1]} ranks",
            "supported" if e[0] >= 0.75 * e[1] else "differs",
        ),
        Judged(
            "F",
            "IH8, Table 1: previous-token heads act through patterns, others through values",
            "; ".join(f"{k} {np.median(v):.3f} ({min(v):.3f} to {max(v):.3f})" for k, v in t1.items()),
            said(f, n, f_not),
        ),
        *_wiring(rows),
        Judged(
            "H",
            "IH16, Table 3: accuracies with a perfect match",
            f"within .1 of the paper's at {near} of 8 ranks",
            "supported" if near >= 6 else "differs",
        ),
        Judged(
            "I",
            "IH6: each head that is added lowers the loss",
            "medians " + ", ".join(f"{x:.4f}" for x in np.median(added, 0)),
            said(falls, n, n - falls),
        ),
    ]


def rank_correlation(a, b) -> float:
    """Spearman's."""
    return float(spearmanr(a, b).statistic)  # type: ignore[attr-defined]


def _shares(rows: pd.DataFrame) -> tuple[int, int]:
    """Ranks at which our median of all pairings lies in the paper's range over seeds, widened; and of how many. The
    reference head's own share is 0 in every run and left out."""
    shares = rows[rows.table.str.startswith("IH5") & (rows.published > 0)]
    inside = 0
    ranks = sorted(shares["rank"].unique())
    for rank in ranks:
        at = shares[shares["rank"] == rank]
        inside += at.published.min() - 0.05 <= at["mean"].median() <= at.published.max() + 0.05
    return int(inside), len(ranks)


def _wiring(rows: pd.DataFrame) -> list[Judged]:
    blocks, out = rows[rows.table.str.startswith("wiring") & rows.condition.str.contains("remove")], []
    for kind, hold in itertools.product((False, True), ("pp", "pv")):
        some = blocks[(blocks.condition.str.contains("allbut") == kind) & blocks.condition.str.endswith(hold)]
        rho = rank_correlation(some.published, some["mean"])
        verdict = "supported" if rho >= 0.7 else "contradicted" if rho < 0.3 else "inconclusive"
        what = "all but one layer-0 head removed" if kind else "one layer-0 head removed"
        out.append(
            Judged(
                "G",
                f"IH9, wiring: {what}, {'patterns' if hold == 'pp' else 'values'} held",
                f"Spearman {rho:.2f} over {len(some)} numbers; mean difference "
                f"{(some['mean'] - some.published).mean():+.3f}",
                verdict,
            )
        )
    return out


def _toy() -> Judged:
    """Plateaus of the toy by what is clamped; a seed that does not learn counts as longer than all it has seen."""
    runs = pd.read_csv(TABLES / "induction-2024-toy.csv")
    steps = runs.pivot(index="seed", columns="clamped", values="plateau")[["nothing", "c", "bc"]]
    known, long = steps.median(), steps.fillna(np.inf)
    shorter = int(((long.nothing > long.c) & (long.c > long.bc)).sum())
    each = "; ".join(f"{name} {known[name]:.0f} ({steps[name].notna().sum()} learn)" for name in steps)
    text = f"in {shorter} of {len(steps)} seeds; median steps, of seeds that learn: {each}"
    return Judged("-", "IH17, toy: the plateau shortens with c clamped, and again with b and c", text, UNDECLARED)


__all__ = ["MAIN", "UNDECLARED", "Judged", "judge"]
