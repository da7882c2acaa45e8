"""One checkpoint's weights, wherever its files lie: read, checked against their recorded sha256, and converted.

torch's pickles are read with `weights_only=True`, which runs no code, and only where the user asked for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.errors import ConfigError, SeriesError
from mechicl.series.storage import Entry
from mechicl.sources.base import PICKLED, SOURCES, no_pickle
from mechicl.system.disk import reason

if TYPE_CHECKING:
    from torch import Tensor

    from mechicl.models.params import Params

_WRAPPED = ("model", "state_dict", "model_state_dict")  # where trainers put the state dict, beside others


def digest(paths: Sequence[Path]) -> tuple[int, str]:
    """(bytes, sha256) of files one after the other: of one file, its own.

    Raises:
        SeriesError: one cannot be read.
    """
    size, found = 0, hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                while part := file.read(2**22):
                    size += len(part)
                    found.update(part)
        except OSError as error:
            raise SeriesError(f"{path} cannot be read: {reason(error)}.") from error
    return size, found.hexdigest()


def problem(record: Mapping[str, Any], entry: Entry) -> str | None:
    """What is wrong with one checkpoint's files, or None."""
    try:
        size, sha256 = digest(_paths(record, entry))
    except (SeriesError, ConfigError) as error:
        return f"{entry.file}: {error}"
    if (size, sha256) != (entry.bytes, entry.sha256):
        return f"{entry.file}: its sha256 is not the recorded one (altered)."
    return None


def weights(root: Path, record: Mapping[str, Any], entry: Entry) -> Params:
    """A checkpoint's parameters, float32, in HookedTransformer's names and shapes.

    Raises:
        SeriesError: its files are gone, altered, or not what they were.
    """
    if wrong := problem(record, entry):
        raise SeriesError(f"{root}: {wrong}")
    return converted(record, entry.step, _paths(record, entry))


def converted(record: Mapping[str, Any], step: int, paths: Sequence[Path]) -> Params:
    """What the files of a step hold, in HookedTransformer's names and shapes; errors as of `weights`."""
    from mechicl.sources.layouts import LAYOUTS, bare, check_depth

    tensors = bare(SOURCES.find(record["kind"]).tensors_at(step, paths, record["pickles"]), paths[0])
    layout, settings = LAYOUTS.find(record["layout"]), record["settings"]
    try:
        fields = layout.fields(settings)
        check_depth(tensors, fields["n_layers"])
        return layout.weights(tensors, settings, fields)
    except (KeyError, RuntimeError, ValueError) as error:
        said = f"it has no {error}" if isinstance(error, KeyError) else error
        raise SeriesError(f"{paths[0]} does not fit the model that the source describes: {said}") from error


def _paths(record: Mapping[str, Any], entry: Entry) -> list[Path]:
    return SOURCES.find(record["kind"]).fetch(record, entry.step)


def tensors_of(paths: Sequence[Path], pickles: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of one checkpoint's files, and the plain settings that lie beside them in a trainer's pickle.

    Raises:
        ConfigError: a pickle where none was asked for.
        SeriesError: it cannot be read, or holds something else.
    """
    out: dict[str, Tensor] = {}
    beside: dict[str, Any] = {}
    for path in paths:
        if path.suffix in PICKLED:
            if not pickles:
                raise no_pickle(str(path))
            found, more = _unpickled(path)
            out, beside = out | found, beside | more
        else:
            out |= _safe(path)
    return out, beside


def _safe(path: Path) -> dict[str, Tensor]:
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise SeriesError(f"{path} is not a complete safetensors file ({error}).") from None


def _unpickled(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise SeriesError(f"{path} is not a complete torch file ({error}).") from None
    except Exception as error:  # of the module that reads pickles, which mechicl does not import
        raise SeriesError(
            f"{path} contains more than tensors and plain data, so mechicl does not read it: "
            f"{str(error).splitlines()[0]}"
        ) from None
    table = found if isinstance(found, dict) else {}
    inner = next((table[key] for key in _WRAPPED if isinstance(table.get(key), dict)), found)
    if not isinstance(inner, dict) or not all(isinstance(x, torch.Tensor) for x in inner.values()):
        raise SeriesError(f"{path} is not a state dict and has none under {', '.join(_WRAPPED)}.")
    args = table.get("model_args") if inner is not found else None
    return dict(inner), args if isinstance(args, dict) else {}
