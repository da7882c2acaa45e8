"""Whether a run that goes on is evaluated on the sequences that it began with: the manifest has a hash of each set.

An evaluator of a plugin may draw otherwise by then, and one curve would be of two sets. Runs of an earlier mechicl have
no hashes, and runs whose data change have another set at every step: both go on as before.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mechicl.errors import SeriesError
from mechicl.registry import EVALUATORS
from mechicl.system.disk import is_file
from mechicl.system.files import read_json, write_json

_FIELD = "evaluation_sets"


def keep_or_compare(root: Path, sets: Mapping[str, Any]) -> None:
    """Of a new run, record what is drawn; of one that goes on, see that it is the same.

    Raises:
        SeriesError: an evaluator draws other sequences than when the run began.
    """
    manifest, now = read_json(root / "manifest.json"), {name: _digest(batch) for name, batch in sets.items()}
    before = manifest.get(_FIELD)
    if before is None:
        if not is_file(root / "metrics.jsonl"):
            write_json(root / "manifest.json", manifest | {_FIELD: now})
        return
    others = [name for name in now if name in before and before[name] != now[name]]
    if others:
        home = EVALUATORS[others[0]].draw.__module__
        raise SeriesError(
            f"{root}: the evaluator {others[0]!r} draws other sequences now than when the run began, and one "
            f"curve would be of two sets. Put back its code as it was ({home}), or train a new run."
        )


def _digest(batch: Any) -> str:
    """sha256 of the tensors of a set."""
    names = [f.name for f in dataclasses.fields(batch)] if dataclasses.is_dataclass(batch) else sorted(vars(batch))
    found = hashlib.sha256()
    for name in names:
        value = getattr(batch, name)
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
