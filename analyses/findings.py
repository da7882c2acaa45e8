"""What an analysis returns, and how it is kept."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from mechicl.system.files import write_atomic
from mechicl.system.paths import given


@dataclass(frozen=True)
class Findings:
    """One analysis of one series."""

    name: str
    question: str
    text: list[str]
    table: pd.DataFrame
    figures: dict[str, go.Figure] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Findings({self.name!r}: {self.question} {len(self.text)} findings, a table of {len(self.table):,} "
            f"rows, figures {', '.join(self.figures) or 'none'})"
        )

    def stating(self, setting: str) -> Findings:
        """The same, every figure with the run's setting as the last line of its title."""
        for figure in self.figures.values():
            title = figure.layout.title.text or ""
            line = f"<br><span style='font-size:12px;color:#777'>{html.escape(setting)}</span>"
            top = figure.layout.margin.t
            figure.update_layout(title_text=title + line, margin_t=None if top is None else top + 16)
        return self

    def save(self, folder: str | Path) -> list[Path]:
        """Write `<name>.parquet`, `<name>.md` and one page per figure; returns their paths.
        The pages share one `plotly.min.js` beside them and open offline.

        Raises:
            SeriesError: the folder cannot be written to.
        """
        from plotly.offline import get_plotlyjs

        folder = given(folder)
        out = {folder / f"{self.name}.parquet": self.table.to_parquet(index=False)}
        lines = [f"# {self.question}", "", *[f"- {line}" for line in self.text], ""]
        out[folder / f"{self.name}.md"] = "\n".join(lines).encode()
        if self.figures:
            out[folder / "plotly.min.js"] = get_plotlyjs().encode()
        for key, figure in self.figures.items():
            page = figure.to_html(include_plotlyjs="directory", full_html=True)
            out[folder / f"{self.name}_{key}.html"] = page.encode()
        for path, data in out.items():
            write_atomic(path, data)
        return list(out)
