"""Each number that Singh et al. 2024 (2404.07129) print, with ours beside it: tables/induction-2024-printed.csv.

Heads are matched by rank (`research.induction_2024` says how). A row has the published number, ours of every seed,
their mean, lowest and highest, and how many sequences each of ours is measured on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from research.tables import TABLES

HEADS = range(8)
Value = Callable[[str, str], float]  # of a table and a condition
MAIN = "5"  # the init seed of the paper's main run
REFERENCE = 3  # the head whose mistakes the paper's tables 2 and 3 look at, in every seed


def printed(published: Path) -> pd.DataFrame:
    """The paper's 414 numbers."""
    every = pd.read_csv(published / "printed.csv", dtype=str)
    return every[every.paper == "2404.07129"].astype({"value": float}).reset_index(drop=True)


def by_rank(alone: list[float]) -> list[int]:
    """Heads from the best to the worst; ties to the lower number."""
    return [int(h) for h in np.argsort(-np.array(alone), kind="stable")]


def layer_0_ranks(value: Callable[[int, int], float]) -> list[int]:
    """Layer-0 heads by what each does alone, values held: value(layer-1 head, layer-0 head), mean over the former."""
    return by_rank([float(np.mean([value(a, b) for a in HEADS])) for b in HEADS])


def ours() -> pd.DataFrame:
    """[seed, table, condition, value, n] of our runs."""
    return pd.read_csv(TABLES / "induction-2024-runs.csv", dtype={"condition": str})


def lookup(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(t, c): v for t, c, v in zip(table.table, table.condition, table.value, strict=True)}


def compare(published: Path) -> pd.DataFrame:
    """Write and return the table of all printed numbers beside ours."""
    theirs, runs = printed(published), ours()
    found = {int(str(seed)): lookup(table) for seed, table in runs.groupby("seed")}
    sizes = {(t, c): n for t, c, n in zip(runs.table, runs.condition, runs.n, strict=True)}
    our_ranks = {seed: _ranks_of(value) for seed, value in found.items()}
    rows = []
    for init, table in theirs.groupby("init_seed", sort=False):
        value = {(t, c): v for t, c, v in zip(table.table, table.condition, table.value, strict=True)}
        alone = by_rank([value[next(t for t, _ in value if t.startswith("IH4")), f"l1h{h}"] for h in HEADS])
        wired = {c: v for (t, c), v in value.items() if t.startswith("wiring")}
        first = layer_0_ranks(lambda a, b: wired[f"only_l1h{a}_remove_allbut_l0h{b}_pv"]) if wired else []  # noqa: B023
        for row in table.itertuples():
            asked = {
                seed: _key(str(row.table), str(row.condition), alone, first, ranks) for seed, ranks in our_ranks.items()
            }
            values = [found[seed][key] for seed, key in asked.items()]
            rows.append(
                {
                    "init_seed": init,
                    "table": row.table,
                    "condition": row.condition,
                    "measure": row.measure,
                    "rank": _rank(str(row.condition), alone),
                    "published": row.value,
                    **{f"s{seed}": round(v, 5) for seed, v in zip(asked, values, strict=True)},
                    "mean": round(float(np.nanmean(values)), 5),
                    "low": round(float(np.nanmin(values)), 5),
                    "high": round(float(np.nanmax(values)), 5),
                    "seeds": int(np.isfinite(values).sum()),
                    "n": min(sizes[k] for k in asked.values()),
                }
            )
    out = pd.DataFrame(rows)
    out.to_csv(TABLES / "induction-2024-printed.csv", index=False)
    return out


def _ranks_of(value: dict[tuple[str, str], float]) -> tuple[list[int], list[int]]:
    """Our layer-1 and layer-0 heads, from the best to the worst."""
    first = layer_0_ranks(lambda a, b: value["wiring", f"only_l1h{a}_remove_allbut_l0h{b}_pv"])
    return by_rank([value["alone", f"l1h{h}"] for h in HEADS]), first


def _rank(condition: str, alone: list[int]) -> int | None:
    head = re.search(r"l1h(\d)", condition)
    return None if head is None else alone.index(int(head[1])) + 1


def _key(table: str, condition: str, alone: list[int], first: list[int], ranks: tuple[list[int], list[int]]):
    """Where our number for a printed one stands: our table and condition, with heads of the same ranks."""

    def mine(match: re.Match) -> str:
        theirs, own = (alone, ranks[0]) if match[1] == "1" else (first, ranks[1])
        return f"l{match[1]}h{own[theirs.index(int(match[2]))]}"

    own = re.sub(r"l([01])h(\d)", mine, condition)
    reference = f"l1h{ranks[0][alone.index(REFERENCE)]}"
    if table.startswith("Table 1"):
        return "table-1", ("pt " if "125" in condition else "rest ") + ("pp" if "patterns" in condition else "pv")
    if table.startswith("IH3"):
        return "intact", condition
    if table.startswith("IH2"):
        return "strength", own
    if table.startswith("IH16"):
        return "matched", own
    if table.startswith("IH5"):
        return "fixed", f"{reference}|{own}"
    if table.startswith("Table 3"):
        return "matched-fixed", f"{reference}|{own}"
    if table.startswith("wiring") and "remove" in condition:
        return "wiring", own
    return "alone", own.removeprefix("only_")
