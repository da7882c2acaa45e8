"""Folders of Hugging Face's Trainer: checkpoint-500/, checkpoint-1000/, ..., each with its config.json and weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mechicl.errors import ConfigError, SeriesError
from mechicl.sources.base import (
    NOT_THE_MODEL,
    PICKLED,
    Asked,
    Found,
    Source,
    by_step,
    leave_out,
    no_pickle,
    register,
    step_in,
)
from mechicl.system.disk import is_file
from mechicl.system.files import read_json
from mechicl.system.paths import given

CONFIG, WHOLE, SHARDS, STATE = "config.json", "model.safetensors", "model.safetensors.index.json", "trainer_state.json"
_SHOWN = 6  # settings that differ
_PER_PROCESS = "this is the Trainer's batch in one process, before gradient accumulation"


@register
class Trainer(Source):
    kind = "trainer"
    says = "a folder with a folder for each step, as checkpoint-500/, that has config.json and model.safetensors"

    def claims(self, place: str) -> bool:
        return bool(_folders(given(place)))

    def find(self, place: str, asked: Asked) -> Found:
        root = given(place)
        folders = _folders(root)
        if not folders:
            raise ConfigError(
                f"{root} has no folder with a number in its name and a {CONFIG} in it: expected {self.says}."
            )
        named = [(step, (folder.name,)) for step, folder in folders]
        chosen = {step: root / name for step, (name,) in by_step(named, root, "Move one elsewhere.", asked).items()}
        files = {step: _weights(root, folder, step, asked.pickles) for step, folder in chosen.items()}
        newest = chosen[max(chosen)]
        state = _read_or_none(newest / STATE)
        size = state.get("train_batch_size")
        tokenizer = next((p for folder in (newest, root) if is_file(p := folder / "tokenizer.json")), None)
        return Found(
            place=str(root),
            layout="transformers",
            settings=_settings(list(chosen.values())),
            files=files,
            losses=_losses(state, sorted({step for step, _ in folders})),
            batch_size=size if type(size) is int and size > 0 else None,
            batch_note=_PER_PROCESS,  # how often it accumulated, and in how many processes, is only in a pickle
            tokenizer=tokenizer,
            pickles=asked.pickles,
        )


def _folders(root: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every folder that holds a model: those that the Trainer named, or all with a number in their
    names where there are none."""
    try:
        inside = sorted(root.iterdir()) if root.is_dir() else []
    except OSError as error:
        raise SeriesError(f"{root} cannot be read: {error.strerror or error}.") from error
    numbered = [(step_in(path.name), path) for path in inside if path.is_dir()]
    found = [(step, path) for step, path in numbered if step is not None and is_file(path / CONFIG)]
    theirs = [(step, path) for step, path in found if re.fullmatch(r"checkpoint-\d+", path.name)]
    return theirs or found  # beside the Trainer's own, a number in a name is hardly a step: best-v2


def _weights(root: Path, folder: Path, step: int, pickles: bool) -> tuple[str, ...]:
    """The files of one folder's weights, relative to `root`.

    Raises:
        ConfigError: there are none that may be read.
    """
    name = folder.relative_to(root).as_posix()
    if is_file(folder / WHOLE):
        return (f"{name}/{WHOLE}",)
    if is_file(folder / SHARDS):
        return tuple(f"{name}/{part}" for part in shards(read_json(folder / SHARDS), folder / SHARDS))
    old = sorted(p.name for p in folder.glob("pytorch_model*") if p.suffix in PICKLED)
    if old and pickles:
        return tuple(f"{name}/{part}" for part in old)
    if old:
        raise no_pickle(f"{folder} has its weights in {old[0]}, which")
    raise ConfigError(
        f"{folder} has no weights: expected {WHOLE}, or {SHARDS} with its parts. Is it still being saved? "
        f"{leave_out(step)}"
    )


def shards(index: dict[str, Any], where: object) -> list[str]:
    """The files that an index of shards names, each once, all in its own folder.

    Raises:
        ConfigError: it is no such index.
    """
    parts = index.get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(x, str) and Path(x).name == x for x in parts.values()):
        raise ConfigError(f"{where}: expected a table `weight_map` from tensors to files in the same folder.")
    return sorted(set(parts.values()))


def _settings(folders: list[Path]) -> dict[str, Any]:
    """What all config.json say of the model.

    Raises:
        ConfigError: two say different things.
    """
    read = [(folder, read_json(folder / CONFIG)) for folder in folders]
    first, settings = read[0]
    for folder, other in read[1:]:
        differ = [key for key in {*settings, *other} - set(NOT_THE_MODEL) if settings.get(key) != other.get(key)]
        if differ:
            differ.sort(key=lambda key: (key.endswith("_token_id"), key))  # which say least of the model
            listed = [f"{key}={other.get(key)!r} (there {settings.get(key)!r})" for key in differ[:_SHOWN]]
            more = f" and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
            raise ConfigError(
                f"{folder / CONFIG} is of another model than {first / CONFIG}: {', '.join(listed)}{more}. All "
                "checkpoints of a series must have the same model."
            )
    return settings


def _losses(state: dict[str, Any], steps: list[int]) -> dict[int, float]:
    """Step -> mean of the losses that the Trainer logged since the checkpoint before."""
    logged = [
        (x["step"], x["loss"])
        for x in state.get("log_history", ())
        if isinstance(x, dict) and isinstance(x.get("loss"), float) and isinstance(x.get("step"), int)
    ]
    out, before = {}, -1
    for step in steps:
        since = [loss for at, loss in logged if before < at <= step]
        out |= {step: sum(since) / len(since)} if since else {}
        before = step
    return out


def _read_or_none(path: Path) -> dict[str, Any]:
    """A JSON table, or an empty one where there is none: what it says is good to know, and not needed."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
