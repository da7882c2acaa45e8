"""The task of docs/extending.md as a plugin, to put mistakes into."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from mechicl.plugins import load


def regression_in(folder: Path) -> ModuleType:
    """Its module, loaded from a folder of a test (`plugin_folder`)."""
    (folder / "regression.py").write_bytes((Path(__file__).parents[1] / "examples" / "regression.py").read_bytes())
    load(["regression"])
    return sys.modules["regression"]
