"""Training on another device: the same numbers, nothing on the wrong device, and nothing waited for."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pretend_device
import pytest
import torch

from mechicl.config import BankConfig, Config, ModelConfig, OptimConfig, ScheduleConfig
from mechicl.engine.forward import stack
from mechicl.errors import ConfigError, SeriesError
from mechicl.models.params import init, pack
from mechicl.protocol.batch import stack_batches
from mechicl.series import open_series
from mechicl.system import devices
from mechicl.system.files import read_json
from mechicl.tasks.markov import Markov
from mechicl.tasks.text import Text
from mechicl.tasks.text.batch import repeated as repeated_tokens
from mechicl.training import loop
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import checked_source, train, training_batches
from mechicl.training.on_device import DeviceTrainer, Repeated
from mechicl.training.replay import densify, resume
from mechicl.training.step import Trainer
from mechicl.training_interventions import TrainingIntervention

MODELS = {
    "plain": ModelConfig(d_model=8, n_heads=2),
    "mlp": ModelConfig(d_model=8, n_heads=2, n_layers=3, mlp_ratio=2, activation="gelu_tanh"),
    "rotary": ModelConfig(d_model=8, n_heads=2, positions="rotary"),
    "conv": ModelConfig(d_model=8, n_heads=2, encoder="conv", channels=(2,), positions="sinusoidal"),
}
TREATED = (
    TrainingIntervention(kind="freeze", groups=("attention",), start=2, stop=4),
    TrainingIntervention(kind="ablate", heads=((0, 1),), start=1),
    TrainingIntervention(kind="clamp", heads=((1, 0),), pattern="previous", start=3),
    TrainingIntervention(kind="reset", groups=("embeddings",), start=3, stop=4),
)


def config(model: str = "plain", **other) -> Config:
    settings = {
        "name": "x",
        "steps": 6,
        "batch_size": 4,
        "model": MODELS[model],
        "n_eval": 12,
        "states": 2,
        "optim": OptimConfig(lr=3e-3, l2=1e-3),
        "checkpoint_steps": ScheduleConfig(linear_every=3),
    }
    if "task" not in other:
        settings["bank"] = BankConfig(n_classes=6, n_exemplars=3, n_holdout_classes=2, dim=16)
    return Config(**(settings | other))


def markov() -> Config:
    return config(task=Markov(n_states=3, n_chains=4, length=8), model="rotary")


@pytest.fixture
def device(monkeypatch):
    with pretend_device.pretended(monkeypatch) as made:
        yield made


def batches_of(config: Config, n: int = 5) -> list:
    return list(training_batches(config, checked_source(config, None), 0, n))


def apart(one: Trainer, two: Trainer) -> float:
    """The largest difference of any number that a step changes."""
    a, b = one.held(), two.held()
    return max(float((a[name] - b[name].cpu()).abs().max()) for name in a)


@pytest.mark.parametrize("place", ["cpu", pretend_device.NAME])
@pytest.mark.parametrize("model", MODELS)
def test_steps_are_those_of_the_compiled_kernels(device, model, place):
    """Also on the CPU: what a CUDA graph would repeat, called."""
    c = config(model)
    one, two = Trainer(c, pack(init(c))), DeviceTrainer(c, pack(init(c)), place)
    for batch in batches_of(c):
        assert float(two.update(batch)) == pytest.approx(float(one.update(batch)), abs=1e-5)
    assert apart(one, two) < 3e-5
    assert {x.device.type for x in two.held().values()} == {place}
    assert {x.device.type for x in two.state().values()} == {"cpu"}


@pytest.mark.parametrize("intervention", TREATED, ids=lambda t: t.kind)
def test_treated_steps_are_the_same(device, intervention):
    c = config(training_interventions=(intervention,))
    one, two = Trainer(c, pack(init(c))), DeviceTrainer(c, pack(init(c)), pretend_device.NAME)
    for batch in batches_of(c):
        assert float(two.update(batch)) == pytest.approx(float(one.update(batch)), abs=1e-5)
    assert apart(one, two) < 1e-5


@pytest.mark.parametrize("model", MODELS)
def test_stacked_seeds_are_each_what_they_are_alone(device, model):
    configs = [config(model).with_seed(seed) for seed in range(3)]
    each = [batches_of(c) for c in configs]
    together = DeviceTrainer(configs[0], stack(pack(init(c)) for c in configs), pretend_device.NAME)
    alone = [DeviceTrainer(c, pack(init(c)), pretend_device.NAME) for c in configs]
    for group in zip(*each, strict=True):
        values = together.update(stack_batches(group)).cpu()
        assert values.tolist() == pytest.approx([float(t.update(b)) for t, b in zip(alone, group, strict=True)])
    for i, one in enumerate(alone):
        gone = {name: x.cpu() for name, x in one.params.items()}
        for name, p in together.member(i).items():
            torch.testing.assert_close(p.cpu(), gone[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [config, markov], ids=["exemplars", "markov"])
def test_a_step_waits_for_nothing_and_fetches_nothing(device, make):
    """What a CUDA graph cannot record: a number that Python waits for, a copy from the CPU."""
    c = make()
    trainer = DeviceTrainer(c, pack(init(c)), pretend_device.NAME)
    first, *others = batches_of(c)
    trainer.update(first)
    assert trainer._repeated is not None
    for counted in (device.ran, device.waited, device.crossed):
        counted.clear()
    for _ in others:
        trainer._repeated.function(trainer._repeated.batch)
    assert +device.waited == Counter()
    assert +device.crossed == Counter()
    assert device.ran["aten.mm"] + device.ran["aten.bmm"] > 0


def test_batches_whose_steps_differ_are_not_repeated(device):
    """Text scores the positions that a mask picks: how many is a number to wait for."""
    c = config(task=Text(vocabulary=7, length=8))
    trainer = DeviceTrainer(c, pack(init(c)), pretend_device.NAME)
    one, rng = Trainer(c, pack(init(c))), np.random.default_rng(0)
    for batch in [repeated_tokens(7, 4, 8, rng) for _ in range(3)]:
        assert float(trainer.update(batch)) == pytest.approx(float(one.update(batch)), abs=1e-5)
    assert trainer._repeated is None
    assert not batch.static


def test_a_repeated_function_reads_where_the_first_batch_was():
    c = config()
    first, second, *_ = batches_of(c)
    seen = []
    repeated = Repeated(lambda batch: seen.append(batch) or batch.exemplars.sum(), first, torch.zeros(1))
    assert float(repeated(first)) == float(first.exemplars.sum())
    assert float(repeated(second)) == float(second.exemplars.sum())
    assert seen[0] is seen[1]
    assert repeated.takes(second)
    assert not repeated.takes(second[:2])


def test_a_run_elsewhere_is_a_run(device, tmp_path):
    """Trained, evaluated and saved; opened on the CPU, its checkpoints score what was recorded."""
    run = train(config(), tmp_path / "away", device=pretend_device.NAME, progress=False)
    here = train(config(), tmp_path / "here", progress=False)
    assert run.complete
    assert not (run.root / "latest.safetensors").exists()
    for a, b in zip(run.metrics.itertuples(), here.metrics.itertuples(), strict=True):
        assert (a.step, a.evaluator, a.metric) == (b.step, b.evaluator, b.metric)
        assert a.value == pytest.approx(b.value, abs=0.2 if a.metric != "loss" else 1e-4)
    np.testing.assert_allclose(run.training_loss.loss, here.training_loss.loss, atol=1e-5)
    assert run.device == "cpu"
    assert run.weights(6)["unembed.W_U"].device.type == "cpu"
    recorded = run.manifest["device"]
    assert recorded == {
        "kind": pretend_device.NAME,
        "name": "pretended",
        "tf32": False,
        "autocast": False,
        "deterministic_algorithms": True,
        "stacked": 1,
    }
    assert here.manifest["device"]["kind"] == "cpu"
    assert not torch.are_deterministic_algorithms_enabled()


def test_seeds_elsewhere_share_each_step(device, tmp_path):
    runs = train_seeds(config(), range(3), tmp_path / "away", device=pretend_device.NAME, progress=False)
    assert [run.manifest["device"]["stacked"] for run in runs] == [3, 3, 3]
    here = train_seeds(config(), range(3), tmp_path / "here", jobs=1, progress=False)
    for a, b in zip(runs, here, strict=True):
        np.testing.assert_allclose(a.training_loss.loss, b.training_loss.loss, atol=1e-5)


def test_a_seed_that_diverges_elsewhere_leaves_the_others(device, tmp_path, monkeypatch):
    check = loop.check_checkpoint
    monkeypatch.setattr(
        loop,
        "check_checkpoint",
        lambda root, step, held, weights, loss: check(
            root, step, held, weights, float("nan") if root.name == "away-s1" and step else loss
        ),
    )
    with pytest.raises(loop.Diverged, match="away-s1: the training loss is nan at step 3"):
        train_seeds(config(), range(3), tmp_path / "away", device=pretend_device.NAME, progress=False)
    monkeypatch.setattr(loop, "check_checkpoint", check)
    here = train_seeds(config(), range(3), tmp_path / "here", jobs=1, progress=False)
    for seed in (0, 2):
        run = open_series(tmp_path / f"away-s{seed}")
        assert run.complete
        np.testing.assert_allclose(run.training_loss.loss, here[seed].training_loss.loss, atol=1e-5)
        (since,) = run.manifest["moved"]  # two in each step give other last bits than three
        assert (since["from"], since["device"]["stacked"]) == (3, 2)


def interrupted(monkeypatch, root, at: int, **options):
    """A run that was killed while it evaluated a step."""

    def stop(series, step, *rest, **more):
        if step == at:
            raise KeyboardInterrupt
        return kept(series, step, *rest, **more)

    kept = loop.check_checkpoint
    with monkeypatch.context() as patched:
        patched.setattr(loop, "check_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config(**options), root, device=pretend_device.NAME, progress=False)
    return open_series(root)


def test_a_run_goes_on_where_it_was_begun(device, tmp_path, monkeypatch):
    whole = train(config(), tmp_path / "whole", device=pretend_device.NAME, progress=False)
    part = interrupted(monkeypatch, tmp_path / "part", 6)
    assert part.steps == [0, 3]
    resumed = resume(part.root, progress=False)
    assert "moved" not in resumed.manifest
    for step in whole.steps:
        assert resumed.entry(step).sha256 == whole.entry(step).sha256
    dense = densify(whole.root, 3, 6, 1, progress=False)
    assert dense.steps == [0, 3, 4, 5, 6]


def test_densify_of_an_unfinished_run_leaves_its_newest_state(device, tmp_path, monkeypatch):
    """On a device each evaluated step has a state; a replay passes such steps again."""
    every = {"checkpoint_steps": ScheduleConfig(linear_every=1)}
    whole = train(config(**every), tmp_path / "whole", device=pretend_device.NAME, progress=False)
    part = interrupted(monkeypatch, tmp_path / "part", 6, **every)
    newest = (part.root / "latest.safetensors").read_bytes()
    assert loop.resumes_from(part) == 5
    densify(part.root, 0, 2, 1, progress=False)
    assert (part.root / "latest.safetensors").read_bytes() == newest
    assert loop.resumes_from(open_series(part.root)) == 5
    resumed = resume(part.root, progress=False)
    assert {step: resumed.entry(step).sha256 for step in resumed.steps} == {
        step: whole.entry(step).sha256 for step in whole.steps
    }
    assert not (part.root / "latest.safetensors").exists()


def test_a_run_that_goes_on_elsewhere_says_so(device, tmp_path, monkeypatch):
    part = interrupted(monkeypatch, tmp_path / "part", 6)
    resumed = resume(part.root, device="cpu", progress=False)
    assert resumed.complete
    (entry,) = resumed.manifest["moved"]
    assert (entry["from"], entry["device"]["kind"]) == (3, "cpu")
    with pytest.raises(SeriesError, match=r"was trained on meta \(pretended\).*a replay on cpu"):
        densify(part.root, 0, 3, 1, progress=False)


def test_a_run_does_not_contradict_its_own_checkpoints(device, tmp_path, monkeypatch):
    part = interrupted(monkeypatch, tmp_path / "part", 6)
    (part.root / "latest.safetensors").unlink()  # as of a run from before states were kept at each checkpoint
    for path in (part.root / "state").glob("*"):
        path.unlink()
    with pytest.raises(SeriesError, match=r"trained on meta.* to step 3, but the last saved state"):
        resume(part.root, device="cpu", progress=False)
    assert "moved" not in read_json(part.root / "manifest.json")


def test_a_device_that_is_gone_is_named_with_what_helps(device, tmp_path, monkeypatch):
    part = interrupted(monkeypatch, tmp_path / "part", 6)
    monkeypatch.setattr(devices, "present", lambda: {"cpu": "x86_64"})
    with pytest.raises(ConfigError, match=r"was trained on meta.*This machine has cpu.*train --resume .* --device cpu"):
        resume(part.root, progress=False)


def test_nothing_is_written_for_a_device_that_is_not_there(tmp_path):
    for call in (train, lambda c, out, device: train_seeds(c, [0], out, device=device)):
        with pytest.raises(ConfigError, match=r"'cuda': this machine has cpu .*--device cpu"):
            call(replace(config(), name="y"), tmp_path / "y", device="cuda")
    assert not list(tmp_path.iterdir())
