"""The questions that are asked of a language model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mechicl.registry import Evaluator, register

if TYPE_CHECKING:
    import numpy as np

    from mechicl.config import Config
    from mechicl.tasks.text.conflicting import Kind


def _repeat(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    from mechicl.tasks.text.batch import repeated
    from mechicl.tasks.text.spans import RepeatBatch

    assert config.task is not None
    # Of a model that is trained here, tokens that it has seen: a byte that no document has stays as it was drawn.
    known = config.task.n_outputs if source.documents is None else source.part("train").shown
    return RepeatBatch(**vars(repeated(known, n, config.task.n_tokens, rng)))


def _text(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    from mechicl.tasks.text.batch import windows

    assert config.task is not None
    return windows(source.part("held_out"), n, config.task.n_tokens, rng)


def _loss(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    from mechicl.tasks.text.batch import windows
    from mechicl.tasks.text.spans import TextBatch

    assert config.task is not None
    return TextBatch(**vars(windows(source.part("held_out"), n, config.task.n_tokens, rng)))


def _weights(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    return config.task.fixed(source, n, rng)  # type: ignore[union-attr]


def _drawn_as(kind: Kind) -> Any:
    def draw(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
        return config.task.conflict(source, n, rng, kind)  # type: ignore[union-attr]

    return draw


def _labelled(kind: Any) -> Any:
    def draw(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
        from mechicl.tasks.text.few_shot import few_shot

        assert config.task is not None
        return few_shot(kind, source, n, config.task.n_tokens, rng)

    return draw


def _has_labels(config: Config) -> bool:
    return getattr(config.task, "few_shot", False)


def _has_text(config: Config) -> bool:
    return getattr(config.task, "has_text", False)


def _has_bigrams(config: Config) -> bool:
    return config.task is not None and config.task.conflicts(config)


_of_tokens = partial(Evaluator, task="text")
_of_text = partial(_of_tokens, applies=_has_text, needs="a text (mechicl open SOURCE --tokens FILE)")
_of_bigrams = partial(_of_tokens, applies=_has_bigrams, needs="known bigrams (mechicl open SOURCE --tokens FILE)")
_control = partial(_of_bigrams, primary_metric="follows_context", quantity="share", role="more", control_of="conflict")
_of_labels = partial(
    _of_tokens,
    applies=_has_labels,
    needs="task.few_shot=true (mechicl open SOURCE --few-shot)",
    primary_metric="follows_context",
    quantity="share",
)

for _evaluator in (
    _of_tokens(
        name="repeat",
        draw=_repeat,
        label="Repeat (random tokens)",
        meaning="random tokens, and the same again: the share of the second half that is predicted",
        favours="context",
        colour="#0072B2",
        symbol="circle",
        primary_metric="token_acc",
        quantity="accuracy",
    ),
    _of_text(
        name="text",
        draw=_text,
        label="Text (next token)",
        meaning="windows of a text: the share of next tokens that is predicted",
        favours="weights",
        colour="#C8501E",
        symbol="diamond",
        primary_metric="token_acc",
        quantity="accuracy",
        answer_shown=False,
    ),
    _of_text(
        name="loss",
        draw=_loss,
        label="In-context gain (held-out text)",
        meaning="windows of held-out text: by how many nats late tokens are predicted better than early ones",
        favours="context",
        colour="#64B5D8",
        symbol="triangle-up",
        primary_metric="in_context_gain",
        quantity="nats",
        answer_shown=False,
    ),
    _of_bigrams(
        name="weights",
        draw=_weights,
        label="Weights (fixed continuations)",
        meaning="tokens that always follow others in training, but are not in the context: the share that is predicted",
        favours="weights",
        colour="#50A561",
        symbol="star",
        primary_metric="acc",
        quantity="accuracy",
        answer_shown=False,
    ),
    _control(
        name="agreement",
        draw=_drawn_as("agreement"),
        label="Control: no conflict",
        meaning="as Conflict, but the context says what the weights hold: the share that prefers the other answer",
        favours="both",
        colour="#ACACAC",
        symbol="x",
    ),
    _control(
        name="unshown",
        draw=_drawn_as("unshown"),
        label="Control: not shown",
        meaning="as Conflict, but another token stood before the context's answer: the share that prefers that answer",
        favours="weights",
        colour="#6C6C6C",
        symbol="cross",
    ),
    _of_labels(
        name="flipped_labels",
        draw=_labelled("flipped_labels"),
        label="Flipped labels (few-shot)",
        meaning="sentences with labels, all of them exchanged: the share that answers as the context does",
        favours="context",
        colour="#E69F00",
        symbol="hexagon",
        like="conflict",
    ),
    _of_labels(
        name="symbols",
        draw=_labelled("symbols"),
        label="Symbols (few-shot)",
        meaning="sentences with 'foo' and 'bar' as labels: the share that answers as the context does",
        favours="context",
        colour="#0072B2",
        symbol="pentagon",
        like="repeat",
        control_of="flipped_labels",
    ),
    _of_labels(
        name="labels",
        draw=_labelled("labels"),
        label="Control: labels as they are (few-shot)",
        meaning="sentences with their labels: the share that prefers the right one",
        favours="both",
        colour="#ACACAC",
        symbol="triangle-down",
        like="agreement",
        role="more",
        control_of="flipped_labels",
    ),
):
    register(_evaluator)
