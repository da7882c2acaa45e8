"""What a run is trained on, as data: where exemplars come from, and how a sequence is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from mechicl.errors import ConfigError
from mechicl.loading import Options, at_least, at_most, check_types
from mechicl.tasks.exemplar_label.banks.kinds import BANKS, Made, checked_options

LOUDEST = 1e15  # of noise against a signal of 1: its square is still a float32


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """Where exemplars come from. `n_classes` and `n_exemplars` are what is trained on;
    the held-out classes and exemplars are drawn beside them and never trained on."""

    kind: str = "gaussian"  # gaussian, omniglot, tokens, features, file (banks/kinds.py), or a plugin's
    n_classes: int = 4096
    n_exemplars: int = 20
    n_holdout_classes: int = 256
    n_holdout_exemplars: int = 4
    dim: int = 12  # features per exemplar, d_in of the model
    within_class_std: float = 0.7  # gaussian: of a class's exemplars, beside a spread of 1 between classes
    spectrum: float = 0.0  # gaussian: coordinate i (from 1) has variance ~ i^-spectrum; 0 is isotropic
    image_size: int = 28  # omniglot: pixels per side before the encoder
    transforms: Literal[1, 2, 4, 8] = 8  # omniglot: how many flips and rotations count as classes
    encoder: Literal["pca", "pixels"] = "pca"  # omniglot: pixels -> features (banks/omniglot.py says why);
    # 'pixels': the pictures themselves, dim = image_size**2, for a model that encodes them (ModelConfig.encoder)
    n_labels: int | None = None  # None: one label per class; fewer: classes share labels
    path: str | None = None  # features, file: the file; --data FILE goes before it
    layout: Literal["as_stored", "released"] = "as_stored"  # features: how classes are dealt out (banks/features.py)
    offset: float = 0.0  # gaussian: norm of a vector that all exemplars share, before `scale`
    # What is done to any bank's exemplars, in this order, each measured on the training part (banks/shaping.py):
    spread: float = 1.0  # distances from the own class's mean, times this
    centre: bool = False  # the common mean is taken off (Omniglot's components and tokens have none left)
    scale: float | None = None  # root mean square norm; None: as made (1, but features raw: as the encoder gives them)
    options: Options = field(default_factory=Options)  # a plugin's own settings, by name (docs/extending.md)

    @property
    def labels(self) -> int:
        """Size of the label vocabulary."""
        return self.n_labels or self.n_classes

    def __post_init__(self) -> None:
        check_types(self, "bank")
        at_least("bank", self, n_classes=2, n_exemplars=1, n_holdout_classes=0, dim=1)
        at_least("bank", self, n_holdout_exemplars=0, within_class_std=0, spectrum=0, image_size=4, offset=0, spread=0)
        at_most("bank", self, within_class_std=LOUDEST, offset=LOUDEST, spread=LOUDEST)
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise ConfigError(f"bank.scale={self.scale}: expected a norm above 0, or None (no scaling).")
        if self.n_labels is not None and not 2 <= self.n_labels <= self.n_classes:
            raise ConfigError(
                f"bank.n_labels={self.n_labels}: classes share labels, so it must lie "
                f"between 2 and n_classes={self.n_classes} (or be None: label = class)."
            )
        options = checked_options(self)
        if options != self.options:
            object.__setattr__(self, "options", options)

    @property
    def made(self) -> Made:
        """What the exemplars are, as this kind makes them."""
        return BANKS.find(self.kind).made(self)

    def check_pictures(self) -> None:
        """Raise unless exemplars are square pictures, which convolutions can read."""
        if self.made.no_pictures:
            raise ConfigError(
                f"model.encoder='conv' reads pictures, but this bank's exemplars are "
                f"{self.made.no_pictures}: use model.encoder='linear', or bank.kind='omniglot' with "
                "encoder='pixels'."
            )
        if math.isqrt(self.dim) ** 2 != self.dim:
            raise ConfigError(
                f"model.encoder='conv' reads square pictures, but bank.dim={self.dim} is not a square number."
            )


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """How one sequence `x1 y1 ... xC yC xq` is drawn (docs/references.md#sequences).

    `burstiness` b: b pairs of the query's class, b of one other (the distractor), and
    C - 2b 'rest' pairs. A sequence is bursty with probability `p_bursty`; otherwise the
    context and the query are all drawn independently from the class distribution
    (`rest` and `distinct_labels` still hold).
    """

    n_pairs: int = 2  # C
    burstiness: int = 1  # b
    p_bursty: float = 1.0
    zipf: float = 0.0  # p(class) ~ rank^-zipf; 0 is uniform
    rest: Literal["iid", "unique"] = "iid"
    # 'unique': rest classes differ from one another, from the query and from the distractor
    exemplars: Literal["replacement", "no_replacement", "matched"] = "replacement"
    # 'matched': items of one class show the identical exemplar ('same exemplar'); evaluation sets do not follow
    # (Config.eval_exemplars)
    labels: Literal["trained", "random", "swapped", "binary"] = "trained"
    # 'random': fresh distinct labels per sequence (ICL-only data); 'swapped': the two classes
    # exchange labels (Flip); 'binary': they get {0, 1} in random order (ICL)
    held_out_pairs: int = 0  # 'random': so many unordered pairs of labels are never shown ...
    pair_seed: int = 20  # ... which, this seed decides (20 as published; its generator and so its pairs are others)
    label_pairs: Literal["trained", "held_out"] = "trained"  # 'held_out': only those are shown, to test with
    copy_query_label: bool = False  # CIWL: the query's label overwrites one random context label
    distinct_labels: bool = False  # classes of one sequence have distinct labels (those trained on)
    noise: float = 0.0  # fresh noise per shown item: (x + noise*eta)/sqrt(1 + noise^2)

    def __post_init__(self) -> None:
        check_types(self, "sequences")
        at_least("sequences", self, n_pairs=1, burstiness=0, zipf=0, noise=0, held_out_pairs=0, pair_seed=0)
        at_most("sequences", self, noise=LOUDEST)
        c, b = self.n_pairs, self.burstiness
        if 2 * b > c:
            raise ConfigError(
                f"sequences.burstiness={b}: b pairs of the query's class and b of the "
                f"distractor need 2b <= n_pairs, but n_pairs={c}."
            )
        if not 0 <= self.p_bursty <= 1:
            raise ConfigError(f"sequences.p_bursty={self.p_bursty} is not a probability.")
        if self.labels in ("swapped", "binary") and (2 * b != c or self.p_bursty < 1):
            raise ConfigError(
                f"sequences.labels={self.labels!r} relabels exactly two classes, so the context "
                f"must hold just those: n_pairs = 2*burstiness and p_bursty = 1 "
                f"(given n_pairs={c}, burstiness={b}, p_bursty={self.p_bursty}; n_pairs must be even)."
            )
        if self.labels == "random" and (b == 0 or self.p_bursty < 1):
            raise ConfigError(
                "sequences.labels='random' draws the query's label per sequence, so its class "
                "must be shown in every context: burstiness >= 1 and p_bursty = 1 "
                f"(given burstiness={b}, p_bursty={self.p_bursty})."
            )
        if self.held_out_pairs and (self.labels != "random" or 2 * b != c):
            raise ConfigError(
                f"sequences.held_out_pairs={self.held_out_pairs} holds out pairs of the labels that two classes get "
                "per sequence: labels = 'random' and n_pairs = 2*burstiness "
                f"(given labels={self.labels!r}, n_pairs={c}, burstiness={b})."
            )
        if self.label_pairs == "held_out" and not self.held_out_pairs:
            raise ConfigError(
                "sequences.label_pairs='held_out' shows the held-out pairs of labels, but "
                "held_out_pairs=0: hold out at least 1."
            )
        if self.copy_query_label and (b > 0 or self.rest != "unique"):
            raise ConfigError(
                "sequences.copy_query_label puts the query's label on a wrong exemplar, so the "
                "query's class must be absent: burstiness = 0 and rest = 'unique' "
                f"(given burstiness={b}, rest={self.rest!r})."
            )

    @property
    def n_tokens(self) -> int:
        """Positions in a sequence: 2C + 1."""
        return 2 * self.n_pairs + 1


@dataclass(frozen=True, kw_only=True)
class OfConfig:
    """This task's settings in a run's `Config`: a config that names no task has them beside the others."""

    bank: BankConfig = field(default_factory=BankConfig)
    sequences: SequenceConfig = field(default_factory=SequenceConfig)
    # evaluators draw from the first so many training classes and exemplars of each; (1600, 5) is the published
    # evaluation's; None: from all of them
    eval_first: tuple[int, int] | None = None
    eval_exemplars: Literal["replacement", "as_training"] = "replacement"  # how evaluation sets draw exemplars:
    # with replacement, or by the rule of `sequences.exemplars` (the evaluator 'train' always follows that)


OF_DEFAULT_TASK = tuple(f.name for f in fields(OfConfig))


@dataclass(frozen=True, kw_only=True)
class OfModelConfig:
    """This task's settings in a run's `ModelConfig`: how the model reads an exemplar."""

    encoder: Literal["linear", "conv"] = "linear"
    channels: tuple[int, ...] = (16, 32, 32)  # conv: of each 3x3 convolution of stride 2

    def check_encoder(self) -> None:
        """Raise unless there is a convolution, and a channel in each.

        Raises:
            ConfigError: there is not.
        """
        if not self.channels or min(self.channels) < 1:
            raise ConfigError(
                f"model.channels={self.channels}: expected at least one convolution, of at least 1 "
                "channel each, such as (16, 32, 32)."
            )

    @property
    def of_default_task(self) -> str:
        """The setting that only this task can use, such as "model.encoder='conv'"; '' if the model has none."""
        return "" if self.encoder == "linear" else f"model.encoder={self.encoder!r}"


@dataclass(frozen=True, kw_only=True)
class OfTrainingIntervention:
    """This task's settings in a `TrainingIntervention`."""

    sequences: SequenceConfig | None = None  # data: how sequences are drawn while it holds


def as_recorded(config: Any, data: dict[str, Any]) -> Any:
    """The config that a run's own config.json holds, also of runs from before a field existed: their evaluation
    sets followed the training data's rule for exemplars.

    Args:
        config: the config that `data` gives.
    """
    if "eval_exemplars" in data or "task" in data or config.sequences.exemplars == "replacement":
        return config
    return replace(config, eval_exemplars="as_training")
