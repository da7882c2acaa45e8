"""Measures of a series: attention scores, logit attribution, ablation effects, phases.

Each measure is a function of a series that returns a tidy long table (tables.py) and registers itself (door.py).
docs/measures.md lists them all. Import them from here, such as `from mechicl.measures import attention_scores`; they
are loaded when they are first used. (`subspaces` is the module; its function is
`mechicl.measures.subspaces.subspaces`.) The names in each module's `__all__` can be imported from here.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl import unimported

_FOLDER = Path(__file__).parent
_HOME = unimported.exported(_FOLDER)  # name -> module
_MODULES = tuple(sorted(path.stem for path in _FOLDER.glob("[!_]*.py")))
__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from mechicl.doors import Door
    from mechicl.measures.ablation import *  # noqa: F403
    from mechicl.measures.attention import *  # noqa: F403
    from mechicl.measures.attribution import *  # noqa: F403
    from mechicl.measures.baselines import *  # noqa: F403
    from mechicl.measures.circuits import *  # noqa: F403
    from mechicl.measures.composition import *  # noqa: F403
    from mechicl.measures.controls import *  # noqa: F403
    from mechicl.measures.copying import *  # noqa: F403
    from mechicl.measures.door import *  # noqa: F403
    from mechicl.measures.door import Measure
    from mechicl.measures.grafts import *  # noqa: F403
    from mechicl.measures.mlps import *  # noqa: F403
    from mechicl.measures.paired_effects import *  # noqa: F403
    from mechicl.measures.path_ablation import *  # noqa: F403
    from mechicl.measures.phases import *  # noqa: F403
    from mechicl.measures.positions import *  # noqa: F403
    from mechicl.measures.seeds import *  # noqa: F403
    from mechicl.measures.subspace_ablation import *  # noqa: F403
    from mechicl.measures.tables import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"mechicl.measures.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"mechicl.measures.{name}")
    raise AttributeError(
        f"module 'mechicl.measures' has no attribute {name!r}; it has {', '.join(__all__)}, and the "
        f"modules {', '.join(_MODULES)}"
    )


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])


def registered() -> Door[Measure]:
    """Name -> `Measure` of all there are, plugins' last; imports the modules that register any."""
    from mechicl.measures.door import MEASURES

    for module in dict.fromkeys(module for module, _, _ in unimported.decorated(_FOLDER, "measure")):
        importlib.import_module(f"mechicl.measures.{module}")
    return MEASURES
