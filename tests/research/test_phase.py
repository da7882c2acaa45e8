"""The phase diagram: a cell per condition, coloured and labelled by what was measured."""

import numpy as np
import pandas as pd
import pytest
from table_shapes import run

from research import tables
from research.phase import fitted, formed, highest, phase

CONDITIONS = {"dim-4_n_classes-256": (4, 256, "never"), "dim-12_n_classes-1024": (12, 1024, "fades")}


@pytest.fixture
def dimension() -> pd.DataFrame:
    return pd.concat(
        [
            run(name, kind, seed).assign(**{"bank.dim": dim, "bank.n_classes": classes})
            for name, (dim, classes, kind) in CONDITIONS.items()
            for seed in range(3)
        ]
    )


@pytest.fixture
def geometry(monkeypatch) -> pd.DataFrame:
    table = pd.DataFrame(
        [
            {
                "sweep": "dimension",
                "condition": name,
                "seed": seed,
                "match": 0.9 + seed / 100,
                "recall": 0.5,
                "crowding": 0.8,
                "bank": f"{name}-s{seed}",
                "n": 100,
            }
            for name in CONDITIONS
            for seed in range(2)
        ]
    )
    monkeypatch.setattr(tables, "read", {"geometry": table}.get)
    return table


def test_a_cell_says_what_became_of_its_seeds(dimension, geometry):
    text, figures = phase(dimension)
    left, right, _bar = figures["phase"].axes
    said = {(t.get_position()): t.get_text() for t in left.texts}
    assert said == {(0, 0): "3 never\nICL 0.50 → 0.50\nFlip 0.50", (1, 1): "3 fades\nICL 0.97 → 0.50\nFlip 0.97"}
    assert len(left.patches) == 2
    assert [x.get_text() for x in left.get_xticklabels()] == ["4", "12"]
    (points,) = right.collections
    np.testing.assert_allclose(points.get_offsets(), [[0.8, 0.905]] * 2)
    assert sorted(points.get_array()) == pytest.approx([0.5, 0.97])
    assert "| 4 | 256 | 0.905 | 0.500 | 0.800 |" in text[1]


def test_highest_is_of_medians_over_seeds(dimension):
    assert highest(dimension).loc["dim-12_n_classes-1024"].to_dict() == pytest.approx(
        {"icl": 0.97, "flip": 0.97, "end": 0.5}
    )


def test_without_the_table_of_geometry_nothing_is_drawn(dimension, monkeypatch):
    monkeypatch.setattr(tables, "read", lambda name: None)
    assert phase(dimension) == ([], {})


def test_two_bounds_are_fitted_to_where_icl_formed():
    found = pd.DataFrame(
        {
            "sweep": "data",
            "condition": list("abcdef"),
            "crowding": [0.5, 0.7, 0.8, 0.9, 0.95, 0.6],
            "match": [1.0, 0.99, 0.95, 0.96, 0.8, 0.99],
            "formed": [False, False, True, True, False, True],
        }
    )
    assert "crowding is 0.800 or more and match 0.950 or more, and nowhere else, in 5 of 5" in fitted(found[:5])
    assert fitted(found[:5]).endswith("Exceptions: none.")
    said = fitted(found)
    assert "in 5 of 6 conditions" in said
    assert said.endswith("Exceptions: `data`, b (never; 0.700 and 0.990).")


def test_conditions_count_by_most_of_their_seeds_and_banks_once(dimension, geometry):
    again = dimension[dimension.condition == "dim-12_n_classes-1024"].assign(condition="demo")
    copy = geometry[geometry.condition == "dim-12_n_classes-1024"].assign(sweep="data", condition="demo")
    found = formed({"dimension": dimension, "data": again}, pd.concat([geometry, copy]))
    assert found[["condition", "formed"]].values.tolist() == [
        ["dim-4_n_classes-256", False],
        ["dim-12_n_classes-1024", True],
    ]
