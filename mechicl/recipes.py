"""Recipes: a run is a function that returns a full Config.

The docstring says what the run reproduces and how long it takes on two laptop cores. Make
your own with `dataclasses.replace(recipes.demo(), ...)`, or write a function.
"""

from __future__ import annotations

from collections.abc import Callable

from mechicl.config import (
    BankConfig, Config, ConfigError, ModelConfig, OptimConfig, ScheduleConfig, SequenceConfig, Window,
)  # fmt: skip

RECIPES: dict[str, Callable[[], Config]] = {}


def recipe(function: Callable[[], Config]) -> Callable[[], Config]:
    """Register a recipe under its function's name, '_' written as '-'."""
    RECIPES[function.__name__.replace("_", "-")] = function
    return function


def get(name: str) -> Config:
    """The Config of a named recipe.

    Raises:
        ConfigError: no such recipe; the message lists them.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe named {name!r}; there are {', '.join(RECIPES)}. "
                          "`mechicl recipes` describes them.")  # fmt: skip
    return RECIPES[name]()


@recipe
def demo() -> Config:
    """ICL rises, then fades to context-constrained in-weights learning, in about 3 minutes.

    Every training sequence can be solved in context (p_bursty 1), label = class, two layers
    of attention only: the published coopetition curve (Singh et al. 2025, science.md 5.2)
    in a tenth of its sequences. The low feature dimension is what lets ICL win first.
    """
    return Config(
        name="demo",
        steps=25_000,
        bank=BankConfig(n_classes=4096, dim=12, eps=0.7),
        schedule=ScheduleConfig(
            log_points=20, linear_every=250, windows=(Window(start=250, stop=3000, every=125),)
        ),
        n_eval=1000,
    )
