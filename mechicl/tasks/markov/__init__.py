"""Markov chains: sequences of states that are scored at every position.

Every training sequence is a sample of one of K fixed chains over n states (Edelman et al. 2024, 2402.11004; Park et
al. 2024, 2412.01003). A model can predict the next state in two ways. From its weights: find out which of the K chains
this is, and recall its transition matrix (retrieval). From the context: count what followed this state so far, as an
induction head does (inference), which works on chains that it has never seen, too.

    chains.py      the chains, their samples, and the exact predictors: unigram, bigram, retrieval
    batch.py       what a model reads, and its metrics
    evaluators.py  recall, inference (`conflict` is every task's: tasks/conflict.py)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mechicl.errors import ConfigError
from mechicl.loading import at_least, check_types
from mechicl.protocol.task import Circuit, Task, register

if TYPE_CHECKING:
    import numpy as np

    from mechicl.config import Config, ModelConfig
    from mechicl.tasks.markov.batch import MarkovBatch
    from mechicl.tasks.markov.chains import Chains


@register
@dataclass(frozen=True, kw_only=True)
class Markov(Task):
    """Each sequence is a sample of one of `n_chains` fixed Markov chains."""

    kind: str = "markov"
    circuit: ClassVar[Circuit] = Circuit("inference")
    answer: ClassVar[str] = "state"
    errors: ClassVar[tuple[str, ...]] = ("loss", "kl", "kl_unigram", "kl_bigram", "kl_retrieval")
    n_states: int = 6
    n_chains: int = 32
    length: int = 40  # positions that the model reads, each of which predicts the next state
    concentration: float = 1.0  # rows of transition matrices ~ Dirichlet(concentration, ...); 1 is uniform

    def __post_init__(self) -> None:
        check_types(self, "task")
        at_least("task", self, n_states=3, n_chains=1, length=4)
        if self.kind != "markov":
            raise ConfigError(f"task.kind={self.kind!r}: these are the settings of 'markov'.")
        if not 1e-3 <= self.concentration <= 1e3:
            raise ConfigError(f"task.concentration={self.concentration}: expected a number from .001 to 1000.")

    @property
    def n_tokens(self) -> int:
        return self.length

    @property
    def n_outputs(self) -> int:
        return self.n_states

    def input_shapes(self, model: ModelConfig) -> dict[str, tuple[int, ...]]:
        return {"embed.W_E": (self.n_states, model.d_model)}

    def reads_no_data(self, config: Config) -> str:
        return "Markov chains are drawn, not read"

    def source(self, config: Config, data: str | Path | None = None, threads: int | None = 1) -> Chains:
        from mechicl.tasks.markov.chains import Chains

        return Chains.drawn(self, config.seeds.data)

    def draw(self, source: Chains, n: int, rng: np.random.Generator) -> MarkovBatch:
        from mechicl.tasks.markov.batch import to_learn

        return to_learn(source, n, self.length, rng)

    def conflicts(self, config: Config) -> bool:
        return True

    def conflict(self, source: Chains, n: int, rng: np.random.Generator) -> MarkovBatch:
        from mechicl.tasks.markov.batch import exchanged

        return exchanged(source, n, self.length, rng)

    def tokens(self, source: Any, evaluator: str, batch: MarkovBatch, i: int) -> list[str]:
        return [f"{at} {_letter(s)}" for at, s in enumerate(batch.ids[i].tolist())]

    def output(self, source: Any, number: int) -> str:
        return f"state {_letter(number)}"

    def caption(self, recorded: dict[str, Any]) -> str:
        return (
            f"{self.n_chains:,} Markov chains over {self.n_states} states, rows ~ "
            f"Dirichlet({self.concentration:g}), sequences of {self.length}"
        )


def _letter(state: int) -> str:
    return chr(65 + state) if state < 26 else str(state)


from mechicl.tasks.markov import evaluators as evaluators  # noqa: E402 (they belong to the task)
