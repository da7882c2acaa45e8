"""The questions that are asked of a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mechicl.registry import Evaluator, register

if TYPE_CHECKING:
    import numpy as np

    from mechicl.config import Config


def _repeat(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    from mechicl.tasks.text.batch import repeated

    assert config.task is not None
    # Of a model that is trained here, tokens that it has seen: a byte that no document has stays as it was drawn.
    known = config.task.n_outputs if source.documents is None else source.part("train").shown
    return repeated(known, n, config.task.n_tokens, rng)


def _text(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    from mechicl.tasks.text.batch import windows

    assert config.task is not None
    return windows(source.part("held_out"), n, config.task.n_tokens, rng)


for _evaluator in (
    Evaluator(
        name="repeat",
        task="text",
        draw=_repeat,
        label="Repeat (random tokens)",
        meaning="random tokens, and the same again: the share of the second half that is predicted",
        favours="context",
        colour="#0072B2",
        symbol="circle",
        primary_metric="token_acc",
        quantity="accuracy",
    ),
    Evaluator(
        name="text",
        task="text",
        draw=_text,
        applies=lambda config: getattr(config.task, "has_text", False),
        needs="a text (mechicl open SOURCE --tokens FILE)",
        label="Text (next token)",
        meaning="windows of a text: the share of next tokens that is predicted",
        favours="weights",
        colour="#C8501E",
        symbol="diamond",
        primary_metric="token_acc",
        quantity="accuracy",
        answer_shown=False,
    ),
):
    register(_evaluator)
