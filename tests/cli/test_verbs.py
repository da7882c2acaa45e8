"""How a command is registered: what its help says an option takes, and the group that it belongs to."""

import inspect
import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest
from tyro.conf import Positional, arg

from mechicl.cli.arguments import Folder, N
from mechicl.cli.verbs import Group, _Verbs, app, metavar_of, options_of
from mechicl.errors import ConfigError


def arguments() -> list[tuple[str, str, Any]]:
    """(command, argument, type) for every argument that takes a value, and for every field of shared options."""
    found = []
    for name, spec in app._subcommands.items():
        for key in inspect.signature(spec.target).parameters:
            hint = spec.target.__annotations__[key]
            kind = getattr(hint, "__origin__", hint)
            if is_dataclass(kind):
                found += [(name, field, of) for field, of in get_type_hints(kind, include_extras=True).items()]
            elif kind is not bool:
                found.append((name, key, hint))
    return found


@pytest.mark.parametrize(("command", "key", "hint"), arguments(), ids=lambda x: x if isinstance(x, str) else "")
def test_an_argument_says_what_it_takes(command, key, hint):
    metavar = metavar_of(hint)
    assert metavar is not None, "annotate it with a type of mechicl.cli.arguments, or with arg(metavar=...)"
    assert not {"INT", "STR", "FLOAT"} & {metavar}


def shown(function: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The help of a command that stands beside another."""
    monkeypatch.setenv("COLUMNS", "80")
    verbs = _Verbs()
    verbs.command(Group.TRAIN)(function)
    verbs.command(Group.LOOK, name="other")(lambda: None)
    with pytest.raises(SystemExit):
        verbs.cli(prog="x", args=[function.__name__, "--help"])
    return capsys.readouterr().out


def test_a_type_of_an_option_keeps_its_word_when_it_may_be_left_out(capsys, monkeypatch):
    def go(*, needed: N, out: Folder | None = None, start: Annotated[N | None, arg(name="from")] = None) -> None:
        """Go.

        Args:
            needed: how often.
            out: where
                to.
            start: since.
        """

    said = shown(go, capsys, monkeypatch)
    assert "--needed N " in said
    assert "--out DIR " in said
    assert "--from N " in said
    assert "where to." in said
    assert "None" not in said


def test_a_positional_that_may_be_left_out_is_in_brackets(capsys, monkeypatch):
    def go(run: Annotated[Positional[Path], arg(metavar="RUN")] = Path("x")) -> None:
        """Go."""

    assert "[RUN]" in shown(go, capsys, monkeypatch).partition("\n\n")[0]


def test_a_command_is_in_its_group_with_its_first_line():
    verbs = _Verbs()

    def go() -> None:
        """Go.

        Slowly."""

    assert verbs.command(Group.TRAIN, name="walk")(go) is go
    assert verbs.groups[Group.TRAIN] == {"walk": "Go."}
    assert verbs.groups[Group.SHARE] == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("shw checkpoints/demo", "there is no command 'shw'. Did you mean 'show'? See `mechicl --help`."),
        ("qqq", "there is no command 'qqq'. See `mechicl --help`."),
        ("measure x --stpe 1", "measure has no option --stpe. Did you mean '--step'? See `mechicl measure --help`."),
        ("show demo --xyz=1", "show has no option --xyz. See `mechicl show --help`."),
    ],
)
def test_a_command_or_an_option_that_there_is_not_is_one_line(words, says):
    with pytest.raises(ConfigError) as raised:
        app.cli(prog="mechicl", args=words.split())
    assert str(raised.value) == says


@pytest.mark.parametrize("command", app._subcommands)
def test_the_known_options_are_those_that_help_lists(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        app.cli(prog="mechicl", args=[command, "--help"])
    listed = set(re.findall(r"(?m)^.{0,4}(?:-h, )?(--[a-z][a-z-]*)", capsys.readouterr().out))
    known = options_of(app._subcommands[command].target)
    assert listed <= set(known)
    two = {"--all", "--every"}  # of verify, which help lists in one line
    assert {name for name in known if not name.startswith("--no-")} <= listed | two
