"""What is measured on a series: attention scores, logit attribution, ablation effects, phases.

Each measure is a function of a series that returns a tidy long table (tables.py). docs/measures.md lists
them all; they can be taken from here, `from mechicl.measures import attention_scores`, and are loaded when
first used. (`subspaces` is the module: its function is `mechicl.measures.subspaces.subspaces`.)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_HOME = {
    "Graft": "grafts",
    "ablate_mlps": "mlps",
    "answers": "ablation",
    "attention_scores": "attention",
    "composition_scores": "composition",
    "effects": "ablation",
    "evaluate": "ablation",
    "evaluate_grafts": "grafts",
    "head_effects": "ablation",
    "joint_intervals": "baselines",
    "logit_attribution": "attribution",
    "over_seeds": "phases",
    "phase_table": "phases",
    "phase_times": "phases",
    "remove_directions": "removal",
    "seed_bands": "seeds",
    "series_phases": "phases",
    "standing_out": "attention",
    "uniform_scores": "attention",
    "untrained_scores": "attention",
}
_MODULES = ("ablation", "attention", "attribution", "baselines", "composition", "grafts", "mlps", "phases",
            "removal", "seeds", "subspaces", "tables")  # fmt: skip
__all__ = [*_HOME]

if TYPE_CHECKING:
    from mechicl.measures.ablation import answers as answers
    from mechicl.measures.ablation import effects as effects
    from mechicl.measures.ablation import evaluate as evaluate
    from mechicl.measures.ablation import head_effects as head_effects
    from mechicl.measures.attention import attention_scores as attention_scores
    from mechicl.measures.attention import standing_out as standing_out
    from mechicl.measures.attention import uniform_scores as uniform_scores
    from mechicl.measures.attention import untrained_scores as untrained_scores
    from mechicl.measures.attribution import logit_attribution as logit_attribution
    from mechicl.measures.baselines import joint_intervals as joint_intervals
    from mechicl.measures.composition import composition_scores as composition_scores
    from mechicl.measures.grafts import Graft as Graft
    from mechicl.measures.grafts import evaluate_grafts as evaluate_grafts
    from mechicl.measures.mlps import ablate_mlps as ablate_mlps
    from mechicl.measures.phases import over_seeds as over_seeds
    from mechicl.measures.phases import phase_table as phase_table
    from mechicl.measures.phases import phase_times as phase_times
    from mechicl.measures.phases import series_phases as series_phases
    from mechicl.measures.removal import remove_directions as remove_directions
    from mechicl.measures.seeds import seed_bands as seed_bands


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"mechicl.measures.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"mechicl.measures.{name}")
    raise AttributeError(f"module 'mechicl.measures' has no attribute {name!r}; it has {', '.join(__all__)}, and the "
                         f"modules {', '.join(_MODULES)}")  # fmt: skip


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
