"""The question that tasks share: the context says one thing, the weights another. Which wins?

A task has it if it says so (`Task.conflicts`) and draws the sequences (`Task.conflict`). The exact design is the
task's: Markov chains in which two states have exchanged what follows them; of text, bigrams that the context
contradicts.
"""

from __future__ import annotations

from mechicl.protocol.known import task_of
from mechicl.registry import Evaluator, register

register(
    Evaluator(
        name="conflict",
        task=None,
        draw=lambda config, source, n, rng: task_of(config).conflict(source, n, rng),
        applies=lambda config: task_of(config).conflicts(config),
        needs="a task whose context can contradict the weights, as Markov chains, or text with known bigrams",
        label="Conflict",
        meaning="the context contradicts what the weights hold: 1 follows the context, 0 the weights",
        favours="context",
        colour="#E69F00",
        symbol="square",
        primary_metric="follows_context",
        quantity="share",
        decides=True,
    )
)
