"""What training does to exemplars and labels: kinds of training interventions and patterns of this task alone.

    data      sequences follow another SequenceConfig                           sequences [fresh_moments]
    relabel   the class -> label map is permuted anew at `start`, then every    every
              `every` updates; the last map stays in force after `stop`

Evaluation sets follow `Config.sequences`, whatever `data` says; trained labels are those of the map in force.
relabelled.py says which sequences and which map an update has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechicl.attention_patterns import PATTERNS, Pattern
from mechicl.errors import ConfigError
from mechicl.loading import to_dict
from mechicl.protocol.known import DEFAULT
from mechicl.training_interventions import KINDS, Kind, TrainingIntervention

if TYPE_CHECKING:
    from torch import Tensor

    from mechicl.config import Config


def _check_data(intervention: TrainingIntervention, config: Config) -> None:
    from mechicl.tasks.exemplar_label.sequences import check

    given, bank = intervention.sequences, config.bank
    assert given is not None  # `Kind.needs`
    if given.n_pairs != config.sequences.n_pairs:
        raise ConfigError(
            f"its n_pairs={given.n_pairs}, but the model is built for the run's "
            f"sequences.n_pairs={config.sequences.n_pairs}."
        )
    check(given, n_classes=bank.n_classes, n_exemplars=bank.n_exemplars, n_labels=bank.labels)


def _other_sequences(intervention: TrainingIntervention, config: Config) -> list[str]:
    """How the sequences differ from those that the run is evaluated on."""
    before, now = to_dict(config.sequences), to_dict(intervention.sequences)
    return [f"{name}={value}" for name, value in now.items() if value != before[name]]


def _check_relabel(intervention: TrainingIntervention, config: Config) -> None:
    if config.sequences.labels == "random":
        raise ConfigError("sequences.labels='random' draws labels per sequence: there is no map to permute.")


def _labels_to_exemplars(t: int) -> Tensor:
    """[t, t]: from each label to the exemplar before it."""
    import torch

    banned, labels = torch.zeros(t, t, dtype=torch.bool), torch.arange(1, t, 2)
    banned[labels, labels - 1] = True
    return banned


KINDS.add(
    "data",
    Kind(
        needs=("sequences",),
        takes=("fresh_moments",),
        check=_check_data,
        details=_other_sequences,
        alone=True,
        task=DEFAULT,
    ),
    __name__,
)
KINDS.add("relabel", Kind(needs=("every",), check=_check_relabel, alone=True, task=DEFAULT), __name__)
PATTERNS.add(
    "forbid_previous",
    Pattern(
        meaning="as learned, but labels do not see the exemplar before them (masked before the softmax: Singh et al. "
        "2025, Fig. 4)",
        banned=_labels_to_exemplars,
        task=DEFAULT,
    ),
    __name__,
)
