"""What training recorded of a run, in metrics.jsonl, as lines and as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.system.files import read_jsonl

if TYPE_CHECKING:
    import pandas as pd

    from mechicl.series.series import Series


def lines(root: Path) -> list[dict[str, Any]]:
    """By step. A replay writes a step again. The first line counts, because its training loss is the mean over the
    interval of the original schedule."""
    found: dict[int, dict[str, Any]] = {}
    for line in read_jsonl(root / "metrics.jsonl"):
        found.setdefault(line["step"], line)
    return [found[step] for step in sorted(found)]


def metrics(series: Series) -> pd.DataFrame:
    """One row per step, evaluator and metric."""
    import pandas as pd

    rows = [
        {
            "run": series.name,
            "seed": series.config.seeds.init,
            "step": line["step"],
            "sequences": line["sequences"],
            **row,
        }
        for line in series.recorded()
        for row in line["evaluators"]
    ]
    return pd.DataFrame(rows)


def training_loss(series: Series) -> pd.DataFrame:
    """Columns step, sequences, loss, where there is one."""
    import pandas as pd

    rows = ((x["step"], x["sequences"], x["training_loss"]) for x in series.recorded())
    return pd.DataFrame(rows, columns=["step", "sequences", "loss"]).dropna(ignore_index=True)
