"""Exemplars and labels, `x1 y1 ... xC yC xq`: the task of a config that names none (docs/references.md#sequences).

Its settings are `Config.bank` and `Config.sequences`, from before there were other tasks; training may change its
sequences and its label map (training.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mechicl.config import Config, ModelConfig, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.loading import to_dict
from mechicl.protocol.task import Circuit, Task
from mechicl.registry import applying

if TYPE_CHECKING:
    from mechicl.protocol.shown import Column, Token
    from mechicl.tasks.exemplar_label.banks.bank import Bank
    from mechicl.tasks.exemplar_label.batch import Batch


@dataclass(frozen=True, kw_only=True)
class ExemplarLabel(Task):
    """The task of `config`."""

    kind: str = "exemplar_label"
    circuit: ClassVar[Circuit] = Circuit("flip", "induction_strength", "label_to_exemplar", "query_to_match")
    outputs: ClassVar[str] = "labels"
    answer: ClassVar[str] = "label"
    marks: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "true": "the answer that the evaluator scores as right",
            "in context": "the label shown with the query's class",
            "in weights": "the label that the query's class has in training",
        }
    )
    accuracies: ClassVar[bool] = True
    has_bank: ClassVar[bool] = True
    other_data: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType(
        {
            "icl_only": ("labels new in each sequence (ICL only)", ("sequences.labels=random",)),
            "ciwl_only": (
                "the class never in context (CIWL only)",
                ("sequences.burstiness=0", "sequences.rest=unique", "sequences.copy_query_label=true"),
            ),
        }
    )
    one_answer: ClassVar[bool] = True
    config: Config

    @property
    def n_tokens(self) -> int:
        return self.config.sequences.n_tokens

    @property
    def n_outputs(self) -> int:
        return self.config.bank.labels

    def input_shapes(self, model: ModelConfig) -> dict[str, tuple[int, ...]]:
        from mechicl.tasks.exemplar_label import encoder

        bank = self.config.bank
        return {
            **encoder.shapes(model),
            "exemplar_embed.W": (encoder.n_features(model, bank.dim), model.d_model),
            "exemplar_embed.b": (model.d_model,),
            "embed.W_E": (bank.labels, model.d_model),
        }

    def source(self, config: Config, data: str | Path | None = None, threads: int | None = 1) -> Bank:
        from mechicl.tasks.exemplar_label.banks.build import build_bank

        return build_bank(config, data, threads)

    def given(self, config: Config) -> str | None:
        return config.bank.path

    def drawn_from(self, config: Config) -> Any:
        return config.bank

    def reads_no_data(self, config: Config) -> str:
        from mechicl.tasks.exemplar_label.banks.kinds import BANKS

        kind = config.bank.kind
        if BANKS.find(kind).reads_data:
            return ""
        return f"exemplars of bank.kind={kind!r} are drawn, not read. For a bank of yours, add --set bank.kind=file"

    def draw(self, source: Bank, n: int, rng: np.random.Generator) -> Batch:
        return source.train().draw(self.config.sequences, n, rng, self.config.bank.labels)

    def data_at(self, config: Config, update: int) -> tuple[SequenceConfig, tuple[int, int] | None]:
        from mechicl.tasks.exemplar_label.relabelled import map_at, sequences_at

        return sequences_at(config, update), map_at(config, update)

    def draw_at(self, config: Config, source: Bank, update: int, n: int, rng: np.random.Generator) -> Batch:
        from mechicl.tasks.exemplar_label.relabelled import bank_of, sequences_at

        trained = bank_of(config, source, update).train()
        return trained.draw(sequences_at(config, update), n, rng, config.bank.labels)

    def changes(self, config: Config) -> bool:
        from mechicl.tasks.exemplar_label.relabelled import relabels

        return relabels(config)

    def source_at(self, config: Config, source: Bank, step: int) -> Bank:
        from mechicl.tasks.exemplar_label.relabelled import bank_at

        return bank_at(config, source, step)

    def record(self, source: Bank) -> dict[str, Any]:
        from mechicl.tasks.exemplar_label.banks.shaping import geometry

        return {"bank_geometry": geometry(source.train().exemplars).to_dict()}

    def caption(self, recorded: dict[str, Any]) -> str:
        from mechicl.tasks.exemplar_label.caption import caption

        return caption(self.config.bank, recorded.get("bank_geometry"))

    def check(self, config: Config) -> None:
        from mechicl.tasks.exemplar_label.sequences import check

        bank = config.bank
        check(config.sequences, n_classes=bank.n_classes, n_exemplars=bank.n_exemplars, n_labels=bank.labels)
        first = config.eval_first
        if first is not None and not (2 <= first[0] <= bank.n_classes and 1 <= first[1] <= bank.n_exemplars):
            raise ConfigError(
                f"eval_first={first}: expected (classes, exemplars) of those trained on, from "
                f"(2, 1) to ({bank.n_classes}, {bank.n_exemplars}), or None for all."
            )
        if config.model.encoder == "conv":
            bank.check_pictures()

    def hooks(self, model: ModelConfig) -> tuple[str, ...]:
        return ("hook_encoder",) if model.encoder == "conv" else ()

    def writes(self, model: ModelConfig) -> tuple[str, ...]:
        return "exemplar_embed.W", "exemplar_embed.b"

    @classmethod
    def tables(cls, model: ModelConfig) -> tuple[str, ...]:
        return (*(("encoder",) if model.encoder == "conv" else ()), "exemplar_embed", "embed")

    def variations(self, config: Config) -> tuple[str, ...]:
        from mechicl.tasks.exemplar_label.batch import Batch

        return tuple(name for name in Batch.variations if name in applying(config))

    def follows(self, config: Config) -> dict[str, Any]:
        return to_dict(config.sequences)

    def uses(self, config: Config) -> tuple[str, str]:
        from mechicl.tasks.exemplar_label.banks.kinds import BANKS

        return BANKS.what, config.bank.kind

    def summary(self, model: ModelConfig) -> str:
        read = ", read by convolutions" if model.encoder == "conv" else ""
        return f"{self.config.bank.n_classes:,} {self.config.bank.kind} classes{read}"

    def embedding_bytes(self, model: ModelConfig, n: int) -> float:
        """What the convolutions give."""
        from mechicl.tasks.exemplar_label.encoder import n_features

        if model.encoder == "linear":
            return 0.0
        return 4.0 * n * (self.config.sequences.n_pairs + 1) * n_features(model, self.config.bank.dim)

    def details(self, model: ModelConfig) -> list[str]:
        bank, sequences = self.config.bank, self.config.sequences
        read = [] if model.encoder == "linear" else [f"read by {len(model.channels)} convolutions"]
        labels = "label = class" if bank.labels == bank.n_classes else f"{bank.labels} shared labels"
        return [
            *read,
            labels,
            f"{sequences.n_pairs} pairs per sequence, burstiness {sequences.burstiness}, p_bursty "
            f"{sequences.p_bursty:g}",
        ]

    def alignment(self, batch: Batch) -> str:
        if bool((batch.classes[:, :-1] == batch.classes[:, -1:]).any()):
            return "that show the matching pair first"
        return "that show the query's label first" if bool((batch.labels == batch.target[:, None]).any()) else ""

    def marked(self, batch: Batch, i: int) -> dict[str, int | None]:
        from mechicl.tasks.exemplar_label.shown import marked

        return marked(batch, i)

    def shown(self, source: Bank, evaluator: str, batch: Batch, i: int) -> list[Token]:
        from mechicl.tasks.exemplar_label.shown import shown

        return shown(source, evaluator, batch, i)

    def attributed(self, batch: Batch) -> list[Column]:
        from mechicl.tasks.exemplar_label.shown import attributed

        return attributed(batch)

    def candidates(self, batch: Batch, i: int) -> list[int]:
        marks = self.marked(batch, i)
        listed = [marks["true"], marks["in weights"], *batch.labels[i].tolist()]
        return [label for label in dict.fromkeys(listed) if label is not None]

    def aligned(self, batch: Batch) -> tuple[list[int], list[str]]:
        """Those whose matching pairs come first."""
        correct = batch.classes[:, :-1] == batch.classes[:, -1:]
        exemplar = label = "match"
        if not correct.any():  # CIWL: a wrong exemplar that carries the query's own label
            correct = batch.labels == batch.trained_labels[:, -1:]
            exemplar, label = "other", "own label"
        first = correct.sort(dim=1, descending=True, stable=True).values
        rows = (correct == first).all(1).nonzero()[:, 0]
        shared = correct[rows].float().mean(0) > 0.5
        tokens = []
        for pair, special in enumerate(shared.tolist(), 1):
            tokens += [f"x{pair} {exemplar if special else 'other'}", f"y{pair} {label if special else 'other'}"]
        return rows.tolist(), [*tokens, "query"]

    def tokens(self, source: Bank, evaluator: str, batch: Batch, i: int) -> list[str]:
        """Class names and labels, as `x1 name` and `y1 label 3`."""
        return [str(token) for token in self.shown(source, evaluator, batch, i)]
