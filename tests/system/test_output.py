"""No output crashes where characters cannot be encoded, and what stands for them can be read."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mechicl.system.output import never_crash

ROOT = Path(__file__).parents[2]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}


def mechicl(*arguments: object, **env: str) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "mechicl", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, env=os.environ | ASCII | env, cwd=ROOT)


def written(text: str, encoding: str, errors: str = "strict") -> bytes:
    real, kept = sys.stdout, io.BytesIO()
    sys.stdout = io.TextIOWrapper(kept, encoding=encoding, errors=errors)
    try:
        never_crash()
        print(text, end="")
        sys.stdout.flush()
        return kept.getvalue()
    finally:
        sys.stdout = real


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "utf-8"])
def test_anything_can_be_written(encoding):
    text = " ▁▂▃▄▅▆▇█ ╭─╮ – … été Ω 漢 😀 \udc80"
    found = written(text, encoding)
    assert found
    if encoding == "utf-8":
        assert found == text.encode("utf-8", "surrogateescape")


def test_what_cannot_be_is_plain():
    assert written("▁▄█ été – a…b", "ascii") == b".=@ ete - a...b"
    assert written("▁ été", "latin-1") == ". été".encode("latin-1")
    assert written("漢", "ascii") == b"?"


def test_bytes_of_a_files_name_come_out_as_they_are():
    assert written(os.fsdecode(b"run-\xff"), "utf-8") == b"run-\xff"
    assert written(b"\xc3\xa9".decode("ascii", "surrogateescape"), "ascii") == "é".encode()


def test_who_asked_for_another_way_keeps_it():
    assert written("aéb", "ascii", "ignore") == b"ab"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_every_verb_that_prints_does_in_a_plain_locale(encoding, tiny_series):
    for line in (["--help"], ["train", "--help"], ["show", tiny_series.root], ["recipes"]):
        done = mechicl(*line, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b""), line
        assert len(done.stdout) > 100
    done = mechicl("show", "läufe/été", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_plan_is_read_in_a_plain_locale(tmp_path):
    text = (ROOT / "research" / "sweeps" / "dimension.toml").read_text(encoding="utf-8")
    for i, data in enumerate((("# für été\n" + text).encode(), b"\xef\xbb\xbf" + text.encode())):
        path = tmp_path / f"plan{i}.toml"
        path.write_bytes(data)
        code = f"from mechicl.sweeps.plan import read_plan; print(len(read_plan({str(path)!r}).runs))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ | ASCII, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 0
