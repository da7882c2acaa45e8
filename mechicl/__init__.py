"""mechicl: why does in-context learning appear in a transformer's training, and then fade?

    series = mechicl.open_series("checkpoints/demo")
    model = series.model(series.steps[-1])       # a real HookedTransformer
    table = series.evaluate(ablate=mechicl.AblateHeads(heads=((1, 3),)))
    scores = mechicl.attention_scores(series)    # every measure: docs/measures.md
    mechicl.save_figure(mechicl.evaluator_curves(series), "curves.svg")
    series = mechicl.train(mechicl.recipes.demo())

Names are loaded when first used, so that `import mechicl` and `mechicl --help` are quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "AblateHeads": "interventions",
    "Batch": "tasks.exemplar_label.batch",
    "Config": "config",
    "ICLTransformer": "models.hooked",
    "Series": "series",
    "ablate_mlps": "measures.mlps",
    "app": "page",
    "branch": "training.branching",
    "bank_file": "tasks.exemplar_label.features.own",
    "attention_scores": "measures.attention",
    "densify": "training.replay",
    "effects": "measures.paired_effects",
    "evaluator_curves": "figures.curves",
    "every_head": "interventions",
    "head_effects": "measures.paired_effects",
    "logit_attribution": "measures.attribution",
    "open_series": "series",
    "phase_table": "measures.phases",
    "report": "reporting.report",
    "resume": "training.replay",
    "save_figure": "figures.save",
    "seed_bands": "measures.seeds",
    "seed_curves": "figures.curves",
    "series_phases": "measures.phases",
    "show_attention": "figures.attention",
    "standing_out": "measures.attention",
    "train": "training.loop",
    "train_seeds": "training.ensemble",
}
_MODULES = ("interventions", "measures", "recipes")
__all__ = ["__version__", *_MODULES, *_HOME]

if TYPE_CHECKING:  # what `__getattr__` finds, spelled out for type checkers and editors
    from mechicl import interventions as interventions
    from mechicl import measures as measures
    from mechicl import recipes as recipes
    from mechicl.config import Config as Config
    from mechicl.figures.attention import show_attention as show_attention
    from mechicl.figures.curves import evaluator_curves as evaluator_curves
    from mechicl.figures.curves import seed_curves as seed_curves
    from mechicl.figures.save import save_figure as save_figure
    from mechicl.interventions import AblateHeads as AblateHeads
    from mechicl.interventions import every_head as every_head
    from mechicl.measures.attention import attention_scores as attention_scores
    from mechicl.measures.attention import standing_out as standing_out
    from mechicl.measures.attribution import logit_attribution as logit_attribution
    from mechicl.measures.mlps import ablate_mlps as ablate_mlps
    from mechicl.measures.paired_effects import effects as effects
    from mechicl.measures.paired_effects import head_effects as head_effects
    from mechicl.measures.phases import phase_table as phase_table
    from mechicl.measures.phases import series_phases as series_phases
    from mechicl.measures.seeds import seed_bands as seed_bands
    from mechicl.models.hooked import ICLTransformer as ICLTransformer
    from mechicl.page import app as app
    from mechicl.reporting.report import report as report
    from mechicl.series import Series as Series
    from mechicl.series import open_series as open_series
    from mechicl.tasks.exemplar_label.batch import Batch as Batch
    from mechicl.tasks.exemplar_label.features.own import bank_file as bank_file
    from mechicl.training.branching import branch as branch
    from mechicl.training.ensemble import train_seeds as train_seeds
    from mechicl.training.loop import train as train
    from mechicl.training.replay import densify as densify
    from mechicl.training.replay import resume as resume


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"mechicl.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"mechicl.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mechicl' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
