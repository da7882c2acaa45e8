"""What the program around has set decides nothing: the same bytes, and its settings as it had them."""

import dataclasses
import hashlib
import os
import random
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from mechicl.config import BankConfig, Config, ModelConfig, ScheduleConfig
from mechicl.interventions import AblateHeads
from mechicl.measures.attention import attention_scores
from mechicl.measures.attribution import logit_attribution
from mechicl.measures.phases import series_phases
from mechicl.reporting.summary import one
from mechicl.series import open_series
from mechicl.system.surroundings import own_settings
from mechicl.training.loop import train
from mechicl.training.replay import densify, resume

MODELS = {
    "plain": ModelConfig(d_model=8, n_heads=2, mlp_ratio=1, mlp_layers=(1,)),
    "rotary": ModelConfig(d_model=8, n_heads=2, positions="rotary"),
    "conv": ModelConfig(d_model=8, n_heads=2, encoder="conv", channels=(2,), positions="sinusoidal"),
}


def config(kind: str) -> Config:
    return Config(
        name="x",
        steps=6,
        batch_size=4,
        model=MODELS[kind],
        n_eval=12,
        states=2,
        bank=BankConfig(n_classes=6, n_exemplars=3, n_holdout_classes=2, dim=16),
        checkpoint_steps=ScheduleConfig(linear_every=3),
    )


def settings() -> tuple:
    """Everything that a program may have set, as it can be seen."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        np.geterr(),
        torch.get_num_threads(),
        not np.float32(1e-40) * np.float32(1),
        torch.initial_seed(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


@contextmanager
def seeds():
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@contextmanager
def set_to(setter, value, before):
    setter(value)
    try:
        yield
    finally:
        setter(before)


AROUND = {
    "no gradients": lambda: set_to(torch.set_grad_enabled, False, True),
    "inference mode": torch.inference_mode,
    "default device": lambda: set_to(torch.set_default_device, "meta", None),
    "device context": lambda: torch.device("meta"),
    "default dtype": lambda: set_to(torch.set_default_dtype, torch.float64, torch.float32),
    "half by default": lambda: set_to(torch.set_default_dtype, torch.float16, torch.float32),
    "matmul precision": lambda: set_to(torch.set_float32_matmul_precision, "medium", "highest"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: set_to(torch.use_deterministic_algorithms, True, False),
    "flush denormal": lambda: set_to(torch.set_flush_denormal, True, False),
    "numpy raises": lambda: np.errstate(all="raise"),
    "threads": lambda: set_to(torch.set_num_threads, 2, 1),
    "seeds": seeds,
}


def everything(kind: str, root: Path) -> dict[str, bytes]:
    """Train, evaluate, ablate, build a model and read: all numbers, by name."""
    series = train(config(kind), root, progress=False)
    last = series.steps[-1]
    table = series.evaluate(ablate=AblateHeads(heads=((0, 1),), kind="mean"))
    model, batch = series.model(last), series.evaluation_set("icl", 5)
    folded = series.model(last, fold_ln=True)
    hooks = model.hooks_for(AblateHeads(heads=((1, 0),), kind="mean"), batch)
    out = {f"{e.kind} {e.step}": e.sha256.encode() for e in series.entries}
    out |= {name: w.numpy().tobytes() for name, w in series.weights(last).items()}
    out |= {f"folded {name}": p.detach().numpy().tobytes() for name, p in folded.named_parameters()}
    out |= {name: v.numpy().tobytes() for name, v in vars(batch).items()}
    out |= {f"packed {name}": p.numpy().tobytes() for name, p in series.params([last]).items()}
    with own_settings(), torch.no_grad():  # a model's own pass is the user's, under the user's settings
        out["logits"] = model(batch).numpy().tobytes()
        out["ablated"] = model.run_with_hooks(batch, fwd_hooks=hooks).numpy().tobytes()
    out["evaluate"] = table.to_csv().encode()
    out["attention"] = attention_scores(series, n=12).to_csv().encode()
    out["attribution"] = logit_attribution(series, n=12).to_csv().encode()
    out["shown"] = (one(series).replace(str(root), "") + str(series_phases(series))).encode()
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" and not p.is_inference() for p in model.parameters())
    assert not any(x.is_inference() for x in (*series.weights(last).values(), *vars(batch).values()))
    return out


@pytest.fixture(scope="module", params=MODELS)
def alone(request, tmp_path_factory) -> tuple[str, dict[str, bytes]]:
    """A kind of model, and its numbers where nothing was set."""
    return request.param, everything(request.param, tmp_path_factory.mktemp("alone") / "x")


@pytest.mark.parametrize("around", AROUND)
def test_no_global_decides_anything(around, alone, tmp_path):
    kind, wanted = alone
    with AROUND[around]():
        before = settings()
        got = everything(kind, tmp_path / "x")
        assert settings() == before
    assert got.keys() == wanted.keys()
    assert [name for name in wanted if got[name] != wanted[name]] == []


def test_a_model_that_was_built_in_inference_mode_can_be_trained(tmp_path):
    with torch.inference_mode():
        series = train(config("plain"), tmp_path / "x", progress=False)
        model, batch = series.model(6), series.evaluation_set("icl", 5)
    model(batch, return_type="loss").backward()
    assert model.embed.W_E.grad.abs().sum() > 0


def test_replays_are_exact_under_other_settings(tmp_path):
    train(config("rotary"), tmp_path / "x", progress=False)
    (tmp_path / "x" / "state" / "step_00000006.safetensors").unlink()
    with ExitStack() as stack:
        for around in ("no gradients", "default device", "default dtype", "numpy raises"):
            stack.enter_context(AROUND[around]())
        resume(tmp_path / "x", progress=False)
        densify(tmp_path / "x", 3, 5, 1, progress=False)  # an error, if one byte differed
    assert open_series(tmp_path / "x").steps == [0, 3, 4, 5, 6]


def test_settings_nest_and_are_back_after_an_error():
    with torch.inference_mode():
        before = settings()
        with own_settings(), own_settings():
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        assert settings() == before
        with pytest.raises(ZeroDivisionError):
            own_settings()(lambda: 1 / 0)()
        assert settings() == before


@pytest.mark.slow
def test_the_environment_decides_nothing(tmp_path):
    """Threads of OpenMP and BLAS, the order of sets: in processes of their own."""
    code = "import sys; from test_surroundings import digest; print(digest(sys.argv[1]))"
    found = []
    for i, extra in enumerate(
        ({}, {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "PYTHONHASHSEED": "7"})
    ):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2])), **extra}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / str(i) / "x")],
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        found.append(done.stdout.split()[-1])
    assert found[0] == found[1]


def digest(root: str) -> str:
    """Of everything that can be computed, for `test_the_environment_decides_nothing`."""
    found = {kind: everything(kind, Path(root) / kind) for kind in MODELS}
    return hashlib.sha256(repr(found).encode()).hexdigest()


def test_a_bank_of_components_is_the_same_on_any_number_of_threads(monkeypatch, tmp_path):
    """PCA's last bits depend on BLAS's threads, and a bank that differs in one bit is refused."""
    from safetensors.numpy import save_file
    from threadpoolctl import threadpool_limits

    from mechicl.tasks.exemplar_label.banks.build import build_bank

    pytest.importorskip("sklearn")
    table = np.random.default_rng(0).standard_normal((3000, 300)).astype(np.float32)
    save_file({"table": table}, tmp_path / "table.safetensors")
    wanted = dataclasses.replace(config("plain"), bank=BankConfig(kind="tokens", n_classes=20, n_exemplars=5, dim=100))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(build_bank(wanted, tmp_path / "table.safetensors").fingerprint)
    assert found[0] == found[1]
