"""docs/findings/induction-2024.md from the tables: `python -m research.induction_2024_page PUBLISHED`.

Nothing on the page is written by hand but the claims, what was not run, and the last section (`REMARKS`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from research.claim import table
from research.induction_2024_compare import HEADS, layer_0_ranks
from research.induction_2024_curves import CONDITIONS, half_drops, training
from research.induction_2024_rules import judge
from research.tables import TABLES

PAGE = Path(__file__).parents[1] / "docs" / "findings" / "induction-2024.md"
REMARKS = Path(__file__).parent / "induction_2024_remarks.md"


def read() -> pd.DataFrame:
    return pd.read_csv(TABLES / "induction-2024-printed.csv", dtype={"init_seed": str})


def build(published: Path) -> Path:
    rows, every = read(), training()
    head, rest = REMARKS.read_text(encoding="utf-8").split("<!-- tables -->\n")
    parts = [
        head,
        "## Verdicts\n",
        _verdicts(published),
        "\n## Loss over training (Figure 3a)\n",
        *_loss(),
        "\n## Intact, and without layer 0's direct output (IH3, IH18)\n",
        _intact(rows),
        "\n## Heads of layer 1, by rank (IH2, IH4)\n",
        *_heads(rows),
        "\n## Shares of mistakes (IH5, Table 2)\n",
        *_shares(rows),
        "\n## Table 1 (IH8)\n",
        _table_1(rows),
        "\n## Table 3 (IH16)\n",
        _table_3(rows),
        "\n## Wiring (IH9)\n",
        *_wiring(rows),
        "\n## Half-drops: clamps, grafts, heads alone, more classes and labels (IH7, IH10 to IH12, IH14)\n",
        *_clamps(every),
        rest,
    ]
    PAGE.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts), encoding="utf-8")
    return PAGE


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean (lowest to highest); with n where a seed has no such value."""
    given = np.array([*values])
    x = given[~np.isnan(given)]
    of = "" if len(x) == len(given) else f"; n = {len(x)}"
    return f"{x.mean():.{digits}f} ({x.min():.{digits}f} to {x.max():.{digits}f}{of})" if len(x) else "-"


def of_row(row: pd.Series, digits: int = 3) -> str:
    return spread(row[_seeds(row.index)].astype(float), digits)


def _seeds(columns: Iterable[str]) -> list[str]:
    return [c for c in columns if c[0] == "s" and c[1:].isdigit()]


def _verdicts(published: Path) -> str:
    return table(
        ["rule", "about", "ours", "verdict"],
        [
            [j.letter, j.about, j.numbers, f"**{j.verdict}**" + (f" (as declared: {j.declared})" if j.declared else "")]
            for j in judge(published)
        ],
    )


def _loss() -> list[str]:
    points = pd.read_csv(TABLES / "induction-2024-curves.csv")
    at = [20, 60, 100, 150, 200, 250, 300, 400, 600, 1000]
    lines = []
    for name, title in (
        ("train", "training sequences"),
        ("test_relabel", "held-out pairs of labels"),
        ("test_exemplars", "held-out classes"),
    ):
        some = points[points.curve == name]
        for thousand in at:
            row = some.iloc[int((some.sequences - 1000 * thousand).abs().argmin())]
            lines.append([title, f"{row.sequences / 1000:.0f}k", f"{row.published:.3f}", of_row(row)])
    text = (
        "Mean over our seeds (lowest to highest) at points of the digitised curves; all points are in "
        "`research/tables/induction-2024-curves.csv`, with induction strengths over training (Figure 3b).\n"
    )
    return [text, table(["loss on", "sequences", "published", "ours"], lines)]


def _intact(rows: pd.DataFrame) -> str:
    some = rows[rows.table.str.startswith("IH3")]
    return table(
        ["the paper's init seed", "condition", "published", "ours, mean of seeds (lowest to highest)"],
        [
            [r.init_seed, r.condition, f"{r.published:.5f}", of_row(some.loc[i], 5)]
            for i, r in zip(some.index, some.itertuples(), strict=True)
        ],
    )


def _heads(rows: pd.DataFrame) -> list[str]:
    out = [
        "Heads by accuracy alone, the best first; published: init seeds 5, 6, 7, 8, 9; "
        "ours: data and init seeds 0 to 4.\n"
    ]
    for start, title in (("IH2", "induction strength"), ("IH4", "accuracy of this head alone")):
        some, lines = rows[rows.table.str.startswith(start)], []
        for rank in range(1, 9):
            at = some[some["rank"] == rank].sort_values("init_seed")
            mine = [f"{at.iloc[0][s]:.3f}" for s in _seeds(rows.columns)]
            lines.append([str(rank), " ".join(f"{v:.3f}" for v in at.published), " ".join(mine)])
        out += [table(["rank", f"published {title}", "ours"], lines), ""]
    return out


def _shares(rows: pd.DataFrame) -> list[str]:
    some = rows[rows.table.str.startswith("IH5")].sort_values(["init_seed", "rank"])
    lines = []
    for init, group in some.groupby("init_seed"):
        reference = group[group.published == 0]["rank"].iloc[0]
        for i, r in zip(group.index, group.itertuples(), strict=True):
            lines.append([str(init), str(reference), str(r.rank), f"{r.published:.3f}", of_row(group.loc[i])])
    text = (
        "Of the sequences that the reference head alone gets wrong, the share that another head alone gets right. The "
        "paper's reference is its head 3 in every seed, so of another rank in each; ours has the same rank.\n"
    )
    return [text, table(["the paper's init seed", "rank of the reference", "rank", "published", "ours"], lines)]


def _table_1(rows: pd.DataFrame) -> str:
    some = rows[rows.table.str.startswith("Table 1")]
    return table(
        ["condition", "published", "ours, mean of seeds (lowest to highest)"],
        [
            [r.condition, f"{r.published:.3f}", of_row(some.loc[i])]
            for i, r in zip(some.index, some.itertuples(), strict=True)
        ],
    )


def _table_3(rows: pd.DataFrame) -> str:
    lines = []
    for rank in range(1, 9):
        both = [rows[rows.table.str.startswith(name) & (rows["rank"] == rank)].iloc[0] for name in ("IH16", "Table 3")]
        lines.append([str(rank), *(x for row in both for x in (f"{row.published:.3f}", of_row(row)))])
    head = ["rank", "published accuracy, match given", "ours", "published share of the best head's mistakes", "ours"]
    return table(head, lines)


def _wiring(rows: pd.DataFrame) -> list[str]:
    some = rows[rows.table.str.startswith("wiring")].set_index("condition")
    ranks = _head_of_rank(some)
    first = layer_0_ranks(lambda a, b: float(some.published[f"only_l1h{a}_remove_allbut_l0h{b}_pv"]))
    out = [
        "Accuracy with one layer-1 head (rows, by rank) and some of layer 0 removed (columns: layer-0 heads by rank). "
        "Published / mean of our seeds; spreads are in `research/tables/induction-2024-printed.csv`.\n"
    ]
    for kind, title in (("remove", "one layer-0 head removed"), ("remove_allbut", "all but one removed")):
        for hold, what in (("pp", "patterns held"), ("pv", "values held")):
            lines = []
            for rank, a in enumerate(ranks):
                cells = [some.loc[f"only_l1h{a}_{kind}_l0h{b}_{hold}"] for b in first]
                lines.append([str(rank + 1), *(f"{c.published:.2f} / {c['mean']:.2f}" for c in cells)])
            out += [f"{title[0].upper()}{title[1:]}, {what}:\n", table(["", *(str(k + 1) for k in HEADS)], lines), ""]
    return out


def _head_of_rank(some: pd.DataFrame) -> list[int]:
    """The paper's layer-1 heads from the best to the worst."""
    alone = [float(some.published[f"only_l1h{h}"]) for h in HEADS]
    return [int(h) for h in np.argsort(-np.array(alone), kind="stable")]


def _clamps(every: pd.DataFrame) -> list[str]:
    drops, lines = half_drops(every), []
    for name, (until, theirs) in CONDITIONS.items():
        found = drops[name]
        cells = [
            f"{found[s] / 1000:.0f}"
            if s in found and np.isfinite(found[s])
            else "-"
            if s not in found
            else f"> {until / 1000:.0f}"
            for s in range(5)
        ]
        lines.append([name, theirs, *cells])
    lines.append(["(all eight heads)", "230; 255 by Figure 3a", *(f"{x / 1000:.0f}" for x in drops["main"].values())])
    text = (
        "Half-drop: when the training loss first falls below ln 2 / 2 = .35, in thousands of sequences; '-': not run, "
        "'>': not reached by the end of the run. The published ones are read by eye off Figures 4 and 5.\n"
    )
    return [text, table(["condition", "published, about", *(f"seed {s}" for s in range(5))], lines)]


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
