"""The 2024 paper's numbers beside ours: the sequences, heads alone in one pass, ranks, and the rules' arithmetic."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mechicl import recipes
from mechicl.config import BankConfig, ModelConfig, ScheduleConfig
from mechicl.engine.forward import forward, logits
from mechicl.interventions import ClampMatch, Together, only_head
from mechicl.models.params import pack
from mechicl.tasks.exemplar_label import label_pairs
from mechicl.training.loop import train
from research import (
    induction_2024,
    induction_2024_compare,
    induction_2024_curves,
    induction_2024_rules,
    induction_2024_times,
)
from research.induction_2024_compare import by_rank


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The recipe in small: 6 classes of one exemplar in 10 dimensions, 4 labels, two of their six pairs held out."""
    config = replace(
        recipes.get("induction-2024"),
        name="small",
        steps=4,
        batch_size=8,
        n_eval=20,
        weights_dtype="float32",
        bank=BankConfig(n_classes=6, n_exemplars=1, n_holdout_classes=4, n_holdout_exemplars=1, dim=10, n_labels=4),
        model=ModelConfig(d_model=32, n_heads=8, positions="rotary"),
        checkpoint_steps=ScheduleConfig(linear_every=2),
    )
    return train(
        replace(config, optim=replace(config.optim, lr=0.1)), tmp_path_factory.mktemp("ih") / "small", progress=False
    )


def test_every_training_sequence_once(series):
    params, batch = induction_2024.training_set(series, 4)
    assert len(batch) == 6 * 5 * 2 * 4 * 2
    rows = {tuple(row) for row in torch.cat([batch.classes, batch.labels], 1).tolist()}
    assert len(rows) == len(batch)
    right = (batch.classes[:, :-1] == batch.classes[:, -1:]).long().argmax(1)
    assert torch.equal(batch.labels.gather(1, right[:, None])[:, 0], batch.target)
    held = {frozenset(p) for p in label_pairs.labels_of(label_pairs.held_out(series.config.sequences, 4)).tolist()}
    shown = {frozenset(row) for row in batch.labels.tolist()}
    assert len(shown) == 4
    assert not shown & held
    # Embedded beforehand, it is the same function.
    whole = pack(series.weights(4))
    raw = replace(batch, exemplars=torch.from_numpy(series.bank.exemplars[:, 0])[batch.classes])
    want, got = (logits(p, forward(p, b, series.config.model).final) for p, b in ((whole, raw), (params, batch)))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_the_balanced_part(series):
    _, batch = induction_2024.training_set(series, 4, all_labels=False)
    assert len({tuple(row) for row in batch.classes.tolist()}) == len(batch) == 6 * 5 * 2


@pytest.mark.parametrize(
    "before",
    [
        None,
        induction_2024.held((0, 3, 5), "pp"),
        induction_2024.held((2,), "pv"),
        ClampMatch(heads=tuple((1, h) for h in range(8))),
    ],
    ids=str,
)
def test_heads_alone_in_one_pass_are_those_of_an_ablation_each(series, before):
    params, batch = induction_2024.training_set(series, 4)
    got = induction_2024.kept_alone(series, params, batch, [(3,), (6,)], before, "loss")
    for head, values in zip((3, 6), got, strict=True):
        alone = only_head(series.config.model, 1, head)
        asked = alone if before is None else Together(parts=(before, alone))
        want = induction_2024.answered(series, params, batch, {"x": asked}, "loss")["x"]
        np.testing.assert_allclose(values, want, rtol=1e-4, atol=1e-5)


def test_strength_and_previous_token_score_are_the_measures(series):
    from mechicl.measures.attention import scores

    params, batch = induction_2024.training_set(series, 4)
    strength, previous = induction_2024.patterns(series, params, batch)
    hooks = ["blocks.0.attn.hook_pattern", "blocks.1.attn.hook_pattern"]
    acts = forward(params, batch, series.config.model, capture=hooks, query_only=False).acts
    want = [
        scores(acts[hook], batch)[name].mean(0)
        for hook, name in zip(hooks, ("label_to_exemplar", "induction_strength"), strict=True)
    ]
    np.testing.assert_allclose(previous, want[0], rtol=1e-4)
    np.testing.assert_allclose(strength, want[1], rtol=1e-4, atol=1e-6)


def test_a_number_is_looked_up_at_the_head_of_its_rank():
    theirs, first = [3, 1, 2, 5, 7, 4, 0, 6], [2, 0, 1, 3, 4, 5, 6, 7]  # the best head first
    own = ([6, 0, 1, 2, 3, 4, 5, 7], [5, 4, 3, 2, 1, 0, 6, 7])

    def key(table, condition):
        return induction_2024_compare._key(table, condition, theirs, first, own)

    assert key("IH2: final induction strength", "l1h3") == ("strength", "l1h6")
    assert key("IH4: only this layer-1 head", "l1h1") == ("alone", "l1h0")
    assert key("IH5 / Table 2: share", "l1h2") == ("fixed", "l1h6|l1h1")  # of mistakes of the best
    assert key("wiring (IH9): ...", "only_l1h1") == ("alone", "l1h0")
    assert key("wiring (IH9): ...", "only_l1h2_remove_allbut_l0h0_pv") == ("wiring", "only_l1h1_remove_allbut_l0h4_pv")
    assert key("Table 1 (IH8)", "ablate03467_preserve_values") == ("table-1", "rest pv")
    assert key("IH3: layer-0", "no layer-0 output") == ("intact", "no layer-0 output")


def test_ranks_ties_and_all():
    assert by_rank([0.2, 0.9, 0.2, 0.5]) == [1, 3, 0, 2]


def test_half_drop_and_plateau():
    rules = induction_2024_curves
    points = np.array([[0, 1.6], [10, 0.8], [20, 0.7], [30, 0.6], [40, 0.1], [50, 0.5]])
    assert rules.half_drop(points) == pytest.approx(30 + 10 * (0.6 - np.log(2) / 2) / 0.5)
    assert rules.plateau(points, 0.65, 0.85) == (10, 20)
    assert rules.half_drop(points[:4]) == np.inf
    assert np.isnan(rules.plateau(points, 0.9, 1.0)[0])
    assert [rules.said(*x) for x in ((4, 5, 1), (1, 5, 4), (3, 5, 2), (1, 1, 0))] == [
        "supported",
        "contradicted",
        "inconclusive",
        "not finished: 1 of 5 seeds",
    ]


def _runs(**half_drops: list[float]) -> pd.DataFrame:
    """A table of training whose runs fall in a line from 1 at 0 to 0 at twice the half-drop asked for, roughly."""
    rows = []
    for condition, drops in half_drops.items():
        last = ({"main": (1_000_000, "")} | induction_2024_curves.CONDITIONS)[condition.replace("_", "-")][0]
        for seed, drop in enumerate(drops):
            for x in (0.0, drop - 1, drop + 1, last):
                loss = 1.0 if x < drop else 0.0
                if x <= last:
                    rows.append((condition.replace("_", "-"), seed, "train", "loss", x, loss))
    return pd.DataFrame(rows, columns=["condition", "seed", "evaluator", "metric", "sequences", "value"])


@pytest.mark.parametrize(
    ("letter", "runs", "verdict"),
    [
        ("N", {"previous": [1e5] * 5, "held_6": [1.2e5] * 5, "held_125": [0.8e5] * 5}, "supported"),
        ("N", {"previous": [1e5] * 5, "held_6": [1.2e5] * 5, "held_125": [2e5] * 4 + [1e5]}, "contradicted"),
        ("N", {"previous": [1e5] * 5, "held_6": [2e5] * 2 + [1e5] * 3, "held_125": [1e5] * 5}, "inconclusive"),
        ("N", {"held_6": [1e5] * 5, "held_125": [1e5] * 5}, "not run"),
        ("O", {"previous": [1e5] * 5, "held_all": [1.6e5] * 4 + [4e5]}, "supported"),  # 4e5: not reached
        ("O", {"previous": [1e5] * 5, "held_all": [0.9e5] * 5}, "contradicted"),
        ("O", {"previous": [1e5] * 5, "held_all": [1.2e5] * 5}, "inconclusive"),
        ("P", {"main": [1e5] * 5, "classes_200": [1.3e5] * 5}, "supported"),
        ("P", {"main": [1e5] * 5, "classes_200": [3e5] * 5}, "inconclusive"),  # later, and not mildly
        ("P", {"main": [1e5] * 5, "classes_200": [0.5e5] * 5}, "contradicted"),
        ("Q", {"main": [1e5] * 5, "labels_10": [9e5] * 5}, "supported"),
        ("Q", {"main": [1e5] * 5, "labels_10": [1.5e5] * 5}, "inconclusive"),
    ],
)
def test_rules_of_what_delays_the_circuit(letter, runs, verdict):
    every = _runs(**runs)
    judged = induction_2024_times.timed(every, induction_2024_curves.half_drops(every))
    (found,) = (j for j in judged if j.letter == letter)
    assert found.verdict == verdict


def test_runs_that_are_not_in_the_folder_stay_in_the_table(tmp_path, monkeypatch, tiny_series):
    monkeypatch.setattr(induction_2024, "TABLES", tmp_path)
    before = _runs(match=[3e4] * 2)
    before.to_parquet(tmp_path / "induction-2024-training.parquet", index=False)
    folder = tmp_path / "runs" / "induction-2024-x"
    folder.mkdir(parents=True)
    (folder / "held-6-s0").symlink_to(tiny_series.root)
    found = induction_2024.training(tmp_path / "runs")
    assert {"match", "held-6"} == set(found.condition)
    again = induction_2024.training(tmp_path / "runs")
    pd.testing.assert_frame_equal(found.reset_index(drop=True), again.reset_index(drop=True))


@pytest.fixture
def published(tmp_path):
    """Stand-ins of the two published files that the rules read: the committed table's own printed numbers."""
    rows = pd.read_csv(induction_2024_compare.TABLES / "induction-2024-printed.csv", dtype={"init_seed": str})
    rows["value"], rows["paper"] = rows.published, "2404.07129"
    rows.to_csv(tmp_path / "printed.csv", index=False)
    pd.DataFrame({"curve": "train", "sequences": [0, 250_000, 260_000], "value": [1.6, 0.5, 0.2]}).to_csv(
        tmp_path / "ih_fig3a.csv", index=False
    )
    return tmp_path


def test_no_verdict_without_a_rule_declared_before(published, monkeypatch):
    rules = induction_2024_rules
    assert rules.declared() == set("ABCDEFGHIJKLMNOPQRSTUVWX")
    toy = next(j for j in rules.judge(published) if "IH17" in j.about)
    assert toy.verdict == rules.UNDECLARED
    assert "20 of 20" in toy.numbers
    before = {j.about: j for j in rules.judge(published)}
    assert {j.letter for j in before.values() if j.verdict == rules.UNDECLARED} == {"-"}
    # The kind: whatever the numbers say, a rule that no file has gives no verdict.
    monkeypatch.setattr(rules, "declared", lambda: set("ABC"))
    for j in rules.judge(published):
        assert (j.verdict == rules.UNDECLARED) == (j.letter[0] not in "ABC")
        assert j.numbers == before[j.about].numbers


def test_verdicts_are_computed_and_never_written_by_hand():
    text = (Path(induction_2024.__file__).parent / "induction_2024_remarks.md").read_text()
    assert not re.search(r"\*\*(supported|contradicted|inconclusive|as published|differs)", text)


def test_the_committed_table_has_every_printed_number():
    table = pd.read_csv(induction_2024_compare.TABLES / "induction-2024-printed.csv")
    assert len(table) == 414
    ours = [c for c in table if c[0] == "s" and c[1:].isdigit()]
    assert ours
    assert table[ours].notna().to_numpy().mean() > 0.99
