"""`--log`: a run's curves, as they come, in a logger that somebody already watches.

Each recorded step is one point: the training loss and every evaluator's metrics over the step, and the sequences seen.
`RUN/log/KIND.json` says up to which step a logger has them, so that a resumed run logs no point twice, and one that is
logged from its middle on, or only when it is finished, has its earlier points too. The run itself never depends on a
logger: one that fails is warned of once, and not asked again.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from mechicl.config import Config, to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.settings import flat
from mechicl.system.commands import install
from mechicl.system.files import read_json, write_json


class Logger(Protocol):
    """What a logger is asked for. x of every value is the step."""

    def point(self, step: int, values: dict[str, float]) -> None: ...
    def close(self) -> None: ...


def check(kind: str | None) -> None:
    """Before any work.

    Raises:
        ConfigError: there is no such logger, or it is not installed: what to install.
    """
    if kind is None:
        return
    if kind not in KINDS:
        raise ConfigError(f"--log {kind}: expected one of {', '.join(KINDS)}.")
    if importlib.util.find_spec(kind) is None:
        raise ConfigError(f"--log {kind} needs the package {kind}: {install(kind)}.")


@contextmanager
def logged(kind: str | None, root: Path, config: Config) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that takes each record of metrics.jsonl once it is written. What the logger lacks comes first."""
    if kind is None:
        yield lambda record: None
        return
    log = _Once(kind, root, config)
    try:
        for record in open_series(root).recorded():
            log(record)
        yield log
    finally:
        log.close()


def values_of(record: dict[str, Any]) -> dict[str, float]:
    """What is drawn of a record: 'training/loss', 'icl/in_context_acc', ..., 'sequences'."""
    loss = record["training_loss"]
    found = {} if loss is None else {"training/loss": loss}
    found |= {f"{row['evaluator']}/{row['metric']}": row["value"] for row in record["evaluators"]}
    return found | {"sequences": record["sequences"]}


class _Once:
    """A logger that gets each step once, over all calls of a run, and whose failure is a warning."""

    def __init__(self, kind: str, root: Path, config: Config):
        self.kind, self.path, self.inner = kind, root / "log" / f"{kind}.json", None
        self.state: dict[str, Any] = {"step": -1, "id": uuid4().hex[:12]}
        self.failed = False
        with self._carefully():
            self.path.parent.mkdir(exist_ok=True)
            with suppress(SeriesError):
                self.state |= read_json(self.path)
            self.inner = KINDS[kind](root, _settings(config, root), self.state["id"])

    def __call__(self, record: dict[str, Any]) -> None:
        if self.failed or record["step"] <= self.state["step"]:
            return
        with self._carefully():
            assert self.inner is not None
            self.state["step"] = record["step"]
            write_json(self.path, self.state)  # first: a kill in between costs a point, and doubles none
            self.inner.point(record["step"], values_of(record))

    def close(self) -> None:
        if self.inner is not None:
            with self._carefully():
                self.inner.close()

    @contextmanager
    def _carefully(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is: a disk, a network, an account
            if not self.failed:
                warnings.warn(
                    f"--log {self.kind} failed, and the run goes on without it: {type(error).__name__}: {error}",
                    stacklevel=2,
                )
            self.failed = True


def _settings(config: Config, root: Path) -> dict[str, Any]:
    """The run's settings by their dotted names, and where it lies."""
    return {"run": str(root), **flat(to_dict(config), "config.")}


class _TensorBoard:
    """Event files in RUN/log/tensorboard: `tensorboard --logdir RUN/log`, or of the folder of many runs."""

    def __init__(self, root: Path, settings: dict[str, Any], id: str):
        from torch.utils.tensorboard.writer import SummaryWriter

        self.writer = SummaryWriter(str(root / "log" / "tensorboard"))
        self.writer.add_text("settings", "\n".join(f"    {name} = {value}" for name, value in settings.items()))

    def point(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _Wandb:
    """A run of the project `mechicl` (WANDB_PROJECT is another). WANDB_MODE=offline keeps it in RUN/log/wandb."""

    def __init__(self, root: Path, settings: dict[str, Any], id: str):
        import os

        import wandb

        project = os.environ.get("WANDB_PROJECT", "mechicl")
        self.run = wandb.init(
            project=project,
            name=root.name,
            id=id,
            resume="allow",
            dir=str(root / "log"),
            config=settings,
            notes=str(root),
            reinit="create_new",  # stacked seeds are several at once
        )

    def point(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


class _Trackio:
    """A run of the project `mechicl`, in trackio's own folder on this machine (TRACKIO_DIR)."""

    def __init__(self, root: Path, settings: dict[str, Any], id: str):
        import trackio

        self.run = trackio.init(
            "mechicl",
            name=f"{root.name}-{id}",
            config=settings,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def point(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


KINDS: dict[str, Callable[[Path, dict[str, Any], str], Logger]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}
