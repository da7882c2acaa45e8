"""The door of recipes: `recipe` registers one, `get` finds it by its name."""

from __future__ import annotations

from collections.abc import Callable

from mechicl.config import Config
from mechicl.doors import Door
from mechicl.errors import ConfigError

RECIPES: Door[Callable[[], Config]] = Door("recipe")


def recipe(function: Callable[[], Config]) -> Callable[[], Config]:
    """Register a recipe under its function's name, '_' written as '-'."""
    RECIPES.add(function.__name__.replace("_", "-"), function, function.__module__)
    return function


def get(name: str) -> Config:
    """The Config of a named recipe.

    Raises:
        ConfigError: no such recipe; the message lists them.
    """
    try:
        return RECIPES.find(name)()
    except ConfigError as error:
        if name in RECIPES:
            raise
        raise ConfigError(f"{error} `mechicl recipes` describes them.") from None
