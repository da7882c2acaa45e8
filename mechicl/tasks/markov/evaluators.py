"""The questions that are asked of a model of Markov chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mechicl.registry import Evaluator, register

if TYPE_CHECKING:
    import numpy as np

    from mechicl.config import Config


def _trained(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    from mechicl.tasks.markov.batch import to_score

    return to_score(source, source.trained[rng.integers(len(source.trained), size=n)], _length(config), rng)


def _new(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    from mechicl.tasks.markov.batch import to_score

    return to_score(source, source.new(n, rng), _length(config), rng)


def _length(config: Config) -> int:
    assert config.task is not None
    return config.task.n_tokens


for _evaluator in (
    Evaluator(
        name="recall",
        task="markov",
        draw=_trained,
        label="Recall (trained chains)",
        meaning="samples of the trained chains: 0 is inference from the context, 1 exact retrieval",
        favours="weights",
        colour="#C8501E",
        symbol="diamond",
        primary_metric="recall_gain",
        quantity="gain",
        answer_shown=False,
    ),
    Evaluator(
        name="inference",
        task="markov",
        draw=_new,
        label="Inference (new chains)",
        meaning="samples of chains never trained on: 0 is the unigram predictor, 1 exact inference from the context",
        favours="context",
        colour="#0072B2",
        symbol="circle",
        primary_metric="inference_gain",
        quantity="gain",
    ),
):
    register(_evaluator)
