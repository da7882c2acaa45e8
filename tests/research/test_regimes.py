"""What became of ICL, by rule; and the claims that count it."""

from dataclasses import replace

import pandas as pd
import pytest
from table_shapes import run

from research import plots, tables
from research.experiments import doses
from research.regimes import condition_table, counts, most_common, regimes
from research.statistics import phases


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
    [
        ("never never fades fades partial", "fades"),
        ("never never never fades fades", "never"),
        ("never never fades partial partial", "partial"),
        ("never fades", "never"),
        ("stays partial", "partial"),
    ],
)
def test_formed_is_asked_before_how_it_ended(kinds, most):
    found = regimes(pd.concat([run("a", kind, seed) for seed, kind in enumerate(kinds.split())]))
    assert most_common(found, "a") == most


def test_the_table_has_a_row_for_every_condition():
    data = run("a", "fades")
    lines = condition_table(phases(data), regimes(data), {"a": "A", "b": "B"}).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| A | 1 fades | 0.970 (0.970 to 0.970; n = 1) | 0.500")
    assert lines[3].startswith("| B | not run | -")


def test_runs_in_which_icl_never_formed_count_in_every_median():
    """A peak is over all seeds: one that forms in one seed of five has a median at chance."""
    data = pd.concat([run("a", "stays" if s == 0 else "never", s) for s in range(5)])
    cells = condition_table(phases(data), regimes(data), {"a": "A"}).splitlines()[2].split(" | ")
    assert cells[2] == "0.500 (0.500 to 0.970; n = 5)"  # ICL, highest
    assert cells[6] == "never (0 of 1)"  # the half-decay is of the one that formed


def sweep(kinds: dict[str, str | list[str]]) -> pd.DataFrame:
    """Five seeds of every condition; a word for all of them, or one for each."""
    return pd.concat(
        [run(name, kind if isinstance(kind, str) else kind[s], s) for name, kind in kinds.items() for s in range(5)]
    )


def claim(key: str):
    return next(dose for dose in doses.DOSES if dose.key == key).claim()


L2 = ("penalty_l2-1e-06", "penalty_l2-1e-05", "penalty_l2-0.0001", "penalty_l2-0.01")
GROUPS = [f"penalty_l2-{s}_l2_group-{g}" for g in ("mlp", "attention") for s in ("1e-05", "0.0001", "0.001")]
DEPTHS = [f"depth_n_layers-{n}" for n in (4, 8, 12)]
DIM = [f"dim-48_n_classes-{n}" for n in (256, 1024, 4096)]
TOKENS = ("1600x10_dim-256", "3200x5", "1600x10_dim-12")
MOST, FEW, WHOLE = ["fades"] * 4 + ["stays"], ["stays"] + ["never"] * 4, "classes_n_classes-1856"
QUARTER = "classes_n_classes-464"
ALL = dict.fromkeys


@pytest.mark.parametrize(
    ("key", "name", "kinds", "status"),
    [
        ("2", "sizes", ALL(DEPTHS, "fades"), "supported"),
        ("2", "sizes", ALL(DEPTHS, "fades") | {DEPTHS[1]: "stays"}, "contradicted"),
        ("2", "sizes", ALL(DEPTHS, "fades") | {DEPTHS[1]: MOST}, "inconclusive"),
        ("2.1", "sizes", {"demo": "fades", "width_d_model-128": "stays"}, "supported"),
        ("2.1", "sizes", {"demo": "fades", "width_d_model-128": "fades"}, "contradicted"),
        ("2.1", "sizes", {"demo": "fades", "width_d_model-128": MOST}, "inconclusive"),
        (
            "3.1",
            "dimension",
            ALL(DIM, "never") | ALL(("dim-12_n_classes-1024", "dim-12_n_classes-4096"), "fades"),
            "supported",
        ),
        (
            "3.1",
            "dimension",
            ALL(DIM, "never") | ALL(("dim-12_n_classes-1024", "dim-12_n_classes-4096"), "fades") | {DIM[2]: FEW},
            "contradicted",
        ),  # one run of fifteen
        (
            "3.1",
            "dimension",
            ALL(DIM, "never") | ALL(("dim-12_n_classes-1024", "dim-12_n_classes-4096"), "never"),
            "contradicted",
        ),
        ("2", "sizes", ALL(DEPTHS, "fades") | {DEPTHS[1]: "never"}, "inconclusive"),  # none that could have been lost
        ("2", "sizes", {DEPTHS[0]: "fades"}, "running"),
        ("4", "tokens", ALL(TOKENS, "fades"), "supported"),
        ("4", "tokens", ALL(TOKENS, "stays"), "contradicted"),
        ("4", "tokens", ALL(TOKENS, "never") | {TOKENS[2]: "fades"}, "inconclusive"),  # never where it should
        ("5", "omniglot", {WHOLE: "fades"}, "supported"),
        ("5", "omniglot", {WHOLE: "never"}, "contradicted"),
        ("5", "omniglot", {WHOLE: "stays"}, "contradicted"),
        ("5", "omniglot", {WHOLE: ["fades"] * 3 + ["never"] * 2}, "inconclusive"),
        ("5.1", "omniglot-conv", {WHOLE: "partial", QUARTER: "never"}, "supported"),
        ("5.1", "omniglot-conv", {WHOLE: "stays", QUARTER: "never"}, "contradicted"),
        ("5.1", "omniglot-conv", {WHOLE: "fades", QUARTER: "fades"}, "contradicted"),
        ("5.1", "omniglot-conv", {WHOLE: MOST, QUARTER: "never"}, "inconclusive"),
        ("6.1", "regularization", ALL(L2, "fades") | {L2[2]: "stays"}, "supported"),
        ("6.1", "regularization", ALL(L2, "fades"), "contradicted"),
        ("6.1", "regularization", ALL(L2, "stays"), "contradicted"),
        ("6.1", "regularization", ALL(L2, "fades") | {L2[0]: FEW}, "inconclusive"),
        ("6.2", "regularization-mlp", ALL(GROUPS, "fades") | {GROUPS[0]: "stays"}, "supported"),
        ("6.2", "regularization-mlp", ALL(GROUPS, "fades"), "contradicted"),
        ("6.2", "regularization-mlp", ALL(GROUPS, "stays"), "contradicted"),
        ("6.2", "regularization-mlp", ALL(GROUPS, "fades") | {GROUPS[0]: FEW}, "inconclusive"),
    ],
)
def test_every_rule_can_come_out_either_way(monkeypatch, key, name, kinds, status):
    monkeypatch.setattr(tables, "read", {name: sweep(kinds)}.get)
    monkeypatch.setattr(plots, "curves", lambda *args: None)
    dose = next(dose for dose in doses.DOSES if dose.key == key)
    assert replace(dose, more=None).claim().status == status


def levels(condition: str, highest: float, end: float) -> pd.DataFrame:
    data = sweep({condition: "fades"})
    rows = data.evaluator == "icl"
    data.loc[rows & (data["step"] == 8), "value"] = highest
    data.loc[rows & (data["step"] == 19), "value"] = end
    data.loc[rows & ~data["step"].isin([8, 19]), "value"] = 0.5
    return data


@pytest.mark.parametrize(
    ("classes", "exemplars", "zipf", "status"),
    [
        ((0.95, 0.8), 0.9, 0.7, "supported"),
        ((0.6, 0.5), 0.9, 0.7, "contradicted"),
        ((0.95, 0.8), 0.7, 0.7, "contradicted"),
        ((0.95, 0.8), 0.9, 0.5, "contradicted"),
    ],
)
def test_data_are_judged_by_classes_exemplars_and_skew(monkeypatch, classes, exemplars, zipf, status):
    """More exemplars, a higher peak; more skew, a higher end: each part is tested, and one that fails contradicts."""
    data = pd.concat(
        [
            levels("classes_n_classes-256", 0.6, 0.5),
            levels("classes_n_classes-4096", *classes),
            levels("exemplars_n_exemplars-5", 0.7, 0.5),
            levels("exemplars_n_exemplars-100", exemplars, 0.5),
            levels("demo", 0.9, 0.5),
            levels("zipf_zipf-1", 0.9, zipf),
        ]
    )
    monkeypatch.setattr(tables, "read", {"data": data}.get)
    assert claim("3").status == status


def test_a_condition_with_fewer_seeds_than_planned_does_not_count(monkeypatch):
    data = pd.concat(
        [run(name, kind, s) for name, kind, seeds in ((WHOLE, "fades", 5), (QUARTER, "never", 4)) for s in range(seeds)]
    )
    monkeypatch.setattr(tables, "read", {"omniglot-conv": data}.get)
    got = claim("5.1")
    assert got.status == "running"
    assert f"These conditions are not finished, and the verdict leaves them out: `{QUARTER}`." in got.text
    assert "2 of 3 conditions x 4 to 5 seeds" in got.ran
    assert any(line.startswith("Not run yet: `classes_n_classes-928`") for line in got.text)


def test_conditions_that_rules_name_are_in_the_sweeps():
    """A rule that asks for a condition no sweep has would never be met."""
    for dose in doses.DOSES:
        names = {c.name for c in dose.plan.conditions} | {dose.base}
        asked = set()

        class Asked:
            def __getattr__(self, _, asked=asked):
                return lambda *args: asked.update(a for a in args if isinstance(a, str)) or pd.Series(dtype=float)

        dose.parts(Asked())
        asked -= {"icl", "flip", "highest", "final_value", "half_decay", "fall"}
        assert asked
        assert asked <= names, dose.key


@pytest.mark.parametrize(
    ("condition", "title"),
    [
        ("demo", "demo"),
        ("depth_n_layers-12", "depth: n layers = 12"),
        ("dim-4_n_layers-2", "dim = 4, n layers = 2"),
        ("penalty_l2-1e-05_l2_group-mlp", "penalty: l2 = 1e-05, l2 group = mlp"),
        ("pairs-4", "pairs-4"),
    ],
)
def test_a_condition_is_called_by_its_grid_and_values(condition, title):
    fields = ["bank.dim", "model.n_layers", "optim.l2", "optim.l2_group", "sequences.n_pairs"]
    assert doses._title(condition, fields) == title
