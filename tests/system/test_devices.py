"""Devices are named as torch names them, and checked before anything is done."""

import os

import pytest
import torch

from mechicl import cli
from mechicl.errors import ConfigError
from mechicl.series import open_series
from mechicl.system import devices
from mechicl.system.surroundings import own_settings


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(devices, "present", lambda: {"cpu": "x86_64", "cuda:0": "H100", "cuda:1": "A100"})


@pytest.mark.parametrize(("name", "full"), [(None, "cpu"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")])
def test_names(two_gpus, name, full):
    assert devices.chosen(name) == full
    assert devices.kind_of(full) == full[: len(devices.kind_of(full))]


@pytest.mark.parametrize("name", ["cuda:2", "mps"])
def test_a_device_that_is_not_there(two_gpus, name):
    with pytest.raises(ConfigError, match=rf"'{name}'.*cpu \(x86_64\), cuda:0 \(H100\), cuda:1 \(A100\).*--device cpu"):
        devices.chosen(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", ""])
def test_no_device(two_gpus, name):
    with pytest.raises(ConfigError, match=r"expected cpu, cuda, cuda:1, \.\.\. or mps"):
        devices.chosen(name)


def test_a_torch_without_cuda_is_named():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="this machine has cpu"):
        devices.chosen("cuda")


@pytest.mark.parametrize(
    "line",
    [
        "train demo --device cuda",
        "train demo --seeds 0..1 --device cuda",
        "analyze RUN --device cuda",
        "ablate RUN --heads L0H0 --device cuda",
        "measure RUN attention_scores --device cuda",
        "report RUN --device cuda",
        "densify RUN --from 0 --to 10 --every 5 --device cuda",
        "app RUN --device cuda --no-browser",
    ],
)
def test_every_verb_says_so_before_it_works(line, tiny_series, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "present", lambda: {"cpu": "x86_64"})
    with pytest.raises(SystemExit) as ended:
        cli.main([str(tiny_series.root) if word == "RUN" else word for word in line.split()])
    assert ended.value.code == 2
    assert "device 'cuda': this machine has cpu (x86_64)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_series_is_opened_on_a_device(two_gpus, tiny_series):
    assert open_series(tiny_series.root, device="cuda").device == "cuda:0"
    assert open_series(tiny_series.root).device == "cpu"


def test_full_precision_is_set_and_recorded(monkeypatch):
    """TF32 and autocast, of whatever the program around has set, are off; and the record says what is."""
    torch.set_float32_matmul_precision("high")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    torch.set_autocast_enabled("cuda", True)
    try:
        assert devices.record("cuda:0")["tf32"]
        assert devices.record("cuda:0")["autocast"]
        with own_settings():
            inside = devices.record("cuda:0")
        assert torch.backends.cudnn.allow_tf32
        assert torch.is_autocast_enabled("cuda")
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.set_float32_matmul_precision("highest")
    assert (inside["tf32"], inside["autocast"], inside["deterministic_algorithms"]) == (False, False, False)


def test_determinism_is_asked_for_on_a_gpu_alone(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with devices.deterministic("cpu"):
        assert not torch.are_deterministic_algorithms_enabled()
        assert devices.record("cpu")["deterministic_algorithms"]
    with devices.deterministic("cuda:0"):
        assert devices.record("cuda:0")["deterministic_algorithms"]
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
