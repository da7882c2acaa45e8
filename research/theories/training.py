"""What a training condition offers to the two strategies, and when.

Times are in millions of training sequences. An account never sees a condition's name: only whether the
data can be solved in context, whether in weights, whether the previous-token circuit may form, whether
exact copies make matching free, and when what the weights hold is made worthless.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mechicl import recipes


@dataclass(frozen=True)
class Offer:
    """What training offers at one moment."""

    in_context: bool = True  # the context's labels tell the answer
    in_weights: bool = True  # the query's class tells the answer
    previous_token: bool = True  # labels may see the exemplar before them: ICL can form
    exact: bool = False  # the query's drawing itself is in the context: matching has no noise


MIXED = Offer()
ICL_ONLY = Offer(in_weights=False)
CIWL_ONLY = Offer(in_context=False)


@dataclass(frozen=True)
class Condition:
    """A training condition: one offer after another, and when memory is made worthless.

    offers: (from, offer), ascending, the first from 0; forget_from, forget_every: in million sequences.
    """

    name: str
    offers: tuple[tuple[float, Offer], ...] = ((0.0, MIXED),)
    forget_from: float | None = None
    forget_every: float | None = None

    def forgets(self, end: float) -> list[float]:
        """The times, before `end`, at which what the weights hold is lost."""
        if self.forget_from is None or self.forget_every is None:
            return []
        count = max(int((end - self.forget_from) / self.forget_every) + 1, 0)
        times = [self.forget_from + i * self.forget_every for i in range(count)]
        return [t for t in times if t < end]

    def offer_at(self, time: float) -> Offer:
        return [offer for start, offer in self.offers if start <= time][-1]


def _updates(count: int) -> float:
    """Updates of 128 sequences, in million sequences."""
    return count * 128 / 1e6


def _switched(name: str, step: int, before: Offer, after: Offer) -> Condition:
    return Condition(name, ((0.0, before), (_updates(step), after)))


CONDITIONS = {
    c.name: c
    for c in (  # research/sweeps/competition.toml
        Condition("mixed"),
        Condition("icl-only", ((0.0, ICL_ONLY),)),
        Condition("ciwl-only", ((0.0, CIWL_ONLY),)),
        _switched("icl-then-mixed", 6000, ICL_ONLY, MIXED),
        _switched("mixed-then-icl", 6000, MIXED, ICL_ONLY),
        _switched("ciwl-then-mixed-early", 1000, CIWL_ONLY, MIXED),
        _switched("ciwl-then-mixed-late", 6000, CIWL_ONLY, MIXED),
        Condition("no-previous-token", ((0.0, Offer(previous_token=False)),)),
        Condition("relabelled", forget_from=_updates(500), forget_every=_updates(500)),
        Condition("forgetting", forget_from=_updates(1000), forget_every=_updates(1000)),
        Condition("matched", ((0.0, Offer(exact=True)),)),
    )
}
HELD_OUT = tuple(name for name in CONDITIONS if name != "mixed")


@cache
def warmup() -> float:
    """The demo recipe's warm-up, in million sequences."""
    demo = recipes.demo()
    return demo.optim.warmup_steps * demo.batch_size / 1e6


def learning_time(sequences: float) -> float:
    """Time as a flow counts it: the integral of (learning rate / its highest), in million sequences.

    In demo's warm-up the rate is proportional to the sequences seen, W in all, so it is t^2 / (2 W) up to W.
    Counting plain sequences instead fits the untreated curve worse in each of the four accounts (seed 0,
    RMSE: coopetition .035 -> .038, rates-noisy .041 -> .054, -regularized .052 -> .063, -outvoted .073 -> .079).
    """
    w = warmup()
    return min(sequences, w) ** 2 / (2 * w) + max(sequences - w, 0.0)
