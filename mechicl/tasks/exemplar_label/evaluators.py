"""The questions that are asked of a model of exemplars and labels (Chan et al. 2022; Singh et al. 2023, 2024):

    name         context                             labels               right answer needs
    train        as in training                      trained              either
    icl          query's class and one other, C/2    {0, 1}, random       ICL
    flip         as icl                              the two swapped      ICL; 0 = in-weights
    ciwl         C other classes                     one overwritten by   in-weights, among the
                                                     the query's          context's labels
    iwl          C other classes                     trained              in-weights recall
    icl_holdout  as icl, classes never trained on    {0, 1}, random       ICL

Where few labels are dealt out anew in every sequence (Singh et al. 2024), a class has no label of its own, and a run
records others beside `train`, of which acc, over all labels, is the primary metric:

    holdout_pairs      as in training    pairs of labels never trained on together    ICL (published: fsl_val_rl)
    holdout_classes    classes never trained on          as in training               ICL (fsl_test_class)
    holdout_exemplars  new exemplars of trained classes  as in training               ICL (fsl_train_valex)

Where classes share labels, the classes of one evaluation context have distinct labels. Exemplars are drawn
with replacement whatever the training data does (in `train` as in training), unless `Config.eval_exemplars` is
'as_training': where items of a class show the identical exemplar, ICL and Flip ask for no generalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from mechicl.config import Config, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.registry import EVALUATORS, Evaluator, register

if TYPE_CHECKING:
    import numpy as np

    from mechicl.tasks.exemplar_label.banks.bank import Bank
    from mechicl.tasks.exemplar_label.batch import Batch


@dataclass(frozen=True, kw_only=True)
class FromBank:
    """How a set is drawn: the training sequences' setting, changed, over a part of the bank."""

    sequences: Callable[[SequenceConfig], SequenceConfig]
    part: Callable[[Bank], Bank]

    def __call__(self, config: Config, source: Any, n: int, rng: np.random.Generator) -> Batch:
        from mechicl.tasks.exemplar_label.evaluation import draw

        return draw(self.part, self.sequences, config, source, n, rng)


def part_shown(bank: Bank, evaluator: str) -> Bank:
    """The part of a bank that an evaluator's sequences show; all of it where its set is not drawn from a part."""
    drawn = EVALUATORS[evaluator].draw
    return drawn.part(bank) if isinstance(drawn, FromBank) else bank


def _labels_of_classes(config: Config) -> bool:
    """Whether a class has a label of its own. Not where few labels are dealt out anew in every sequence."""
    return config.sequences.labels != "random" or config.bank.labels >= config.bank.n_classes


def _relabelled(config: Config) -> bool:
    return not _labels_of_classes(config)


def _two_classes(labels: str) -> Callable[[SequenceConfig], SequenceConfig]:
    def setting(trained: SequenceConfig) -> SequenceConfig:
        if trained.n_pairs % 2:
            raise ConfigError(
                f"sequences.n_pairs={trained.n_pairs}: the icl and flip evaluators fill the context "
                "with two classes, n_pairs/2 each, so n_pairs must be even."
            )
        return _evaluation(trained, burstiness=trained.n_pairs // 2, labels=labels)

    return setting


def _no_support(copy_query_label: bool) -> Callable[[SequenceConfig], SequenceConfig]:
    return lambda trained: _evaluation(trained, burstiness=0, rest="unique", copy_query_label=copy_query_label)


def _evaluation(trained: SequenceConfig, **changes: Any) -> SequenceConfig:
    """Everything fixed but context length and noise, which are the task's."""
    return SequenceConfig(n_pairs=trained.n_pairs, noise=trained.noise, distinct_labels=True, **changes)


def _as_trained(trained: SequenceConfig) -> SequenceConfig:
    """As in training, but that classes which share a label do not meet: unless labels are dealt out anew, when
    their own say nothing."""
    return replace(trained, distinct_labels=trained.distinct_labels or trained.labels != "random")


def _dealt(pairs: Literal["trained", "held_out"]) -> Callable[[SequenceConfig], SequenceConfig]:
    """Labels dealt out as in training, over these pairs; classes and exemplars uniform, as in every evaluator."""
    return lambda trained: replace(trained, label_pairs=pairs, zipf=0.0, exemplars="replacement")


def _train(bank: Bank) -> Bank:
    return bank.train()


def _new_classes(bank: Bank) -> Bank:
    """Of each, as many exemplars as are trained on: with one, matching needs no generalisation within a class."""
    return bank.holdout_classes().first(len(bank.exemplars), bank.n_exemplars)


_FIXED = "a label of each class's own (sequences.labels='trained', or as many labels as classes)"
_DEALT = "few labels that are dealt out anew in every sequence (sequences.labels='random', bank.n_labels < n_classes)"

# Okabe & Ito's palette, with IWL, CIWL and Train moved: its pink, green and grey are one to a colour-blind reader.
# Scales have other hues (figures/scales.py). Evaluators that no run has both of may share a colour and a symbol.
for _evaluator in (
    Evaluator(
        name="train",
        draw=FromBank(sequences=_as_trained, part=_train),
        label="Train",
        meaning="sequences as in training",
        favours="both",
        colour="#ABABAB",
        symbol="x",
        role="training",
    ),
    Evaluator(
        name="icl",
        draw=FromBank(sequences=_two_classes("binary"), part=_train),
        applies=_labels_of_classes,
        needs=_FIXED,
        label="ICL",
        meaning="new labels in context",
        explanation="the label shown with the query's class, relabelled 0/1",
        favours="context",
        colour="#0072B2",
        symbol="circle",
    ),
    Evaluator(
        name="flip",
        draw=FromBank(sequences=_two_classes("swapped"), part=_train),
        applies=_labels_of_classes,
        needs=_FIXED,
        label="Flip",
        meaning="labels swapped in context",
        explanation="the two classes' labels swapped, so the context contradicts the weights",
        caution="Read the four together: a rise of Flip alone is not recovered ICL.",
        favours="context",
        colour="#E69F00",
        symbol="square",
    ),
    Evaluator(
        name="ciwl",
        draw=FromBank(sequences=_no_support(True), part=_train),
        applies=_labels_of_classes,
        needs=_FIXED,
        label="CIWL",
        meaning="label on a wrong exemplar",
        explanation="the right label is in the context, on a wrong exemplar",
        favours="weights",
        colour="#009668",
        symbol="triangle-up",
    ),
    Evaluator(
        name="iwl",
        draw=FromBank(sequences=_no_support(False), part=_train),
        applies=_labels_of_classes,
        needs=_FIXED,
        label="IWL (full vocabulary)",
        meaning="label not in context",
        explanation="the right label is not in the context at all",
        favours="weights",
        colour="#C8501E",
        symbol="diamond",
        primary_metric="acc",
        answer_shown=False,
    ),
    Evaluator(
        name="icl_holdout",
        draw=FromBank(sequences=_two_classes("binary"), part=lambda bank: bank.holdout_classes()),
        applies=lambda config: _labels_of_classes(config) and config.bank.n_holdout_classes >= 2,
        needs=f"at least 2 held-out classes (raise bank.n_holdout_classes) and {_FIXED}",
        label="ICL, held-out classes",
        meaning="classes never trained on",
        favours="context",
        colour="#56B4E9",
        symbol="star",
        role="more",
    ),
    Evaluator(
        name="holdout_pairs",
        draw=FromBank(sequences=_dealt("held_out"), part=_train),
        applies=lambda config: _relabelled(config) and config.sequences.held_out_pairs > 0,
        needs=f"sequences.held_out_pairs of at least 1, and {_DEALT}",
        label="Held-out label pairs (all labels)",
        meaning="labels never trained on together",
        favours="context",
        colour="#0072B2",
        symbol="circle",
        primary_metric="acc",
    ),
    Evaluator(
        name="holdout_classes",
        draw=FromBank(sequences=_dealt("trained"), part=_new_classes),
        applies=lambda config: _relabelled(config) and config.bank.n_holdout_classes >= 2,
        needs=f"at least 2 held-out classes (raise bank.n_holdout_classes), and {_DEALT}",
        label="Held-out classes (all labels)",
        meaning="classes never trained on",
        favours="context",
        colour="#009668",
        symbol="triangle-up",
        primary_metric="acc",
    ),
    Evaluator(
        name="holdout_exemplars",
        draw=FromBank(sequences=_dealt("trained"), part=lambda bank: bank.holdout_exemplars()),
        applies=lambda config: _relabelled(config) and config.bank.n_holdout_exemplars >= 1,
        needs=f"bank.n_holdout_exemplars of at least 1, and {_DEALT}",
        label="Held-out exemplars (all labels)",
        meaning="exemplars never trained on",
        favours="context",
        colour="#E69F00",
        symbol="square",
        primary_metric="acc",
    ),
):
    register(_evaluator)
