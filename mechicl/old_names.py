"""Fields of a config, and values of fields, that were renamed. Files with the old names still open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechicl.errors import ConfigError

OLD_NAMES = {
    "Config": {"schedule": "checkpoint_steps", "treatments": "training_interventions"},
    "OptimConfig": {"schedule": "lr_schedule"},
    "BankConfig": {"eps": "within_class_std"},
}  # class -> old -> present
OLD_VALUES = {
    "SequenceConfig": {"labels": {"canonical": "trained"}},
}  # class -> field -> old -> present


def present_names(cls: type, data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A table of settings under the present names, fields and values.

    Raises:
        ConfigError: a field is given under both names.
    """
    old = OLD_NAMES.get(cls.__name__, {})
    for key, name in old.items():
        if key in data and name in data:
            raise ConfigError(
                f"{where}.{key}: this is the old name of {where}.{name}, and both were given: remove one."
            )
    found = {old.get(key, key): value for key, value in data.items()}
    for key, values in OLD_VALUES.get(cls.__name__, {}).items():
        if isinstance(found.get(key), str):
            found[key] = values.get(found[key], found[key])
    return found
