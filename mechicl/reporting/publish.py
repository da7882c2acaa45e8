"""A series as one repository on the Hugging Face hub: safetensors, index, curves, settings, and a card.

Nothing that the run does not need goes with it: no caches, no analyses, no optimiser states unless they are asked for,
no folders of this machine that the manifest names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mechicl.config import to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.reporting.hub_card import readme
from mechicl.series import Series, elsewhere
from mechicl.series.storage import file_problem
from mechicl.sources import hub_api
from mechicl.sources.published import LARGE, MANIFEST, SMALL, is_published
from mechicl.system.commands import command
from mechicl.system.disk import is_file
from mechicl.system.files import read_json

_GROWS = ("name", "steps", "checkpoint_steps")  # of a config, what may differ between two stages of one run
_PLAIN = ("README.md", ".gitattributes")


@dataclass(frozen=True)
class Upload:
    """A file of the repository, and where its bytes come from."""

    name: str
    content: Path | bytes

    @property
    def bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def uploads(series: Series, place: str, states: bool = False) -> list[Upload]:
    """The files of the repository that a series becomes, by name.

    Args:
        place: hub:USER/NAME.
        states: optimiser states too, with which the run can be resumed and densified quickly.

    Raises:
        ConfigError: the address is no hub:USER/NAME.
        SeriesError: the series is over files elsewhere, has no checkpoints or curves, or a file is damaged.
    """
    if not is_published(place):
        raise ConfigError(f"{place}: expected hub:USER/NAME, the repository to publish to.")
    if elsewhere.is_light(series):
        source = series.manifest["source"]["place"]
        copy = command("open", source, "--copy", "--out", f"{series.root}-copy")
        raise SeriesError(f"{series.root} does not contain its weights. Make a series that does: {copy}.")
    if not series.steps or not series.recorded():
        raise SeriesError(f"{series.root} has no checkpoints yet: {command('train', '--resume', series.root)}.")
    entries = [entry for entry in series.entries if states or entry.kind == "weights"]
    if wrong := [problem for entry in entries if (problem := file_problem(series.root, entry))]:
        raise SeriesError(f"{series.root}: {wrong[0]} Nothing was published. {command('verify', series.root)}.")
    index = b"".join(json.dumps(asdict(entry)).encode() + b"\n" for entry in entries)
    found = {
        "README.md": readme(series, place, states).encode(),
        MANIFEST: json.dumps(_public(series.manifest), indent=1).encode() + b"\n",
        "index.jsonl": index,
        **{name: series.root / name for name in SMALL if name != "index.jsonl" and is_file(series.root / name)},
        **{entry.file: series.root / entry.file for entry in entries},
    }
    return [Upload(name, found[name]) for name in sorted(found)]


def publish(series: Series, place: str, *, states: bool = False, private: bool = False) -> str:
    """Put a series on the hub, in one commit. What the hub has already is not sent again.

    Args:
        place: hub:USER/NAME; made where there is none.
        states: as of `uploads`.
        private: make the repository private, where it is made.

    Returns:
        The repository's address on the web.

    Raises:
        ConfigError: no token, or the hub refuses; the repository holds something else.
        SeriesError: the hub cannot be reached; as of `uploads`.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, get_token

    files, repo = uploads(series, place, states), hub_api.parsed(place)[0]
    if get_token() is None:
        raise ConfigError(
            "publishing needs a Hugging Face token with write access: run `hf auth login`, or set HF_TOKEN."
        )
    client = hub_api.api()
    hub_api.asked(repo, lambda: client.create_repo(repo, private=private or None, exist_ok=True))
    stale = _stale(series, repo, {file.name for file in files})
    operations: list[Any] = [CommitOperationAdd(file.name, _sent(file)) for file in files]
    operations += [CommitOperationDelete(name) for name in stale]
    message = f"{series.name}: {len(series.steps)} checkpoints"
    made = hub_api.asked(repo, lambda: client.create_commit(repo, operations, commit_message=message))
    _check(repo, made.oid, files)
    return f"{hub_api.address()}/{repo}"


def listing(files: Sequence[Upload]) -> str:
    """Names and sizes, as a table for a terminal."""
    lines = [f"{file.bytes:>14,}  {file.name}" for file in files]
    return "\n".join([*lines, f"{sum(file.bytes for file in files):>14,}  bytes in {len(files)} files"])


def paths_in(series: Series) -> list[str]:
    """Places of this machine that config.json names: they are published with it."""
    config = json.dumps(to_dict(series.config))
    return sorted({part for part in config.split('"') if part.startswith(("/", "~"))})


def _public(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without the folders of this machine."""
    out = manifest | {"data": None}
    branch = manifest.get("branch")
    if branch is not None:
        out["branch"] = branch | {"path": branch["parent"]}
    source = manifest.get("source")
    if source is not None and not str(source["place"]).startswith(hub_api.PREFIX):
        out["source"] = source | {"place": Path(source["place"]).name}
    return out


def _sent(file: Upload) -> str | bytes:
    return file.content if isinstance(file.content, bytes) else str(file.content)


def _stale(series: Series, repo: str, names: set[str]) -> list[str]:
    """Checkpoints that the repository has and this series has not.

    Raises:
        ConfigError: it holds something else than a stage of this run.
    """
    commit = hub_api.refs(repo).get("main")
    there = [] if commit is None else [file.name for file in hub_api.files(repo, commit)]
    if commit is None or not set(there) - set(_PLAIN):
        return []
    other = f"hub:{repo} does not contain this run: choose another name."
    if "config.json" not in there or MANIFEST not in there:
        raise ConfigError(other)
    path = hub_api.fetched(repo, commit, "config.json")
    before, now = (dict(x) for x in (read_json(path), json.loads(json.dumps(to_dict(series.config)))))
    if any(before.get(key) != now.get(key) for key in {*before, *now} - set(_GROWS)):
        raise ConfigError(other)
    return sorted(name for name in there if re.fullmatch(LARGE, name) and name not in names)


def _check(repo: str, commit: str, files: Sequence[Upload]) -> None:
    """See that the hub has what was sent.

    Raises:
        SeriesError: it has not.
    """
    from mechicl.sources.reading import digest

    there = {file.name: file for file in hub_api.files(repo, commit)}
    for file in files:
        has = there.get(file.name)
        if has is None or has.bytes != file.bytes:
            raise SeriesError(f"hub:{repo} does not have the uploaded {file.name}: publish again.")
        if has.sha256 is not None and isinstance(file.content, Path) and digest([file.content])[1] != has.sha256:
            raise SeriesError(
                f"hub:{repo} has {file.name} with a different sha256 from the uploaded file: publish again."
            )
