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


def _exchanged(config: Config, source: Any, n: int, rng: np.random.Generator) -> Any:
    """Of a trained chain, two states have exchanged what follows them: all other states say which chain it is, the
    context says what follows these two."""
    import numpy as np

    from mechicl.tasks.markov.batch import to_score

    held = source.trained[rng.integers(len(source.trained), size=n)]
    order = rng.permuted(np.tile(np.arange(source.n_states), (n, 1)), axis=1)[:, :2]
    chains, each = held.copy(), np.arange(n)[:, None]
    chains[each, order] = held[each, order[:, ::-1]]
    return to_score(source, chains, _length(config), rng, held)


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
    Evaluator(
        name="conflict",
        task="markov",
        draw=_exchanged,
        label="Conflict",
        meaning="trained chains, of which two states have exchanged what follows them: 1 follows the context, 0 the "
        "weights",
        favours="context",
        colour="#E69F00",
        symbol="square",
        primary_metric="follows_context",
        quantity="share",
    ),
):
    register(_evaluator)
