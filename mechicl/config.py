"""A run, as data: frozen keyword-only dataclasses, loaded strictly.

`Config` holds everything that decides a run's numbers; two equal configs give
the same series on the same machine. `from_dict` refuses what it does not know,
naming the key, so that a typo never trains the wrong model in silence.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from mechicl.errors import ConfigError as ConfigError
from mechicl.loading import Options, at_least, check_types
from mechicl.loading import from_dict as from_dict
from mechicl.loading import to_dict as plain
from mechicl.protocol.known import DEFAULT, task_of
from mechicl.protocol.task import Task as Task
from mechicl.tasks.exemplar_label.settings import OF_DEFAULT_TASK as OF_DEFAULT_TASK
from mechicl.tasks.exemplar_label.settings import BankConfig as BankConfig
from mechicl.tasks.exemplar_label.settings import OfConfig, OfModelConfig, as_recorded
from mechicl.tasks.exemplar_label.settings import SequenceConfig as SequenceConfig
from mechicl.training_interventions import TrainingIntervention as TrainingIntervention
from mechicl.training_interventions import check_interventions

GROUPS = ("all", "attention", "mlp", "embeddings")
_SMALLEST = 2.0**-126  # of float32 without loss; Adam divides by eps where a gradient has always been 0
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}
_LONGEST_NAME = 180  # bytes; folders have 255, of which seeds and temporary files take some


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Three independent streams, as in the published code (docs/references.md#seeds)."""

    init: int = 0  # weights
    data: int = 0  # the bank's noise and split, the training sequences
    eval: int = 1  # the fixed evaluation sets

    def __post_init__(self) -> None:
        check_types(self, "seeds")
        at_least("seeds", self, init=0, data=0, eval=0)


@dataclass(frozen=True, kw_only=True)
class _Transformer:
    """What every task's model has."""

    n_layers: int = 2
    d_model: int = 64
    n_heads: int = 8
    mlp_ratio: int = 0
    mlp_layers: tuple[int, ...] | None = None
    positions: Literal["learned", "sinusoidal", "rotary"] = "learned"
    position_time: float = 10000.0  # time constant of sinusoidal and rotary positions
    layer_norm: bool = True
    activation: Literal["gelu", "gelu_tanh"] = "gelu"  # of MLPs: exact, or the tanh form, as published
    init: Literal["normal", "truncated"] = "normal"  # of matrices: lecun-normal, or cut at 2 sigma, as published


@dataclass(frozen=True, kw_only=True)
class ModelConfig(OfModelConfig, _Transformer):  # the fields of the last class come first in a file
    """Pre-LN causal transformer (docs/references.md#model). `mlp_ratio` 0 is attention-only;
    `mlp_layers` says which layers have an MLP (None: all of them)."""

    # A model that mechicl did not make (sources/): fields of its HookedTransformerConfig, which decide; what stands
    # above describes it. It runs through HookedTransformer's hooks (models/hooked.py) and is not trained.
    hooked: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_types(self, "model")
        at_least("model", self, n_layers=1, d_model=1, n_heads=1, mlp_ratio=0)
        if not self.position_time > 0:
            raise ConfigError(f"model.position_time={self.position_time}: expected a time above 0, such as 10000.0.")
        self.check_encoder()
        if self.hooked:
            self._check_hooked()
        elif self.d_model % self.n_heads:
            raise ConfigError(f"model.d_model={self.d_model} is not a multiple of n_heads={self.n_heads}.")
        if self.positions == "rotary" and self.d_head % 2 and not self.hooked:
            raise ConfigError(f"model.positions='rotary' needs an even head size, not {self.d_head}.")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ConfigError(f"model.positions='sinusoidal' needs an even d_model, not {self.d_model}.")
        for layer in self.mlp_layers or ():
            if not 0 <= layer < self.n_layers:
                raise ConfigError(f"model.mlp_layers names layer {layer}; layers are 0..{self.n_layers - 1}.")
        if self.mlp_layers and not self.mlp_ratio:
            raise ConfigError("model.mlp_layers is set but mlp_ratio is 0: give the MLPs a width.")

    def _check_hooked(self) -> None:
        for key in ("n_layers", "d_model", "n_heads"):
            if self.hooked.get(key) != getattr(self, key):
                raise ConfigError(
                    f"model.{key}={getattr(self, key)}, but model.hooked.{key}={self.hooked.get(key)}: "
                    "of a model from elsewhere both are the same."
                )
        if type(self.hooked.get("d_head")) is not int:
            raise ConfigError(f"model.hooked.d_head={self.hooked.get('d_head')!r}: expected the width of a head.")

    @property
    def d_head(self) -> int:
        return self.hooked.get("d_head") or self.d_model // self.n_heads

    @property
    def eps(self) -> float:
        """What LayerNorms add to the variance."""
        return self.hooked.get("eps", 1e-5)

    def has_mlp(self, layer: int) -> bool:
        """Whether this layer has an MLP after its attention."""
        return self.mlp_ratio > 0 and (self.mlp_layers is None or layer in self.mlp_layers)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Adam, and exactly which L2.

    'penalty' adds (l2/2) * sum of squared parameters of `l2_group` to the loss (so its
    gradient l2 * theta goes through Adam's moments; the reported loss excludes it);
    'decoupled' is AdamW: theta shrinks by lr * l2 * theta beside Adam's step.
    """

    lr: float = 1e-3
    lr_schedule: Literal["constant", "inverse_sqrt"] = "constant"
    warmup_steps: int = 0  # linear from 0; with 'inverse_sqrt', then lr * sqrt(warmup/step)
    betas: tuple[float, float] = (0.9, 0.999)
    adam_eps: float = 1e-8
    l2: float = 0.0
    l2_form: Literal["penalty", "decoupled"] = "penalty"
    l2_group: Literal["all", "attention", "mlp", "embeddings"] = "all"

    def __post_init__(self) -> None:
        check_types(self, "optim")
        at_least("optim", self, lr=0, warmup_steps=0, l2=0, adam_eps=_SMALLEST)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optim.betas={self.betas}: expected two numbers from 0 to below 1, as (0.9, 0.999).")
        if self.lr_schedule == "inverse_sqrt" and self.warmup_steps < 1:
            raise ConfigError(
                "optim.lr_schedule='inverse_sqrt' decays from the end of the warm-up: set warmup_steps to at least 1."
            )

    def lr_at(self, step: int) -> float:
        """Learning rate of the update that takes `step` to `step + 1`."""
        done = step + 1
        if done < self.warmup_steps:
            return self.lr * done / self.warmup_steps
        if self.lr_schedule == "inverse_sqrt":
            return self.lr * (self.warmup_steps / done) ** 0.5
        return self.lr


@dataclass(frozen=True, kw_only=True)
class Window:
    """Every `every` steps from `start` to `stop`, both kept."""

    start: int
    stop: int
    every: int

    def __post_init__(self) -> None:
        check_types(self, "window")
        if not (0 <= self.start <= self.stop and self.every >= 1):
            raise ConfigError(
                f"window {self.start}..{self.stop} every {self.every}: expected 0 <= start <= stop and every >= 1."
            )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Which steps become checkpoints: the union of all that is given, plus step 0 and the last.
    Known before step 0 and never chosen by a score (delphi#77)."""

    log_points: int = 0  # log-spaced from step 1
    linear_every: int = 0  # 0: none
    steps: tuple[int, ...] = ()
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "checkpoint_steps")
        at_least("checkpoint_steps", self, log_points=0, linear_every=0)


@dataclass(frozen=True, kw_only=True)
class Config(OfConfig):
    """One run. `steps` are optimiser steps; sequences seen = steps * batch_size.

    Examples:
        >>> config = mechicl.recipes.demo()
        >>> config.steps * config.batch_size  # sequences
        3072000
        >>> config.with_seed(3).seeds
        Seeds(init=3, data=3, eval=1)
    """

    name: str
    steps: int
    batch_size: int = 128
    task: Task | None = None  # what is trained on; None: the task whose settings stand here, beside the others
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    checkpoint_steps: ScheduleConfig = field(default_factory=ScheduleConfig)
    seeds: Seeds = field(default_factory=Seeds)
    n_eval: int = 2000  # sequences per evaluator
    states: int = 10  # full optimiser states kept, evenly spaced: for resume and densify
    training_interventions: tuple[TrainingIntervention, ...] = ()  # what is done to the model or its data in training
    threads: int = 1  # decides the last bits of the sums; at this size a second thread gains
    # little on a quiet machine and loses much on a busy one (threads wait for one another)
    weights_dtype: Literal["float32", "float16"] = "float32"  # of the saved checkpoints
    keep: Literal["all", "metrics"] = "all"  # 'metrics': every scheduled step is evaluated, but only
    # the first and last weights are kept (and, until the run ends, one state to resume from)

    def __post_init__(self) -> None:
        check_types(self, "config")
        at_least("config", self, steps=1, batch_size=1, n_eval=1, states=1, threads=1)
        _check_name(self.name)
        if self.task is not None:
            _check_of_other_task(self)
        check_interventions(self)
        task_of(self).check(self)

    def with_seed(self, seed: int) -> Config:
        """The same run with another init and data seed; evaluation sets keep theirs."""
        seeds = dataclasses.replace(self.seeds, init=seed, data=seed)
        return dataclasses.replace(self, seeds=seeds)


def _check_of_other_task(config: Config) -> None:
    """Raise where a config that names its task has settings of the task of configs that name none."""
    task = config.task
    assert task is not None
    default = {
        f.name: f.default_factory() if callable(f.default_factory) else f.default
        for f in dataclasses.fields(config)
        if f.name in OF_DEFAULT_TASK
    }
    for key, value in default.items():
        if getattr(config, key) != value:
            raise ConfigError(
                f"{key} is a setting of the task {DEFAULT!r}, but this run's task is {task.kind!r}: leave it out."
            )
    if said := config.model.of_default_task:
        raise ConfigError(
            f"{said} is a setting of the task {DEFAULT!r}, but this run's task is {task.kind!r}: leave it out."
        )


def _check_name(name: str) -> None:
    """Raise unless a run's name can be that of a folder, on any system."""
    if not name or not all(ch.isalnum() or ch in "-_." for ch in name):
        raise ConfigError(
            f"name={name!r}: a run's name is made of letters, digits, '-', '_' and '.', since it names its folder."
        )
    if name.startswith("."):
        raise ConfigError(f"name={name!r}: a run's name does not start with a dot.")
    if name.endswith(".") or name.split(".")[0].lower() in _DEVICES:
        raise ConfigError(
            f"name={name!r}: Windows cannot have such a folder. Choose a name that does not end in a "
            "dot and is not a device, such as 'con' or 'nul'."
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise ConfigError(
            f"name={name[:40]!r}...: {len(name.encode())} bytes, but a run's name, which names its "
            f"folder, has at most {_LONGEST_NAME}."
        )


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON-ready dict of a config, or of a part of one; `from_dict` inverts it. A run has the settings of its
    task alone."""
    out = plain(config)
    if not isinstance(config, Config):
        return out
    return {name: out[name] for name in in_order(("task",) if config.task is None else OF_DEFAULT_TASK)}


def in_order(without: tuple[str, ...] = ()) -> list[str]:
    """The fields of a config in the order in which people read them: the default task's after `task`."""
    own = [f.name for f in dataclasses.fields(Config) if f.name not in OF_DEFAULT_TASK]
    at = own.index("task") + 1
    return [name for name in (*own[:at], *OF_DEFAULT_TASK, *own[at:]) if name not in without]


def from_run(data: dict[str, Any]) -> Config:
    """The config that a run's own config.json holds, also of runs from before a field existed.

    Raises:
        ConfigError: as `from_dict`.
    """
    return as_recorded(from_dict(Config, data), data)
