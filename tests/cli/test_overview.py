"""`mechicl --help`: every command once, in its group, with one line of at most 80 columns."""

import re
import shlex

import pytest

from mechicl import cli
from mechicl.cli.overview import overview
from mechicl.cli.verbs import Group

PAGE = overview(cli.app.groups)
COMMANDS = [(group, name, what) for group, commands in cli.app.groups.items() for name, what in commands.items()]


def test_it_is_a_page_of_80_columns():
    lines = PAGE.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 50


@pytest.mark.parametrize(("group", "name", "what"), COMMANDS, ids=[name for _, name, _ in COMMANDS])
def test_a_command_stands_in_its_group_with_one_sentence(group, name, what):
    section = PAGE.partition(f"\n{group.value}:\n")[2].partition("\n\n")[0].splitlines()
    assert [line for line in section if line.split() == [name, *what.split()]]
    assert re.fullmatch(r"[A-Z][^{}]*\.", what)
    assert len(re.findall(rf"^  {name}  ", PAGE, flags=re.M)) == 1


def test_every_group_has_commands():
    assert [group for group in Group if not cli.app.groups[group]] == []


def test_the_first_commands_are_commands():
    first = [line.split("  ")[1] for line in PAGE.splitlines() if line.startswith("  mechicl ")]
    assert len(first) >= 3
    assert {shlex.split(line)[1] for line in first} <= {name for _, name, _ in COMMANDS}


def test_known_groups():
    small = {Group.TRAIN: {"go": "Go."}, Group.SHARE: {"longer": "Send it."}}
    assert "\n\nTrain:\n  go      Go.\n\nShare:\n  longer  Send it.\n\n" in overview(small)
