"""What is asked of the Hugging Face hub, and its errors in words: revisions, lists of files, files.

Answers are kept beside the files, so that what was asked before is known without the hub (HF_HUB_OFFLINE=1). Files lie
in a cache of mechicl's own (hub_cache.py), by their commit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mechicl.errors import ConfigError, SeriesError
from mechicl.sources import hub_cache
from mechicl.system.files import bytes_of, read_json, write_json

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
PREFIX = "hub:"
_LOGIN = "`hf auth login` or HF_TOKEN gives a token"


@dataclass(frozen=True)
class File:
    """A file of a commit. sha256: of its content, where the hub says it (files in its large storage)."""

    name: str
    bytes: int
    sha256: str | None


class Unreachable(SeriesError):
    """The hub cannot be asked: no network, HF_HUB_OFFLINE, or it does not answer."""


class Absent(ConfigError):
    """The hub has no such repository, revision or file, or not for this user."""


def parsed(place: str) -> tuple[str, str | None]:
    """(USER/NAME, what follows @ or None) of 'hub:USER/NAME@...'.

    Raises:
        ConfigError: it is written otherwise.
    """
    repo, at, rest = place.removeprefix(PREFIX).partition("@")
    if not place.startswith(PREFIX) or not re.fullmatch(r"[\w.-]+/[\w.-]+", repo) or (at and not rest):
        raise ConfigError(
            f"{place}: expected hub:USER/NAME for a published series, or hub:USER/NAME@PATTERN for "
            "revisions, such as hub:EleutherAI/pythia-14m@step*."
        )
    return repo, rest or None


def api() -> HfApi:
    """The hub's client, at the address that HF_ENDPOINT names."""
    from huggingface_hub import HfApi, constants

    return HfApi(endpoint=constants.ENDPOINT, library_name="mechicl")


def refs(repo: str) -> dict[str, str]:
    """Branch or tag -> its commit; as last seen where the hub cannot be reached.

    Raises:
        Absent: no such repository.
        Unreachable: it was never asked, and cannot be.
    """
    kept = _kept(repo, "refs")
    try:
        found = asked(repo, lambda: api().list_repo_refs(repo))
    except Unreachable:
        if bytes_of(kept) is None:
            raise
        return read_json(kept)
    answer = {ref.name: ref.target_commit for ref in (*found.tags, *found.branches)}
    write_json(kept, answer)
    return answer


def files(repo: str, commit: str) -> list[File]:
    """The files of a commit; errors as of `refs`. A commit never changes, so it is asked for once."""
    from huggingface_hub.hf_api import RepoFile

    kept = _kept(repo, commit)
    if bytes_of(kept) is None:
        listed = asked(repo, lambda: list(api().list_repo_tree(repo, recursive=True, revision=commit)))
        found = [
            File(x.path, x.size, None if x.lfs is None else x.lfs.sha256) for x in listed if isinstance(x, RepoFile)
        ]
        write_json(kept, {"files": [asdict(each) for each in found]})
    return [File(**each) for each in read_json(kept)["files"]]


def settings(repo: str, commit: str, name: str) -> dict[str, Any]:
    """A JSON file of a commit, kept for good: it is small. Errors as of `fetched`."""
    kept = _kept(repo, f"{commit}-{name}")
    if bytes_of(kept) is None:
        write_json(kept, read_json(fetched(repo, commit, name)))
    return read_json(kept)


def fetched(repo: str, commit: str, name: str) -> Path:
    """A file of a commit on this machine: from the cache, or from the hub. A download that is cut goes on where it was
    while the process lives.

    Raises:
        Absent: there is none.
        Unreachable: it is not in the cache.
    """
    from huggingface_hub import constants, hf_hub_download

    def ask() -> str:
        return hf_hub_download(
            repo,
            name,
            revision=commit,
            cache_dir=hub_cache.folder(),
            endpoint=constants.ENDPOINT,
            library_name="mechicl",
            tqdm_class=_silent(),
        )

    return hub_cache.held(repo, commit, name) or Path(asked(repo, ask))


def asked(repo: str, ask: Callable[[], T]) -> T:
    """What the hub answers.

    Raises:
        Absent, Unreachable: as they say.
        ConfigError: another refusal, in the hub's words.
    """
    from huggingface_hub import errors

    broken: tuple[type[Exception], ...] = errors.HfHubHTTPError.__bases__  # the HTTP library's, whichever, and OSError
    where = f"{PREFIX}{repo}"
    try:
        return ask()
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise _unreachable(where, error.__cause__ or error) from error
    except errors.GatedRepoError as error:
        raise Absent(f"{where} is gated: ask for access on its page, then log in ({_LOGIN}).") from error
    except errors.RepositoryNotFoundError as error:
        raise Absent(
            f"{where}: there is no such repository on {address()}, or it is private and this user is not "
            f"logged in ({_LOGIN})."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise Absent(f"{where}: the hub no longer has this revision ({_said(error)}).") from error
    except errors.EntryNotFoundError as error:
        raise Absent(f"{where}: no such file ({_said(error)}).") from error
    except errors.HfHubHTTPError as error:
        raise _refused(where, error) from error
    except errors.HFValidationError as error:
        raise ConfigError(f"{where}: {_said(error)}") from error
    except RuntimeError as error:  # one of several files could not be sent: the reason stands behind it
        if not isinstance(error.__cause__, broken):
            raise
        refused = isinstance(error.__cause__, errors.HfHubHTTPError)
        raise (_refused if refused else _unreachable)(where, error.__cause__) from error
    except broken as error:
        raise _unreachable(where, error) from error


def address() -> str:
    """Where the hub is."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def _unreachable(where: str, error: BaseException) -> Unreachable:
    from huggingface_hub import constants

    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _said(error)
    return Unreachable(
        f"{where} cannot be reached at {address()} ({why}), and what is asked for is not in the cache "
        f"{hub_cache.root()}. The same command continues it later."
    )


def _refused(where: str, error: Any) -> ConfigError | SeriesError:
    status = error.response.status_code
    if status in (401, 403):
        return Absent(f"{where}: the hub says {status}: this user may not ({error.server_message}). {_LOGIN}.")
    if status >= 500 or status in (408, 429):
        return Unreachable(f"{where}: the hub says {status}: {_said(error)}. The same command continues it later.")
    return ConfigError(f"{where}: the hub says {status}: {_said(error)}")


def _said(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__


def _kept(repo: str, what: str) -> Path:
    return hub_cache.root() / "listings" / repo.replace("/", "--") / f"{what.removesuffix('.json')}.json"


def _silent() -> type:
    """A bar that shows nothing: opening a series has one of its own."""
    from tqdm import tqdm

    class Silent(tqdm):  # pyright: ignore[reportMissingTypeArgument] (generic in its stubs alone)
        def __init__(self, *args: Any, **settings: Any):
            settings.pop("name", None)  # the hub's own bars have one
            super().__init__(*args, **(settings | {"disable": True}))

    return Silent
