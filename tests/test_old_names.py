"""Files that were written under old names open, and old names can still be set."""

import dataclasses

import pytest

from mechicl import recipes
from mechicl.config import Config, OptimConfig, from_dict, from_run, to_dict
from mechicl.errors import ConfigError
from mechicl.loading import type_hints
from mechicl.old_names import OLD_NAMES
from mechicl.settings import assignments, changed

CLASSES = {"Config": Config, "OptimConfig": OptimConfig}


def test_every_present_name_is_a_field_and_no_old_one_is():
    assert set(CLASSES) == set(OLD_NAMES)
    for name, table in OLD_NAMES.items():
        fields = type_hints(CLASSES[name])
        assert set(table.values()) <= set(fields)
        assert not set(table) & set(fields)


def test_an_old_config_opens():
    now = dataclasses.replace(
        recipes.get("demo"), optim=OptimConfig(lr=1e-3, warmup_steps=10, lr_schedule="inverse_sqrt")
    )
    old = to_dict(now)
    old["schedule"] = old.pop("checkpoint_steps")
    old["optim"]["schedule"] = old["optim"].pop("lr_schedule")
    assert from_run(old) == now


def test_both_names_at_once_are_refused():
    with pytest.raises(ConfigError, match=r"config\.optim\.schedule: this is .*lr_schedule by its old name"):
        from_dict(Config, to_dict(recipes.get("demo")) | {"optim": {"schedule": "constant", "lr_schedule": "constant"}})


def test_old_names_are_set_on_a_command_line():
    base = recipes.get("demo")
    by_old = changed(base, assignments(["schedule.linear_every=7", "optim.schedule=constant"]), "--set ")
    by_new = changed(base, assignments(["checkpoint_steps.linear_every=7", "optim.lr_schedule=constant"]), "--set ")
    assert by_old == by_new
    assert by_new.checkpoint_steps.linear_every == 7
