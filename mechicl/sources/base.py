"""What a source is, and how one is found by what a user writes.

    @register
    class Mine(Source):
        kind = "mine"
        says = "a folder of my own trainer's"

        def claims(self, place): ...
        def find(self, place, asked): ...

Nothing here computes: importing it is quick.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mechicl.doors import Door
from mechicl.errors import ConfigError, SeriesError
from mechicl.system.paths import given
from mechicl.system.steps import Listed, apart, check

if TYPE_CHECKING:
    from torch import Tensor

# Of a description of a model, what says nothing of the model.
NOT_THE_MODEL = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "architectures")
SAFE, PICKLED = (".safetensors",), (".pt", ".pth", ".bin", ".ckpt")


def no_pickle(what: str) -> ConfigError:
    """The refusal of a pickle that nobody said to trust. what: as 'DIR has its weights in FILE, which'."""
    return ConfigError(
        f"{what} is a pickle, and reading a pickle can run any code. If you trust it, add --pickles: then only tensors "
        "are read from it."
    )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user says of a source.

    pattern: how its files are called, with {step} where the number stands. model: a JSON file that describes the model.
    pickles: whether torch's pickles may be read. steps: only these, a list or a range; every: of them at most one in so
    many steps, the first and the last among them. cache: bytes that fetched files may take on this machine, where they
    are fetched.

    Raises:
        ConfigError: every is below 1, or goes with a list.
    """

    pattern: str | None = None
    model: Path | None = None
    pickles: bool = False
    steps: Listed | None = None
    every: int | None = None
    cache: int | None = None

    def __post_init__(self) -> None:
        check(self.steps, self.every)

    def chosen(self, there: Iterable[int], place: object) -> list[int]:
        """Which steps are asked for, of those that are there, ascending.

        Raises:
            ConfigError: one is not there, or none is left.
        """
        have = sorted(there)
        named = () if self.steps is None or isinstance(self.steps, range) else self.steps
        if lacking := sorted(set(named) - set(have)):
            near = sorted(have, key=lambda step: abs(step - lacking[0]))[:3]
            raise ConfigError(f"--steps: {place} has no step {lacking[0]}; the nearest are {sorted(near)}.")
        found = [step for step in have if self.steps is None or step in self.steps]
        if not found:
            raise ConfigError(f"--steps chooses no step of {place}; it has {have[:8]}, ...")
        return apart(found, self.every)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a source is opened. What is None or False is not said: of a new series it is the default, one that is there
    keeps what it was made with.

    copy: convert the weights into the run. tokens: a file that `text` is asked on. batch_size: sequences per training
    step (default: as recorded, or 1). length, n: positions of a sequence (default 64, or the model's), sequences per
    evaluator (default 128). few_shot: ask for labels of small classifications, too.

    Raises:
        ConfigError: a number is below 1.
    """

    copy: bool = False
    tokens: Path | None = None
    batch_size: int | None = None
    length: int | None = None
    n: int | None = None
    few_shot: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "length", "n"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: expected at least 1.")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The checkpoints that a source has.

    place: where, as it is found again: an absolute folder, or an address
    layout: whose names the tensors have (layouts.py)
    settings: what describes the model in that layout, plain data
    files: step -> the files of its weights, as `fetch` takes them
    losses: step -> the training loss, where it was recorded
    batch_size: sequences per step, where it was recorded
    batch_note: why there may have been more, where the record does not say all
    tokenizer: a tokenizer.json
    cache: bytes that fetched files may take here; None: as before, or as many as the source's default
    more: anything else that `fetch` needs, plain data; of a step under its number as text
    """

    place: str
    layout: str
    settings: Mapping[str, Any]
    files: Mapping[int, tuple[str, ...]]
    losses: Mapping[int, float] = field(default_factory=dict)
    batch_size: int | None = None
    batch_note: str = ""
    tokenizer: Path | None = None
    pickles: bool = False
    cache: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Source(ABC):
    """One kind of place that checkpoints lie in."""

    kind: ClassVar[str]  # its name in a manifest
    says: ClassVar[str]  # what it is, in a few words

    @abstractmethod
    def claims(self, place: str) -> bool:
        """Whether what a user wrote is such a place."""

    @abstractmethod
    def find(self, place: str, asked: Asked) -> Found:
        """The checkpoints there.

        Raises:
            ConfigError: there are none that can be opened, and why.
        """

    def fetch(self, record: Mapping[str, Any], step: int) -> list[Path]:
        """The files of a step on this machine, in their order.

        Args:
            record: what the manifest says of the source (`record.record_of`).
        """
        return [Path(record["place"]) / name for name in record["files"][str(step)]]

    def tensors(self, paths: Sequence[Path], pickles: bool) -> dict[str, Tensor]:
        """What the files of a step hold, under the names of the layout.

        Raises:
            SeriesError: they cannot be read.
        """
        from mechicl.sources.reading import tensors_of

        return tensors_of(paths, pickles)[0]

    def tensors_at(self, step: int, paths: Sequence[Path], pickles: bool) -> dict[str, Tensor]:
        """`tensors` of one step. By default of all that its files hold; a source whose file holds several steps takes
        the part of this one.

        Raises:
            SeriesError: they cannot be read.
        """
        return self.tensors(paths, pickles)

    def here(self, record: Mapping[str, Any], step: int) -> list[Path]:
        """Those of `fetch` that lie on this machine anyway, to see whether they changed."""
        return self.fetch(record, step)


SOURCES: Door[Source] = Door(
    "source", built_in=tuple(f"mechicl.sources.{name}" for name in ("trainer", "files", "hub"))
)
Some = TypeVar("Some", bound=Source)


def register(cls: type[Some]) -> type[Some]:
    """Class decorator: `mechicl open` looks for such places from now on.

    Raises:
        ConfigError: there is a source of that name, or it has none.
    """
    for lacking in ("kind", "says"):
        if not isinstance(getattr(cls, lacking, None), str):
            raise ConfigError(f"{cls.__name__}: a source needs {lacking}, such as {lacking} = '...' in its class.")
    SOURCES.add(cls.kind, cls(), cls.__module__)
    return cls


def source_of(place: str, kind: str | None = None) -> Source:
    """The source that a place is; or of the kind that is asked for.

    Raises:
        ConfigError: it is none; what each would be.
    """
    if kind is not None:
        return SOURCES.find(kind)
    for each in SOURCES.values():
        if each.claims(place):
            return each
    listed = "; ".join(f"{name}: {each.says}" for name, each in SOURCES.items())
    there = "" if "://" in place or ":" in place or given(place).exists() else " There is nothing of that name."
    raise ConfigError(f"{place}: there are no checkpoints here that mechicl can open.{there} It looks for {listed}.")


def step_in(name: str) -> int | None:
    """The last number in a name: its step. None where there is none."""
    found = re.findall(r"\d+", name)
    return int(found[-1]) if found else None


def by_step(
    named: Sequence[tuple[int, tuple[str, ...]]], place: object, helps: str, asked: Asked | None = None
) -> dict[int, tuple[str, ...]]:
    """Step -> files, ascending.

    Args:
        asked: which steps are wanted: of the others nothing has to be right (default: all).

    Raises:
        ConfigError: two are of one step, or a step that is asked for is not there.
    """
    wanted = None if asked is None else set(asked.chosen({step for step, _ in named}, place))
    out: dict[int, tuple[str, ...]] = {}
    for step, files in sorted(named):
        if wanted is not None and step not in wanted:
            continue
        if step in out:
            raise ConfigError(
                f"{place}: {out[step][0]} and {files[0]} both have step {step}. {helps} {leave_out(step)}"
            )
        out[step] = files
    return out


def leave_out(step: int) -> str:
    """The end of a refusal of one checkpoint: how the others are opened."""
    return f"To open the others, leave step {step} out with --steps."


@contextmanager
def one_of_several(step: int, steps: Collection[int]) -> Iterator[None]:
    """Around the reading of one of several checkpoints: what is wrong with it says how the others are opened."""
    try:
        yield
    except SeriesError as error:
        if len(steps) < 2:
            raise
        raise SeriesError(f"{error} {leave_out(step)}") from error
