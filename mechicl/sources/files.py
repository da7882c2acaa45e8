"""A folder of safetensors or state dicts, a file for each step: of TransformerLens, nanoGPT, or `transformers`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mechicl.errors import ConfigError
from mechicl.sources.base import (
    PICKLED,
    SAFE,
    Asked,
    Found,
    Source,
    by_step,
    no_pickle,
    one_of_several,
    register,
    step_in,
)
from mechicl.system.disk import is_file
from mechicl.system.files import read_json
from mechicl.system.paths import given

_DEPTH = 2  # folders to look into: as 1000/model.safetensors


@register
class Files(Source):
    kind = "files"
    says = "a folder of .safetensors (or, with --pickles, .pt) whose names have the step in them"

    def claims(self, place: str) -> bool:
        root = given(place)
        return root.is_dir() and any(step_in(name) is not None for name in _names(root, SAFE + PICKLED))

    def find(self, place: str, asked: Asked) -> Found:
        from mechicl.sources.layouts import bare, layout_of
        from mechicl.sources.reading import tensors_of

        root = given(place)
        if not root.is_dir():
            raise ConfigError(f"{root} is not a folder: expected {self.says}.")
        files = _matching(root, asked.pattern, asked) if asked.pattern else _numbered(root, asked)
        read = [path for names in files.values() for path in names]
        if any(name.endswith(PICKLED) for name in read) and not asked.pickles:
            raise no_pickle(f"{root}: {read[0]}")
        first = files[min(files)]
        with one_of_several(min(files), files):
            tensors, beside = tensors_of([root / name for name in first], asked.pickles)
            tensors = bare(tensors, root / first[0])
        layout, settings = layout_of(tensors, _described(root, asked.model) | beside, root / first[0])
        tokenizer = root / "tokenizer.json"
        return Found(
            place=str(root),
            layout=layout,
            settings=settings,
            files=files,
            pickles=asked.pickles,
            tokenizer=tokenizer if is_file(tokenizer) else None,
        )


def _names(root: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Files of these kinds, relative to `root`."""
    found = [p for depth in range(_DEPTH) for p in root.glob("*/" * depth + "*") if p.suffix in suffixes and is_file(p)]
    return sorted(p.relative_to(root).as_posix() for p in found)


def _numbered(root: Path, asked: Asked) -> dict[int, tuple[str, ...]]:
    """Step -> file, where nobody says how files are called: the last number in each name."""
    named = [(step, (name,)) for name in _names(root, SAFE) if (step := step_in(name)) is not None]
    if not named and asked.pickles:
        named = [(step, (name,)) for name in _names(root, PICKLED) if (step := step_in(name)) is not None]
    if not named:
        found = [name for name in _names(root, PICKLED) if step_in(name) is not None]
        if found:
            raise no_pickle(f"{root} has no .safetensors, but {found[0]}, which")
        raise ConfigError(f"{root} has no .safetensors with a number in its name.")
    return by_step(named, root, "Say how the files are called: --pattern 'step_{step}.safetensors'.", asked)


def _matching(root: Path, pattern: str, asked: Asked) -> dict[int, tuple[str, ...]]:
    """Step -> file, of a pattern such as 'step_{step}.safetensors'; * stands for anything within a name.

    Raises:
        ConfigError: it has no {step}, or no file is called so.
    """
    if pattern.count("{step}") != 1:
        raise ConfigError(f"--pattern {pattern}: expected {{step}} once, such as 'step_{{step}}.safetensors'.")
    said = re.escape(pattern).replace(re.escape("{step}"), r"(\d+)").replace(r"\*", "[^/]*")
    names = _names(root, SAFE + PICKLED)
    named = [(int(found[1]), (name,)) for name in names if (found := re.fullmatch(said, name))]
    if not named:
        some = ", ".join(names[:3]) or "none"
        raise ConfigError(
            f"--pattern {pattern}: no file name in {root} matches; there are {some}{', ...' if len(names) > 3 else ''}."
        )
    return by_step(named, root, "Make --pattern tell them apart.", asked)


def _described(root: Path, model: Path | None) -> dict[str, Any]:
    """What describes the model: the file that the user names, or the folder's config.json."""
    if model is not None:
        return read_json(given(model))
    return read_json(root / "config.json") if is_file(root / "config.json") else {}
