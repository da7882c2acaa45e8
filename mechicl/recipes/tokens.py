"""Recipes of tasks whose sequences are tokens: Markov chains, and text."""

from __future__ import annotations

from mechicl.config import Config, ModelConfig, OptimConfig, ScheduleConfig, Window
from mechicl.recipes.door import recipe
from mechicl.tasks.markov import Markov
from mechicl.tasks.text import Text


@recipe
def markov() -> Config:
    """Markov chains: inference from the context rises and fades as the chains are memorised, in about five minutes.

    Each sequence is a sample of one of 28 fixed chains over 5 states (Edelman et al. 2024, 2402.11004; Park et al.
    2024, 2412.01003), scored at every position. Inference counts in the context what followed a state; retrieval
    recalls the chain from the weights. With fewer chains retrieval comes first and inference hardly shows, with more
    inference stays (docs/recipes.md).
    """
    return Config(
        name="markov",
        steps=6000,
        batch_size=64,
        task=Markov(n_states=5, n_chains=28, length=32),
        model=ModelConfig(d_model=32, n_heads=4, mlp_ratio=4),
        optim=OptimConfig(lr=4e-3),
        checkpoint_steps=ScheduleConfig(log_points=12, linear_every=200),
        n_eval=1000,
    )


@recipe
def text_small() -> Config:
    """A language model forms induction heads, in about 10 minutes: on the library of the Python that runs it.

    Two layers of attention only, 64 wide, with two heads each, on windows of 64 tokens inside one document; half of the
    training sequences are a passage and itself again. Or on documents of yours: `--data FOLDER`. A tenth of the
    documents are held out. Induction heads form between 4 and 6 million tokens (docs/findings/in-language.md).
    """
    return Config(
        name="text-small",
        steps=12_000,
        batch_size=16,
        task=Text(vocabulary=1024, length=64, documents="python", repeats=0.5, bigrams="corpus"),
        model=ModelConfig(d_model=64, n_heads=2, positions="rotary"),
        optim=OptimConfig(lr=4e-3, warmup_steps=200, betas=(0.9, 0.99)),
        checkpoint_steps=ScheduleConfig(
            log_points=10, linear_every=500, windows=(Window(start=2500, stop=6000, every=125),)
        ),
        n_eval=256,
        states=4,
    )
