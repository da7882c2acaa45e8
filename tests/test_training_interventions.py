"""Training interventions as recipe fields: what each does to a run, step by step; exact resume; what is refused."""

import itertools
import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mechicl.config import Config, SequenceConfig, TrainingIntervention, from_dict, to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import evaluate_params, evaluation_sets
from mechicl.interventions import AblateHeads
from mechicl.models.params import init, pack
from mechicl.series import Series, open_series
from mechicl.series.verify import verify
from mechicl.system.files import read_jsonl
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.relabelled import bank_at, bank_of
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import train, training_batches
from mechicl.training.on_device import DeviceTrainer
from mechicl.training.replay import densify, resume
from mechicl.training.step import Trainer, loss
from mechicl.training_interventions import in_force, in_groups, updates_of_moments


def treated(config: Config, *interventions: dict, **changes) -> Config:
    return replace(config, training_interventions=tuple(TrainingIntervention(**t) for t in interventions), **changes)


ICL_ONLY = SequenceConfig(labels="random")
EVERY_KIND = {
    "ablate": [{"kind": "ablate", "heads": ((0, 1),), "start": 13, "stop": 37}],
    "clamp": [{"kind": "clamp", "heads": ((0, 0),), "pattern": "forbid_previous", "start": 7}],
    "fresh_moments": [{"kind": "fresh_moments", "start": 23}],
    "clamp_match": [{"kind": "clamp_match", "heads": ((1, 1),), "strength": 0.8, "start": 7}],
    "clamp_copy": [{"kind": "clamp_copy", "heads": ((1, 0),), "start": 3, "stop": 41}],
    "clamp_layer": [{"kind": "clamp_layer", "start": 11}],
    "freeze": [{"kind": "freeze", "groups": ("attention.0", "unembedding"), "start": 15, "stop": 44}],
    "reset": [{"kind": "reset", "groups": ("embeddings",), "start": 5, "every": 11}],
    "data": [{"kind": "data", "sequences": ICL_ONLY, "start": 23, "fresh_moments": True}],
    "relabel": [{"kind": "relabel", "start": 9, "every": 13}],
    "several": [
        {"kind": "relabel", "start": 30, "every": 7, "stop": 50},
        {"kind": "reset", "groups": ("all",), "start": 33},
        {"kind": "freeze", "groups": ("embeddings",), "stop": 20},
    ],
}


def files(root: Path) -> dict[str, bytes]:
    kept = (p for p in root.rglob("*") if p.is_file() and p.name != ".lock")
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in kept}


@pytest.fixture(scope="module")
def whole(tiny_config, tmp_path_factory) -> dict[str, Series]:
    """A run of each kind, unbroken, with states at 20, 40 and 60."""
    root = tmp_path_factory.mktemp("treated")
    return {k: train(treated(tiny_config, *v), root / k, progress=False) for k, v in EVERY_KIND.items()}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_treated_run_is_saved_and_differs_from_then_on(whole, tiny_series, kind):
    series = whole[kind]
    assert open_series(series.root).config == series.config
    assert verify(series.root) == []
    first = min(t.start for t in series.config.training_interventions)
    for step in series.steps:
        same = series.entry(step).sha256 == tiny_series.entry(step).sha256
        assert same == (step <= first)


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("state", [0, 20, 40])
def test_resumed_from_every_state_to_the_same_bytes(whole, tmp_path, kind, state):
    series, root = whole[kind], tmp_path / kind
    shutil.copytree(series.root, root)
    kept = [e for e in series.entries if e.step <= state and state]
    lines = [{k: getattr(e, k) for k in ("kind", "step", "sequences", "file", "bytes", "sha256")} for e in kept]
    (root / "index.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    for e in series.entries:
        if e not in kept:
            (root / e.file).unlink()
    metrics = [x for x in read_jsonl(series.root / "metrics.jsonl") if x["step"] <= state and state]
    (root / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in metrics))
    resume(root, progress=False)
    assert {e.file: e.sha256 for e in open_series(root).entries} == {e.file: e.sha256 for e in series.entries}
    assert read_jsonl(root / "metrics.jsonl") == read_jsonl(series.root / "metrics.jsonl")


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_densified_from_the_middle(whole, tmp_path, kind):
    shutil.copytree(whole[kind].root, tmp_path / kind)
    dense = densify(tmp_path / kind, 31, 52, 3, progress=False)  # passes what was saved at 40 and 50
    config, bank = dense.config, dense.bank
    trainer = Trainer(config, pack(init(config)))
    for batch in training_batches(config, bank, 0, 31):
        trainer.update(batch)
    saved = pack(dense.weights(31))
    assert all(torch.equal(p, saved[name]) for name, p in trainer.params.items())


def test_an_intervention_ends(tiny_config):
    """Ablated in updates 2 and 3 only: before and after, the step is the untreated one."""
    config = treated(tiny_config, {"kind": "ablate", "heads": ((0, 0),), "start": 2, "stop": 4})
    bank = build_bank(config)
    treats, plain = Trainer(config, pack(init(config))), Trainer(tiny_config, pack(init(config)))
    losses = []
    for batch in training_batches(config, bank, 0, 6):
        for name, p in plain.params.items():  # the same weights before each update
            p.copy_(treats.params[name])
        losses.append((treats.update(batch).item(), plain.update(batch).item()))
    assert [a == b for a, b in losses] == [True, True, False, False, True, True]


def test_frozen_parameters_and_their_moments_stay(tiny_config):
    config = treated(
        tiny_config,
        {"kind": "freeze", "groups": ("attention.1", "embeddings"), "start": 3, "stop": 6},
        optim=replace(tiny_config.optim, l2=0.1),
    )
    trainer, history = Trainer(config, pack(init(config))), []
    for batch in training_batches(config, build_bank(config), 0, 8):
        history.append({k: x.clone() for k, x in trainer.state().items()})
        trainer.update(batch)
    for name in trainer.params:
        held = name.startswith(("blocks.1.", "embed", "exemplar", "pos"))
        assert in_groups(name, config.training_interventions[0].groups) == held
        for kind in ("weights", "exp_avg", "exp_avg_sq"):
            moved = [not torch.equal(a[f"{kind}/{name}"], b[f"{kind}/{name}"]) for a, b in itertools.pairwise(history)]
            assert moved == [True] * 3 + [not held] * 3 + [True], (name, kind)


def by_torchs_adam(config: Config, batches: list) -> dict[str, torch.Tensor]:
    """The same training by torch.optim.Adam, to which frozen parameters have no gradient; a reset parameter begins
    anew, without a state."""
    params = {name: p.clone().requires_grad_() for name, p in pack(init(config)).items()}
    optim = config.optim
    adam = torch.optim.Adam(params.values(), lr=optim.lr, betas=optim.betas, eps=optim.adam_eps, weight_decay=optim.l2)
    for update, batch in enumerate(batches):
        for x in config.training_interventions:
            if x.kind != "reset" or not x.falls_on(update):
                continue
            for name, p in pack(init(config, update)).items():
                if in_groups(name, x.groups):
                    params[name].data.copy_(p)
                    del adam.state[params[name]]
        adam.zero_grad()
        loss(params, batch, config).backward()
        held = [x.groups for x in config.training_interventions if x.kind == "freeze" and x.holds(update)]
        for name, p in params.items():
            if any(in_groups(name, groups) for groups in held):
                p.grad = None
        adam.step()
    return {name: p.detach() for name, p in params.items()}


FREEZES = {
    "once": [{"kind": "freeze", "groups": ("attention.1", "embeddings"), "start": 3, "stop": 13}],
    "from the start": [{"kind": "freeze", "groups": ("all",), "stop": 10}],
    "twice": [
        {"kind": "freeze", "groups": ("all",), "start": 2, "stop": 8},
        {"kind": "freeze", "groups": ("attention",), "start": 5, "stop": 14},  # they overlap
        {"kind": "freeze", "groups": ("unembedding",), "start": 15, "stop": 17},
    ],
    "reset before": [
        {"kind": "reset", "groups": ("attention.0",), "start": 3},
        {"kind": "freeze", "groups": ("attention",), "start": 4, "stop": 14},
    ],
    "reset meanwhile": [
        {"kind": "freeze", "groups": ("attention",), "start": 4, "stop": 14},
        {"kind": "reset", "groups": ("attention.0",), "start": 9},
    ],
}


@pytest.mark.parametrize("name", FREEZES)
@pytest.mark.parametrize("made", [Trainer, DeviceTrainer])
def test_after_a_freeze_adam_goes_on_as_torchs_does_without_gradients(tiny_config, name, made):
    config = treated(tiny_config, *FREEZES[name], optim=replace(tiny_config.optim, l2=0.1))
    batches = list(training_batches(config, build_bank(config), 0, 18))
    trainer, want = made(config, pack(init(config))), by_torchs_adam(config, batches)
    for batch in batches:
        trainer.update(batch)
    for key, p in trainer.params.items():
        torch.testing.assert_close(p, want[key], rtol=1e-3, atol=0.02 * config.optim.lr, msg=lambda m, key=key: key + m)


def test_adams_count_stands_still_while_a_parameter_is_frozen():
    def counts(*interventions: dict) -> list[int]:
        several = tuple(TrainingIntervention(**x) for x in interventions)
        return [updates_of_moments(several, update, "unembed.W_U") for update in range(8)]

    freeze = {"kind": "freeze", "groups": ("unembedding",)}
    assert counts() == counts({**freeze, "groups": ("embeddings",), "stop": 5}) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert counts({**freeze, "start": 2, "stop": 5}) == [1, 2, 2, 2, 2, 3, 4, 5]
    assert counts({**freeze, "stop": 3}) == [1, 1, 1, 1, 2, 3, 4, 5]
    assert counts({**freeze, "start": 1, "stop": 4}, {**freeze, "start": 2, "stop": 5}) == [1, 1, 1, 1, 1, 2, 3, 4]
    assert counts({**freeze, "start": 1, "stop": 5}, {"kind": "fresh_moments", "start": 3}) == [1, 1, 1, 1, 1, 1, 2, 3]
    assert counts({**freeze, "start": 6}) == [1, 2, 3, 4, 5, 6, 6, 6]


def test_a_reset_is_another_draw_of_the_init_with_fresh_moments(tiny_config):
    groups = ("embeddings", "mlp.0") if tiny_config.model.mlp_ratio else ("embeddings",)
    config = treated(tiny_config, {"kind": "reset", "groups": groups, "start": 2, "every": 3, "stop": 7})
    bank, optim = build_bank(config), config.optim
    trainer = Trainer(config, pack(init(config)))
    draws = []
    for update, batch in enumerate(training_batches(config, bank, 0, 9)):
        before = {k: p.clone() for k, p in trainer.params.items()}
        trainer.update(batch)
        if update not in (2, 5):
            continue
        fresh = pack(init(config, update))
        for name, p in trainer.params.items():
            reset = in_groups(name, groups)
            # A first step of Adam from cleared moments moves each parameter by lr, up to eps, or not at all.
            start = fresh[name] if reset else before[name]
            moved = (p - start).abs()
            if reset:
                assert ((moved < 1e-9) | ((moved - optim.lr).abs() < 0.02 * optim.lr)).float().mean() > 0.95, name
        draws.append(fresh["embed.W_E"])
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], pack(init(config))["embed.W_E"])
    assert torch.equal(draws[0], pack(init(config, 2))["embed.W_E"])  # seed and step alone
    assert not torch.equal(draws[0], pack(init(config.with_seed(1), 2))["embed.W_E"])
    assert draws[0].std().item() == pytest.approx(0.0176, rel=0.25)


def test_switched_data_is_that_of_the_other_setting(tiny_config):
    other = replace(tiny_config.sequences, labels="random")
    config = treated(tiny_config, {"kind": "data", "sequences": other, "start": 30, "stop": 70}, steps=100)
    bank = build_bank(config)
    got = list(training_batches(config, bank, 0, 100))
    plain = list(training_batches(replace(tiny_config, steps=100), bank, 0, 100))
    pure = list(training_batches(replace(tiny_config, steps=100, sequences=other), bank, 0, 100))
    for step, batch in enumerate(got):
        want = pure if 30 <= step < 70 else plain
        assert all(torch.equal(a, b) for a, b in zip(vars(batch).values(), vars(want[step]).values(), strict=True))
    late = list(training_batches(config, bank, 65, 75))
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(late, got[65:75], strict=True))


def test_fresh_moments_are_those_of_a_new_optimiser(tiny_config):
    same = {"kind": "data", "sequences": tiny_config.sequences, "start": 4}
    config = treated(tiny_config, {**same, "fresh_moments": True})
    bank = build_bank(config)
    batches = list(training_batches(config, bank, 0, 10))
    trainer = Trainer(config, pack(init(config)))
    for batch in batches[:4]:
        trainer.update(batch)
    new = Trainer(tiny_config, trainer.params)  # its own step 0
    kept = Trainer.from_state(treated(tiny_config, same), trainer.state())
    for batch in batches[4:]:
        assert trainer.update(batch).item() == new.update(batch).item()
        kept.update(batch)
    assert all(torch.equal(p, new.params[name]) for name, p in trainer.params.items())
    assert not torch.equal(kept.params["embed.W_E"], new.params["embed.W_E"])


def test_relabelling_permutes_the_map(tiny_config):
    config = treated(tiny_config, {"kind": "relabel", "start": 10, "every": 20, "stop": 45})
    bank = build_bank(config)
    maps = [bank_of(config, bank, s).label_of_class for s in range(60)]
    assert np.array_equal(maps[0], bank.label_of_class)
    changes = [s for s in range(1, 60) if not np.array_equal(maps[s], maps[s - 1])]
    assert changes == [10, 30]  # 50 lies after stop: the last map stays
    for m in maps:
        assert sorted(m[: bank.n_classes]) == sorted(bank.label_of_class[: bank.n_classes])
    for step, batch in enumerate(training_batches(config, bank, 0, 60)):
        assert np.array_equal(batch.trained_labels.numpy(), maps[step][batch.classes.numpy()])
        assert np.array_equal(batch.target.numpy(), maps[step][batch.classes[:, -1].numpy()])
    # A checkpoint is scored on the map of the update that made it.
    assert np.array_equal(bank_at(config, bank, 30).label_of_class, maps[29])
    assert np.array_equal(bank_at(config, bank, 31).label_of_class, maps[30])


def test_recorded_evaluators_are_of_the_model_as_it_is_trained(whole):
    series = whole["ablate"]
    lines = {line["step"]: line for line in read_jsonl(series.root / "metrics.jsonl")}
    assert {step: line.get("training_interventions") for step, line in lines.items()} == {
        step: ["ablate L0H1"] if 14 <= step <= 37 else None for step in series.steps
    }
    gone = AblateHeads(heads=((0, 1),))
    table = series.evaluate(ablate=gone).set_index(["step", "intervention", "evaluator", "metric"]).value
    recorded = series.metrics
    differ = 0
    for row in recorded.itertuples():
        ablated = str(gone) if lines[row.step].get("training_interventions") else "intact"
        assert row.value == pytest.approx(table[row.step, ablated, row.evaluator, row.metric], abs=1e-5)
        other = "intact" if ablated != "intact" else str(gone)
        differ += row.value != pytest.approx(table[row.step, other, row.evaluator, row.metric], abs=1e-5)
    assert differ > 10


def test_evaluators_of_a_relabelled_run_use_the_map_in_force(whole):
    series = whole["relabel"]
    for step in (0, 5, 10, 20, 60):
        sets = evaluation_sets(series.config, bank_at(series.config, series.bank, step))
        for name, batch in sets.items():
            assert torch.equal(batch.target, series.evaluation_set(name, step=step).target)
        rows = evaluate_params(pack(series.weights(step)), sets, series.config)
        got = series.metrics[series.metrics.step == step]
        assert list(got.value) == [row["value"] for row in rows]
    with pytest.raises(ConfigError, match=r"give a step, as in series\.evaluation_set"):
        series.evaluation_set("iwl")


def test_in_force_at_a_checkpoint_is_what_made_it():
    a = TrainingIntervention(kind="freeze", groups=("all",), start=3, stop=5)
    first = TrainingIntervention(kind="freeze", groups=("all",), stop=1)
    assert [step for step in range(8) if in_force((a,), step)] == [4, 5]
    assert [step for step in range(8) if in_force((first,), step)] == [0, 1]


def test_everything_frozen_is_no_fault_of_the_series(tiny_config, tmp_path):
    config = treated(tiny_config, {"kind": "freeze", "groups": ("all",), "start": 10, "stop": 30})
    series = train(config, tmp_path / "run", progress=False)
    assert series.entry(10).sha256 == series.entry(20).sha256 != series.entry(40).sha256
    assert verify(series.root) == []


def test_several_seeds_are_each_as_alone(tiny_config, tmp_path):
    config = treated(tiny_config, *EVERY_KIND["several"], *EVERY_KIND["ablate"])
    found = train_seeds(config, [0, 1], tmp_path / "run", jobs=1, progress=False)
    for seed, series in enumerate(found):
        alone = train(config.with_seed(seed), tmp_path / f"alone{seed}", progress=False)
        assert files(series.root) == files(alone.root)


# Grafts.


def graft(source: Path | str, *groups: str, step: int = 60, **more) -> dict:
    return {"kind": "graft", "groups": groups, "source": str(source), "step": step, **more}


def test_a_graft_starts_from_the_other_runs_weights(tiny_config, tiny_series, tmp_path):
    groups = ("layer.1", "unembedding")
    config = treated(tiny_config, graft(tiny_series.root, *groups), {"kind": "freeze", "groups": groups}).with_seed(7)
    series = train(config, tmp_path / "run", progress=False)
    donor, own = tiny_series.weights(60), init(config)
    for step in (0, 60):
        for name, w in series.weights(step).items():
            if in_groups(name, groups):
                assert torch.equal(w, donor[name]), name
            elif step == 0:
                assert torch.equal(w, own[name]), name
    (taken,) = series.manifest["grafts"]
    assert taken == {
        "source": str(tiny_series.root),
        "step": 60,
        "groups": list(groups),
        "sha256": tiny_series.entry(60).sha256,
    }
    assert verify(series.root) == []


def test_the_source_is_not_needed_again(tiny_config, tiny_copy, tmp_path):
    config = treated(tiny_config, graft(tiny_copy.root, "attention"), weights_dtype="float16")
    series = train(config, tmp_path / "run", progress=False)
    shutil.rmtree(tiny_copy.root)
    shutil.copytree(series.root, tmp_path / "again")
    for kind in ("weights", "state"):
        shutil.rmtree(tmp_path / "again" / kind)
    (tmp_path / "again" / "index.jsonl").unlink()
    (tmp_path / "again" / "metrics.jsonl").unlink()
    resume(tmp_path / "again", progress=False)
    assert files(tmp_path / "again") == files(series.root)
    (tmp_path / "again" / "initial.safetensors").unlink()
    (tmp_path / "again" / "index.jsonl").unlink()
    with pytest.raises(SeriesError, match="the grafted initial weights are gone"):
        resume(tmp_path / "again", progress=False)


def test_the_runs_own_seed_in_a_source(tiny_config, tiny_series, tmp_path):
    shutil.copytree(tiny_series.root, tmp_path / "donor-s5")
    config = treated(tiny_config, graft(tmp_path / "donor-s{seed}", "all")).with_seed(5)
    series = train(config, tmp_path / "run", progress=False)
    assert series.manifest["grafts"][0]["source"] == str(tmp_path / "donor-s5")
    assert all(torch.equal(w, tiny_series.weights(60)[k]) for k, w in series.weights(0).items())


@pytest.mark.parametrize(
    ("change", "step", "message"),
    [
        ({}, 61, "has no checkpoint at step 61"),
        ({"source": "nowhere"}, 60, "nowhere is not a run"),
        ({"d_model": 32}, 60, r"ln1\.w has shape \(16,\) in .*, but \(32,\) in this run"),
    ],
)
def test_a_source_that_will_not_do(tiny_config, tiny_series, tmp_path, change, step, message):
    model = replace(tiny_config.model, d_model=change.get("d_model", 16))
    source = tmp_path / change["source"] if "source" in change else tiny_series.root
    config = treated(tiny_config, graft(source, "attention", step=step), model=model)
    with pytest.raises(SeriesError, match=message):
        train(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "manifest.json").exists()


# What is refused.


@pytest.mark.parametrize(
    ("interventions", "message"),
    [
        ([{"kind": "ablate"}], "training intervention 'ablate' needs heads"),
        ([{"kind": "ablate", "heads": ((0, 0),), "pattern": "self"}], "'ablate' does not use pattern"),
        ([{"kind": "ablate", "heads": ((2, 0),)}], "there is no head L2H0: this model has layers 0..1"),
        ([{"kind": "ablate", "heads": ((0, 2),)}], r"training_interventions\[0\] .*there is no head L0H2"),
        ([{"kind": "ablate", "heads": ((0, 0),), "start": 60}], r"the run has updates 0\.\.59"),
        ([{"kind": "ablate", "heads": ((0, 0),), "stop": 61}], r"the run has updates 0\.\.59"),
        ([{"kind": "ablate", "heads": ((0, 0),), "start": 5, "stop": 5}], "expected 0 <= start < stop"),
        ([{"kind": "clamp", "heads": ((0, 0),)}], "needs pattern"),
        ([{"kind": "clamp_match"}], "needs heads"),
        ([{"kind": "clamp_match", "heads": ((0, 0),)}], "L0H0 is no head of the last layer: expected L1H0 to L1H1"),
        ([{"kind": "clamp_match", "heads": ((1, 0),), "strength": 1.5}], "expected a share of attention"),
        ([{"kind": "clamp_copy", "heads": ((1, 0), (1, 1))}], "the answer is read from one head"),
        ([{"kind": "clamp_layer", "heads": ((1, 0),)}], "'clamp_layer' does not use heads: it uses nothing else"),
        (
            [{"kind": "clamp_match", "heads": ((1, 0),)}, {"kind": "clamp", "heads": ((1, 0),), "pattern": "self"}],
            "both hold head L1H0",
        ),
        ([{"kind": "clamp_layer"}, {"kind": "clamp_layer", "start": 5}], "overlap"),
        ([{"kind": "freeze", "groups": ("attentoin",)}], "no group 'attentoin': expected one of all, attention"),
        ([{"kind": "freeze", "groups": ("attention.2",)}], r"this model has layers 0\.\.1"),
        ([{"kind": "freeze", "groups": ("mlp",)}], "this layer has no MLP"),
        ([{"kind": "freeze", "groups": ("attention.L",)}], "there is no group"),
        ([{"kind": "reset", "groups": ("all",)}], "start at 1 or later"),
        ([{"kind": "reset", "groups": ("all",), "start": 1, "every": 0}], "every=0: expected at least 1"),
        ([{"kind": "relabel"}], "needs every"),
        ([{"kind": "data"}], "needs sequences"),
        ([{"kind": "data", "sequences": SequenceConfig(n_pairs=4)}], "its n_pairs=4, but the model is built for"),
        ([{"kind": "graft", "groups": ("all",), "source": "x"}], "needs step"),
        ([graft("x", "all", start=3)], "it has no start and no stop"),
        (
            [{"kind": "data", "sequences": ICL_ONLY, "stop": 30}, {"kind": "data", "sequences": ICL_ONLY, "start": 29}],
            "overlap: stop the first before the second starts",
        ),
        ([{"kind": "relabel", "every": 5}, {"kind": "relabel", "every": 7, "start": 20}], "overlap"),
        (
            [
                {"kind": "clamp", "heads": ((0, 0),), "pattern": "self"},
                {"kind": "clamp", "heads": ((0, 1), (0, 0)), "pattern": "uniform", "start": 3},
            ],
            "both hold head L0H0",
        ),
    ],
)
def test_refused(tiny_config, interventions, message):
    with pytest.raises(ConfigError, match=message):
        treated(tiny_config, *interventions)


def test_relabelling_random_labels_is_refused(tiny_config):
    with pytest.raises(ConfigError, match="there is no map to permute"):
        treated(tiny_config, {"kind": "relabel", "every": 5}, sequences=ICL_ONLY)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_to_json_and_back(tiny_config, kind):
    config = treated(tiny_config, *EVERY_KIND[kind])
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_an_unknown_key_is_named(tiny_config):
    data = to_dict(tiny_config) | {"training_interventions": [{"kind": "ablate", "head": [[0, 0]]}]}
    with pytest.raises(ConfigError, match=r"interventions\[0\]\.head: unknown key\. Did you mean 'heads'"):
        from_dict(Config, data)


def test_the_documented_ones_are_possible():
    """Every `TrainingIntervention(...)` and TOML line of the page, in the recipe it is shown for."""
    text = (Path(__file__).parents[1] / "docs" / "training-interventions.md").read_text()
    toml = text.split("```toml\n")[1].split("```")[0]
    python = "\n".join(block.split("```")[0] for block in text.split("```python\n")[1:])
    scope: dict = {}
    exec(python.replace("mechicl.train(config)", "config"), scope)
    config = scope["config"]
    assert [t.kind for t in config.training_interventions] == ["ablate"]
    replace(config, training_interventions=scope["training_interventions"])
    listed = from_dict(Config, to_dict(config) | tomllib.loads(toml)).training_interventions
    assert [(t.kind, t.sequences) for t in listed] == [("data", ICL_ONLY)]
