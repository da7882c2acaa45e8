"""A suggested command is what a shell takes back, whatever the path; no message builds one by hand."""

import re
import shlex
from pathlib import Path

import pytest

from mechicl.errors import SeriesError
from mechicl.series import open_series
from mechicl.series.verify import verify
from mechicl.system.commands import command
from mechicl.training.loop import train

ROOT = Path(__file__).parents[2]
PATHS = ["runs/demo", "meine Läufe/été #1 & 50%", "it's", 'a "b" c', "$HOME/`ls`", "a;b|c", "~/x", "*", "new\nline"]


@pytest.mark.parametrize("path", PATHS)
def test_a_shell_reads_back_the_path(path):
    text = command("train", "--resume", Path(path), "--n", 3)
    assert text[0] == text[-1] == "`"
    assert shlex.split(text[1:-1]) == ["mechicl", "train", "--resume", path, "--n", "3"]


def test_a_path_is_never_an_option():
    assert shlex.split(command("show", Path("-run"))[1:-1]) == ["mechicl", "show", "./-run"]
    assert command("train", "--resume", Path("x")) == "`mechicl train --resume x`"


def suggested(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"`(mechicl [^`]*)`", text)]


def test_messages_of_a_run_in_a_folder_with_an_odd_name(tiny_config, tmp_path):
    root = tmp_path / "meine Läufe" / "été #1 & 50%"
    series = train(tiny_config, root, progress=False)
    with pytest.raises(SeriesError) as held:
        train(tiny_config, root, progress=False)
    assert ["mechicl", "train", "--resume", str(root)] in suggested(str(held.value))
    with pytest.raises(SeriesError) as missing:
        series.model(7)
    add = ["mechicl", "densify", str(root), "--from", "6", "--to", "7", "--every", "1"]
    assert add in suggested(str(missing.value))
    (root / series.entry(20).file).write_bytes(b"torn")
    with pytest.raises(SeriesError) as torn:
        series.weights(20)
    assert ["mechicl", "verify", str(root)] in suggested(str(torn.value))
    (root / "weights" / "stray.safetensors").write_bytes(b"")
    assert any(["mechicl", "train", "--resume", str(root)] in suggested(p) for p in verify(root))
    (root / "index.jsonl").write_text("")
    with pytest.raises(SeriesError) as empty:
        open_series(root).model(0)
    assert ["mechicl", "train", "--resume", str(root)] in suggested(str(empty.value))


def test_no_message_builds_a_command_by_hand():
    """A path put into '`mechicl ... {path}`' would not be quoted."""
    for folder in ("mechicl", "analyses", "research"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "commands.py":
                assert not re.search(r"[`:] ?mechicl [a-z]+[^`\"]*\{", path.read_text(encoding="utf-8")), path


def test_no_message_names_an_index_that_has_no_mechicl():
    for path in [*(ROOT / "mechicl").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        assert not re.search(r"pip install (-U |--upgrade )?'?mechicl", path.read_text(encoding="utf-8")), path
