"""Exemplar banks: what a class looks like.

A bank is `[class, exemplar, d_in]` float32, training classes first, held-out classes
after; the same for exemplars. Its labels map every class to a canonical label. It is
rebuilt from the config, never stored, and its fingerprint is kept in the run's manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits

from mechicl.config import BankConfig, Config, ConfigError, ModelConfig, SequenceConfig
from mechicl.data.kinds import BANKS
from mechicl.data.sequences import Sequences, sample
from mechicl.data.shaping import norm, shape
from mechicl.surroundings import own_settings
from mechicl.tasks.batch import Hook, TaskBatch
from mechicl.tasks.batch import stack_batches as stack_batches

_BANK, _LABELS = 0, 1  # streams of the data seed; training draws use 2, evaluators the eval seed


@dataclass(frozen=True, repr=False)
class Batch(TaskBatch):
    """What a model reads and what it should answer. All on one device.

    exemplars [b, C+1, d_in] float; labels [b, C], target [b], classes [b, C+1],
    drawings [b, C+1], canonical [b, C+1] (every slot's class's own label): int64
    """

    everywhere: ClassVar[bool] = False  # only the query's answer counts
    recorded: ClassVar[tuple[str, ...]] = ("in_context_acc", "acc", "loss")
    counterfactuals: ClassVar[tuple[str, ...]] = ("labels", "next")

    exemplars: torch.Tensor
    labels: torch.Tensor
    target: torch.Tensor
    classes: torch.Tensor
    drawings: torch.Tensor
    canonical: torch.Tensor

    def __repr__(self) -> str:
        stacked = f"{self.target.shape[0]} stacked, each of " if self.stacked else ""
        b, where = len(self), "" if self.device.type == "cpu" else f", on {self.device}"
        kind = f"{self.exemplars.shape[-1]} numbers, {str(self.exemplars.dtype)[6:]}{where}"
        return (f"Batch({stacked}{b:,} sequence{'' if b == 1 else 's'} of {self.n_pairs} pairs and a query; "
                f"exemplars of {kind})")  # fmt: skip

    @property
    def ids(self) -> torch.Tensor:
        """[b, 2C+1] int64: what stands at each position, the class of an exemplar (even) or a label (odd)."""
        pairs = torch.stack([self.classes[..., :-1], self.labels], dim=-1).flatten(-2)
        return torch.cat([pairs, self.classes[..., -1:]], dim=-1)

    @property
    def stacked(self) -> bool:
        return self.target.dim() > 1

    @property
    def shape(self) -> torch.Size:
        """[b, 2C+1]: sequences and positions, as of a tensor of tokens."""
        return torch.Size([*self.target.shape, 2 * self.n_pairs + 1])

    @property
    def n_pairs(self) -> int:
        return self.labels.shape[-1]

    def embed(self, params: dict[str, torch.Tensor], model: ModelConfig, hook: Hook) -> torch.Tensor:
        from mechicl.tasks.exemplar_label.embedding import embed

        return embed(params, self, model, hook)

    def embed_placed(
        self, params: dict[str, torch.Tensor], model: ModelConfig, hook: Hook, positions: torch.Tensor
    ) -> torch.Tensor | None:
        from mechicl.tasks.exemplar_label.embedding import embed_placed

        return embed_placed(params, self, model, hook, positions)

    def loss(self, z: torch.Tensor) -> torch.Tensor:
        """Cross-entropy over all labels at the query (science.md 1.1), of logits [b, v]."""
        return F.cross_entropy(z, self.target)

    def score(
        self, params: dict[str, torch.Tensor], final: torch.Tensor, wanted: Iterable[str]
    ) -> dict[str, torch.Tensor]:
        from mechicl.tasks.exemplar_label.scores import score

        return score(params, final, self, wanted)

    def chance(self, n_outputs: int) -> dict[str, float]:
        from mechicl.tasks.exemplar_label.scores import chance

        return chance(self, n_outputs)

    def roles(self) -> dict[str, torch.Tensor]:
        """query, exemplar (of the context), label; match, other: exemplars of the query's class or not; match_label,
        other_label: their labels."""
        none = torch.zeros(self.shape, dtype=torch.bool, device=self.device)
        match = self.classes[:, :-1] == self.classes[:, -1:]

        def at(start: int, which: torch.Tensor | bool) -> torch.Tensor:
            out = none.clone()
            out[:, start:-1:2] = which
            return out

        query = none.clone()
        query[:, -1] = True
        return {"query": query, "exemplar": at(0, True), "label": at(1, True), "match": at(0, match),
                "match_label": at(1, match), "other": at(0, ~match), "other_label": at(1, ~match)}  # fmt: skip

    def counterfactual(self, kind: str = "") -> Batch:
        """'labels': two labels of the context change places, the answer's and the first other one. Exemplars and query
        stay, and so does the answer from the weights; the answer from the context becomes the other label, where the
        query's class is shown. 'next': the next sequence of the batch."""
        if (kind or "labels") != "labels":
            return super().counterfactual(kind)
        shown = (self.labels == self.target[:, None]).any(1, keepdim=True)
        one = torch.where(shown, self.target[:, None], self.labels[:, :1])
        other = self.labels.gather(1, (self.labels != one).long().argmax(1, keepdim=True))
        labels = torch.where(self.labels == one, other, torch.where(self.labels == other, one, self.labels))
        in_context = (self.classes[:, :-1] == self.classes[:, -1:]).any(1) & shown[:, 0]
        return replace(self, labels=labels, target=torch.where(in_context, other[:, 0], self.target))

    def relations(self) -> dict[str, torch.Tensor]:
        """Of places alone: classes and labels are not one vocabulary."""
        return {name: x for name, x in super().relations().items() if name in ("previous", "self", "first")}

    def answers(self) -> dict[str, torch.Tensor]:
        """The label that is right in the context, and that of the query's class."""
        return {"logit_in_context": self.target, "logit_in_weights": self.canonical[:, -1]}

    def attention(self, pattern: torch.Tensor) -> dict[str, torch.Tensor]:
        from mechicl.tasks.exemplar_label.scores import attention

        return attention(pattern, self)


@dataclass(frozen=True)
class Bank:
    """Exemplars and canonical labels.

    exemplars [class, exemplar, d_in] float32, or float16 as a file has them: training part first on both axes
    label_of_class [class] int64; held-out classes have one too, for bookkeeping
    names [class]: what to call a class in a picture
    images [class, exemplar, side, side] float32 in 0..1 (1 is ink), or uint8 brightness, or None: what to draw
    norm: root mean square norm of a training exemplar, where it is not about 1; noise is in proportion to it
    """

    exemplars: np.ndarray
    label_of_class: np.ndarray
    n_classes: int
    n_exemplars: int
    names: tuple[str, ...] = ()
    images: np.ndarray | None = None
    norm: float = 1.0
    map_known: bool = False  # for a run that relabels: these are the labels of a stated step (data/treated.py)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the exemplars and labels: two runs with the same one saw the same data."""
        digest = hashlib.sha256(np.ascontiguousarray(self.exemplars).tobytes())
        digest.update(np.ascontiguousarray(self.label_of_class).tobytes())
        return digest.hexdigest()

    @property
    def dim(self) -> int:
        return self.exemplars.shape[-1]

    @property
    def n_labels(self) -> int:
        return int(self.label_of_class[: self.n_classes].max()) + 1

    def __repr__(self) -> str:
        classes, exemplars, dim = self.exemplars.shape
        held = (classes - self.n_classes, exemplars - self.n_exemplars)
        return (f"Bank({self.n_classes:,} classes{f' and {held[0]:,} held out' if held[0] else ''}, of "
                f"{self.n_exemplars:,} exemplars{f' and {held[1]:,} held out' if held[1] else ''} in {dim} dimensions; "
                f"{self.n_labels:,} labels{'' if self.images is None else '; with pictures'})")  # fmt: skip

    def name(self, c: int) -> str:
        """What to call class `c`."""
        return self.names[c] if self.names else f"class {c}"

    def train(self) -> Bank:
        """The part that is trained on."""
        return self._part(slice(0, self.n_classes), slice(0, self.n_exemplars))

    def holdout_classes(self) -> Bank:
        """Classes never trained on."""
        return self._part(slice(self.n_classes, None), slice(None))

    def holdout_exemplars(self) -> Bank:
        """New drawings of the training classes."""
        return self._part(slice(0, self.n_classes), slice(self.n_exemplars, None))

    def first(self, classes: int, exemplars: int) -> Bank:
        """Its first so many classes, and of each its first so many exemplars; all of either where there are fewer."""
        return self._part(slice(0, classes), slice(0, exemplars))

    def _part(self, classes: slice, exemplars: slice) -> Bank:
        x = self.exemplars[classes, exemplars]
        return Bank(
            exemplars=x,
            label_of_class=self.label_of_class[classes],
            n_classes=x.shape[0],
            n_exemplars=x.shape[1],
            names=self.names[classes],
            images=None if self.images is None else self.images[classes, exemplars],
            norm=self.norm,
            map_known=self.map_known,
        )

    @own_settings()
    def gather(self, s: Sequences, noise: float, rng: np.random.Generator) -> Batch:
        """Show the drawings of `s`, each with fresh `noise`; returns a `Batch` on the CPU."""
        # A small bank is cheaper to turn into single precision once than as it is shown.
        small = self.exemplars.size < s.classes.size * self.dim
        bank = self.exemplars.astype(np.float32, copy=False) if small else self.exemplars
        x = bank[s.classes, s.drawings]
        if noise:
            eta = rng.standard_normal(x.shape, dtype=np.float32) / np.sqrt(self.dim)
            if self.norm != 1:
                eta *= self.norm
            x = (x + noise * eta) / np.sqrt(1 + noise**2)
        arrays = (x.astype(np.float32, copy=False), s.labels, s.target, s.classes, s.drawings,
                  self.label_of_class[s.classes])  # fmt: skip
        return Batch(*map(torch.from_numpy, arrays))

    @own_settings()
    def draw(self, config: SequenceConfig, n: int, rng: np.random.Generator, n_labels: int) -> Batch:
        """`n` sequences over this bank's classes and exemplars."""
        s = sample(config, self.label_of_class, n, rng, n_exemplars=self.n_exemplars, n_labels=n_labels)
        return self.gather(s, config.noise, rng)


@own_settings()
def build_bank(config: Config, data: str | Path | None = None, threads: int | None = 1) -> Bank:
    """The bank of a run.

    Args:
        data: the folder of images or the file, for kinds that need one.
        threads: of BLAS and OpenMP, which decide the last bits of principal components and clusters; None:
            as many as the environment has, as in runs that were made before this was fixed.

    Raises:
        ConfigError: the kind is not known or cannot be made as the config wants it.
    """
    bank, kind = config.bank, BANKS.find(config.bank.kind)
    with threadpool_limits(threads):
        made = kind.build(bank, config.seeds.data, None if data is None else Path(data), **bank.options)
    return shaped(checked(made, bank, config.seeds.data), bank)


def checked(made: Bank | np.ndarray, config: BankConfig, seed: int) -> Bank:
    """What a kind's function made, as a bank of the sizes and the numbers that are expected; bare exemplars get labels.

    Raises:
        ConfigError: it has other sizes, or numbers that are not finite.
    """
    if not isinstance(made, (Bank, np.ndarray)):
        raise ConfigError(f"bank.kind={config.kind!r} made {type(made).__name__}: expected a Bank, or a numpy array "
                          "[class, exemplar, feature].")  # fmt: skip
    x = made if isinstance(made, np.ndarray) else made.exemplars
    each = config.n_exemplars + config.n_holdout_exemplars
    expected = (config.n_classes + config.n_holdout_classes, each, config.dim)
    if x.shape != expected:
        raise ConfigError(f"bank.kind={config.kind!r} made exemplars of shape {x.shape}: expected {expected}, which is "
                          "(bank.n_classes + n_holdout_classes, n_exemplars + n_holdout_exemplars, dim).")  # fmt: skip
    for c, exemplars in enumerate(x):
        if not np.isfinite(exemplars).all():
            name = made.name(c) if isinstance(made, Bank) else f"class {c}"
            raise ConfigError(f"bank.kind={config.kind!r}: exemplars of {name} have numbers that are not finite: "
                              "leave them out.")  # fmt: skip
    if isinstance(made, Bank):
        return made
    x = np.ascontiguousarray(x, np.float32)
    return Bank(x, assign_labels(config, len(x), seed), config.n_classes, config.n_exemplars,
                norm=norm(x[: config.n_classes, : config.n_exemplars]))  # fmt: skip


def shaped(bank: Bank, config: BankConfig) -> Bank:
    """The bank with its exemplars spread, centred and scaled as its config says (data/shaping.py)."""
    x = shape(config, bank.exemplars)
    if x is bank.exemplars:
        return bank
    return replace(bank, exemplars=x, norm=norm(x[: bank.n_classes, : bank.n_exemplars]))


def gaussian_bank(config: BankConfig, seed: int, data: str | Path | None = None) -> Bank:
    """Gaussian clusters: x = (mu + eps*eta)/sqrt(1 + eps^2), mu and eta ~ N(0, 1/dim) per
    coordinate (Reddy 2023, 2312.03002), so that |x| is about 1 whatever the dimension.

    With a `spectrum` the coordinates' variances fall as a power law and still sum to 1: features
    that are correlated, as those of images are, seen along their principal axes. `offset` adds one vector of
    that norm, in a random direction, to every exemplar: a common mean, as a network's features have after a ReLU."""
    if config.kind != "gaussian":
        raise ConfigError(f"gaussian_bank was given a bank of kind {config.kind!r}.")
    rng = np.random.default_rng([seed, _BANK])
    classes = config.n_classes + config.n_holdout_classes
    exemplars = config.n_exemplars + config.n_holdout_exemplars
    scale = np.sqrt(variances(config)).astype(np.float32)
    mu = rng.standard_normal((classes, 1, config.dim), dtype=np.float32) * scale
    eta = rng.standard_normal((classes, exemplars, config.dim), dtype=np.float32) * scale
    x = (mu + np.float32(config.eps) * eta) / np.float32(np.sqrt(1 + config.eps**2))
    if config.offset:
        common = rng.standard_normal(config.dim)
        x += (config.offset * common / np.linalg.norm(common)).astype(np.float32)
    return Bank(x, assign_labels(config, classes, seed), config.n_classes, config.n_exemplars)


def variances(config: BankConfig) -> np.ndarray:
    """[dim], sum 1: of each coordinate of a Gaussian bank's mu and eta."""
    v = np.arange(1, config.dim + 1, dtype=np.float64) ** -config.spectrum
    return v / v.sum()


def effective_dim(config: BankConfig) -> float:
    """How many coordinates of equal variance would be as concentrated: (sum v)^2 / sum v^2, the
    participation ratio. The dimension itself where the spectrum is flat."""
    return float(1 / np.square(variances(config)).sum())


def assign_labels(config: BankConfig, classes: int, seed: int) -> np.ndarray:
    """[classes] canonical labels: the class's own number, or, where classes share
    `n_labels`, a random balanced map (a shuffled round robin)."""
    if config.labels == config.n_classes:
        return np.arange(classes) % config.n_classes
    order = np.random.default_rng([seed, _LABELS]).permutation(config.n_classes)
    extra = np.arange(classes - config.n_classes)  # held-out classes: any label will do
    return np.concatenate([order, extra]) % config.labels
