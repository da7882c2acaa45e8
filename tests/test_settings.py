"""Dotted names and TOML values: what is shown can be given again; labels are short, safe and tell values apart."""

import dataclasses
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechicl import recipes
from mechicl.config import OF_DEFAULT_TASK, Config, SequenceConfig, TrainingIntervention
from mechicl.errors import ConfigError
from mechicl.settings import as_lines, assignments, changed, flat, known, label, named
from mechicl.tasks.markov import Markov

TREATED = Config(
    name="é-1",
    steps=100,
    training_interventions=(
        TrainingIntervention(kind="clamp", pattern="self", heads=((0, 1), (1, 2)), stop=7),
        TrainingIntervention(kind="data", start=7, sequences=SequenceConfig(labels="random", noise=1e-9)),
    ),
)


@pytest.mark.parametrize("config", [TREATED, *(recipes.get(name) for name in recipes.RECIPES)], ids=lambda c: c.name)
def test_what_is_shown_is_the_whole_config(config):
    lines = as_lines(config)
    want = list(known())
    if config.task is not None:  # those of exemplars and labels are none of its
        own = [f"task.{field.name}" for field in dataclasses.fields(config.task)]
        want = [name for name in want if name.partition(".")[0] not in OF_DEFAULT_TASK]
        want[want.index("task") : want.index("task") + 1] = own
    assert [line.split(" = ")[0] for line in lines] == want
    other = recipes.demo() if config.name != "demo" else recipes.iwl()
    assert changed(other, flat(tomllib.loads("\n".join(lines)), "set."), "set") == config
    assert changed(other, assignments(lines), "--set") == config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bank.dim=16", 16),
        ("bank.dim = 16", 16),
        ("optim.lr=1e-3", 1e-3),
        ("model.layer_norm=false", False),
        ("model.mlp_layers=[0, 1]", [0, 1]),
        ("optim.l2_form=decoupled", "decoupled"),
        ('optim.l2_form="decoupled"', "decoupled"),
        ("bank.n_labels=none", "none"),
        ("name=2x", "2x"),
        ("task.repeats=.5", 0.5),
        ("optim.lr=-.5e-3", -0.0005),
        ("steps=5.", 5.0),
        ("name=.", "."),
        ("bank.path=.5x", ".5x"),
        (
            "training_interventions=[{kind='graft', groups=['mlp'], source='a/s{seed}', step=3}]",
            [{"kind": "graft", "groups": ["mlp"], "source": "a/s{seed}", "step": 3}],
        ),
    ],
)
def test_one_assignment(text, value):
    assert list(assignments([text]).values()) == [value]


def test_tables_and_fields_are_one():
    want = {"bank.dim": 3, "bank.within_class_std": 0.5, "steps": 4}
    assert assignments(["bank={dim=3, eps=0.5}", "steps=4"]) == want
    with pytest.raises(ConfigError, match=r"--set bank\.dim is given twice: as 3 and as 4"):
        assignments(["bank={dim=3}", "bank.dim=4"])


values = st.recursive(
    st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text(max_size=30)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["kind", "every", "heads"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(values, min_size=1, max_size=5))
def test_labels_tell_values_apart_and_make_folders(among):
    labels = {}
    for value in among:
        text = label(value, among)
        assert re.fullmatch(r"[\w.-]{1,41}", text)
        other = labels.setdefault(text, value)
        assert other == value


def test_many_settings_are_cut():
    name = named(dict.fromkeys(list(known())[:12], "x" * 30))
    assert len(name) < 120
    assert name != named(dict.fromkeys(list(known())[:12], "x" * 29 + "y"))


def test_a_task_s_settings_are_set_by_name_and_shown():
    base = recipes.get("markov")
    fewer = changed(base, assignments(["task.n_chains=3", "steps=7"]), "--set")
    assert (fewer.task.n_chains, fewer.task.n_states, fewer.steps) == (3, 5, 7)
    lines = as_lines(fewer)
    assert "task.n_chains = 3" in lines
    assert not [line for line in lines if line.startswith(("bank.", "sequences.", "eval_"))]
    assert changed(base, assignments(line.replace(" = ", "=", 1) for line in lines), "--set") == fewer
    other = changed(recipes.get("demo"), assignments(["task.kind=markov"]), "--set")
    assert other.task == Markov()
    with pytest.raises(ConfigError, match="n_chains"):
        changed(base, assignments(["task.n_chain=3"]), "--set")
