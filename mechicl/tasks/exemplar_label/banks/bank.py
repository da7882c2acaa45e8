"""Exemplar banks: what a class looks like.

A bank is `[class, exemplar, d_in]` float32, training classes first, held-out classes
after; the same for exemplars. Its labels map every class to the label that it is trained with. It is
rebuilt from the config, never stored, and its fingerprint is kept in the run's manifest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mechicl.config import BankConfig, SequenceConfig
from mechicl.system.surroundings import own_settings
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.sequences import Sequences, sample

_LABELS = 1  # a stream of the data seed; gaussian.py uses 0, training draws 2, evaluators the eval seed


@dataclass(frozen=True)
class Bank:
    """Exemplars, and the labels that classes are trained with.

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
    map_known: bool = False  # for a run that relabels: these are the labels of a stated step (relabelled.py)

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
        return (
            f"Bank({self.n_classes:,} classes{f' and {held[0]:,} held out' if held[0] else ''}, of "
            f"{self.n_exemplars:,} exemplars{f' and {held[1]:,} held out' if held[1] else ''} in {dim} dimensions; "
            f"{self.n_labels:,} labels{'' if self.images is None else '; with pictures'})"
        )

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
        x = bank[s.classes, s.exemplar_ids]
        if noise:
            eta = rng.standard_normal(x.shape, dtype=np.float32) / np.sqrt(self.dim)
            if self.norm != 1:
                eta *= self.norm
            x = (x + noise * eta) / np.sqrt(1 + noise**2)
        arrays = (
            x.astype(np.float32, copy=False),
            s.labels,
            s.target,
            s.classes,
            s.exemplar_ids,
            self.label_of_class[s.classes],
        )
        return Batch(*map(torch.from_numpy, arrays))

    @own_settings()
    def draw(self, config: SequenceConfig, n: int, rng: np.random.Generator, n_labels: int) -> Batch:
        """`n` sequences over this bank's classes and exemplars."""
        s = sample(config, self.label_of_class, n, rng, n_exemplars=self.n_exemplars, n_labels=n_labels)
        return self.gather(s, config.noise, rng)


def assign_labels(config: BankConfig, classes: int, seed: int) -> np.ndarray:
    """[classes] trained labels: the class's own number, or, where classes share
    `n_labels`, a random balanced map (a shuffled round robin)."""
    if config.labels == config.n_classes:
        return np.arange(classes) % config.n_classes
    order = np.random.default_rng([seed, _LABELS]).permutation(config.n_classes)
    extra = np.arange(classes - config.n_classes)  # held-out classes: any label will do
    return np.concatenate([order, extra]) % config.labels
