"""The fixtures that guard every test do catch what they guard against."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443), ("2001:db8::1", 80, 0, 0)])
def test_no_other_machine_can_be_reached(address):
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    for call in ("connect", "connect_ex"):
        with socket.socket(family) as one, pytest.raises(RuntimeError, match="tests reach no network"):
            getattr(one, call)(address)
    with pytest.raises(RuntimeError, match="tests reach no network"):
        socket.create_connection(address[:2], timeout=1)
    with socket.socket(family, socket.SOCK_DGRAM) as one, pytest.raises(RuntimeError, match="tests reach no network"):
        one.sendto(b"x", address)


def test_this_machine_can():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with socket.create_connection((host, port), timeout=5) as client:
                other, _ = server.accept()
                client.sendall(b"hello")
                assert other.recv(5) == b"hello"
                other.close()


def test_tiny_copy_is_a_copy(tiny_series, tiny_copy):
    assert tiny_copy.root != tiny_series.root
    assert tiny_copy.steps == tiny_series.steps == [0, 1, 5, 10, 20, 30, 40, 50, 60]
    assert [e.step for e in tiny_series.entries if e.kind == "state"] == [20, 40, 60]


@pytest.mark.slow
def test_a_leaked_hook_fails_the_test_that_left_it(tmp_path):
    for name in ("conftest.py", "browser.py", "faults.py"):
        shutil.copy(HERE / name, tmp_path / name)
    (tmp_path / "test_leak.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='module')\n"
        "def model(tiny_series):\n"
        "    return tiny_series.model(0)\n"
        "def test_clean(model): pass\n"
        "def test_leaks(model): model.hook_embed.add_hook(lambda x, hook: x)\n"
        "def test_clean_again(model): pass\n"
        "def test_permanent(model): model.add_perma_hook('hook_embed', lambda x, hook: x)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            str(tmp_path),
            "-q",
            "-rA",
            f"--rootdir={tmp_path}",
            "-c",
            "/dev/null",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:dash",
        ],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    assert "4 passed, 2 errors" in done.stdout, done.stdout
    assert done.stdout.count("AssertionError: the test left hooks on a model") == 2
    for name in ("test_leaks", "test_permanent"):
        assert f"ERROR at teardown of {name}" in done.stdout
