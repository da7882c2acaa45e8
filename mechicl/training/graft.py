"""Initial weights taken from another run's checkpoint (Singh et al. 2025: docs/references.md#singh-2025-switches).

They are read once, when the run begins, and kept in the run as `initial.safetensors`: from then
on neither resume nor densify needs the source. The manifest records its sha256.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mechicl.config import Config
from mechicl.errors import SeriesError
from mechicl.models import dtypes
from mechicl.models.params import Params, init, pack, shapes
from mechicl.parameter_groups import in_groups
from mechicl.series import open_series
from mechicl.system.files import write_atomic
from mechicl.training_interventions import TrainingIntervention

INITIAL = "initial.safetensors"


def begin(config: Config, root: Path) -> list[dict[str, Any]]:
    """Write a new run's initial weights, where it grafts any.

    Returns:
        What was taken from where, for the manifest: run, step, sha256 of the file, groups.

    Raises:
        SeriesError: the source is missing or broken, lacks the step, or its shapes are others.
    """
    import safetensors.torch

    grafts = [t for t in config.training_interventions if t.kind == "graft"]
    if not grafts:
        return []
    weights, taken = init(config), []
    for graft in grafts:
        taken.append(_graft(graft, config, weights))
    write_atomic(root / INITIAL, safetensors.torch.save({k: w.contiguous() for k, w in sorted(weights.items())}))
    return taken


def initial_params(config: Config, root: Path) -> Params:
    """The packed parameters at step 0 of a run that has begun.

    Raises:
        SeriesError: the run grafts, and its initial weights are gone.
    """
    import safetensors

    if not any(t.kind == "graft" for t in config.training_interventions):
        return pack(init(config))
    try:
        return pack(dtypes.load((root / INITIAL).read_bytes()))
    except (OSError, safetensors.SafetensorError, dtypes.ForeignDtype) as error:
        raise SeriesError(
            f"{root / INITIAL} cannot be read ({error}): the grafted initial weights are gone. "
            "Move the run away and train it again."
        ) from None


def _graft(graft: TrainingIntervention, config: Config, weights: Params) -> dict[str, Any]:
    """Replace the weights of the graft's groups, in place."""
    path = Path(str(graft.source).replace("{seed}", str(config.seeds.init)))
    try:
        source = open_series(path)
        given, entry = source.weights(int(graft.step or 0)), source.entry(int(graft.step or 0))
    except SeriesError as error:
        raise SeriesError(f"training intervention '{graft}': {error}") from None
    for name, shape in shapes(config).items():
        if not in_groups(name, graft.groups):
            continue
        have = tuple(given[name].shape) if name in given else None
        if have != shape:
            raise SeriesError(
                f"training intervention '{graft}': {name} has shape {have} in {path}, but {shape} in this run: "
                "graft from a run of the same size, or graft other groups."
            )
        weights[name] = given[name].clone()
    return {"source": str(path), "step": entry.step, "sha256": entry.sha256, "groups": list(graft.groups)}
