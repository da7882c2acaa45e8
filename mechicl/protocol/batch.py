"""Batches: what a model reads, and what is scored where. Each task has a class of its own.

A batch is a frozen dataclass of tensors, each with sequences as its first axis (and, stacked for several models, the
models before it). The engine asks it for three things: how sequences enter the residual stream (`embed`), whether
answers are read at every position or at the last one (`everywhere`), and the loss. Measures ask for the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from mechicl.errors import ConfigError
from mechicl.protocol.gradients import Arrays as Arrays
from mechicl.protocol.gradients import Gradients as Gradients
from mechicl.protocol.known import DEFAULT
from mechicl.protocol.tokens import embed_tokens as embed_tokens
from mechicl.protocol.tokens import token_attention as token_attention
from mechicl.protocol.tokens import token_relations as token_relations

if TYPE_CHECKING:
    from mechicl.config import ModelConfig
    from mechicl.protocol.shipped import Shipped
    from mechicl.protocol.task import Task

Hook = Callable[[str, Tensor], Tensor]
Params = dict[str, Tensor]


class TaskBatch(ABC):
    """What a model reads and what it should answer. All on one device."""

    everywhere: ClassVar[bool] = True  # answers are read at every position; False: at the last one alone
    variations: ClassVar[tuple[str, ...]] = ()  # what `varied` knows
    task: ClassVar[str | None] = None  # whose sequences these are, by the task's name; None: it does not say
    recorded: ClassVar[tuple[str, ...]] = ("loss",)  # metrics that training records
    counterfactuals: ClassVar[tuple[str, ...]] = ("next",)  # what `counterfactual` knows; the first by default
    known_edges: ClassVar[Mapping[str, str]] = MappingProxyType({})  # edges that circuits are made of -> in words
    # `embed` and `loss` are the same kernels for every batch of a shape (training/on_device.py)
    static: ClassVar[bool] = False

    @classmethod
    def is_of(cls, kind: str) -> bool:
        """Whether these can be sequences of the task of that name."""
        return kind != DEFAULT if cls.task is None else kind == cls.task

    def wrong(self, task: Task) -> str:
        """What of it no model of the task can read, in words after 'a batch whose', as a token that is not in the
        vocabulary (protocol/drawn.py has the words); '' if nothing. It is asked once, of what a plugin draws, which has
        the right type and as many sequences as were asked for."""
        return ""

    @property
    @abstractmethod
    def ids(self) -> Tensor:
        """[b, t] what stands at each position, as a number: as of any input of a HookedTransformer."""

    @abstractmethod
    def embed(self, params: Params, model: ModelConfig, hook: Hook) -> Tensor:
        """[*lead, b, t, d]: sequences in the residual stream, positions aside.

        Args:
            params: the task's input parameters (`Task.input_shapes`), plain, or stacked over s checkpoints (then lead
                is [s, 1]). `embed_tokens` and `engine.ops.linear` take both.
            hook: passes an activation through a hook of that name; mostly not needed.
        """

    def embed_placed(self, params: Params, model: ModelConfig, hook: Hook, positions: Tensor) -> Tensor | None:
        """`embed` with positions [t, d] (or [s, t, d]) added, where one pass does both quicker; None: it does not."""
        return None

    @abstractmethod
    def loss(self, z: Tensor) -> Tensor:
        """The training loss, a scalar. z: the model's answers, [b, t, v], or [b, v] at the last position."""

    def loss_of(self, params: Params, final: Tensor) -> Tensor | None:
        """`loss` of the answers `engine.forward.logits(params, final)`, where there is a quicker way to it than through
        them all; None: there is not. Plain parameters, differentiable. (`engine.forward.loss_of` asks.)"""
        return None

    def losses(self, z: Tensor) -> Tensor:
        """The loss of each sequence, [b], where the loss is a mean over sequences.

        Raises:
            ConfigError: it is not.
        """
        raise ConfigError(f"the loss of {type(self).__name__} is one number: leave out loss_per_token.")

    def gradients(self, model: ModelConfig) -> Gradients | None:
        """The loss and its gradients, written out, on the CPU: what autograd gives, sooner. None: autograd serves."""
        return None

    def clear(self, grads: Arrays) -> None:  # noqa: B027 (most gradients are set)
        """Put zeros back, after an update, where `gradients` adds to what it finds. grads: as it filled them."""

    @abstractmethod
    def score(self, params: Params, final: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        """Metric -> [*lead, b]: a number of every sequence, bool for accuracies.

        Args:
            params: of whom `engine.forward.logits(params, final)` are the answers, [*lead, b, t, v].
            final: [*lead, b, t, d], or [*lead, b, d] where answers are read at the last position (`engine.forward`).
            wanted: which metrics; a name that the task does not know is a ConfigError.
        """

    def position_losses(self, params: Params, final: Tensor) -> Tensor:
        """The loss at every position, [*lead, b, t], of a task whose answers are read at every position.

        Takes what `score` takes.

        Raises:
            ConfigError: it is another task.
        """
        lacks = (
            "it does not say the loss at every position: define position_losses in it"
            if self.everywhere
            else "answers are read at the last position alone, so there is no loss at every position"
        )
        raise ConfigError(f"{type(self).__name__}: {lacks}.")

    def checked(self, wanted: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
        """The metrics that are wanted.

        Raises:
            ConfigError: one is not known.
        """
        listed = tuple(wanted)
        for name in listed:
            if name not in known:
                raise ConfigError(f"metric {name!r}: expected one of {', '.join(known)}.")
        return listed

    @abstractmethod
    def chance(self, n_outputs: int) -> dict[str, float]:
        """Metric -> what a model scores that has learned nothing, computed from the set itself."""

    def shipped(self, model: ModelConfig, metric: str) -> Shipped:
        """These sequences as plain arrays, with how they are scored by this metric, for `mechicl export`.

        Raises:
            ConfigError: the task, its model or the metric is none that such a page can compute.
        """
        raise ConfigError(
            f"a {type(self).__name__} cannot be exported: its task does not say how a page without Python scores it "
            "(`TaskBatch.shipped`). `mechicl report` writes a page of any run."
        )

    def roles(self) -> dict[str, Tensor]:
        """Role -> which positions of each sequence play it, bool [b, t]. None by default."""
        return {}

    def counterfactual(self, kind: str = "") -> Self:
        """A partner of every sequence, which differs from it in one thing: where activation patching takes activations
        from. By default 'next', the next sequence of the batch: another draw, as of another chain.

        Raises:
            ConfigError: the task has no such kind.
        """
        if (kind or self.counterfactuals[0]) not in self.counterfactuals:
            raise ConfigError(
                f"counterfactual={kind!r}: of a {type(self).__name__} there are "
                f"{', '.join(map(repr, self.counterfactuals))}."
            )
        return self[(torch.arange(len(self), device=self.device) + 1) % len(self)]

    def varied(self, variation: str) -> tuple[Self, Self]:
        """Pairs of sequences that differ in what one answer depends on: (each, its partner). From the sequences of the
        evaluator of that name; pairs that would differ in more are left out.

        Raises:
            ConfigError: the task has no such variation.
        """
        raise ConfigError(f"variation {variation!r}: a {type(self).__name__} has none of that name.")

    def match_row(self, strength: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """The attention [b, t] of the position that answers, with this share of it where the right answer stands and
        the rest where other answers do, rows sum to 1; and which sequences show the answer at all, bool [b].

        Raises:
            ConfigError: the task's sequences have no one answer, as for the two methods that follow.
        """
        raise self._no_answer()

    def copied_loss(self, scores: Tensor) -> Tensor:
        """The loss [*lead, b] of an answer that is read from a head's scores at the positions of the context,
        [*lead, b, t] before the softmax, in place of the unembedding."""
        raise self._no_answer()

    def score_copied(self, scores: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        """`score` of such an answer."""
        raise self._no_answer()

    def _no_answer(self, asked: object = "it") -> ConfigError:
        return ConfigError(
            f"{asked}: it needs sequences with one answer, which stands in the context (`Task.one_answer`), but these "
            f"are a {type(self).__name__}."
        )

    def check_one_answer(self, asked: object) -> None:
        """Raise unless sequences have one answer, which stands in their context. asked: what needs it.

        Raises:
            ConfigError: they have not.
        """
        if type(self).match_row is TaskBatch.match_row:
            raise self._no_answer(asked)

    def relations(self) -> dict[str, Tensor]:
        """Relation -> which positions stand in it to which before them, bool [b, t, t]."""
        return token_relations(self.ids)

    def answers(self) -> dict[str, Tensor]:
        """Name -> [b], outputs at the last position whose logits are worth attributing, as 'logit_in_context' and
        'logit_in_weights'. None by default."""
        return {}

    def attention(self, pattern: Tensor) -> dict[str, Tensor]:
        """Score -> [*lead, b, h], from a layer's attention [*lead, b, h, t, t]; NaN where a sequence has no such
        position. What each is called is in `attention_scores.SCORES`."""
        return token_attention(pattern, self.ids)

    def __len__(self) -> int:
        return int(self._first.shape[1 if self.stacked else 0])

    @property
    def _first(self) -> Tensor:
        return next(iter(vars(self).values()))

    @property
    def stacked(self) -> bool:
        """Whether it holds a batch for each of several models, along a first axis."""
        return self.ids.dim() > 2

    @overload
    def __getitem__(self, index: tuple[Any, ...]) -> Tensor: ...
    @overload
    def __getitem__(self, index: Any) -> Self: ...
    def __getitem__(self, index: Any) -> Self | Tensor:
        """Sequences: `batch[:10]`, a batch. With a position, `batch[0, -1]` or `batch[:, ::2]`: what stands
        there (`ids`), a tensor, as of any input of a HookedTransformer."""
        if isinstance(index, tuple):
            return self.ids[index]
        if isinstance(index, (int, np.integer)) and not self.stacked:
            index = [int(index)]  # one sequence is a batch, too
        return type(self)(**{k: v[index] for k, v in vars(self).items()})

    @property
    def shape(self) -> torch.Size:
        """[b, t]: sequences and positions, as of a tensor of tokens."""
        return self.ids.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def device(self) -> torch.device:
        return self._first.device

    def to(self, *args: Any) -> Self:
        """Move, or cast what is not whole numbers: as `Tensor.to`; integers keep their type."""
        moved = {k: v.to(*args) if v.is_floating_point() else v.to(*args).to(v.dtype) for k, v in vars(self).items()}
        return type(self)(**moved)

    def __repr__(self) -> str:
        stacked = f"{self.ids.shape[0]} stacked, each of " if self.stacked else ""
        return f"{type(self).__name__}({stacked}{len(self):,} sequences of {self.shape[-1]} positions)"


Batched = TypeVar("Batched", bound=TaskBatch)


def stack_batches(batches: Sequence[Batched]) -> Batched:
    """Batches of equal size as one, along a new first axis s: one for each stacked model."""
    first = batches[0]
    return type(first)(**{k: torch.stack([getattr(batch, k) for batch in batches]) for k in vars(first)})
