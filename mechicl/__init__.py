"""mechicl: why does in-context learning appear in a transformer's training, and then fade?

    series = mechicl.open_series("checkpoints/demo")
    model = series.model(series.steps[-1])       # a real HookedTransformer
    table = series.evaluate(ablate=mechicl.AblateHeads(heads=((1, 3),)))
    series = mechicl.train(mechicl.recipes.demo())

Names are loaded when first used, so that `import mechicl` and `mechicl --help` are quick.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "AblateHeads": "interventions",
    "Batch": "data.banks",
    "Config": "config",
    "ICLTransformer": "model",
    "Series": "series",
    "app": "app",
    "densify": "train",
    "open_series": "series",
    "report": "report",
    "resume": "train",
    "show_attention": "figures.attention",
    "train": "train",
    "train_seeds": "ensemble",
}
__all__ = ["__version__", "recipes", *_HOME]

if TYPE_CHECKING:  # what `__getattr__` finds, spelled out for type checkers and editors
    from mechicl import recipes as recipes
    from mechicl.app import app as app
    from mechicl.config import Config as Config
    from mechicl.data.banks import Batch as Batch
    from mechicl.ensemble import train_seeds as train_seeds
    from mechicl.figures.attention import show_attention as show_attention
    from mechicl.interventions import AblateHeads as AblateHeads
    from mechicl.model import ICLTransformer as ICLTransformer
    from mechicl.report import report as report
    from mechicl.series import Series as Series
    from mechicl.series import open_series as open_series
    from mechicl.train import densify as densify
    from mechicl.train import resume as resume
    from mechicl.train import train as train


def __getattr__(name: str):
    if name == "recipes":
        return importlib.import_module("mechicl.recipes")
    if name in _HOME:
        value = getattr(importlib.import_module(f"mechicl.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mechicl' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Importing the submodule `train`, `report` or `app` would bind it here: the function must win."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
