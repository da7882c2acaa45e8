"""Recipes of exemplars and labels: on Gaussian clusters, features of pictures, drawings and embeddings of tokens."""

from __future__ import annotations

from dataclasses import replace

from mechicl.config import BankConfig, Config, ModelConfig, OptimConfig, ScheduleConfig, SequenceConfig, Window
from mechicl.recipes.door import recipe


@recipe
def demo() -> Config:
    """ICL rises, then fades to context-constrained in-weights learning, in about 3 minutes.

    Every training sequence can be solved in context (p_bursty 1), label = class, two layers
    of attention only: the published coopetition curve (Singh et al. 2025, Fig. 1b)
    in a sixth of its sequences. The low feature dimension and the slow warm-up let ICL win
    first; the higher learning rate later lets it fade in the time (docs/recipes.md).
    """
    return Config(
        name="demo",
        steps=24_000,
        bank=BankConfig(n_classes=1024, dim=12, within_class_std=0.6, n_holdout_classes=128),
        optim=OptimConfig(lr=3e-3, warmup_steps=12_000),
        checkpoint_steps=ScheduleConfig(
            log_points=16, linear_every=250, windows=(Window(start=750, stop=4000, every=125),)
        ),
        n_eval=1000,
    )


@recipe
def demo_small() -> Config:
    """`demo` with 44 checkpoints in half precision: `checkpoints/demo`, at most 20 MB.

    The training is the same to the last bit; only what is kept of it differs.
    """
    schedule = ScheduleConfig(log_points=8, linear_every=1000, windows=(Window(start=1200, stop=3800, every=200),))
    return replace(demo(), name="demo-small", checkpoint_steps=schedule, states=1, weights_dtype="float16")


@recipe
def iwl() -> Config:
    """ICL gives way to pure in-weights recall, in about 3 minutes.

    An MLP in the last layer, 32 labels shared by 1280 classes, four pairs of which two show
    the query's class, and one sequence in nine that is not bursty, so that recall pays.
    """
    return Config(
        name="iwl",
        steps=50_000,
        bank=BankConfig(n_classes=1280, dim=32, within_class_std=0.45, n_labels=32),
        sequences=SequenceConfig(n_pairs=4, burstiness=2, p_bursty=0.89),
        model=ModelConfig(mlp_ratio=4, mlp_layers=(1,)),
        optim=OptimConfig(lr=1.5e-3),
        checkpoint_steps=ScheduleConfig(
            log_points=16, linear_every=250, windows=(Window(start=500, stop=3000, every=125),)
        ),
        n_eval=1000,
    )


@recipe
def persistent() -> Config:
    """ICL stays: as `iwl`, but every sequence is bursty, so nothing asks for recall. About 3 minutes."""
    config = iwl()
    return replace(config, name="persistent", sequences=replace(config.sequences, p_bursty=1.0))


@recipe
def coopetition() -> Config:
    """Figure 1b of Singh et al. 2025 on real features, 20 million sequences, in about an hour: needs `--data FILE`.

    As published (2503.05631): 12,800 classes, each one Omniglot character under one of eight flips and turns, with
    20 drawings; label = class, two pairs, two layers of attention only, Adam at a constant 1e-5, batches of 32, raw
    features. One thing differs: the features are 1,280 numbers of EfficientNet-Lite0 where theirs are 512 of ResNet18.
    ICL rises near 4 million sequences as published; docs/findings.md says how it fades. Make FILE (650 MB) once:
    `mechicl features DIR_OF_OMNIGLOT --transforms 8 --out FILE`, in about 20 minutes.
    """
    return Config(
        name="coopetition",
        steps=625_000,
        batch_size=32,
        bank=BankConfig(
            kind="features",
            n_classes=12_800,
            n_holdout_classes=184,
            n_holdout_exemplars=0,
            dim=1280,
        ),
        model=ModelConfig(init="truncated"),
        optim=OptimConfig(lr=1e-5),
        checkpoint_steps=ScheduleConfig(log_points=16, linear_every=3125),
        n_eval=5000,
        weights_dtype="float16",
    )


@recipe
def coopetition_gaussian() -> Config:
    """The published coopetition setting on Gaussian clusters of norm 1, in about half an hour: ICL never forms.

    As `coopetition`, but 512 isotropic Gaussian features. It is the condition that earlier findings call 'the
    published setting', kept to compare with: at norm 1 and a rate of 1e-5 an exemplar's embedding stays small beside
    positions and labels, and in-weights answers come first.
    """
    return Config(
        name="coopetition-gaussian",
        steps=625_000,
        batch_size=32,
        bank=BankConfig(n_classes=12_800, dim=512, within_class_std=0.5, n_holdout_classes=184),
        optim=OptimConfig(lr=1e-5),
        checkpoint_steps=ScheduleConfig(log_points=16, linear_every=3125),
        weights_dtype="float16",
    )


@recipe
def induction_2024() -> Config:
    """An induction head forms after a plateau, one million sequences, in about 10 minutes: needs `--data FILE`.

    As published (Singh et al. 2024, 2404.07129): 2 layers of attention only with rotary positions, 50 classes of one
    exemplar, 5 labels that are dealt out anew in every sequence, 8 of their 10 pairs trained on; Adam at a constant
    1e-5, batches of 32, raw features, evaluated about every 5,000 sequences. Evaluators: held-out pairs of labels,
    100 held-out classes, 4 held-out exemplars of each class. What differs: features of EfficientNet-Lite0 where theirs
    are of ResNet18, and which pairs are held out, since their generator is another. Make FILE (120 MB) once:
    `mechicl features DIR_OF_OMNIGLOT --transforms 1 --out FILE`, in about 5 minutes.
    """
    return Config(
        name="induction-2024",
        steps=31_250,
        batch_size=32,
        bank=BankConfig(
            kind="features",
            n_classes=50,
            n_exemplars=1,
            n_holdout_classes=100,
            n_holdout_exemplars=4,
            dim=1280,
            n_labels=5,
        ),
        sequences=SequenceConfig(labels="random", held_out_pairs=2),
        model=ModelConfig(positions="rotary", init="truncated"),
        optim=OptimConfig(lr=1e-5),
        checkpoint_steps=ScheduleConfig(linear_every=156),
        n_eval=1000,
        weights_dtype="float16",
    )


@recipe
def transience_2023() -> Config:
    """The first 20 million sequences of the published 12-layer runs on features, in half a day: needs `--data FILE`.

    As published (Singh et al. 2023, 2311.08360, on fixed features): 12 layers with MLPs of ratio 4 (GELU in its tanh
    form), sinusoidal positions of time 30, 1,600 classes of 20 exemplars, label = class, eight pairs of which three
    show the query's class, Adam at a constant 3e-4, batches of 32, evaluated every 500,000 sequences. The published
    runs see 1.6 billion: this part of them takes about 13 hours on one core. What differs: features of
    EfficientNet-Lite0 where theirs are of ResNet18, and 16 held-out classes, so that FILE may have the transforms (as
    for `coopetition`: 200 characters seen in 8 ways, which is near what the released code reads) or not (1,600
    characters, as the paper says).
    """
    return Config(
        name="transience-2023",
        steps=625_000,
        batch_size=32,
        bank=BankConfig(
            kind="features",
            n_classes=1600,
            n_holdout_classes=16,
            n_holdout_exemplars=0,
            dim=1280,
        ),
        sequences=SequenceConfig(n_pairs=8, burstiness=3),
        model=ModelConfig(
            n_layers=12,
            mlp_ratio=4,
            activation="gelu_tanh",
            positions="sinusoidal",
            position_time=30.0,
            init="truncated",
        ),
        optim=OptimConfig(lr=3e-4),
        checkpoint_steps=ScheduleConfig(log_points=16, linear_every=15_625),
        n_eval=1000,
        weights_dtype="float16",
    )


@recipe
def omniglot_small() -> Config:
    """The same rise and fade on real drawings, in about 1 minute: needs `--data DIR`.

    Omniglot's two small image sets: 232 characters under 8 flips and rotations are 1856 training
    classes, 10 more characters are held out. ICL peaks at about .85 near 60 thousand sequences
    (100 to 130 thousand for other seeds) and falls towards .65; Flip falls from about .7 to .05.
    """
    return Config(
        name="omniglot-small",
        steps=8000,
        bank=BankConfig(
            kind="omniglot",
            n_classes=1856,
            n_holdout_classes=80,
            n_exemplars=20,
            n_holdout_exemplars=0,
            dim=12,
        ),
        checkpoint_steps=ScheduleConfig(
            log_points=20, linear_every=200, windows=(Window(start=100, stop=1200, every=50),)
        ),
        n_eval=1000,
    )


@recipe
def omniglot_conv() -> Config:
    """Drawings read by convolutions that are trained with the transformer, in about 2 minutes: needs `--data DIR`.

    The main runs of Singh et al. 2023 train a ResNet jointly, label = class, every sequence bursty.
    Here three convolutions on 14 x 14 pixels, down to 32 features, and four pairs of two classes;
    the classes are those of `omniglot-small`. With two pairs in-weights answers come first and ICL never
    forms (docs/recipes.md has what decides). ICL rises to .89 to .96 near 130 thousand sequences and stays
    near .9; Flip reaches .75 in two seeds of five and falls in all, to .3 to .5.
    """
    config = omniglot_small()
    bank = replace(config.bank, image_size=14, encoder="pixels", dim=14 * 14)
    return replace(
        config,
        name="omniglot-conv",
        steps=8000,
        batch_size=64,
        bank=bank,
        sequences=SequenceConfig(n_pairs=4, burstiness=2),
        model=ModelConfig(encoder="conv", channels=(16, 32, 8)),
        optim=OptimConfig(lr=3e-3, warmup_steps=3000),
        checkpoint_steps=ScheduleConfig(
            log_points=6, linear_every=500, windows=(Window(start=1000, stop=4000, every=250),)
        ),
    )


@recipe
def llama_tokens() -> Config:
    """Classes of neighbouring LLaMA-derived token embeddings, in about 3 minutes: needs `mechicl[tokens]`.

    Singh et al. 2023, section 4.3: 1,600 clusters of 10 tokens, label = class; here
    in demo's model and schedule, on the table of the package `wordllama` (tasks/exemplar_label/banks/tokens.py).
    """
    config = demo()
    bank = BankConfig(
        kind="tokens", n_classes=1600, n_exemplars=10, dim=256, n_holdout_classes=80, n_holdout_exemplars=0
    )
    return replace(config, name="llama-tokens", bank=bank)
