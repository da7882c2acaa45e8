"""Revisions of a repository on the Hugging Face hub, fetched one at a time: `hub:EleutherAI/pythia-14m@step*`.

A revision is pinned by the commit that it was when the series was opened, and read by it from then on: from the cache,
without the hub, where it is there.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from mechicl.errors import ConfigError, SeriesError
from mechicl.sources import hub_api, hub_cache
from mechicl.sources.base import Asked, Found, Source, by_step, no_pickle, register, step_in
from mechicl.sources.trainer import CONFIG, WHOLE

_TOKENIZER, _OLD = "tokenizer.json", "pytorch_model.bin"
_AT_ONCE = 8  # lists of files that are asked for at the same time


@register
class Hub(Source):
    kind = "hub"
    says = "hub:USER/NAME@PATTERN, revisions on the Hugging Face hub, as hub:EleutherAI/pythia-14m@step*"

    def claims(self, place: str) -> bool:
        return place.startswith(hub_api.PREFIX)

    def find(self, place: str, asked: Asked) -> Found:
        repo, pattern = hub_api.parsed(place)
        if pattern is None:
            raise ConfigError(f"{place}: choose revisions, for example {place}@step*.")
        if asked.pattern is not None or asked.model is not None:
            raise ConfigError(f"{place}: --pattern and --model are only for folders; a revision has a {CONFIG}.")
        commits = hub_api.refs(repo)
        revisions = _matching(place, pattern, list(commits), asked)
        with ThreadPoolExecutor(_AT_ONCE) as several:
            listed = several.map(lambda name: hub_api.files(repo, commits[name]), revisions.values())
        files, more = {}, {}
        for (step, name), inside in zip(revisions.items(), listed, strict=True):
            weights = _weights(f"{hub_api.PREFIX}{repo}@{name}", inside, asked.pickles)
            files[step] = tuple(f"{name}/{file.name}" for file in weights)
            more[str(step)] = {
                "revision": name,
                "commit": commits[name],
                "sha256": [file.sha256 for file in weights],
                "bytes": sum(file.bytes for file in weights),
            }
        _check_budget(asked.cache or hub_cache.BUDGET, max(each["bytes"] for each in more.values()))
        newest = commits[revisions[max(revisions)]]
        return Found(
            place=place,
            layout="transformers",
            settings=hub_api.settings(repo, newest, CONFIG),
            files=files,
            tokenizer=_tokenizer(repo, newest),
            pickles=asked.pickles,
            cache=asked.cache,
            more=more,
        )

    def fetch(self, record: Mapping[str, Any], step: int) -> list[Path]:
        """Its files, from the cache or the hub.

        Raises:
            Unreachable: they are in neither place.
            SeriesError: the hub gave other bytes than it says.
        """
        repo, at = hub_api.parsed(record["place"])[0], record["more"][str(step)]
        names = [name.removeprefix(f"{at['revision']}/") for name in record["files"][str(step)]]
        paths = [hub_cache.held(repo, at["commit"], name) for name in names]
        if None in paths:
            hub_cache.make_room(at["bytes"], record.get("cache") or hub_cache.BUDGET, at["commit"])
            paths = [hub_api.fetched(repo, at["commit"], name) for name in names]
            _check_bytes(f"{hub_api.PREFIX}{repo}@{at['revision']}", at["commit"], paths, at["sha256"])
        found = [path for path in paths if path is not None]
        hub_cache.touch(found)
        return found

    def here(self, record: Mapping[str, Any], step: int) -> list[Path]:
        """None: a commit's files do not change."""
        return []


def _matching(place: str, pattern: str, names: Sequence[str], asked: Asked) -> dict[int, str]:
    """Step -> branch or tag, of names that match one of the patterns, such as 'step*' or 'step0,step1000'.

    Raises:
        ConfigError: a pattern has none with a number.
    """
    found: dict[str, int] = {}
    for each in pattern.split(","):
        matched = {
            name: step for name in names if fnmatch.fnmatchcase(name, each) and (step := step_in(name)) is not None
        }
        if not matched:
            some = ", ".join(names[:5]) or "none"
            raise ConfigError(
                f"{place}: no revision {each!r} with a number in its name; there are {some}"
                f"{f', ... ({len(names)} in all)' if len(names) > 5 else ''}."
            )
        found |= matched
    made = by_step([(step, (name,)) for name, step in found.items()], place, "Make the pattern tell them apart.", asked)
    return {step: name for step, (name,) in made.items()}


def _weights(where: str, files: Sequence[hub_api.File], pickles: bool) -> list[hub_api.File]:
    """Which files of a revision have its weights.

    Raises:
        ConfigError: none that may be read.
    """
    for name in (WHOLE, _OLD) if pickles else (WHOLE,):
        stem, end = name.rsplit(".", 1)
        whole = [file for file in files if file.name == name]
        parts = [file for file in files if re.fullmatch(rf"{stem}-\d+-of-\d+\.{end}", file.name)]
        if whole or parts:
            return whole or sorted(parts, key=lambda file: file.name)
    if any(file.name.startswith("pytorch_model") for file in files):
        raise no_pickle(f"{where} has its weights in {_OLD}, which")
    some = ", ".join(file.name for file in files[:5]) or "nothing"
    raise ConfigError(f"{where} has no {WHOLE} and no parts of it; it has {some}.")


def _tokenizer(repo: str, commit: str) -> Path | None:
    if any(file.name == _TOKENIZER for file in hub_api.files(repo, commit)):
        with suppress(hub_api.Unreachable):  # it is good to have, and dropped from the cache as anything is
            return hub_api.fetched(repo, commit, _TOKENIZER)
    return None


def _check_budget(budget: int, largest: int) -> None:
    if largest > budget:
        raise ConfigError(
            f"--cache: a checkpoint has {largest:,} bytes, but the limit of the cache is {budget:,}: give at least "
            f"--cache {-(-largest // 10**6)}MB."
        )


def _check_bytes(where: str, commit: str, paths: Sequence[Path | None], sha256: Sequence[str | None]) -> None:
    """See that what came is what the hub says it is."""
    from mechicl.sources.reading import digest

    for path, said in zip(paths, sha256, strict=True):
        if path is not None and said is not None and digest([path])[1] != said:
            hub_cache.drop(commit)
            raise SeriesError(
                f"{where}: the downloaded {path.name} does not have the hub's sha256. Run the same command again."
            )
