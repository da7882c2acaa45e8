"""Registries that decorators fill: whose a name is, and what an unknown one is told."""

import subprocess
import sys

import pytest

import analyses
from mechicl import doors
from mechicl.doors import Door
from mechicl.errors import ConfigError
from mechicl.measures import measure
from mechicl.registry import EVALUATORS, Evaluator
from mechicl.registry import register as register_evaluator
from mechicl.sources.base import Source
from mechicl.sources.base import register as register_source
from mechicl.tasks.exemplar_label.banks.kinds import bank


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
    asked = "recall inference repeat text loss weights agreement unshown flipped_labels symbols labels conflict"
    assert done.stdout.split()[-12:] == asked.split()


def moons(config, seed, data):
    """What stands under a decorator in the tests below."""


def of_series(series):
    """The same."""


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (lambda: bank(moons), "moons is registered without a name: call the decorator with the bank kind's name"),
        (lambda: bank("my moons"), "the bank kind 'my moons': expected a name of one word"),
        (lambda: bank("moons")(lambda: None), r"the bank kind 'moons': <lambda>\(\) is called with config, seed, data"),
        (lambda: measure(of_series), "of_series is registered without a name"),
        (lambda: measure("mine"), "describe the rows of its table"),
        (lambda: measure("mine", rows="step", value="v")(moons), r"takes \(config, seed, data\): its first argument"),
        (lambda: measure("attention_scores", rows="step", value="v")(of_series), "built-in measure named 'attention"),
        (lambda: analyses.analysis(of_series), "of_series is registered without a name"),
        (lambda: analyses.analysis("mine"), "say what it answers"),
        (lambda: analyses.analysis("transience", question="?")(of_series), "built-in analysis named 'transience'"),
        (lambda: register_evaluator(of_series), r"expected an Evaluator\(name="),
        (lambda: register_source(type("Mine", (Source,), {})), "Mine: a source needs kind"),
    ],
)
def test_what_a_decorator_lacks_is_said(register, said):
    with pytest.raises(ConfigError, match=said):
        register()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "my eval", "the evaluator 'my eval': expected a name of one word"),
        ("favours", "neither", "favours='neither': expected one of context, weights, both"),
        ("role", "side", "role='side': expected one of main, more, training"),
        ("symbol", "starfish", "symbol='starfish': expected one of circle, square"),
        ("colour", "bluish", "colour='bluish': expected one such as '#0072B2'"),
        ("draw", None, "draw=None: expected a function"),
        ("draw", lambda: None, r"<lambda>\(\) is called with config, source, n, rng"),
    ],
)
def test_an_evaluator_is_checked_when_it_is_made(field, value, said):
    with pytest.raises(ConfigError, match=said):
        Evaluator(**{**vars(EVALUATORS["icl"]), field: value})
