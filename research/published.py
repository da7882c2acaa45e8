"""The published curves of Figure 1b and of the long run (Singh et al. 2025), and why runs on inputs of norm 1 are not
comparable with them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mechicl.measures.phases import Phases, phase_times

POINT_OF_RISE, POINT_OF_FADE = 4.0e6, 1.5e7
PEAKS = {"icl": (0.89, 7.8e6), "flip": (0.71, 4.3e6)}
SCALE = (
    "The authors feed raw network features, of norm 25 to 45. The inputs of these runs were scaled to norm 1. An "
    "exemplar's embedding then starts at a norm of 8 / sqrt(dimension). This is .35 with 512 features and 2.3 with "
    "12; theirs starts at about 10. Positions start at .8. At a constant rate of 1e-5 no weight moves fast enough to "
    "make up for that. So these runs cannot say whether Figure 1b holds. They show what happens at another scale."
)


def _read() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).parent / "tables" / "published-fig1b.csv", comment="#")


def points() -> dict[str, dict[float, float]]:
    """evaluator -> training sequences -> in-context accuracy, read off the figure."""
    rows = _read()
    rows = rows[rows.kind == "point"]
    return {
        str(name): dict(zip(mine.sequences.astype(float), mine.value, strict=True))
        for name, mine in rows.groupby("evaluator", sort=False)
    }


def curves() -> pd.DataFrame:
    """Columns evaluator, sequences, value: the digitised curves, to be drawn."""
    rows = _read()
    return rows[rows.kind == "curve"].drop(columns="kind").reset_index(drop=True)


def half_way(evaluator: str) -> Phases:
    """The published curve's onset, peak and half-decay, in sequences, by the rule of ours. Chance is .5."""
    mine = curves()
    mine = mine[mine.evaluator == evaluator].sort_values("sequences")
    return phase_times(mine.sequences.to_numpy(float), mine.value.to_numpy(float), 0.5)


def long_curves() -> pd.DataFrame:
    """Columns evaluator, sequences, value: the digitised curves of the long run, to 70 million sequences. They are
    accuracy among all labels."""
    return pd.read_csv(Path(__file__).parent / "tables" / "published-long.csv", comment="#")
