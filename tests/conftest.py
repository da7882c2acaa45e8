"""Fixtures for every test: no network, no leaked hooks, one thread, and a tiny trained series."""

from __future__ import annotations

import gc
import ipaddress
import shutil
import socket
import sys
import weakref
from pathlib import Path

import pytest
import torch
from browser import CHROMIUM, FLAGS
from faults import Workers
from hypothesis import HealthCheck, settings

from mechicl.config import BankConfig, Config, ModelConfig, OptimConfig, ScheduleConfig
from mechicl.series import Series, open_series
from mechicl.training.loop import train

torch.set_num_threads(1)
settings.register_profile(  # the same examples every time; a slow machine is no failure
    "mechicl", deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mechicl")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests draw their random tensors from torch's generator; mechicl itself never does."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are computed, not found: tests of the cache itself set this back."""
    monkeypatch.setattr("mechicl.measures.cache._WORTH", 10**9)


class NetworkBlocked(RuntimeError):
    """A test, or something that it called, tried to reach another machine."""


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only sockets to this machine: everything else raises, and names the address."""
    lookup = socket.getaddrinfo

    def guarded(name: str):
        real = getattr(socket.socket, name)

        def call(self: socket.socket, *args):
            address = args[-1]
            inet = self.family in (socket.AF_INET, socket.AF_INET6)
            if inet and not _is_local(address[0]):
                raise NetworkBlocked(f"tests reach no network, but {name} was called with {address}")
            return real(self, *args)

        return call

    def local_lookup(host, *args, **kwargs):
        if not _is_local(host):
            raise NetworkBlocked(f"tests reach no network, but {host!r} was looked up")
        return lookup(host, *args, **kwargs)

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, guarded(name))
    monkeypatch.setattr(socket, "getaddrinfo", local_lookup)


_models: weakref.WeakSet = weakref.WeakSet()  # every ICLTransformer that is alive


def _track_models() -> None:
    """Register ICLTransformers as they are built, once mechicl.models.hooked has been imported: importing
    it here would cost every session the seconds that transformer_lens takes."""
    module = sys.modules.get("mechicl.models.hooked")
    cls = getattr(module, "ICLTransformer", None)
    if cls is None or hasattr(cls.__init__, "tracks"):
        return
    build = cls.__init__

    def __init__(self, *args, **kwargs):
        build(self, *args, **kwargs)
        _models.add(self)

    __init__.tracks = build  # type: ignore[attr-defined]
    cls.__init__ = __init__
    _models.update(x for x in gc.get_objects() if type(x) is cls)  # built before we looked


def n_hooks(model: torch.nn.Module) -> int:
    """Hooks on a model: TransformerLens's own record and torch's, so that neither hides one."""
    return sum(
        len(m._forward_hooks)
        + len(m._forward_pre_hooks)
        + len(m._backward_hooks)
        + len(getattr(m, "fwd_hooks", ()))
        + len(getattr(m, "bwd_hooks", ()))
        for m in model.modules()
    )


@pytest.fixture(autouse=True)
def _no_leaked_hooks():
    """Every ICLTransformer has as many hooks after a test as before it (a new one: none)."""
    _track_models()
    before = {id(model): n_hooks(model) for model in _models}
    yield
    _track_models()
    left = [n_hooks(model) - before.get(id(model), 0) for model in _models]
    assert not any(left), f"the test left hooks on a model: {left}"


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty working directory. What modules there register, and that they were imported, is undone afterwards."""
    from mechicl import doors, plugins

    before, asked, modules, path = set(doors._HOMES), set(plugins._asked), set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    # Only what is not mechicl's own: its modules register once, when they are first imported.
    for use in {use for uses in doors.foreign().values() for use in uses} - before:
        what = next(what for what in doors.DOORS if use.startswith(f"{what} "))
        doors.DOORS[what].pop(use.removeprefix(f"{what} "), None)
        del doors._HOMES[use]
    for name in set(plugins._asked) - asked:
        del plugins._asked[name]
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """8 classes, 2 layers of 2 heads, 60 steps: trains in well under a second."""
    return Config(
        name="tiny",
        steps=60,
        batch_size=16,
        bank=BankConfig(
            n_classes=8, n_exemplars=4, n_holdout_classes=4, n_holdout_exemplars=2, dim=6, within_class_std=0.1
        ),
        model=ModelConfig(n_layers=2, d_model=16, n_heads=2),
        optim=OptimConfig(lr=1e-2),
        checkpoint_steps=ScheduleConfig(linear_every=10, steps=(1, 5)),
        n_eval=50,
        states=3,
        threads=1,
    )


@pytest.fixture(scope="session")
def tiny_series(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Series:
    """A trained series to read, never to write: steps 0, 1, 5, 10, 20 .. 60, states at 20, 40, 60."""
    return train(tiny_config, tmp_path_factory.mktemp("series") / "tiny", progress=False)


@pytest.fixture(scope="session")
def workers():
    """Training processes that can be killed (tests/faults.py)."""
    with Workers() as running:
        yield running


@pytest.fixture
def tiny_copy(tiny_series: Series, tmp_path: Path) -> Series:
    """The same series in a folder of its own, to damage."""
    shutil.copytree(tiny_series.root, tmp_path / "tiny")
    return open_series(tmp_path / "tiny")


@pytest.fixture(scope="session")
def known_series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """ICL that rises and falls by hand (known_series.py), at steps 0, 5, 10. To read, never to write."""
    from known_series import rise_and_fall

    return rise_and_fall(tmp_path_factory.mktemp("series") / "known")


@pytest.fixture(scope="session")
def token_series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """Language models by hand, of which first the weights win and then the context (known_token_series.py), at steps 0,
    10, 20. To read, never to write."""
    from known_token_series import bump

    return bump(tmp_path_factory.mktemp("series") / "bump")


@pytest.fixture(scope="session")
def trainer_folder(tmp_path_factory: pytest.TempPathFactory):
    """family -> a folder that the `transformers` Trainer wrote (trained_models.py), once per session."""
    from trained_models import train

    root, made = tmp_path_factory.mktemp("trainer"), {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = train(root / family, family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def opened(trainer_folder, tmp_path_factory: pytest.TempPathFactory):
    """family -> the series over such a folder."""
    from mechicl.sources.opening import Settings, open_source

    root, made = tmp_path_factory.mktemp("opened"), {}

    def series(family: str):
        if family not in made:
            settings = Settings(length=24, n=64)
            made[family] = open_source(trainer_folder(family), root / family, settings=settings, progress=False)
        return made[family]

    return series


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A hub on loopback (hub_server.py), which huggingface_hub's own client asks; an empty cache; nobody logged in."""
    from hub_server import HubServer
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setenv("MECHICL_HUB_CACHE", str(tmp_path / "hub-cache"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with HubServer() as server:
        address = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        said = {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": address,
            "HF_TOKEN_PATH": str(tmp_path / "token"),
            "HF_STORED_TOKENS_PATH": str(tmp_path / "tokens"),
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DISABLE_XET": True,  # large files by HTTP: the server does not speak xet
            "HF_HUB_OFFLINE": False,
        }
        for name, value in said.items():
            monkeypatch.setattr(constants, name, value)
        yield server
        close_session()
        assert not server.leaked


@pytest.fixture(scope="session")
def driver():
    """Playwright, once for all tests, where Debian's browser is there to be driven."""
    if not CHROMIUM.exists():
        pytest.skip("no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium(driver):
    """A browser for contexts of their own."""
    browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
    yield browser
    browser.close()
