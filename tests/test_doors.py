"""Registries that decorators fill: whose a name is, and what an unknown one is told."""

import subprocess
import sys

import pytest

from mechicl import doors
from mechicl.doors import Door
from mechicl.errors import ConfigError


@pytest.fixture
def door(monkeypatch):
    monkeypatch.setattr(doors, "_HOMES", {})
    return Door("thing")


def test_a_module_may_register_again_and_another_may_not(door):
    door.add("a", 1, "mine")
    door.add("a", 2, "mine")
    assert door["a"] == 2
    with pytest.raises(ConfigError, match="yours registers the thing 'a', but mine has registered this name"):
        door.add("a", 3, "yours")
    assert (door["a"], doors.home_of("thing", "a")) == (2, "mine")


def test_an_unknown_name_is_told_what_there_is(door):
    door.add("circles", 1, "mine")
    with pytest.raises(
        ConfigError,
        match=r"no thing named 'circle'; there are circles. Did you mean 'circles'\?.*"
        r"--plugin MODULE",
    ):
        door.find("circle")


def test_what_is_not_mechicls_own_is_known_by_module(door):
    door.add("a", 1, "mechicl.tasks.exemplar_label.banks.kinds")
    door.add("b", 2, "mine")
    door.add("c", 3, "__mp_main__")
    assert doors.foreign() == {"mine": ["thing b"], "__main__": ["thing c"]}
    assert doors.foreign([("thing", "a"), ("thing", "b"), ("thing", "x")]) == {"mine": ["thing b"]}


@pytest.mark.parametrize("first", ["mechicl.tasks.markov.evaluators", "mechicl.tasks.exemplar_label.evaluators"])
def test_what_is_built_in_has_one_order_whatever_is_imported_first(first):
    code = f"import {first}\nfrom mechicl.registry import EVALUATORS\nprint(*EVALUATORS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["train", "icl"]
    asked = "recall inference repeat text loss weights agreement unshown conflict"
    assert done.stdout.split()[-9:] == asked.split()
