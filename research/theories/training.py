"""What a training condition offers to the two strategies, and when.

Times are in millions of training sequences. An account never sees a condition's name: only whether the data can be
solved in context, whether in weights, whether the previous-token circuit may form, how hard drawings of a class are to
match, and when what the weights hold is made worthless.

How hard they are to match has two factors, both 1 where the account was fitted and 0 for exact copies. `handicap` is
the error of matching that is left at best, `noise` the spread of ICL's logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from mechicl import recipes


@dataclass(frozen=True)
class Offer:
    """What training offers at one moment."""

    in_context: bool = True  # the context's labels tell the answer
    in_weights: bool = True  # the query's class tells the answer
    previous_token: bool = True  # labels may see the exemplar before them: ICL can form
    handicap: float = 1.0  # the error that matching leaves, relative to where the account was fitted
    noise: float = 1.0  # the spread of ICL's logit, likewise


MIXED = Offer()
ICL_ONLY = Offer(in_weights=False)
CIWL_ONLY = Offer(in_context=False)
EXACT = Offer(handicap=0.0, noise=0.0)  # the query's drawing itself is in the context


@cache
def _demo_warmup() -> float:
    """The demo recipe's warm-up, in million sequences."""
    demo = recipes.demo()
    return demo.optim.warmup_steps * demo.batch_size / 1e6


@dataclass(frozen=True)
class Condition:
    """A training condition: one offer after another, and when memory is made worthless.

    offers: (from, offer), ascending, the first from 0; forget_from, forget_every, warmup: in million sequences.
    """

    name: str
    offers: tuple[tuple[float, Offer], ...] = ((0.0, MIXED),)
    forget_from: float | None = None
    forget_every: float | None = None
    warmup: float = field(default_factory=_demo_warmup)

    def forgets(self, end: float) -> list[float]:
        """The times, before `end`, at which what the weights hold is lost."""
        if self.forget_from is None or self.forget_every is None:
            return []
        count = max(int((end - self.forget_from) / self.forget_every) + 1, 0)
        times = [self.forget_from + i * self.forget_every for i in range(count)]
        return [t for t in times if t < end]

    def offer_at(self, time: float) -> Offer:
        return [offer for start, offer in self.offers if start <= time][-1]

    def learning_time(self, sequences: float) -> float:
        """Time as a flow counts it: the integral of (learning rate / its highest), in million sequences.

        In a warm-up the rate is proportional to the sequences seen, W in all, so it is t^2 / (2 W) up to W. In demo,
        counting plain sequences instead fits the untreated curve worse in each of the four accounts (seed 0, RMSE:
        coopetition .035 -> .038, rates-noisy .041 -> .054, -regularized .052 -> .063, -outvoted .073 -> .079).
        """
        w = self.warmup
        return sequences if w == 0 else min(sequences, w) ** 2 / (2 * w) + max(sequences - w, 0.0)


@dataclass(frozen=True)
class Setting:
    """Where accounts are fitted and tested.

    conditions: by name. untreated: the one that is fitted; all others are held out. grid: the times at which curves are
    compared, in million sequences, ascending.
    """

    conditions: Mapping[str, Condition]
    untreated: str
    grid: np.ndarray

    @property
    def fitted(self) -> Condition:
        return self.conditions[self.untreated]

    @property
    def held_out(self) -> tuple[str, ...]:
        return tuple(name for name in self.conditions if name != self.untreated)


def _updates(count: int) -> float:
    """Updates of 128 sequences, in million sequences."""
    return count * 128 / 1e6


def _switched(name: str, step: int, before: Offer, after: Offer) -> Condition:
    return Condition(name, ((0.0, before), (_updates(step), after)))


CONDITIONS = {  # of research/sweeps/competition.toml
    c.name: c
    for c in (
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
        Condition("matched", ((0.0, EXACT),)),
    )
}
COMPETITION = Setting(CONDITIONS, "mixed", np.geomspace(0.03, 3.07, 48))
HELD_OUT, GRID = COMPETITION.held_out, COMPETITION.grid
