"""Evaluating under interventions: the table, known answers, and streaming that changes nothing."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD
from known_series import write_series

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import EVALUATORS, evaluate_params
from mechicl.interventions import BASELINES, AblateHeads, every_head
from mechicl.measures import tables
from mechicl.measures.ablation import evaluate
from mechicl.measures.paired_effects import effects
from mechicl.models.params import init
from mechicl.tasks.exemplar_label.scores import METRICS

KINDS = tuple(BASELINES)
SIX = ["train", "icl", "flip", "ciwl", "iwl", "icl_holdout"]


def value(table: pd.DataFrame, **where) -> float:
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    return table.value.item()


@pytest.fixture(scope="module")
def table(tiny_series):
    """Every step and evaluator, intact and with two interventions."""
    both = [AblateHeads(heads=((0, 1),)), AblateHeads(heads=((1, 0), (0, 0)), kind="mean")]
    return evaluate(tiny_series, ablate=both)


def test_the_table(table, tiny_series):
    steps, conditions = tiny_series.steps, ["intact", "zero L0H1", "mean L0H0 L1H0"]
    columns = "run seed step sequences layer head intervention baseline evaluator metric value n ci_low ci_high"
    assert " ".join(table.columns) == f"{columns} effect_low effect_high"
    assert len(table) == len(steps) * len(SIX) * len(conditions) * len(METRICS)
    assert not table.duplicated(["step", "intervention", "evaluator", "metric"]).any()
    assert table.step.is_monotonic_increasing
    assert table.step.unique().tolist() == steps
    assert set(table.evaluator) == set(SIX)
    assert set(table.intervention) == set(conditions)
    assert (table.run == "tiny").all()
    assert (table.seed == 0).all()
    assert (table.n == 50).all()
    assert (table.sequences == table.step * 16).all()
    assert (table.ci_low <= table.value).all()
    assert (table.value <= table.ci_high).all()
    assert table.groupby("intervention").baseline.unique().map(list).to_dict() == {
        "intact": [""],
        "zero L0H1": ["0"],
        "mean L0H0 L1H0": [BASELINES["mean"]],
    }
    one = table[table.intervention == "zero L0H1"]
    assert set(zip(one.layer, one["head"], strict=True)) == {(0, 1)}
    assert table[table.intervention != "zero L0H1"][["layer", "head"]].isna().all(axis=None)
    first = table.groupby(["step", "evaluator"], sort=False).intervention.first()
    assert (first == "intact").all()


def test_intact_rows_are_what_training_recorded(table, tiny_series):
    key = ["step", "evaluator", "metric"]
    got = table[table.intervention == "intact"].set_index(key).sort_index()
    want = tiny_series.metrics.set_index(key).sort_index()
    assert got.index.equals(want.index)
    for column in ("value", "ci_low", "ci_high"):
        np.testing.assert_allclose(got[column], want[column], rtol=1e-5, atol=1e-7)
    accuracy = got.index.get_level_values("metric") != "loss"
    assert (got.value[accuracy] == want.value[accuracy]).all()
    assert (got.n == want.n).all()
    assert got.value[accuracy].nunique() > 10  # a curve, not a constant


@pytest.mark.parametrize("kind", KINDS)
def test_ablated_rows_equal_hooks_on_the_hooked_transformer(tiny_series, kind):
    """Metrics counted here from the logits of `model(batch)` with hooks, sequence by sequence."""
    step, model = 60, tiny_series.model(60)
    conditions = [AblateHeads(heads=h, kind=kind) for h in (((0, 0),), ((1, 1),), ((0, 1), (1, 0)))]
    got = evaluate(tiny_series, [step], ["flip", "ciwl", "iwl"], conditions)
    moved = 0
    for evaluator in ("flip", "ciwl", "iwl"):
        batch = tiny_series.evaluation_set(evaluator)
        before = model(batch)[:, -1]
        for condition in conditions:
            z = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(condition, batch))[:, -1].detach()
            moved += (z - before).abs().max().item() > 1e-3
            within, every, loss = 0, 0, 0.0
            for i, y in enumerate(batch.target.tolist()):
                shown = batch.labels[i].tolist()
                within += max(shown, key=lambda v, row=z[i]: row[v].item()) == y
                every += z[i].argmax().item() == y
                loss += -z[i].log_softmax(-1)[y].item()
            want = {"in_context_acc": within / 50, "acc": every / 50, "loss": loss / 50}
            for metric, number in want.items():
                where = {"evaluator": evaluator, "metric": metric, "intervention": str(condition)}
                assert value(got, **where) == pytest.approx(number, rel=1e-5), where
    assert moved == 9  # every ablation moves the logits of every evaluator


def test_without_the_induction_head_icl_is_chance_and_without_another_nothing_changes(known_series):
    heads = [AblateHeads(heads=h) for h in ((INDUCTION_HEAD,), ((1, 0),), ((0, 3), (1, 1)))]
    got = evaluate(known_series, [5], ["icl", "flip", "iwl"], heads, metrics=None)
    at = {(r.intervention, r.evaluator): r.value for r in got.itertuples()}
    assert at["intact", "icl"] == at["intact", "flip"] == 1.0
    assert at["zero L1H2", "icl"] == pytest.approx(0.5, abs=0.07)  # n = 500: three standard errors
    assert at["zero L1H2", "flip"] == pytest.approx(0.5, abs=0.07)
    for other in ("zero L1H0", "zero L0H3 L1H1"):
        for evaluator in ("icl", "flip", "iwl"):
            assert at[other, evaluator] == at["intact", evaluator]


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_does_to_the_circuit(known_series, kind):
    """Without the induction head's output nothing copies the label, whatever the baseline. The
    previous-token head acts through the induction head's pattern alone, so with patterns held
    it is not missed, and with values held it is."""
    heads = [AblateHeads(heads=(h,), kind=kind) for h in (INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD)]
    got = evaluate(known_series, [5], ["flip"], heads, metrics=None)
    assert value(got, intervention=f"{kind} L1H2") == pytest.approx(0.5, abs=0.07)
    kept = kind == "pattern_preserving"
    without_previous = value(got, intervention=f"{kind} L0H1")
    assert without_previous == (1.0 if kept else pytest.approx(0.5, abs=0.07))


@pytest.mark.parametrize("kind", KINDS)
def test_no_ablation_touches_a_lookup_table(known_series, kind):
    everything = AblateHeads(heads=[(la, h) for la in (0, 1) for h in range(4)], kind=kind)
    got = evaluate(known_series, [10], ablate=[*every_head(known_series.config.model, kind), everything])
    assert len(got) == 10 * 6 * 3
    changes = effects(got)
    assert (changes.effect[changes.metric != "loss"] == 0).all()
    # Intact and ablated models go through matmuls of other sizes, whose last bits differ on some CPUs; losses go to 20.
    assert changes.effect[changes.metric == "loss"].abs().max() < 2e-6
    assert value(got, evaluator="iwl", metric="acc", intervention="intact") == 1.0
    assert value(got, evaluator="flip", metric="in_context_acc", intervention=str(everything)) == 0.0


def test_every_effect_has_the_interval_of_its_paired_difference(table, tiny_series):
    """Sequence by sequence, from the hooked model, with another formula for the same interval."""
    assert table[table.intervention == "intact"][["effect_low", "effect_high"]].isna().all(axis=None)
    got = effects(table)
    assert ((got.effect_low <= got.effect) & (got.effect <= got.effect_high)).all()
    assert (got.effect_low < got.effect_high).all()  # also where no answer changed
    model, batch = tiny_series.model(60), tiny_series.evaluation_set("train")
    hooks = model.hooks_for(AblateHeads(heads=((0, 1),)), batch)
    logits = [model(batch)[:, -1], model.run_with_hooks(batch, fwd_hooks=hooks)[:, -1]]
    before, after = ((z.argmax(-1) == batch.target).numpy() for z in logits)
    row = got[(got.step == 60) & (got.evaluator == "train") & (got.intervention == "zero L0H1")].set_index("metric")
    won, lost, n = (after & ~before).sum() + 0.5, (before & ~after).sum() + 0.5, 52
    half = 1.959964 * np.sqrt((won + lost) / n - ((won - lost) / n) ** 2) / np.sqrt(n)
    centre = (won - lost) / n
    assert row.effect["acc"] == pytest.approx((after.astype(float) - before).mean())
    assert row.effect_low["acc"] == pytest.approx(min(row.effect["acc"], centre - half))
    assert row.effect_high["acc"] == pytest.approx(max(row.effect["acc"], centre + half))
    lost = [torch.nn.functional.cross_entropy(z, batch.target, reduction="none").detach().double() for z in logits]
    difference = (lost[1] - lost[0]).numpy()
    half = 1.959964 * difference.std(ddof=1) / np.sqrt(50)
    want = (difference.mean() - half, difference.mean() + half)
    assert (row.effect_low["loss"], row.effect_high["loss"]) == pytest.approx(want, abs=1e-4)


def test_effects_of_a_real_table(table):
    got = effects(table)
    assert len(got) == len(table) * 2 // 3
    row = got[(got.step == 60) & (got.evaluator == "flip") & (got.metric == "loss")].iloc[0]
    where = {"step": 60, "evaluator": "flip", "metric": "loss"}
    intact = value(table, **where, intervention="intact")
    assert row.effect == value(table, **where, intervention=row.intervention) - intact
    assert row.effect != 0


def test_primary_metrics_alone(table, tiny_series):
    ablate = AblateHeads(heads=((0, 1),))
    got = evaluate(tiny_series, ablate=ablate, metrics=None)
    assert len(got) == len(tiny_series.steps) * 6 * 2
    assert got.groupby("evaluator").metric.unique().map(list).to_dict() == {
        name: [EVALUATORS[name].primary_metric] for name in SIX
    }
    key = ["step", "evaluator", "metric", "intervention"]
    want = table.set_index(key).value
    got = got.set_index(key).value
    assert (got == want.reindex(got.index)).all()


def test_some_metrics(tiny_series):
    got = evaluate(tiny_series, [60], ["iwl"], metrics=("loss",))
    assert got.metric.tolist() == ["loss"]


def test_n_and_split(tiny_series):
    got = evaluate(tiny_series, [60], ["flip"], n=200)
    other = evaluate(tiny_series, [60], "flip", n=200, split=1)
    for split, rows in ((0, got), (1, other)):
        assert (rows.n == 200).all()
        sets = {"flip": tiny_series.evaluation_set("flip", 200, split)}
        params = {k: v[0] for k, v in tiny_series.params([60]).items()}
        want = evaluate_params(params, sets, tiny_series.config)
        assert {r["metric"]: pytest.approx(r["value"], rel=1e-5) for r in want} == dict(
            zip(rows.metric, rows.value, strict=True)
        )
    assert value(got, metric="loss") != value(other, metric="loss")


def test_series_evaluate_is_the_same_function(table, tiny_series):
    got = tiny_series.evaluate([20, 60], ["icl"], AblateHeads(heads=((0, 1),)))
    where = table.step.isin([20, 60]) & (table.evaluator == "icl") & (table.intervention != "mean L0H0 L1H0")
    want = table[where].reset_index(drop=True)
    pd.testing.assert_frame_equal(got, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"steps": [0, 7]}, SeriesError, r"tiny has no checkpoint at step 7; the nearest are \[1, 5, 10\]"),
        ({"steps": []}, SeriesError, "no checkpoints to measure, of 9 that it has"),
        ({"evaluators": ["iwl2"]}, ConfigError, "no evaluator named 'iwl2'; there are train, icl, flip"),
        ({"ablate": AblateHeads(heads=((2, 0),))}, ConfigError, "there is no head L2H0"),
    ],
)
def test_what_is_not_there_is_refused(tiny_series, arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(tiny_series, **arguments)


@pytest.fixture
def chunks(monkeypatch):
    """Sizes of the chunks that a series is read in."""
    from mechicl.series import Series

    sizes, params = [], Series.params
    monkeypatch.setattr(Series, "params", lambda self, steps: sizes.append(len(steps)) or params(self, steps))
    return sizes


def test_one_step_at_a_time_or_all_at_once_the_numbers_are_the_same(table, tiny_series, monkeypatch, chunks):
    both = [AblateHeads(heads=((0, 1),)), AblateHeads(heads=((1, 0), (0, 0)), kind="mean")]
    monkeypatch.setattr(tables, "_FAST", 1)
    small = evaluate(tiny_series, ablate=both)
    assert chunks == [1] * 9
    monkeypatch.setattr(tables, "_FAST", 2**40)
    large = evaluate(tiny_series, ablate=both)
    assert chunks == [1] * 9 + [9]
    for got in (small, large):
        pd.testing.assert_frame_equal(got, table, rtol=1e-5, atol=1e-6)
        accuracy = got.metric != "loss"
        assert (got.value[accuracy] == table.value[accuracy]).all()


def test_chunks_fit(tiny_series, monkeypatch):
    def sizes(bytes_per_step: float) -> list[list[int]]:
        return tables.chunks(tiny_series, tiny_series.steps, bytes_per_step)

    monkeypatch.setattr(tables, "_FAST", 400)
    assert sizes(100.0) == [[0, 1, 5, 10], [20, 30, 40, 50], [60]]
    assert sizes(401.0) == [[step] for step in tiny_series.steps]
    monkeypatch.setattr(tables, "_SHARE", tables.BUDGET // (2 * tiny_series.entry(0).bytes))
    assert sizes(100.0)[0] == [0, 1]  # large weights beside small activations
    monkeypatch.setattr(tables, "BUDGET", 500)
    with pytest.raises(ConfigError, match=r"one checkpoint of tiny needs about .* pass a smaller n"):
        sizes(501.0)


@pytest.mark.slow
def test_more_conditions_than_fit_on_one_axis(tiny_config, tmp_path):
    """Mixed kinds and layers, more than 16 of each kind that begin in layer 0: each as it is alone."""
    config = dataclasses.replace(tiny_config, model=ModelConfig(n_layers=2, d_model=16, n_heads=4))
    weights = {k: w + 0.4 * torch.randn(w.shape) for k, w in init(config).items()}
    series = write_series(tmp_path / "many", config, {0: weights})
    rng = np.random.default_rng(0)
    every = [(la, h) for la in range(2) for h in range(4)]
    picks = {tuple(sorted(rng.permutation(8)[: rng.integers(1, 6)].tolist())) for _ in range(30)}
    sets = [[every[i] for i in pick] for pick in sorted(picks)]
    assert sum(s[0][0] == 0 for s in sets) > 20
    conditions = [AblateHeads(heads=s, kind=k) for k in KINDS for s in sets]
    conditions = [conditions[i] for i in rng.permutation(len(conditions))]
    got = evaluate(series, [0], ["flip"], conditions)
    assert got.intervention.nunique() == len(conditions) + 1
    assert len(got) == (len(conditions) + 1) * 3
    by_key = {(r.intervention, r.metric): r.value for r in got.itertuples()}
    for condition in conditions[::6]:
        for row in evaluate(series, [0], ["flip"], condition).itertuples():
            assert by_key[row.intervention, row.metric] == pytest.approx(row.value, rel=1e-5), row
    losses = {round(v, 5) for (_, metric), v in by_key.items() if metric == "loss"}
    assert len(losses) > 0.7 * len(conditions)  # conditions are not mistaken for one another


def test_tidy_fills_what_a_row_lacks(tiny_series):
    got = tables.tidy(tiny_series, [{"step": 5, "metric": "x", "value": 1.5, "n": 3, "layer": 1}])
    (row,) = got.to_dict("records")
    assert row["run"] == "tiny"
    assert (row["step"], row["sequences"], row["layer"], row["value"]) == (5, 80, 1, 1.5)
    assert (row["intervention"], row["baseline"], row["evaluator"]) == ("", "", "")
    assert pd.isna(row["head"])
    assert np.isnan(row["ci_low"])
    assert tuple(got.columns) == tables.COLUMNS
    assert len(tables.tidy(tiny_series, [])) == 0


def test_nothing_is_left_that_needs_gradients(tiny_series):
    assert torch.is_grad_enabled()
    evaluate(tiny_series, [60], ["icl"])
    assert torch.is_grad_enabled()
