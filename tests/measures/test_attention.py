"""Attention scores on patterns made by hand, with exact values; then on known and trained series."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD, induction_model
from known_series import write_series

from mechicl.measures import tables
from mechicl.measures.attention import (
    attention_scores,
    scores,
    standing_out,
    uniform_scores,
    untrained_scores,
)
from mechicl.tasks.exemplar_label.attention_scores import OWN
from mechicl.tasks.exemplar_label.batch import Batch

ALL = ("previous_token", *OWN)
EVALUATORS = ("icl", "flip", "ciwl")  # those whose context holds the right label
NAN = math.nan


def a_batch(classes: list[list[int]], labels: list[list[int]]) -> Batch:
    """Sequences with canonical label = class; only what scores read is filled in."""
    c, y = torch.tensor(classes), torch.tensor(labels)
    nothing = torch.zeros(len(c), 0)
    return Batch(exemplars=nothing, labels=y, target=y[:, 0], classes=c, exemplar_ids=nothing, trained_labels=c)


def uniform(t: int) -> torch.Tensor:
    """Each position attends equally to all up to itself."""
    return torch.ones(t, t, dtype=torch.float64).tril() / torch.arange(1, t + 1, dtype=torch.float64)[:, None]


def one_hot(targets: list[int]) -> torch.Tensor:
    """Position i attends targets[i] alone."""
    return torch.eye(len(targets), dtype=torch.float64)[targets]


def read(pattern: torch.Tensor, batch: Batch) -> list[dict[str, float]]:
    """Scores of the only head, one dict per sequence."""
    got = scores(pattern.expand(len(batch), 1, *pattern.shape[-2:]), batch)
    assert set(got) == set(ALL)
    assert {x.shape for x in got.values()} == {(len(batch), 1)}
    return [{name: x[i, 0].item() for name, x in got.items()} for i in range(len(batch))]


def test_uniform_attention():
    (got,) = read(uniform(5), a_batch([[7, 3, 7]], [[1, 0]]))
    assert got == pytest.approx(
        {
            "previous_token": (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4,
            "label_to_exemplar": (1 / 2 + 1 / 4) / 2,
            "label_to_self": (1 / 2 + 1 / 4) / 2,
            "query_to_match": 1 / 5,
            "query_to_label": 1 / 5,
            "query_to_wrong": 1 / 5,
            "induction_strength": 0.0,
            "query_to_self": 1 / 5,
            "query_to_own": NAN,
        },
        nan_ok=True,
    )


def test_uniform_attention_with_four_pairs_of_which_two_are_correct():
    (got,) = read(uniform(9), a_batch([[2, 5, 5, 2, 2]], [[1, 0, 0, 1]]))
    assert got == pytest.approx(
        {
            "previous_token": sum(1 / i for i in range(2, 10)) / 8,
            "label_to_exemplar": (1 / 2 + 1 / 4 + 1 / 6 + 1 / 8) / 4,
            "label_to_self": (1 / 2 + 1 / 4 + 1 / 6 + 1 / 8) / 4,
            "query_to_match": 2 / 9,
            "query_to_label": 2 / 9,
            "query_to_wrong": 2 / 9,
            "induction_strength": 0.0,
            "query_to_self": 1 / 9,
            "query_to_own": NAN,
        },
        nan_ok=True,
    )


@pytest.mark.parametrize(
    ("targets", "ones"),
    [
        ([0, 0, 1, 2, 3], {"previous_token": 1, "label_to_exemplar": 1, "query_to_label": 1, "induction_strength": 1}),
        ([0, 1, 2, 3, 4], {"label_to_self": 1, "query_to_self": 1}),
        ([0, 0, 0, 0, 0], {"previous_token": 0.25, "label_to_exemplar": 0.5}),
        ([0, 1, 1, 2, 2], {"previous_token": 0.5, "label_to_exemplar": 0.5, "label_to_self": 0.5, "query_to_match": 1}),
        (
            [0, 1, 1, 1, 1],
            {"previous_token": 0.25, "label_to_self": 0.5, "query_to_wrong": 1, "induction_strength": -1},
        ),
    ],
)
def test_one_hot_attention(targets, ones):
    """The matching pair is second: its exemplar at 2, its label at 3. Position 0 sees itself."""
    (got,) = read(one_hot(targets), a_batch([[7, 3, 3]], [[0, 1]]))
    assert got == pytest.approx(dict.fromkeys(ALL, 0.0) | {"query_to_own": NAN} | ones, nan_ok=True)


def test_a_split_query_with_two_correct_pairs_and_its_own_label_elsewhere():
    """Query class 2; pairs of class 2, 5, 2, 6 labelled 5, 2, 5, 6: the label '2' is the query's own."""
    row = [0.01, 0.30, 0.02, 0.20, 0.03, 0.15, 0.04, 0.05, 0.20]
    pattern = uniform(9)
    pattern[-1] = torch.tensor(row)
    (got,) = read(pattern, a_batch([[2, 5, 2, 6, 2]], [[5, 2, 5, 6]]))
    want = {
        "query_to_match": 0.04,
        "query_to_label": 0.45,
        "query_to_wrong": 0.25,
        "induction_strength": 0.20,
        "query_to_self": 0.20,
        "query_to_own": 0.20,
    }
    assert {k: got[k] for k in want} == pytest.approx(want)


def test_without_a_correct_pair_its_scores_are_nan_sequence_by_sequence():
    batch = a_batch([[1, 2, 3], [3, 2, 3]], [[3, 2], [2, 3]])  # ciwl: a wrong exemplar has label 3
    without, with_one = read(one_hot([0, 0, 1, 2, 1]), batch)
    for name in ("query_to_match", "query_to_label", "induction_strength"):
        assert math.isnan(without[name]), name
    assert without["query_to_wrong"] == 1
    assert without["query_to_own"] == 1
    assert with_one["query_to_label"] == with_one["induction_strength"] == 1
    assert with_one["query_to_own"] == 0
    assert without["label_to_exemplar"] == with_one["label_to_exemplar"] == 1


def test_heads_and_checkpoints_keep_their_places():
    batch = a_batch([[7, 3, 3], [3, 7, 3]], [[0, 1], [1, 0]])
    patterns = [one_hot([0, 0, 1, 2, 3]), one_hot([0, 1, 2, 3, 1]), uniform(5)]
    stacked = torch.stack([torch.stack([p, q]) for p in patterns for q in patterns]).view(9, 1, 2, 5, 5)
    got = scores(stacked.expand(9, 2, 2, 5, 5), batch)  # [s, b, h]
    i = 0
    for p in patterns:
        for q in patterns:
            for head, pattern in enumerate((p, q)):
                for b, alone in enumerate(read(pattern, batch)):
                    for name in ALL:
                        want = torch.tensor(alone[name], dtype=torch.float64)
                        torch.testing.assert_close(got[name][i, b, head], want, equal_nan=True)
            i += 1


def keyed(table: pd.DataFrame) -> dict[tuple, float]:
    """(step, evaluator, layer, head, metric) -> value."""
    key = zip(table.step, table.evaluator, table.layer, table["head"], table.metric, strict=True)
    return dict(zip(key, table.value, strict=True))


@pytest.fixture(scope="module")
def known(known_series):
    return keyed(attention_scores(known_series))


def test_the_induction_circuit_scores_one(known):
    for evaluator in ("icl", "flip"):
        for name in ("induction_strength", "query_to_label"):
            assert known[5, evaluator, *INDUCTION_HEAD, name] == pytest.approx(1, abs=1e-3)
        for name in ("label_to_exemplar", "previous_token"):
            assert known[5, evaluator, *PREVIOUS_TOKEN_HEAD, name] == pytest.approx(1, abs=1e-3)
        assert known[5, evaluator, *PREVIOUS_TOKEN_HEAD, "label_to_self"] < 1e-3


def test_heads_of_the_circuit_without_weights_attend_uniformly(known):
    """q and k are 0 in all other heads: every score has its value on a uniform pattern."""
    for head in [(0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 3)]:
        want = {
            "induction_strength": 0,
            "query_to_label": 1 / 5,
            "label_to_exemplar": 3 / 8,
            "previous_token": (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4,
        }
        for name, x in want.items():
            assert known[5, "flip", *head, name] == pytest.approx(x, abs=1e-6)


def test_what_is_cut_behind_the_pattern_leaves_the_pattern(known):
    """Step 0 lacks the induction head's W_O, not its attention; at step 10 it is another head."""
    key = ("icl", *INDUCTION_HEAD, "induction_strength")
    assert known[0, *key] == known[5, *key]
    assert known[10, *key] < 0.9


def test_four_pairs_share_the_query_between_both_matches(tmp_path):
    config, weights = induction_model(4)
    series = write_series(tmp_path / "four", dataclasses.replace(config, n_eval=100), {0: weights})
    got = keyed(attention_scores(series))
    assert got[0, "icl", 1, 2, "query_to_label"] == pytest.approx(1, abs=1e-3)
    assert got[0, "icl", 1, 2, "induction_strength"] == pytest.approx(1, abs=1e-3)
    assert got[0, "icl", 1, 0, "query_to_match"] == pytest.approx(2 / 9)
    assert got[0, "icl", 1, 0, "query_to_wrong"] == pytest.approx(2 / 9)


@pytest.fixture(scope="module")
def table(tiny_series):
    return attention_scores(tiny_series)


def test_the_table(table, tiny_series):
    assert tuple(table.columns) == (*tables.COLUMNS, "uniform")
    assert set(table.evaluator) == set(EVALUATORS)
    assert (table.intervention == "intact").all()
    assert table.value.notna().all()
    per_head = table.groupby("evaluator").metric.nunique()
    # icl: where the query's class is 0 or 1 its own label may be shown; flip: it always is.
    assert per_head.to_dict() == {"icl": 9, "flip": 9, "ciwl": 6}
    assert len(table) == len(tiny_series.steps) * 4 * (9 + 9 + 6)
    ciwl = table[table.evaluator == "ciwl"]
    assert "query_to_own" in set(ciwl.metric)
    assert not {"query_to_match", "query_to_label", "induction_strength"} & set(ciwl.metric)
    assert (table[table.metric != "query_to_own"].n == 50).all()
    icl = tiny_series.evaluation_set("icl")
    own = int((icl.labels == icl.trained_labels[:, -1:]).any(1).sum())
    assert 0 < own < 50
    assert (table[(table.metric == "query_to_own") & (table.evaluator == "icl")].n == own).all()


def test_values_and_intervals_equal_a_count_on_the_hooked_transformer(table, tiny_series):
    """Loops over sequences and pairs, on the patterns that run_with_cache gives."""
    model = tiny_series.model(60)
    found = {(r.evaluator, r.layer, r.head, r.metric): r for r in table[table.step == 60].itertuples()}
    for evaluator in EVALUATORS:
        batch = tiny_series.evaluation_set(evaluator)
        _, cache = model.run_with_cache(batch)
        for layer in (0, 1):
            pattern = cache["pattern", layer].double()
            for head in (0, 1):
                values: dict[str, list[float]] = {}
                for a, shown, labels, canonical in zip(
                    pattern[:, head],
                    batch.classes.tolist(),
                    batch.labels.tolist(),
                    batch.trained_labels.tolist(),
                    strict=True,
                ):
                    right = [p for p in range(2) if shown[p] == shown[2]]
                    wrong = [p for p in range(2) if shown[p] != shown[2]]
                    own = [p for p in range(2) if labels[p] == canonical[2]]
                    to = a[4].tolist()
                    one = {
                        "previous_token": sum(a[i, i - 1].item() for i in range(1, 5)) / 4,
                        "label_to_exemplar": (a[1, 0] + a[3, 2]).item() / 2,
                        "label_to_self": (a[1, 1] + a[3, 3]).item() / 2,
                        "query_to_wrong": sum(to[2 * p + 1] for p in wrong),
                        "query_to_self": to[4],
                    }
                    if right:
                        one["query_to_match"] = sum(to[2 * p] for p in right)
                        one["query_to_label"] = sum(to[2 * p + 1] for p in right)
                        one["induction_strength"] = one["query_to_label"] - one["query_to_wrong"]
                    if own:
                        one["query_to_own"] = sum(to[2 * p + 1] for p in own)
                    for name, x in one.items():
                        values.setdefault(name, []).append(x)
                for name, x in values.items():
                    row = found[evaluator, layer, head, name]
                    half = 1.959963984540054 * np.std(x, ddof=1) / math.sqrt(len(x))
                    want = (len(x), np.mean(x), np.mean(x) - half, np.mean(x) + half)
                    assert (row.n, row.value, row.ci_low, row.ci_high) == pytest.approx(want, abs=1e-5), name
    assert len({r.value for r in found.values()}) > 50


def test_steps_evaluators_and_n(table, tiny_series):
    got = attention_scores(tiny_series, [20, 60], ["flip"])
    want = table[table.step.isin([20, 60]) & (table.evaluator == "flip")].reset_index(drop=True)
    pd.testing.assert_frame_equal(got, want, rtol=1e-5, atol=1e-7)
    assert set(attention_scores(tiny_series, [60], ["iwl"], n=7).n) == {7}


def test_every_row_has_what_uniform_attention_scores(table, tiny_series):
    for evaluator, rows in table.groupby("evaluator"):
        want = uniform_scores(tiny_series.evaluation_set(evaluator))
        assert rows.groupby("metric").uniform.unique().map(list).to_dict() == {k: [x] for k, x in want.items()}
        assert set(want) <= set(ALL)


def test_uniform_scores_are_exact_and_of_the_same_sequences():
    two = a_batch([[7, 3, 7], [3, 7, 7]], [[1, 0], [0, 1]])
    assert uniform_scores(two) == pytest.approx(
        {
            "previous_token": (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4,
            "label_to_exemplar": 3 / 8,
            "label_to_self": 3 / 8,
            "query_to_match": 1 / 5,
            "query_to_label": 1 / 5,
            "query_to_wrong": 1 / 5,
            "induction_strength": 0,
            "query_to_self": 1 / 5,
        }
    )
    # One of three pairs is correct: an even pattern looks at twice as many wrong labels.
    assert uniform_scores(a_batch([[1, 2, 3, 3]], [[1, 2, 3]]))["induction_strength"] == pytest.approx(-1 / 7)
    # Of two sequences one has no correct pair, and shows the query's own label: each score over those that have it.
    mixed = uniform_scores(a_batch([[1, 2, 3], [3, 2, 3]], [[3, 2], [2, 1]]))
    assert mixed["query_to_label"] == pytest.approx(1 / 5)
    assert mixed["query_to_wrong"] == pytest.approx((2 / 5 + 1 / 5) / 2)
    assert mixed["query_to_own"] == pytest.approx(1 / 5)
    assert not {"query_to_label", "query_to_match", "induction_strength"} & set(
        uniform_scores(a_batch([[1, 2, 3]], [[3, 2]]))
    )


def of_heads(values: dict[int, list[float]], half: float = 0.02, uniform: float = 0.375) -> pd.DataFrame:
    """A table of one score: step -> one value per head of layer 0."""
    rows = [
        {
            "step": step,
            "layer": 0,
            "head": h,
            "metric": "m",
            "value": x,
            "ci_low": x - half,
            "ci_high": x + half,
            "uniform": uniform,
        }
        for step, found in values.items()
        for h, x in enumerate(found)
    ]
    return pd.DataFrame(rows)


def test_a_head_stands_out_only_above_uniform_attention_for_all_heads_that_were_looked_at():
    alone, many = of_heads({9: [0.40]}), of_heads({9: [0.40, *[0.1] * 15]})
    assert standing_out(alone, "m", 9)["head"].tolist() == [0]  # .38 is above .375
    assert len(standing_out(many, "m", 9)) == 0  # the best of 16: its interval starts at .37
    (row,) = standing_out(of_heads({9: [0.41, *[0.1] * 15]}), "m", 9).itertuples()
    assert row.floor == 0.375
    assert row.joint_low == pytest.approx(0.41 - 0.02 * 2.9552 / 1.95996, abs=1e-5)  # z of 1 - .025 / 16
    assert standing_out(of_heads({9: [0.6, 0.9, 0.2]}), "m", 9)["head"].tolist() == [1, 0]
    assert len(standing_out(of_heads({9: [0.2, 0.1]}), "m", 9)) == 0
    assert len(standing_out(of_heads({9: [0.9]}, half=math.nan), "m", 9)) == 0  # one sequence: no interval


def test_a_head_stands_out_only_above_the_untrained_heads():
    table = of_heads({9: [0.5, 0.9]})
    assert standing_out(table, "m", 9)["head"].tolist() == [1, 0]
    assert standing_out(table, "m", 9, {"m": 0.64})["head"].tolist() == [1]
    assert standing_out(table, "m", 9, {"m": 0.64}).floor.tolist() == [0.64]
    assert standing_out(table, "m", 9, {"m": 0.1, "other": 1.0}).floor.tolist() == [0.375, 0.375]


def test_untrained_scores_are_the_highest_of_the_initial_draw(table, tiny_series, known_series):
    first = table[(table.step == 0) & (table.evaluator == "flip")]
    want = first.groupby("metric").value.max().to_dict()
    assert untrained_scores(tiny_series, "flip") == pytest.approx(want, abs=1e-5)
    # Step 0 of this run was written by hand and is no untrained model: its circuit does not count as a baseline.
    assert untrained_scores(known_series, "flip")["label_to_exemplar"] < 0.9
    assert "induction_strength" not in untrained_scores(tiny_series, "ciwl")


def test_only_heads_of_the_circuit_stand_out(known_series):
    table, untrained = attention_scores(known_series, [5], ["flip"]), untrained_scores(known_series, "flip")
    for metric, head in (("induction_strength", INDUCTION_HEAD), ("label_to_exemplar", PREVIOUS_TOKEN_HEAD)):
        assert standing_out(table, metric, 5, untrained)[["layer", "head"]].values.tolist()[0] == list(head)


def test_one_sequence_has_no_interval(tiny_series):
    got = attention_scores(tiny_series, [60], ["icl"], n=1)
    assert (got.n == 1).all()
    assert got.value.notna().all()
    assert got[["ci_low", "ci_high"]].isna().all(axis=None)


def test_in_chunks_or_at_once_the_numbers_are_the_same(table, tiny_series, monkeypatch):
    monkeypatch.setattr(tables, "_FAST", 1)
    pd.testing.assert_frame_equal(attention_scores(tiny_series), table, rtol=1e-5, atol=1e-7)
