"""What became of ICL, by rule; and the claims that count it."""

import pandas as pd
import pytest
from table_shapes import SHAPES, run

from evidence import tables
from evidence.experiments import doses
from evidence.regimes import condition_table, counts, most_common, regimes


@pytest.mark.parametrize("kind", SHAPES)
def test_each_shape_has_its_regime(kind):
    assert regimes(run("a", kind)).loc[("a", 0)] == kind


def test_an_icl_score_without_flip_is_not_formed():
    """ICL alone can rise where nothing in the weights answers: it counts only with Flip."""
    data = run("a", "stays")
    data.loc[data.evaluator == "flip", "value"] = 0.3
    assert regimes(data).tolist() == ["never"]


def test_unfinished_runs_do_not_count():
    data = pd.concat([run("a", "fades"), run("a", "stays", 1, complete=False)])
    assert counts(regimes(data), "a") == "1 fades"


def test_counts_and_the_most_common():
    found = regimes(pd.concat([run("a", k, s) for s, k in enumerate(["fades", "never", "fades"])]))
    assert counts(found, "a") == "1 never, 2 fades"
    assert most_common(found, "a") == "fades"
    assert (counts(found, "b"), most_common(found, "b")) == ("not run", "")


@pytest.mark.parametrize(
    ("kinds", "most"),
    [("never never fades fades partial", "fades"), ("never never never fades fades", "never"),
     ("never never fades partial partial", "partial"), ("never fades", "never"), ("stays partial", "partial")],
)  # fmt: skip
def test_formed_is_asked_before_how_it_ended(kinds, most):
    found = regimes(pd.concat([run("a", kind, seed) for seed, kind in enumerate(kinds.split())]))
    assert most_common(found, "a") == most


def test_the_table_has_a_row_for_every_condition():
    lines = condition_table(run("a", "fades"), {"a": "A", "b": "B"}).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| A | 1 fades | 0.970 (0.970 to 0.970; n = 1) | 0.500")
    assert lines[3].startswith("| B | not run | - |")


@pytest.mark.parametrize(
    ("kept", "verdict"), [("penalty_l2-0.0001", "reproduced"), (None, "partly"), ("penalty_l2-0.01", "not reproduced")]
)
def test_l2_is_judged_by_where_icl_stays(monkeypatch, kept, verdict):
    names = ["none", *(f"penalty_l2-{s}" for s in ("1e-06", "1e-05", "0.0001", "0.001", "0.01"))]
    data = pd.concat([run(n, "stays" if n == kept else "fades", s) for n in names for s in range(5)])
    monkeypatch.setattr(tables, "read", lambda name: data if name == "regularization" else None)
    claim = next(c for c in doses.claims() if c.key == "6.1")
    assert claim.verdict == verdict
    assert "6 of 16 conditions x 5 seeds" in claim.ran
    assert "Not run yet: `decoupled_l2-0.0001`" in claim.text[-1]


@pytest.mark.parametrize(
    ("whole", "quarter", "verdict"),
    [("fades", "never", "reproduced"), ("partial", "never", "reproduced"), ("stays", "never", "partly"),
     ("never", "never", "partly"), ("never", "fades", "not reproduced")],
)  # fmt: skip
def test_the_trained_encoder_is_judged_by_its_most_and_fewest_classes(monkeypatch, whole, quarter, verdict):
    kinds = {"classes_n_classes-1856": whole, "classes_n_classes-464": quarter}
    data = pd.concat([run(name, kind, s) for name, kind in kinds.items() for s in range(5)])
    monkeypatch.setattr(tables, "read", lambda name: data if name == "omniglot-conv" else None)
    assert next(c for c in doses.claims() if c.key == "5.1").verdict == verdict


def test_a_condition_with_fewer_seeds_than_planned_does_not_count(monkeypatch):
    data = pd.concat([run(f"classes_n_classes-{n}", kind, s) for n, kind, seeds in (
        (1856, "fades", 5), (464, "never", 4)) for s in range(seeds)])  # fmt: skip
    monkeypatch.setattr(tables, "read", lambda name: data if name == "omniglot-conv" else None)
    claim = next(c for c in doses.claims() if c.key == "5.1")
    assert claim.verdict == "not finished"
    assert "Unfinished, so that it does not count for the verdict: `classes_n_classes-464`." in claim.text


def test_conditions_that_rules_name_are_in_the_sweeps():
    """A rule that asks for a condition no sweep has would never be met."""
    from mechicl.sweep.plan import read_plan

    for dose in doses.DOSES:
        names = {c.name for c in read_plan(tables.TABLES.parents[1] / f"sweeps/{dose.sweep}.toml").conditions}
        asked = set()
        dose.parts(lambda name, asked=asked: asked.add(name) or "fades")
        assert asked
        assert asked <= names, dose.key


@pytest.mark.parametrize(
    ("condition", "title"),
    [("demo", "demo"), ("depth_n_layers-12", "depth: n layers = 12"), ("dim-4_n_layers-2", "dim = 4, n layers = 2"),
     ("penalty_l2-1e-05_l2_group-mlp", "penalty: l2 = 1e-05, l2 group = mlp"), ("pairs-4", "pairs-4")],
)  # fmt: skip
def test_a_condition_is_called_by_its_grid_and_values(condition, title):
    fields = ["bank.dim", "model.n_layers", "optim.l2", "optim.l2_group", "sequences.n_pairs"]
    assert doses._title(condition, fields) == title
