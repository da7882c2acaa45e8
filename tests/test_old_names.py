"""Files that were written under old names open, and old names can still be set."""

import dataclasses

import pytest

from mechicl import recipes
from mechicl.config import (
    BankConfig,
    Config,
    OptimConfig,
    SequenceConfig,
    TrainingIntervention,
    from_dict,
    from_run,
    to_dict,
)
from mechicl.errors import ConfigError
from mechicl.loading import type_hints
from mechicl.old_names import OLD_NAMES, OLD_VALUES
from mechicl.settings import assignments, changed

CLASSES = {"Config": Config, "OptimConfig": OptimConfig, "BankConfig": BankConfig}


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
    old["bank"]["eps"] = old["bank"].pop("within_class_std")
    del old["training_interventions"]
    old["sequences"]["labels"] = "canonical"
    old["treatments"] = [{"kind": "data", "start": 5, "sequences": {"labels": "canonical", "noise": 0.5}}]
    given = TrainingIntervention(kind="data", start=5, sequences=SequenceConfig(noise=0.5))
    assert from_run(old) == dataclasses.replace(now, training_interventions=(given,))


def test_every_present_value_is_possible_and_no_old_one_is():
    for table in OLD_VALUES["SequenceConfig"].values():
        for old, new in table.items():
            assert SequenceConfig(labels=new)
            with pytest.raises(ConfigError, match="expected one of"):
                SequenceConfig(labels=old)


def test_both_names_at_once_are_refused():
    with pytest.raises(ConfigError, match=r"config\.optim\.schedule: this is the old name of .*lr_schedule"):
        from_dict(Config, to_dict(recipes.get("demo")) | {"optim": {"schedule": "constant", "lr_schedule": "constant"}})


def test_old_names_are_set_on_a_command_line():
    base = recipes.get("demo")
    by_old = changed(
        base, assignments(["schedule.linear_every=7", "optim.schedule=constant", "bank.eps=0.3"]), "--set "
    )
    by_new = changed(
        base,
        assignments(["checkpoint_steps.linear_every=7", "optim.lr_schedule=constant", "bank.within_class_std=0.3"]),
        "--set ",
    )
    assert by_old == by_new
    assert by_new.checkpoint_steps.linear_every == 7
