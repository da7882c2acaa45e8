"""Progress: a bar on a terminal, few plain lines in a log."""

import io
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from mechicl.system import progress
from mechicl.system.progress import Lines, bar, each, is_live

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock(monkeypatch):
    """Time that goes by only as it is told to."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def work(clock, seconds: float, updates: int = 1000, **settings) -> None:
    with bar(updates * 16, "demo", unit=" sequences", unit_scale=True, **settings) as shown:
        for i in range(updates):
            clock.now += seconds / updates
            shown.update(16)
            shown.set_postfix_str(f"loss {i}")


@pytest.mark.parametrize(("seconds", "lines"), [(2, 1), (45, 2), (270, 9), (3600, 10), (360_000, 10)])
def test_a_log_has_a_line_each_tenth_and_no_more_than_two_a_minute(clock, capsys, seconds, lines):
    work(clock, seconds)
    err = capsys.readouterr().err
    assert "\r" not in err
    said = err.splitlines()
    assert len(said) == lines
    assert all(re.match(r"demo: +\d+% .* sequences.*, loss \d+\]$", line) for line in said)
    percent = [int(re.findall(r"(\d+)%", line)[0]) for line in said]
    assert percent == sorted(set(percent))
    assert percent[-1] == 100
    assert "loss 999" in said[-1]


def test_what_goes_on_counts_from_where_it_was(clock, capsys):
    with bar(1000, "demo", initial=900) as shown:
        clock.now += 10
        shown.update(50)  # 5 a second, not 95
    assert "95%" in (err := capsys.readouterr().err)
    assert "5.00it/s" in err


def test_work_that_is_cut_short_says_how_far_it_came(clock, capsys):
    def begin() -> None:
        with bar(100, "demo") as shown:
            shown.update(40)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert " 40% 40/100 " in capsys.readouterr().err


def test_nothing_is_said_unasked(clock, capsys):
    work(clock, 3600, show=False)
    assert list(each([1, 2], "short", leave=False)) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_format_of_its_own(clock, capsys):
    form = "{desc} {percentage:3.0f}%|{bar}|{postfix}"
    with bar(100, "sweep", bar_format=form, log_format=form.replace("|{bar}|", "")) as shown:
        shown.update(50)
        shown.set_postfix_str("2 of 4 runs done")
    assert capsys.readouterr().err == "sweep  50%, 2 of 4 runs done\n"


def test_a_notebook_is_live_and_a_file_is_not():
    class OutStream(io.StringIO):
        pass

    assert not is_live(OutStream())
    OutStream.__module__ = "ipykernel.iostream"
    assert is_live(OutStream())


def test_a_terminal_has_a_bar():
    code = (
        "from mechicl.system.progress import bar\nwith bar(10, 'demo') as b:\n    b.update(10)\nprint(type(b).__name__)"
    )
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))
    done = subprocess.run([sys.executable, "-c", code], stderr=child, stdout=subprocess.PIPE, cwd=ROOT, check=True)
    os.close(child)
    shown = os.read(parent, 10_000).decode()
    os.close(parent)
    assert done.stdout == b"tqdm\n"
    assert "\rdemo: 100%|" in shown


def test_it_stands_for_a_bar(capsys):
    shown = bar(10, "demo")
    assert isinstance(shown, Lines)
    shown.close()
    shown.close()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_bar_comes_from_here():
    for folder in ("mechicl", "analyses", "research"):
        for path in (ROOT / folder).rglob("*.py"):
            silent = path.name == "hub_api.py"  # huggingface_hub wants a class: one that says nothing
            assert path.name == "progress.py" or silent or "tqdm import" not in path.read_text(encoding="utf-8"), path
