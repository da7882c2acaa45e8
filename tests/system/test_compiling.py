"""Compiling works without a cache: nowhere to put one, no room for one, a damaged one."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from mechicl.system.compiling import compiled

ROOT = Path(__file__).parents[2]

LAYER_NORM = """
import numpy as np
from mechicl.engine.fast.kernels import layer_norm
x = np.arange(12, dtype=np.float32).reshape(3, 4)
y = np.empty_like(x)
layer_norm(x, np.ones((1, 4), np.float32), np.zeros((1, 4), np.float32), 3, np.float32(1e-5), y)
assert np.allclose(y.mean(1), 0, atol=1e-6) and np.allclose(y.std(1), 1, atol=1e-3)
print(sum(layer_norm.stats.cache_hits.values()), sum(layer_norm.stats.cache_misses.values()))
"""


def layer_norm(cache: Path, before: str = "") -> str:
    """Call a kernel in a process of its own; returns the cache's hits and misses."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + LAYER_NORM], capture_output=True, text=True, cwd=ROOT, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def kept(cache: Path) -> list[Path]:
    return sorted(p for p in cache.rglob("*layer_norm*") if p.suffix == ".nbc")


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    assert layer_norm(tmp_path) == "0 1"
    assert kept(tmp_path)
    assert layer_norm(tmp_path) == "1 0"


AROUND_ANOTHER = """
import sys
from mechicl.system.compiling import compiled
by = int(sys.argv[1])
@compiled()
def inner(x):
    return x * by
def around(other):
    @compiled()
    def kernel(x):
        return other(x) + 1
    return kernel
kernel = around(inner)
assert kernel(2.0) == 2 * by + 1
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""


def test_a_kernel_around_another_is_found_again(tmp_path):
    """numba itself hashes a pickle of what the closure holds, which is another in each process."""
    module = tmp_path / "around.py"
    module.write_text(AROUND_ANOTHER, encoding="utf-8")
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}

    def run(by: str) -> str:
        done = subprocess.run([sys.executable, module, by], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert [run("3"), run("3")] == ["0 1", "1 0"]


def test_nowhere_to_put_a_cache(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    only = "from numba.core import caching\n"
    only += "caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]\n"
    assert layer_norm(tmp_path / "file" / "cache", only) == "0 1"


@pytest.mark.slow
def test_no_room_for_a_cache(tmp_path):
    """A file of the cache ends half-way, as on a full disk."""
    small = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))\n"
    assert layer_norm(tmp_path, small) == "0 1"
    assert kept(tmp_path) == []
    assert layer_norm(tmp_path) == "0 1"  # there is room again: it is kept from now on
    assert layer_norm(tmp_path) == "1 0"


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_torn_cache_is_made_again(tmp_path, suffix):
    layer_norm(tmp_path)
    for path in tmp_path.rglob(f"*layer_norm*{suffix}"):
        path.write_bytes(path.read_bytes()[:40])
    assert layer_norm(tmp_path) == "0 1"
    assert layer_norm(tmp_path) == "1 0"


def test_a_torn_cache_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    first = compiled()(_double)
    assert first(2.0) == 4.0
    for path in tmp_path.rglob("*.nbi"):
        path.write_bytes(b"torn")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        assert compiled()(_double)(2.0) == 4.0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_decorator_keeps_the_options(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    half = compiled(error_model="numpy")(_half)
    assert np.isinf(half(1.0, 0.0))  # Python's error model would raise
    assert half.targetoptions["error_model"] == "numpy"


def _double(x):
    return x + x


def _half(x, by):
    return x / by


def test_nothing_else_asks_numba_for_its_cache():
    for path in (p for folder in ("mechicl", "analyses", "research") for p in (ROOT / folder).rglob("*.py")):
        if path.name != "compiling.py":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\b(njit|jit|vectorize|guvectorize|cfunc)\b|cache=True", text), path
