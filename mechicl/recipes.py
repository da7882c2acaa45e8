"""Recipes: a run is a function that returns a full Config.

The docstring says what the run reproduces and how long it takes on two laptop cores. Make
your own with `dataclasses.replace(recipes.demo(), ...)`, or write a function.
"""

from __future__ import annotations

from collections.abc import Callable

from mechicl.config import (
    BankConfig,
    Config,
    ConfigError,
    ScheduleConfig,
    Window,
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


@recipe
def omniglot_small() -> Config:
    """The same rise and fade on real drawings, in about 1 minute: needs `--data DIR`.

    Omniglot's two small image sets: 232 characters under 8 flips and rotations are 1856 training
    classes, 10 more characters are held out. ICL peaks at about .85 near 60 thousand sequences
    (100 to 130 thousand for other seeds) and falls towards .65; Flip falls from about .7 to .05.
    """
    return Config(
        name="omniglot-small",
        steps=8000,
        bank=BankConfig(
            kind="omniglot", n_classes=1856, n_holdout_classes=80,
            n_exemplars=20, n_holdout_exemplars=0, dim=12,
        ),
        schedule=ScheduleConfig(
            log_points=20, linear_every=200, windows=(Window(start=100, stop=1200, every=50),)
        ),
        n_eval=1000,
    )  # fmt: skip
