"""Circuits: in the hand-built model its own carries all and random ones nothing; values are those of evaluate."""

import numpy as np
import pytest

from mechicl.errors import ConfigError
from mechicl.interventions import CutPaths, every_path
from mechicl.measures import circuit_of, circuit_shares, path_effects
from mechicl.measures.circuits import random_circuits

PLACES = ("embed->L0H1.q", "embed->L0H1.k", "embed->L1H2.k")  # the hand-built heads look by position, too
CIRCUIT = ("embed->L0H1.v", "embed->L1H2.q", "L0H1->L1H2.k", "embed->L1H2.v", "L1H2->out")


def test_the_known_circuit_is_faithful_and_complete_and_random_ones_are_not(known_series):
    table = circuit_shares(known_series, [5], ["icl", "flip"], paths=[*CIRCUIT, *PLACES], n=80, progress=False)
    for _, rows in table.groupby("evaluator"):
        rows = rows.set_index("intervention")
        assert rows.value["intact"] == rows.value["circuit alone"] == 1.0
        assert rows.share["circuit alone"] == 1.0
        assert rows.share["without circuit"] > 0.85
        assert rows.share_low["without circuit"] <= rows.share["without circuit"] <= rows.share_high["without circuit"]
        random = rows[rows.index.str.startswith("random")]
        assert len(random) == 8
        assert random.share.median() < 0.3
        assert (rows["size"].dropna() == 8).all()


def test_paths_that_stand_in_for_one_another_are_missed_by_single_cuts_and_faithfulness_shows_it(known_series):
    """Without the previous-token head's own look at positions it averages, which is enough as long as the induction
    head keeps to labels, and the other way round: either alone can go, not both. Five paths have an effect, and need
    one more to be a circuit."""
    table = {
        more: circuit_shares(known_series, [5], ["icl"], paths=[*CIRCUIT, *more], n=80, progress=False)
        for more in ((), PLACES[:2], PLACES[2:])
    }
    share = {more: t.set_index("intervention").share["circuit alone"] for more, t in table.items()}
    assert share[()] < 0.6
    assert share[PLACES[:2]] == share[PLACES[2:]] == 1.0


def test_a_circuit_is_found_at_each_step(known_series):
    table = circuit_shares(known_series, evaluators=["icl"], threshold=0.2, n=80, progress=False)
    size = table.dropna(subset="size").groupby("step")["size"].first()
    assert size.to_dict() == {0: 0.0, 5: 5.0, 10: 0.0}
    lookup = table[(table.step == 10) & (table.intervention == "circuit alone")]
    assert lookup.share.isna().all()  # at chance there is nothing to have a share of


def test_the_threshold_decides(known_series):
    table = path_effects(known_series, [5], ["icl"], n=80, progress=False)
    for threshold in (0.01, 0.1, 0.35):
        assert set(circuit_of(table, 5, "icl", threshold)) == set(CIRCUIT)
    assert circuit_of(table, 5, "icl", 0.9) == ()
    with pytest.raises(ConfigError, match="above 0"):
        circuit_of(table, 5, "icl", 0.0)
    with pytest.raises(ConfigError, match=r"steps \[5\] and evaluators \['icl'\]"):
        circuit_of(table, 0, "icl")


def test_values_are_those_of_evaluate(tiny_series):
    model, paths = tiny_series.config.model, ("embed->L0H0.v", "L0H0->L1H1.k", "embed->out")
    table = circuit_shares(tiny_series, [60], ["ciwl"], paths=paths, kind="mean", n=40, progress=False)
    got = table.set_index("intervention")
    every = every_path(model)
    alone, without, nothing = (
        CutPaths(paths=tuple(cut), kind="mean") for cut in ([p for p in every if p not in paths], paths, every)
    )
    want = tiny_series.evaluate([60], ["ciwl"], [alone, without, nothing], n=40, metrics=None)
    want = want.set_index("intervention")
    names = {"intact": "intact", "circuit alone": alone, "without circuit": without, "nothing": nothing}
    for name, condition in names.items():
        for column in ("value", "ci_low", "ci_high", "n"):
            assert got[column][name] == pytest.approx(want[column][str(condition)], abs=1e-6)
    rest = got.value["intact"] - got.value["nothing"]
    if np.isfinite(got.share["circuit alone"]):
        assert got.share["circuit alone"] == pytest.approx((got.value["circuit alone"] - got.value["nothing"]) / rest)


def test_random_circuits_have_as_many_paths_of_each_kind(known_series):
    model = known_series.config.model
    drawn = random_circuits(CIRCUIT, model, 5)
    assert len(set(drawn)) == 5
    for circuit in drawn:
        kinds = [(path.split("->")[0][:2], path.split("->")[1][:2], path[-1]) for path in circuit]
        assert sorted(kinds) == sorted((p.split("->")[0][:2], p.split("->")[1][:2], p[-1]) for p in CIRCUIT)


def test_what_cannot_be_is_refused(tiny_series):
    with pytest.raises(ConfigError, match="no L5H0"):
        circuit_shares(tiny_series, [60], ["icl"], paths=["L5H0->out"], n=10)
    with pytest.raises(ConfigError, match="above 0"):
        circuit_shares(tiny_series, [60], ["icl"], threshold=0, n=10)
