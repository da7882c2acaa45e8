"""What a task is. `known.py` says which there are, and which one a run has.

A task is a frozen dataclass that derives from `Task`: its fields are its settings, which stand in config.json under
`task`, and its methods say how sequences are drawn and what a model for them looks like. The batch that it draws
(`TaskBatch`, batch.py) says how sequences enter the residual stream, where answers are read, and how they are scored.
Evaluators of a task are registered beside it (`registry.register`).

    @register
    @dataclass(frozen=True, kw_only=True)
    class Regression(Task):
        kind: str = "regression"
        ...

    config = Config(name="mine", steps=2000, task=Regression())

Nothing here computes, so that importing it is quick: a task imports torch in its methods.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, get_args

from mechicl import own_code
from mechicl.errors import ConfigError
from mechicl.loading import from_dict, to_dict, type_hints
from mechicl.protocol.known import TASKS
from mechicl.protocol.known import register as register  # a task's file imports it with Task

if TYPE_CHECKING:
    import numpy as np

    from mechicl.config import Config, ModelConfig
    from mechicl.protocol.batch import TaskBatch
    from mechicl.protocol.shown import Column, Token

DRAWS = 2  # stream of the data seed for training sequences; a task's source uses others
STEPS_PER_DRAW = 64  # sequences are drawn for this many steps at once; part of the data's definition


@dataclass(frozen=True)
class Circuit:
    """Which scores of attention tell the parts of the induction circuit, and on which evaluator's sequences."""

    evaluator: str
    induction: str = "prefix_matching"
    previous: str = "previous_token"
    match: str = "same_token"


class Source(Protocol):
    """What sequences are drawn from, as a set of chains or a corpus: rebuilt from the config, never
    stored."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of its contents: two runs with the same one saw the same data."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What a run is trained on."""

    kind: str  # its name in config.json; a subclass gives it its one value as default
    # Of attention: the score of an induction head, of a previous-token head, and of a head that finds the match itself
    # (names in `TaskBatch.attention`); and the evaluator on whose sequences they are looked at.
    circuit: ClassVar[Circuit]
    outputs: ClassVar[str] = "outputs"  # what the model answers with, as 'labels'
    answer: ClassVar[str] = "answer"  # one of them, as 'label'
    marks: ClassVar[Mapping[str, str]] = MappingProxyType({})  # answers that `marked` names -> what each is
    accuracies: ClassVar[bool] = False  # every evaluator's primary metric is a share of right answers
    errors: ClassVar[tuple[str, ...]] = ("loss",)  # metrics of which less is better
    one_answer: ClassVar[bool] = False  # a sequence has one answer, which stands in its context: clamps need it
    has_bank: ClassVar[bool] = False  # its source is called a bank, and `series.bank` gives it
    # Other sequences for the same model, as to train a branch on: a name -> what they are, and settings as `--set`
    # takes them.
    other_data: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType({})

    @property
    @abstractmethod
    def n_tokens(self) -> int:
        """Positions of a sequence, as the model reads it."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Numbers that the model answers with at a position: columns of the unembedding."""

    @abstractmethod
    def input_shapes(self, model: ModelConfig) -> dict[str, tuple[int, ...]]:
        """Name -> shape of the parameters through which sequences enter the residual stream, positions aside: for
        tokens {'embed.W_E': (vocabulary, model.d_model)}. Initial values go by the last part of a name
        (models/params.py): W_E small, W of standard deviation 1/sqrt(fan in), b 0."""

    @abstractmethod
    def source(self, config: Config, data: str | Path | None = None, threads: int | None = 1) -> Any:
        """What this run's sequences are drawn from (`Source`): a function of the settings and `config.seeds.data`.

        Args:
            data: a file or folder, for tasks that need one.
            threads: of BLAS, where they decide the last bits; None: as many as the environment has.
        """

    def reads_no_data(self, config: Config) -> str:
        """Why `source` has no use for `data` with this config, and what to change for it to be read, in words; '' where
        it may read it."""
        return ""

    def kept(self, root: Path) -> Path | None:
        """What `source` is given as `data` where a run keeps it itself; None: nothing is kept."""
        return None

    def keep(self, root: Path, source: Any) -> None:  # noqa: B027 (most sources are built again)
        """Put into a new run's folder what `kept` finds there."""

    def given(self, config: Config) -> str | None:
        """The file or folder that the settings name for `source`, which takes it where no `data` is given."""
        return None

    def drawn_from(self, config: Config) -> Any:
        """The settings that `source` depends on, beside the seeds: runs for which they are equal can share one."""
        return self

    @abstractmethod
    def draw(self, source: Any, n: int, rng: np.random.Generator) -> TaskBatch:
        """`n` training sequences."""

    @abstractmethod
    def tokens(self, source: Any, evaluator: str, batch: Any, i: int) -> list[str]:
        """What stands at each position of sequence `i`: 'place words', as 'x1 class 7' or '0 B'; no two alike.

        Args:
            evaluator: whose set the batch is.
        """

    @abstractmethod
    def caption(self, recorded: dict[str, Any]) -> str:
        """One line: the setting that a picture must state. recorded: what `record` put into the manifest."""

    def aligned(self, batch: Any) -> tuple[list[int], list[str]]:
        """The sequences over which an average pattern means something, those whose positions have one role in all of
        them, and what each position is called then. By default all, by number."""
        return list(range(len(batch))), [str(i) for i in range(batch.shape[-1])]

    def alignment(self, batch: Any) -> str:
        """What the sequences of `aligned` have in common, as 'that show the match first'. Nothing by default."""
        return ""

    def marked(self, batch: Any, i: int) -> dict[str, int | None]:
        """The answers that sequence `i` has, in each sense of `marks`: mark -> an output, None where it has none."""
        return {}

    def shown(self, source: Any, evaluator: str, batch: Any, i: int) -> list[Token]:
        """Sequence `i` as something to look at, position by position. By default what `tokens` says of each."""
        from mechicl.protocol.shown import Token

        return [Token.read(each) for each in self.tokens(source, evaluator, batch, i)]

    def attributed(self, batch: Any) -> list[Column]:
        """Outputs whose logits the page attributes, over a batch. By default the batch's `answers`."""
        from mechicl.protocol.shown import Column

        said = {name: name.removeprefix("logit_").replace("_", " ") for name in batch.answers()}
        return [Column(f"right {said[name]}", outputs) for name, outputs in batch.answers().items()]

    def candidates(self, batch: Any, i: int) -> list[int]:
        """Outputs of sequence `i` that are worth seeing beside the likeliest ones, at the last position. None by
        default: then the page shows those of `attributed` alone."""
        return []

    def output(self, source: Any, number: int) -> str:
        """What one output is called, as 'label 7'."""
        return f"{self.answer} {number}"

    def hooks(self, model: ModelConfig) -> tuple[str, ...]:
        """Names of the activations that the batch's `embed` passes through hooks. None by default."""
        return ()

    def writes(self, model: ModelConfig) -> tuple[str, ...]:
        """Input parameters, `embed.W_E` aside, that write to the residual stream. By default all whose last axis is
        d_model long."""
        shapes = self.input_shapes(model)
        return tuple(name for name, shape in shapes.items() if shape[-1] == model.d_model and name != "embed.W_E")

    @classmethod
    def tables(cls, model: ModelConfig) -> tuple[str, ...]:
        """What the names of its input parameters begin with: each is a part that a graft can take
        (interventions/weights.py). By default 'embed' alone."""
        return ("embed",)

    def variations(self, config: Config) -> tuple[str, ...]:
        """Evaluators of the run whose sequences can be varied in one thing (`TaskBatch.varied`). None by default."""
        return ()

    def conflicts(self, config: Config) -> bool:
        """Whether the run has sequences whose context contradicts what the weights hold (`conflict`)."""
        return False

    def conflict(self, source: Any, n: int, rng: np.random.Generator) -> Any:
        """`n` such sequences, with the metric 'follows_context': 1 where the context wins, 0 where the weights do.

        Raises:
            ConfigError: the task has none.
        """
        raise ConfigError(f"the task {self.kind!r} has no sequences whose context contradicts the weights.")

    def follows(self, config: Config) -> dict[str, Any]:
        """The settings of how a run's sequences are drawn, as plain data."""
        return to_dict(self)

    def uses(self, config: Config) -> tuple[str, str]:
        """(what, name) of what must be registered before such a run opens: the task, or what stands in for it."""
        return TASKS.what, self.kind

    def summary(self, model: ModelConfig) -> str:
        """The data of a run, in a few words."""
        return f"task {self.kind!r}"

    def embedding_bytes(self, model: ModelConfig, n: int) -> float:
        """Memory in bytes that embedding `n` sequences takes for each checkpoint, beside the residual stream itself."""
        return 0.0

    def details(self, model: ModelConfig) -> list[str]:
        """More of the setting, in a few words each, for where there is room: after `caption`."""
        return []

    def record(self, source: Any) -> dict[str, Any]:
        """What the manifest keeps of the source, beside its fingerprint: plain data."""
        return {}

    def check(self, config: Config) -> None:  # noqa: B027 (nothing to check is the rule)
        """Raise ConfigError where the rest of the config does not go with the task."""

    def batches(self, config: Config, source: Any, start: int, stop: int) -> Iterator[Any]:
        """The batches of updates `start`..`stop` - 1: a pure function of seed and step number. A ConfigError where a
        plugin's `draw` gave what no model of the run can read."""
        import numpy as np

        from mechicl.protocol.drawn import check_drawn

        yours = own_code.is_yours(TASKS.what, self.kind)
        size = config.batch_size
        for draw in range(start // STEPS_PER_DRAW, math.ceil(stop / STEPS_PER_DRAW)):
            first = draw * STEPS_PER_DRAW
            steps = range(max(start, first), min(stop, first + STEPS_PER_DRAW))
            for _, same in itertools.groupby(steps, lambda update: self.data_at(config, update)):
                updates = list(same)
                rng = np.random.default_rng([config.seeds.data, DRAWS, draw])
                drawn = self.draw_at(config, source, updates[0], size * STEPS_PER_DRAW, rng)
                if yours:
                    check_drawn(drawn, self, size * STEPS_PER_DRAW, own_code.whose(TASKS.what, self.kind))
                for step in updates:
                    yield drawn[(step - first) * size : (step - first + 1) * size]

    def data_at(self, config: Config, update: int) -> Any:
        """Which data an update trains on: equal for two updates that train on the same."""
        return None

    def draw_at(self, config: Config, source: Any, update: int, n: int, rng: np.random.Generator) -> Any:
        """`draw`, as an update trains on it, where training interventions change the data."""
        return self.draw(source, n, rng)

    def changes(self, config: Config) -> bool:
        """Whether evaluation sets change during training, as where labels are dealt out anew."""
        return False

    def source_at(self, config: Config, source: Any, step: int) -> Any:
        """The source as the checkpoint of a step was trained on it."""
        return source

    @staticmethod
    def optional_fields(kind: object) -> frozenset[str]:
        """Settings of the task of that name that may be None; of no task, none."""
        if not isinstance(kind, str) or kind not in TASKS:
            return frozenset()
        return frozenset(name for name, hint in type_hints(TASKS[kind]).items() if type(None) in get_args(hint))

    @classmethod
    def from_plain(cls, value: Any, where: str) -> Task:
        """A task itself, or what config.json says of one.

        Raises:
            ConfigError: there is no task of that kind, or a setting is not one of its.
        """
        if isinstance(value, Task):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise ConfigError(
                f"{where}={value!r}: expected a task, or a table of its settings with its `kind`: one of "
                f"{', '.join(TASKS)}."
            )
        return from_dict(TASKS.find(value["kind"]), value, where)
