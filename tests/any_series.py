"""What the page and the analyses say of a series, whatever its task."""

import analyses
from analyses import Findings
from mechicl.page.answers import PANELS, Answers
from mechicl.page.runs import Library
from mechicl.page.view import Workbench
from mechicl.series import Series

ANALYSES = ["transience", "induction_heads", "attention_over_time", "head_ablations"]


def analysis_answers(series: Series, name: str) -> Findings:
    found = analyses.get(name)(series, progress=False)
    assert found.text
    assert found.figures
    assert "Skipped" not in found.text[0]
    return found


def all_panels_answer(series: Series, *queries: str) -> Answers:
    """None with an error, whatever is asked. Returns the page's answers, to ask more of."""
    page = Answers(Library(series.root.parent, series.name), Workbench(), series.name)
    for query in queries:
        for panel in PANELS:
            assert "error" not in page.to(panel, f"run={series.name}{query}"), (panel, query)
    return page
