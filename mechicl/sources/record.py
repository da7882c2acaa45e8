"""What a series' manifest says of its source, and how it grows when the source is opened again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mechicl.config import Config
from mechicl.errors import ConfigError, SeriesError
from mechicl.sources.base import NOT_THE_MODEL, Asked, Found, Settings
from mechicl.system.paths import shown
from mechicl.tasks.text import Text

_log = logging.getLogger("mechicl")


def record_of(kind: str, found: Found, copied: bool) -> dict[str, Any]:
    """What the manifest says of a source."""
    return {
        "kind": kind,
        "place": found.place,
        "layout": found.layout,
        "settings": dict(found.settings),
        "files": {str(step): list(files) for step, files in found.files.items()},
        "pickles": found.pickles,
        "more": dict(found.more),
        "copied": copied,
        **({} if found.cache is None else {"cache": found.cache}),
    }


def assumed(found: Found, settings: Settings) -> dict[str, str]:
    """What the manifest says of the sequences per step, where nobody said how many they are: all that is counted in
    sequences depends on it."""
    if settings.batch_size is not None or (found.batch_size is not None and not found.batch_note):
        return {}
    said, why = (
        (1, "the source does not record them") if found.batch_size is None else (found.batch_size, found.batch_note)
    )
    return {
        "assumed": f"{said:,} per step are assumed: {why}. If that is wrong, so are all numbers of sequences: open the "
        "source elsewhere with --batch-size N (sequences per step: a process's batch x accumulation x processes)."
    }


def only(found: Found, asked: Asked) -> Found:
    """Without the steps that nobody asked for.

    Raises:
        ConfigError: none is left, or a setting does not go with such a source.
    """
    if asked.cache is not None and found.cache is None:
        raise ConfigError(f"--cache: it is only for checkpoints on a hub, not for {found.place}.")
    steps = set(asked.chosen(found.files, found.place))
    others = {str(step) for step in found.files if step not in steps}
    return replace(
        found,
        files={step: files for step, files in found.files.items() if step in steps},
        more={key: value for key, value in found.more.items() if key not in others},
    )


def check_settings(root: Path, old: Config, record: Mapping[str, Any], settings: Settings, config: Config) -> None:
    """See that a series that is there is opened as it was made: what was measured and counted stays as it was.

    Args:
        old: the series' own config; record: what its manifest says of its source.
        settings: what is given now; config: the config that a new series would have with it.

    Raises:
        ConfigError: a setting that is given is another one: which, its old and its new value, and what helps.
    """
    was, task = old.task, config.task
    assert isinstance(was, Text)
    assert isinstance(task, Text)
    differ = []
    for name, given, before in (
        ("--batch-size", settings.batch_size, old.batch_size),
        ("--length", settings.length, was.length),
        ("--n", settings.n, old.n_eval),
    ):
        if given not in (None, before):
            differ.append(f"{name} {given} (the series has {before})")
    if settings.tokens is not None and task.corpus != was.corpus:
        has = "no text" if was.corpus is None else "another text"
        differ.append(f"--tokens {shown(settings.tokens)} (the series has {has})")
    if settings.few_shot and not was.few_shot:
        differ.append("--few-shot (the series is without)")
    if settings.copy and not record["copied"]:
        differ.append(f"--copy (the series reads its weights from {record['place']}: do not delete that)")
    if differ:
        raise ConfigError(
            f"{shown(root)} was opened with other settings, which it keeps: {'; '.join(differ)}. For these, open the "
            "source elsewhere with --out DIR; without them, this series is gone on with."
        )


def continued(root: Path, manifest: Mapping[str, Any], record: dict[str, Any], read: Collection[int]) -> dict[str, Any]:
    """The record of a series that is there, with the checkpoints that came since.

    Args:
        read: the steps that it has. What was asked for earlier and could not be read is left out unless it is asked for
            again: it may be torn.

    Raises:
        SeriesError: the directory holds another run.
    """
    before = manifest.get("source")
    if before is None:
        raise SeriesError(f"{shown(root)} contains a run that mechicl trained: choose another folder with --out DIR.")
    for key in ("kind", "place", "layout", "settings"):
        if _of_the_model(before[key]) != _of_the_model(record[key]):
            what = f"of {before['place']}" if key == "place" else f"whose {key} differ"
            raise SeriesError(f"{shown(root)} contains another series, {what}: choose another folder with --out DIR.")
    files = {step: names for step, names in before["files"].items() if int(step) in read or step in record["files"]}
    before = before | {"files": files}
    for step in sorted(before["files"].keys() & record["files"].keys(), key=int):
        if before["files"][step] != record["files"][step]:
            _log.warning(
                "mechicl: step %s of %s was opened from %s: the series goes on with that, not with %s. To take the "
                "other, open the source elsewhere with --out DIR.",
                step,
                record["place"],
                ", ".join(before["files"][step]),
                ", ".join(record["files"][step]),
            )
        if before["more"].get(step) != record["more"].get(step):
            _log.warning(
                "mechicl: step %s of %s is no longer what it was when it was opened: the series goes on with what it "
                "was then. To take the new one, open the source elsewhere with --out DIR.",
                step,
                record["place"],
            )
    cache = {key: at["cache"] for at in (before, record) for key in ("cache",) if key in at}
    pickles = {"pickles": before["pickles"] or record["pickles"]}  # for checkpoints that came since
    return before | cache | pickles | {key: record[key] | before[key] for key in ("files", "more")}


def _of_the_model(said: Any) -> Any:
    """Of a description of a model what tells it from others: an upgrade in the middle of a run changes the rest."""
    return {key: value for key, value in said.items() if key not in NOT_THE_MODEL} if isinstance(said, dict) else said
