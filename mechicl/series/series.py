"""The checkpoint series: one small transformer at many training steps, on disk.

    <run>/config.json      the Config
    <run>/manifest.json    format, schedule, versions, bank fingerprint, plugins; written before step 0
    <run>/index.jsonl      one line per saved file: kind, step, sequences, file, bytes, sha256
    <run>/metrics.jsonl    one line per checkpoint: training loss and every evaluator
    <run>/weights/         step_00000512.safetensors, TransformerLens 3 names
    <run>/state/           weights, Adam moments, step: for resume and densify
    <run>/start.safetensors  of a branch: the state that it began with (origin.py)

A run with `keep='metrics'` has the weights of its first and last step only, and no states but `latest.safetensors`
until it ends. `densify` makes any others again by a replay from step 0. Files appear whole or not at all (storage.py),
and a file counts once its line is in the index. No pickle anywhere: a run from a stranger is safe to open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechicl import card
from mechicl.config import Config
from mechicl.errors import ConfigError, SeriesError
from mechicl.loading import whole
from mechicl.protocol.known import task_of
from mechicl.protocol.task import Task
from mechicl.series import elsewhere, ending, recorded
from mechicl.series.origin import Origin, origin_of
from mechicl.series.storage import Entry
from mechicl.system.commands import command
from mechicl.system.paths import name_of

if TYPE_CHECKING:
    import pandas as pd

    from mechicl.evaluators import Metrics
    from mechicl.interventions import Intervention
    from mechicl.models.hooked import ICLTransformer
    from mechicl.models.params import Params
    from mechicl.system.executor import Executor


@dataclass(frozen=True)
class Series:
    """A run, read only. It keeps nothing large in memory: weights are read when they are needed and then dropped."""

    root: Path
    config: Config
    manifest: dict[str, Any]
    entries: tuple[Entry, ...]
    data: str | Path | None = None
    device: str = "cpu"  # where weights and evaluation sets are put, and with them all that is computed from them
    only: frozenset[int] | None = None  # the checkpoints that are looked at (choosing.py); None: all
    executor: Executor | None = None  # who else makes tables over checkpoints (system/executor.py); None: nobody

    def __repr__(self) -> str:
        return card.line(self)

    def _repr_html_(self) -> str:
        return card.card(self)

    @property
    def name(self) -> str:
        return name_of(self.root)

    @cached_property
    def _weights(self) -> dict[int, Entry]:
        return {e.step: e for e in self.entries if e.kind == "weights"}

    @property
    def origin(self) -> Origin | None:
        """Where it branched off, if it is a branch of another run (`mechicl.branch`); None: trained from step 0."""
        return origin_of(self.manifest)

    @property
    def steps(self) -> list[int]:
        """Optimiser steps that have a checkpoint, ascending."""
        return self.saved if self.only is None else sorted(self.only & self._weights.keys())

    @property
    def saved(self) -> list[int]:
        """All optimiser steps that have a checkpoint, ascending, also where `steps` has only some of them."""
        return sorted(self._weights)

    @property
    def evaluated(self) -> list[int]:
        """Optimiser steps whose evaluation is recorded, ascending; with `keep='metrics'` more than `steps`."""
        return [line["step"] for line in self.recorded()]

    @property
    def seen(self) -> int:
        """Training sequences seen up to the last recorded step."""
        return self.sequences_seen(max([*self.evaluated, *self.saved], default=0))

    def sequences_seen(self, step: int) -> int:
        """Training sequences seen at a step."""
        return step * self.config.batch_size

    @property
    def complete(self) -> bool:
        """Whether every scheduled checkpoint is there, with every state that the run keeps."""
        return ending.is_complete(self)

    def nearest(self, sequences: float) -> int:
        """The saved step closest to a number of sequences seen."""
        return min(self.saved, key=lambda s: abs(self.sequences_seen(s) - sequences))

    def step_at(self, sequences: float) -> int:
        """The saved step that stands for a moment of the recorded curves, such as ICL's peak.

        Raises:
            SeriesError: the nearest saved step is off by over a tenth of the moment; an evaluated one is nearer.
        """
        saved = self.nearest(sequences)
        meant = min(self.evaluated, key=lambda s: abs(self.sequences_seen(s) - sequences), default=saved)
        off, least = (abs(self.sequences_seen(s) - sequences) for s in (saved, meant))
        if off <= max(least, 0.1 * sequences):
            return saved
        raise recorded.lost(self, meant, saved)

    @property
    def end(self) -> int:
        """The saved step that stands for the end of all that was recorded; an error as in `step_at`."""
        return self.step_at(self.seen)

    def entry(self, step: int) -> Entry:
        """The index entry of exactly this step; a step without a checkpoint is an error."""
        step = whole("step", step, "an optimiser step, as series.steps lists them")
        if step in self._weights:
            return self._weights[step]
        if not self._weights:
            raise SeriesError(f"{self.root} has no checkpoints yet: {command('train', '--resume', self.root)}.")
        near = sorted(self._weights, key=lambda s: abs(s - step))[:3]
        told = f"{self.name} has no checkpoint at step {step}; the nearest are {sorted(near)}."
        if 0 < step <= max(self._weights) and "source" not in self.manifest:
            add = command("densify", self.root, "--from", step - 1, "--to", step, "--every", 1)
            told += f" On a machine like the one that trained it, {add} adds it."
        raise SeriesError(told)

    def weights(self, step: int) -> Params:
        """Trained parameters at a step, float32, TransformerLens names and shapes.

        Raises:
            SeriesError: the file is missing, torn or altered, or holds numbers that are not finite.
        """
        from mechicl.series.finite import check_stored
        from mechicl.system.surroundings import own_settings

        entry = self.entry(step)
        with own_settings():
            weights = elsewhere.weights(self, entry)
            self._check(weights, entry)
            weights = {name: w.float() for name, w in weights.items()}
            check_stored(self.root, weights, [step])
            return self._moved(weights)

    def params(self, steps: Sequence[int]) -> Params:
        """Packed parameters of several steps, stacked along a first axis s (engine/forward.py).

        Raises:
            SeriesError: a file is missing, torn or altered, or holds numbers that are not finite.
        """
        from mechicl.engine.forward import stack as stack_params
        from mechicl.models.params import pack
        from mechicl.series.bulk import stack_tensors
        from mechicl.series.finite import check_stored
        from mechicl.system.surroundings import own_settings

        with own_settings():
            if elsewhere.is_light(self):
                return pack(stack_params(map(self.weights, steps)), copy=False)  # on the device already
            stacked = stack_tensors(self.root, [self.entry(step) for step in steps], self._check)
            check_stored(self.root, stacked, steps)
            return pack(self._moved(stacked), copy=False)

    def _moved(self, weights: Params) -> Params:
        return {name: w.to(self.device) for name, w in weights.items()}

    def _check(self, weights: Params, entry: Entry) -> None:
        from mechicl.models.params import check_weights

        try:
            check_weights(weights, self.config, f"step {entry.step}")
        except ConfigError as error:
            raise SeriesError(f"{self.root}: {error}") from None

    def model(self, step: int, *, fold_ln: bool = False) -> ICLTransformer:
        """A real HookedTransformer with this step's weights.

        For many steps, build one and swap: `model.load_weights(series.weights(step))`.

        Args:
            fold_ln: with LayerNorms folded into the matrices that read from them, as TransformerLens' helpers
                assume (`cache.logit_attrs`, `model.OV`, ...). Log-probabilities, heads and ablations are the same; the
                matrices differ (`ICLTransformer` says how).
        """
        from mechicl.models.hooked import ICLTransformer

        model = ICLTransformer(self.config, self.weights(step), fold_ln=fold_ln)
        return model if self.device == "cpu" else model.to(self.device, print_details=False)

    @property
    def task(self) -> Task:
        """What it was trained on."""
        return task_of(self.config)

    @cached_property
    def source(self) -> Any:
        """What its sequences are drawn from, as a bank or a corpus: rebuilt, and checked against the manifest."""
        from mechicl.series.source import rebuilt

        return rebuilt(self)

    @property
    def bank(self) -> Any:
        """`source`, of a task that calls it a bank.

        Raises:
            ConfigError: its task does not.
        """
        if not self.task.has_bank:
            raise ConfigError(
                f"{self.name} is of task {self.task.kind!r}, which has no bank: "
                "series.source has what its sequences are drawn from."
            )
        return self.source

    def evaluation_set(self, name: str, n: int | None = None, split: int = 0, step: int | None = None) -> Any:
        """The fixed sequences of an evaluator (`mechicl.evaluators`). They are the same for every step, except in a
        run that relabels: there the step must be given."""
        from mechicl.evaluators import evaluation_set

        source = self.source if step is None else self.task.source_at(self.config, self.source, step)
        found = evaluation_set(name, self.config, source, n, split)
        return found if self.device == "cpu" else found.to(self.device)

    def recorded(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl by step, one of each: the first."""
        return recorded.lines(self.root)

    @property
    def metrics(self) -> pd.DataFrame:
        """The evaluators over training, as recorded: one row per step, evaluator and metric."""
        return recorded.metrics(self)

    @property
    def training_loss(self) -> pd.DataFrame:
        """Columns step, sequences, loss: mean training loss since the checkpoint before."""
        return recorded.training_loss(self)

    def curve(self, evaluator: str, metric: str = "in_context_acc") -> tuple[np.ndarray, np.ndarray]:
        """(sequences, values) of one recorded evaluator, ascending.

        Raises:
            SeriesError: it was not recorded, or not this metric of it; what was.
        """
        return recorded.curve(self, evaluator, metric)

    def evaluate(
        self,
        steps: Iterable[int] | int | None = None,
        evaluators: Iterable[str] | str | None = None,
        ablate: Intervention | Sequence[Intervention] | None = None,
        n: int | None = None,
        metrics: Metrics | None = "recorded",
    ) -> pd.DataFrame:
        """Evaluate checkpoints, intact and under interventions (docs/interventions.md), such as ablated heads.

        Args:
            steps: which checkpoints (default: all).
            evaluators: which evaluators (default: all).
            ablate: one intervention or several, each measured on its own; rows of the intact model come first.
            n: sequences per evaluator (default: the run's `n_eval`).
            metrics: which ones (default: those recorded in training); None: each evaluator's primary metric alone.

        Returns:
            The tidy table, with value (accuracies are shares of 1, losses nats), n and a 95% interval over sequences.
        """
        from mechicl.measures.ablation import evaluate

        return evaluate(self, steps, evaluators, ablate, n, metrics)

    def answers(
        self,
        step: int,
        evaluator: str,
        ablate: Intervention | None = None,
        metric: str | None = None,
        n: int | None = None,
    ) -> np.ndarray:
        """One metric (default: the primary metric) of every sequence of an evaluation set, [n]: bool for accuracies."""
        from mechicl.measures.ablation import answers

        return answers(self, step, evaluator, ablate, metric, n)
