"""Revisions of a repository on the Hugging Face hub, fetched one at a time: `hub:EleutherAI/pythia-14m@step*`.

A revision is pinned by the commit that it was when the series was opened, and read by it from then on: from the cache,
without the hub, where it is there. The cache is mechicl's own (`~/.cache/mechicl/hub`), so that what is dropped to keep
it within its budget (MECHICL_HUB_CACHE_GB, default 20) is nobody else's: the revision that was read longest ago goes.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mechicl.config import ConfigError
from mechicl.sources.base import Asked, Found, Source, by_step, register, step_in
from mechicl.sources.trainer import CONFIG, SHARDS, WHOLE, shards
from mechicl.storage import SeriesError

BUDGET, CACHE = "MECHICL_HUB_CACHE_GB", "MECHICL_HUB_CACHE"  # of the environment
_PREFIX, _OLD = "hub:", "pytorch_model.bin"


@register
class Hub(Source):
    kind = "hub"
    says = "hub:USER/NAME@PATTERN, revisions on the Hugging Face hub, as hub:EleutherAI/pythia-14m@step*"

    def claims(self, place: str) -> bool:
        return place.startswith(_PREFIX)

    def find(self, place: str, asked: Asked) -> Found:
        repo, pattern = _parsed(place)
        commits = _commits(repo, pattern)
        newest = commits[max(commits)]
        settings = json.loads(_file(repo, newest, CONFIG).read_bytes())
        names = {step: (_file_name(repo, commit, asked.pickles),) for step, commit in commits.items()}
        with suppress(_Missing):
            _file(repo, newest, "tokenizer.json")
        tokenizer = _cached(repo, newest, "tokenizer.json")
        return Found(place=place, layout="transformers", settings=settings, files=names, tokenizer=tokenizer,
                     pickles=asked.pickles, more={str(step): commit for step, commit in commits.items()})  # fmt: skip

    def fetch(self, record: Mapping[str, Any], step: int) -> list[Path]:
        repo, _ = _parsed(record["place"])
        commit, (name,) = record["more"][str(step)], record["files"][str(step)]
        paths = [_cached(repo, commit, name)]
        if paths[0] is None:
            _make_room(repo, commit)
            paths = [_file(repo, commit, name)]
        if name == SHARDS:
            index = json.loads(Path(str(paths[0])).read_bytes())
            paths = [_file(repo, commit, part) for part in shards(index, f"{repo}@{commit}")]
        for path in paths:
            with suppress(OSError):
                os.utime(Path(str(path)))  # what was read last is dropped last
        return [Path(str(path)) for path in paths]

    def here(self, record: Mapping[str, Any], step: int) -> list[Path]:
        """A commit's files do not change."""
        return []


class _Missing(ConfigError):
    """The repository has no such file."""


def _parsed(place: str) -> tuple[str, str]:
    """(repository, pattern of revisions).

    Raises:
        ConfigError: neither form.
    """
    repo, _, pattern = place.removeprefix(_PREFIX).partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ConfigError(f"{place}: expected hub:USER/NAME@PATTERN, as hub:EleutherAI/pythia-14m@step*.")
    return repo, pattern or "*"


def _cache() -> Path:
    given = os.environ.get(CACHE)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(given) if given else Path(home) / "mechicl" / "hub"


def _commits(repo: str, pattern: str) -> dict[int, str]:
    """Step -> commit of every branch and tag that matches and has a number.

    Raises:
        ConfigError: there is none. SeriesError: the hub cannot be asked.
    """
    from huggingface_hub import HfApi

    refs = _asked(repo, lambda: HfApi().list_repo_refs(repo))
    every = [*refs.branches, *refs.tags]
    found = [(step, (ref.target_commit,)) for ref in every
             if fnmatch.fnmatchcase(ref.name, pattern) and (step := step_in(ref.name)) is not None]  # fmt: skip
    if not found:
        some = ", ".join(ref.name for ref in every[:5]) or "none"
        raise ConfigError(f"hub:{repo} has no revision {pattern!r} with a number in its name; it has {some}"
                          f"{', ...' if len(every) > 5 else ''}.")  # fmt: skip
    made = by_step(found, f"hub:{repo}", "Make the pattern tell them apart.")
    return {step: commit for step, (commit,) in made.items()}


def _file_name(repo: str, commit: str, pickles: bool) -> str:
    """Which file of a revision has its weights, or the index of their parts.

    Raises:
        ConfigError: none that may be read.
    """
    from huggingface_hub import HfApi

    names = set(_asked(repo, lambda: HfApi().list_repo_files(repo, revision=commit)))
    for name in (WHOLE, SHARDS, *([_OLD] if pickles else [])):
        if name in names:
            return name
    if _OLD in names:
        raise ConfigError(f"hub:{repo}, revision {commit[:12]}, has its weights in a pickle ({_OLD}), which could "
                          "run anything as it is read. If you trust it, add --pickles: then only tensors are "
                          "read.")  # fmt: skip
    raise ConfigError(f"hub:{repo}, revision {commit[:12]}, has no {WHOLE}, nor {SHARDS}.")


def _cached(repo: str, commit: str, name: str) -> Path | None:
    """A file, where the cache has it: the hub is not asked."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, cache_dir=_cache(), revision=commit)
    return Path(found) if isinstance(found, str) else None


def _file(repo: str, commit: str, name: str) -> Path:
    """A file of a revision, from the cache or the hub. A download that was cut goes on where it was.

    Raises:
        _Missing: there is none. SeriesError: it cannot be fetched.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    found = _cached(repo, commit, name)
    if found is not None:
        return found
    return Path(_asked(repo, lambda: hf_hub_download(repo, name, revision=commit, cache_dir=_cache())))


def _asked(repo: str, ask: Any) -> Any:
    """What the hub answers; its errors in words."""
    import httpx
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return ask()
    except LocalEntryNotFoundError as error:
        raise SeriesError(f"hub:{repo} cannot be reached, and what is asked for is not in the cache ({_cache()}): "
                          f"{_first(error)}") from error  # fmt: skip
    except EntryNotFoundError as error:
        raise _Missing(f"hub:{repo}: {_first(error)}") from error
    except HfHubHTTPError as error:
        raise ConfigError(f"hub:{repo}: the hub says: {_first(error)}") from error
    except (httpx.HTTPError, OSError) as error:
        raise SeriesError(f"hub:{repo} cannot be reached: {_first(error)}. The same line goes on later.") from error


def _first(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _make_room(repo: str, coming: str) -> None:
    """Drop revisions from mechicl's own cache, those read longest ago first, until it is within its budget."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        held = scan_cache_dir(_cache())
    except CacheNotFound:
        return
    budget = _budget()
    revisions = [(max((f.blob_last_accessed for f in r.files), default=0.0), r.commit_hash, r.size_on_disk)
                 for each in held.repos for r in each.revisions if r.commit_hash != coming]  # fmt: skip
    size, dropped = held.size_on_disk, []
    for _, commit, bytes_ in sorted(revisions):
        if size <= budget:
            break
        dropped.append(commit)
        size -= bytes_
    if dropped:
        held.delete_revisions(*dropped).execute()


def _budget() -> float:
    text = os.environ.get(BUDGET, "20")
    try:
        return float(text) * 1e9
    except ValueError:
        raise ConfigError(f"{BUDGET}={text}: expected a number of gigabytes, as 20.") from None
