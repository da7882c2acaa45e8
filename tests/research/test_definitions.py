"""One rule of what became of ICL, and what its bounds change."""

import pandas as pd
import pytest
from table_shapes import SHAPES, run

from research import definitions
from research.definitions import FORMED, OTHERS, Formed
from research.published import PEAKS
from research.statistics import phases


@pytest.mark.parametrize("kind", SHAPES)
def test_each_shape_has_its_regime(kind):
    assert definitions.regimes(phases(run("a", kind))).loc[("a", 0)] == kind


def test_the_published_run_counts_as_formed():
    """A rule by which the published curve has no ICL would be a rule about something else."""
    assert PEAKS["icl"][0] >= FORMED.icl
    assert PEAKS["flip"][0] >= FORMED.flip


def test_both_bounds_count_and_can_be_moved():
    data = run("a", "stays")
    data.loc[data.evaluator == "flip", "value"] *= 0.7  # up to .68
    found = phases(data)
    assert definitions.regimes(found).tolist() == ["stays"]
    assert definitions.regimes(found, Formed(0.75, 0.7)).tolist() == ["never"]
    assert definitions.regimes(found, Formed(0.99, 0.6)).tolist() == ["never"]
    assert FORMED not in OTHERS


def test_a_run_counts_by_its_highest_value_even_where_that_is_no_peak():
    flat = phases(run("a", "never"))
    assert flat.peak_value.isna().any()
    assert not flat.highest.isna().any()
    assert definitions.regimes(pd.concat([flat])).tolist() == ["never"]
