"""Each evaluator's definition, read off the sequences it draws; metrics and intervals against
plain definitions; chance from the sets themselves."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from mechicl.config import BankConfig, Config, SequenceConfig
from mechicl.engine.forward import forward, label_logits, logits, stack
from mechicl.errors import ConfigError
from mechicl.evaluators import (
    EVALUATORS,
    applying,
    chance,
    evaluate_params,
    evaluation_set,
    evaluation_sets,
    score,
)
from mechicl.models.params import init, pack
from mechicl.statistics import mean_interval
from mechicl.tasks.exemplar_label.banks.bank import Bank
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.evaluators import part_shown
from mechicl.tasks.exemplar_label.scores import METRICS, in_context_correct

N = 300
FIXED = ["train", "icl", "flip", "ciwl", "iwl", "icl_holdout"]  # where a class has a label of its own


def make(c: int = 4, n_labels: int | None = None, **sequences) -> tuple[Config, Bank]:
    config = Config(
        name="x",
        steps=1,
        bank=BankConfig(n_classes=40, n_exemplars=6, n_holdout_classes=10, n_labels=n_labels, dim=5),
        sequences=SequenceConfig(**({"n_pairs": c} | sequences)),
        n_eval=N,
    )
    return config, build_bank(config)


@pytest.fixture(params=[2, 4, 8])
def setup(request) -> tuple[Config, Bank]:
    return make(request.param)


def in_context(batch: Batch) -> torch.Tensor:
    return batch.classes[:, :-1] == batch.classes[:, -1:]


def test_train_is_drawn_as_in_training():
    config, bank = make(8, burstiness=3, rest="unique", zipf=1.0, exemplars="matched")
    batch = evaluation_set("train", config, bank)
    assert len(batch) == N
    assert (in_context(batch).sum(1) == 3).all()
    assert torch.equal(batch.labels, batch.trained_labels[:, :-1])
    assert torch.equal(batch.target, batch.trained_labels[:, -1])
    assert (batch.classes[:, -1] == 0).float().mean() > 0.15  # Zipf over 40 classes: .23
    assert batch.classes.max() < 40
    shown = bank.exemplars[batch.classes.numpy(), batch.exemplar_ids.numpy()]
    np.testing.assert_array_equal(batch.exemplars.numpy(), shown)


def repeats(batch: Batch) -> float:
    """How often a context item of the query's class shows the query's own exemplar."""
    same = in_context(batch)
    return float((batch.exemplar_ids[:, :-1] == batch.exemplar_ids[:, -1:])[same].float().mean())


@pytest.mark.parametrize("rule", ["replacement", "no_replacement", "matched"])
def test_evaluation_sets_draw_exemplars_with_replacement_whatever_is_trained_on(rule):
    """All but 'train', which is drawn as in training; as all are where that is asked for."""
    config, bank = make(2, exemplars=rule)
    plain, _ = make(2)
    asked = dataclasses.replace(config, eval_exemplars="as_training")
    for name in FIXED:
        one = 1 / part_shown(bank, name).n_exemplars
        as_ruled = {"replacement": one, "no_replacement": 0, "matched": 1}[rule]
        got, as_trained = (evaluation_set(name, c, bank) for c in (config, asked))
        want = evaluation_set(name, plain, bank)
        if name != "train":
            assert torch.equal(got.exemplar_ids, want.exemplar_ids)
            assert torch.equal(got.exemplars, want.exemplars)
        if in_context(want).any():
            assert repeats(got) == pytest.approx(as_ruled if name == "train" else one, abs=0.07)
            assert repeats(as_trained) == pytest.approx(as_ruled, abs=0.07)


@pytest.mark.parametrize("name", ["icl", "icl_holdout"])
def test_icl_shows_two_classes_half_each_labelled_0_and_1_at_random(setup, name):
    config, bank = setup
    c = config.sequences.n_pairs
    batch = evaluation_set(name, config, bank)
    same = in_context(batch)
    assert (same.sum(1) == c // 2).all()
    assert all(len(set(row)) == 2 for row in batch.classes.tolist())
    assert torch.equal(batch.labels == batch.target[:, None], same)
    assert set(batch.labels.unique().tolist()) == {0, 1}
    assert binomtest(int(batch.target.sum()), N, 0.5).pvalue > 1e-3


def test_icl_holdout_shows_only_classes_never_trained_on(setup):
    config, bank = setup
    batch = evaluation_set("icl_holdout", config, bank)
    shown = set(map(bytes, batch.exemplars.reshape(-1, 5).numpy()))
    trained = set(map(bytes, bank.train().exemplars.reshape(-1, 5)))
    assert len(shown) > 50
    assert not shown & trained
    other = evaluation_set("icl", config, bank)
    assert set(map(bytes, other.exemplars.reshape(-1, 5).numpy())) <= trained


def test_flip_swaps_the_two_canonical_labels(setup):
    config, bank = setup
    batch = evaluation_set("flip", config, bank)
    same = in_context(batch)
    assert (same.sum(1) == config.sequences.n_pairs // 2).all()
    assert torch.equal(batch.labels == batch.target[:, None], same)
    assert (batch.labels != batch.trained_labels[:, :-1]).all()
    for labels, canonical in zip(batch.labels.tolist(), batch.trained_labels.tolist(), strict=True):
        assert set(labels) == set(canonical)


def test_ciwl_puts_the_querys_label_on_one_wrong_exemplar(setup):
    config, bank = setup
    c = config.sequences.n_pairs
    batch = evaluation_set("ciwl", config, bank)
    assert not in_context(batch).any()
    assert all(len(set(row)) == c + 1 for row in batch.classes.tolist())
    assert torch.equal(batch.target, batch.trained_labels[:, -1])
    copied = batch.labels == batch.target[:, None]
    assert (copied.sum(1) == 1).all()
    assert torch.equal(batch.labels[~copied], batch.trained_labels[:, :-1][~copied])
    assert all(len(set(row)) == c for row in batch.labels.tolist())


def test_iwl_never_shows_the_querys_class_or_label(setup):
    config, bank = setup
    batch = evaluation_set("iwl", config, bank)
    assert not in_context(batch).any()
    assert all(len(set(row)) == config.sequences.n_pairs + 1 for row in batch.classes.tolist())
    assert torch.equal(batch.labels, batch.trained_labels[:, :-1])
    assert torch.equal(batch.target, batch.trained_labels[:, -1])
    assert not (batch.labels == batch.target[:, None]).any()


def test_evaluation_is_uniform_over_classes_whatever_the_training_distribution():
    config, bank = make(2, zipf=2.0)
    for name in ("icl", "flip", "ciwl", "iwl"):
        batch = evaluation_set(name, config, bank, n=4000)
        counts = batch.classes[:, -1].bincount(minlength=40)
        assert counts.min() > 55, name  # 100 each expected
        assert counts.max() < 150, name


@pytest.mark.parametrize("name", FIXED)
def test_shared_labels_stay_distinct_within_a_context(name):
    config, bank = make(4, n_labels=10, burstiness=1)
    batch = evaluation_set(name, config, bank)
    for classes, canonical in zip(batch.classes.tolist(), batch.trained_labels.tolist(), strict=True):
        assert len(set(canonical)) == len(set(classes))
    if name == "iwl":
        assert not (batch.labels == batch.target[:, None]).any()
    if name == "flip":
        assert (batch.labels != batch.trained_labels[:, :-1]).all()


@pytest.mark.parametrize("name", FIXED)
def test_sets_are_fixed_by_the_eval_seed_alone(name):
    config, bank = make(2)
    one = evaluation_set(name, config, bank)
    seeds = dataclasses.replace(config.seeds, init=5)
    again = evaluation_set(name, dataclasses.replace(config, seeds=seeds), bank)
    seeds = dataclasses.replace(config.seeds, eval=5)
    other = evaluation_set(name, dataclasses.replace(config, seeds=seeds), bank)
    split = evaluation_set(name, config, bank, split=1)
    for field in dataclasses.fields(Batch):
        assert torch.equal(getattr(one, field.name), getattr(again, field.name))
    assert not torch.equal(one.classes, other.classes)
    assert not torch.equal(one.classes, split.classes)


def test_evaluators_do_not_share_their_draws():
    config, bank = make(2)
    sets = evaluation_sets(config, bank)
    queries = [batch.classes[:, -1] for name, batch in sets.items() if name != "icl_holdout"]
    same = [(a == b).float().mean().item() for i, a in enumerate(queries) for b in queries[:i]]
    assert max(same) < 0.1  # 1/40 by accident


def test_sets_by_name_and_size():
    config, bank = make(2)
    assert list(evaluation_sets(config, bank)) == FIXED
    assert all(len(batch) == N for batch in evaluation_sets(config, bank).values())
    assert len(evaluation_set("icl", config, bank, n=7)) == 7
    bare = dataclasses.replace(config, bank=dataclasses.replace(config.bank, n_holdout_classes=0))
    assert "icl_holdout" not in evaluation_sets(bare, build_bank(bare))


def test_headlines():
    assert {k: e.primary_metric for k, e in EVALUATORS.items() if e.task == "exemplar_label"} == {
        "train": "in_context_acc",
        "icl": "in_context_acc",
        "flip": "in_context_acc",
        "ciwl": "in_context_acc",
        "iwl": "acc",
        "icl_holdout": "in_context_acc",
        "holdout_pairs": "acc",
        "holdout_classes": "acc",
        "holdout_exemplars": "acc",
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [("icl", 1 / 2), ("icl_holdout", 1 / 2), ("flip", 1 / 2), ("ciwl", None), ("iwl", 0.0)],
)
def test_chance(setup, name, expected):
    config, bank = setup
    got = chance(name, evaluation_set(name, config, bank), 40)
    want = 1 / config.sequences.n_pairs if expected is None else expected
    assert got["in_context_acc"] == pytest.approx(want, abs=1e-12)
    assert got["acc"] == 1 / 40
    assert got["loss"] == pytest.approx(np.log(40))


def test_chance_is_what_random_scores_get():
    config, bank = make(8, burstiness=3)  # train: a varying number of distinct labels
    batch = evaluation_set("train", config, bank, n=20_000)
    rng = torch.Generator().manual_seed(0)
    per_label = torch.rand(20_000, 40, generator=rng)
    hits = in_context_correct(per_label.gather(1, batch.labels), batch).double().mean().item()
    assert hits == pytest.approx(chance("train", batch, 40)["in_context_acc"], abs=0.012)


def random_params(config: Config, *seeds: int):
    packed = [pack(init(config.with_seed(s))) for s in seeds]
    return packed[0] if len(seeds) == 1 else stack(packed)


@pytest.mark.parametrize("name", FIXED)
def test_metrics_are_their_formulas(name):
    config, bank = make(4)
    batch = evaluation_set(name, config, bank)
    params = random_params(config, 0)
    final = forward(params, batch, config.model).final
    z = logits(params, final).double()
    got = score(params, final, batch)
    assert list(got) == list(METRICS)
    masked = torch.full_like(z, -torch.inf).scatter(1, batch.labels, z.gather(1, batch.labels))
    assert torch.equal(got["in_context_acc"], masked.argmax(1) == batch.target)
    assert torch.equal(got["acc"], z.argmax(1) == batch.target)
    loss = -z.log_softmax(1).gather(1, batch.target[:, None]).squeeze(1)
    torch.testing.assert_close(got["loss"].double(), loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", applying(make(4)[0]))
def test_in_context_probability_is_the_softmax_over_the_distinct_labels_shown(name):
    """However often a label is shown it counts once; 0, and no loss, where the answer is not shown."""
    config, bank = make(4)
    batch = evaluation_set(name, config, bank)
    params = random_params(config, 0, 1)
    final = forward(params, batch, config.model).final
    z = logits(params, final).double()
    masked = torch.full_like(z, -torch.inf).scatter(-1, batch.labels.expand(*z.shape[:-1], -1), 0.0) + z
    prob = masked.softmax(-1).gather(-1, batch.target.expand(z.shape[:-1])[..., None])[..., 0]
    got = score(params, final, batch, ["in_context_prob", "in_context_loss"])
    torch.testing.assert_close(got["in_context_prob"].double(), prob, rtol=1e-5, atol=1e-6)
    shows = (batch.labels == batch.target[:, None]).any(1).expand(prob.shape)
    torch.testing.assert_close(got["in_context_loss"][shows].double(), -prob[shows].log(), rtol=1e-4, atol=1e-5)
    assert got["in_context_loss"][~shows].isnan().all()
    assert shows.all() != (name == "iwl")
    for metric, values in got.items():  # a number has a normal interval, as the loss has
        assert np.allclose(mean_interval(values, metric)[1], mean_interval(values, "loss")[1], equal_nan=True)


def test_an_unknown_metric_is_refused():
    config, bank = make(2)
    batch = evaluation_set("icl", config, bank)
    params = random_params(config, 0)
    with pytest.raises(ConfigError, match="metric 'accuracy': expected one of in_context_acc, acc, loss"):
        score(params, forward(params, batch, config.model).final, batch, ["acc", "accuracy"])


def test_in_context_acc_is_false_where_the_target_is_not_shown():
    config, bank = make(4)
    batch = evaluation_set("iwl", config, bank)
    scores = label_logits(random_params(config, 0), torch.randn(N, 64), batch.labels)
    assert not in_context_correct(scores, batch).any()


def test_stacked_scores_are_the_single_ones():
    config, bank = make(2)
    batch = evaluation_set("train", config, bank, n=700)  # more rows than one block
    seeds = (0, 1, 2)
    together = random_params(config, *seeds)
    final = forward(together, batch, config.model).final  # [s, 1, b, d]
    got = score(together, final.expand(3, 4, 700, 64), batch)
    for i, seed in enumerate(seeds):
        params = random_params(config, seed)
        one = score(params, forward(params, batch, config.model).final, batch)
        for metric in METRICS:
            assert got[metric].shape == (3, 4, 700)
            for c in range(4):
                torch.testing.assert_close(got[metric][i, c], one[metric], rtol=1e-5, atol=1e-5)


def test_score_computes_only_what_is_asked():
    config, bank = make(2)
    batch = evaluation_set("icl", config, bank)
    params = random_params(config, 0)
    final = forward(params, batch, config.model).final
    everything = score(params, final, batch)
    for metric in METRICS:
        only = score(params, final, batch, [metric])
        assert list(only) == [metric]
        assert torch.equal(only[metric], everything[metric])


def test_evaluate_params_rows():
    config, bank = make(2)
    sets = evaluation_sets(config, bank)
    rows = evaluate_params(random_params(config, 0), sets, config)
    assert [(r["evaluator"], r["metric"]) for r in rows] == [(e, m) for e in FIXED for m in METRICS]
    for r in rows:
        assert set(r) == {"evaluator", "metric", "value", "n", "ci_low", "ci_high"}
        assert r["n"] == N
        assert r["ci_low"] <= r["value"] <= r["ci_high"]
        assert all(type(r[k]) is float for k in ("value", "ci_low", "ci_high"))
    untrained = {(r["evaluator"], r["metric"]): r["value"] for r in rows}
    assert untrained["iwl", "in_context_acc"] == 0.0
    assert untrained["icl", "in_context_acc"] == pytest.approx(0.5, abs=0.12)


def refused(name: str, config: Config, message: str):
    with pytest.raises(ConfigError) as error:
        evaluation_set(name, config, build_bank(config))
    assert message in str(error.value)


def test_refusals():
    config, _ = make(2)
    refused("iclx", config, "no evaluator named 'iclx'; there are train, icl,")
    refused("icl", make(3)[0], "sequences.n_pairs=3: the icl and flip evaluators fill the context")

    def bank(**changes) -> Config:
        return dataclasses.replace(config, bank=dataclasses.replace(config.bank, **changes))

    refused("icl_holdout", bank(n_holdout_classes=0), "raise bank.n_holdout_classes")
    # These would redraw for ever, looking for a class or a label that is not there.
    refused("iwl", bank(n_classes=2), "evaluator 'iwl': a sequence needs 3 distinct classes")
    refused("ciwl", bank(n_labels=2), "evaluator 'ciwl': a sequence needs 3 distinct labels, but there are 2")
    wide = make(8, burstiness=1, rest="unique", exemplars="no_replacement")[0]
    few = dataclasses.replace(wide, bank=dataclasses.replace(wide.bank, n_exemplars=2))
    assert len(evaluation_set("icl", few, build_bank(few))) == N  # with replacement two are enough
    few = dataclasses.replace(few, eval_exemplars="as_training")
    refused("icl", few, "evaluator 'icl': sequences.exemplars='no_replacement' may show 5 exemplars")


def test_the_published_evaluation_draws_from_the_first_classes_and_exemplars():
    config, bank = make()
    first = dataclasses.replace(config, eval_first=(15, 2), n_eval=2000)
    for name in ("icl", "flip", "ciwl", "iwl", "train"):
        batch = evaluation_set(name, first, bank)
        assert set(batch.classes.flatten().tolist()) == set(range(15))
        assert set(batch.exemplar_ids.flatten().tolist()) == {0, 1}
    twice = evaluation_set("icl", first, bank)
    same = (twice.classes[:, :-1] == twice.classes[:, -1:]) & (twice.exemplar_ids[:, :-1] == twice.exemplar_ids[:, -1:])
    assert same.any(1).double().mean().item() == pytest.approx(1 - (1 / 2) ** 2, abs=0.05)  # two pairs of two drawings


@pytest.mark.parametrize("first", [(1, 2), (41, 2), (10, 0), (10, 7)])
def test_an_evaluation_set_of_what_is_not_there_is_refused(first):
    config, _ = make()
    with pytest.raises(ConfigError, match="eval_first"):
        dataclasses.replace(config, eval_first=first)


def relabelled(**changes) -> tuple[Config, Bank]:
    """Five labels dealt out anew per sequence over 40 classes of one exemplar; two pairs of labels held out."""
    sequences = SequenceConfig(**{"labels": "random", "held_out_pairs": 2} | changes)
    bank = BankConfig(n_classes=40, n_exemplars=1, n_holdout_classes=10, n_holdout_exemplars=4, n_labels=5, dim=5)
    config = Config(name="x", steps=1, bank=bank, sequences=sequences, n_eval=N)
    return config, build_bank(config)


def pairs_shown(batch: Batch) -> set[tuple[int, ...]]:
    return {tuple(sorted(set(row))) for row in batch.labels.tolist()}


def test_where_labels_are_dealt_out_anew_only_what_makes_sense_is_asked():
    config, bank = relabelled()
    assert list(evaluation_sets(config, bank)) == ["train", "holdout_pairs", "holdout_classes", "holdout_exemplars"]
    for name in FIXED[1:]:
        with pytest.raises(ConfigError, match=f"evaluator {name!r} does not apply .* The run has train, holdout_pairs"):
            evaluation_set(name, config, bank)
    bare = dataclasses.replace(
        config,
        bank=dataclasses.replace(config.bank, n_holdout_classes=1, n_holdout_exemplars=0),
        sequences=dataclasses.replace(config.sequences, held_out_pairs=0),
    )
    assert list(evaluation_sets(bare, build_bank(bare))) == ["train"]
    with pytest.raises(ConfigError, match=r"raise bank\.n_holdout_classes"):
        evaluation_set("holdout_classes", bare, build_bank(bare))
    plain, plain_bank = make(2)
    with pytest.raises(ConfigError, match=r"'holdout_pairs' does not apply to this run: it needs .*held_out_pairs"):
        evaluation_set("holdout_pairs", plain, plain_bank)
    own = dataclasses.replace(plain, sequences=SequenceConfig(labels="random"))  # as many labels as classes
    assert list(evaluation_sets(own, build_bank(own))) == FIXED


def test_held_out_pairs_classes_and_exemplars():
    config, bank = relabelled()
    sets = evaluation_sets(config, bank)
    trained, held = pairs_shown(sets["train"]), pairs_shown(sets["holdout_pairs"])
    assert (len(trained), len(held)) == (8, 2)
    assert not trained & held
    for name, batch in sets.items():
        same = in_context(batch)
        assert torch.equal(batch.labels == batch.target[:, None], same), name
        assert (same.sum(1) == 1).all(), name
        assert name == "holdout_pairs" or pairs_shown(batch) == trained, name
        part = part_shown(bank, name)
        shown = part.exemplars[batch.classes.numpy(), batch.exemplar_ids.numpy()]
        np.testing.assert_array_equal(batch.exemplars.numpy(), shown)
    x = bank.exemplars
    for name, where in (
        ("train", x[:40, :1]),
        ("holdout_pairs", x[:40, :1]),
        ("holdout_classes", x[40:, :1]),
        ("holdout_exemplars", x[:40, 1:]),
    ):
        shown = {row.tobytes() for row in sets[name].exemplars.reshape(-1, 5).numpy()}
        there = {row.tobytes() for row in where.reshape(-1, 5)}
        assert shown <= there, name
        assert len(shown) > 0.9 * len(there), name  # of 300 sequences


def test_classes_that_share_a_label_of_their_own_meet_where_labels_are_dealt_out_anew():
    config, bank = relabelled()
    for name, batch in evaluation_sets(config, bank).items():
        meet = (batch.trained_labels[:, 0] == batch.trained_labels[:, 1]).float().mean().item()
        assert meet == pytest.approx(0.18, abs=0.09), name  # 7 of 39 others; of held-out classes 1 of 9


def test_held_out_sets_are_uniform_and_draw_exemplars_with_replacement_whatever_is_trained_on():
    config, bank = relabelled()
    skewed, _ = relabelled(zipf=1.0, exemplars="matched")
    for name in ("holdout_pairs", "holdout_classes", "holdout_exemplars"):
        one, two = evaluation_set(name, config, bank), evaluation_set(name, skewed, bank)
        assert torch.equal(one.classes, two.classes), name
        assert torch.equal(one.exemplar_ids, two.exemplar_ids), name


def test_chance_where_labels_are_dealt_out_anew():
    config, bank = relabelled()
    for name, batch in evaluation_sets(config, bank).items():
        got = chance(name, batch, config.bank.labels)
        assert (got["in_context_acc"], got["acc"]) == (0.5, 0.2), name
        assert got["loss"] == pytest.approx(np.log(5)), name
