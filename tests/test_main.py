"""`python -m mechicl` is the command `mechicl`."""

import subprocess
import sys

import mechicl


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mechicl", *arguments], capture_output=True, text=True)


def test_it_is_the_command():
    done = ran("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mechicl {mechicl.__version__}\n", "")


def test_a_mistake_is_a_message_and_exit_2():
    done = ran("show", "no-such-run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("mechicl: ")


def test_importing_it_runs_no_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mechicl", "show", "no-such-run"])  # a command would exit 2
    __import__("mechicl.__main__")
