"""What the claims about sizes, data, tokens, drawings and L2 say, as parts that can fail (research/verdicts.py)."""

from __future__ import annotations

from dataclasses import replace

from research.runs import Runs
from research.verdicts import FACTOR, SMALLEST, Part, any_of, effect, never, share

LOST, STAYS = ("fades", "partial"), ("stays",)
STRENGTHS = ("1e-05", "0.0001", "0.001")


def depth(runs: Runs) -> list[Part]:
    return [
        share(
            f"with {n} layers ICL, where it formed, was lost", runs.among_formed(LOST, f"depth_n_layers-{n}"), above=0.5
        )
        for n in (4, 8, 12)
    ]


def width(runs: Runs) -> list[Part]:
    wide, base = "width_d_model-128", "demo"
    return [
        effect("ICL's end, 128 minus 64 dimensions", runs.minus(wide, base, "icl", "final_value"), above=SMALLEST),
        effect(
            "ICL's half-decay, 128 against 64 dimensions (log2)",
            runs.minus(wide, base, "icl", "half_decay"),
            above=FACTOR,
        ),
    ]


def data(runs: Runs) -> list[Part]:
    many, few = "classes_n_classes-4096", "classes_n_classes-256"
    return [
        effect("ICL's highest, 4,096 minus 256 classes", runs.minus(many, few, "icl", "highest"), above=SMALLEST),
        effect("ICL's end, 4,096 minus 256 classes", runs.minus(many, few, "icl", "final_value"), above=SMALLEST),
        effect(
            "ICL's highest, 100 minus 5 exemplars",
            above=SMALLEST,
            values=runs.minus("exemplars_n_exemplars-100", "exemplars_n_exemplars-5", "icl", "highest"),
        ),
        _weaker("ICL's fall, uniform classes minus Zipf exponent 1, where ICL formed", runs, "demo", "zipf_zipf-1"),
    ]


def _weaker(says: str, runs: Runs, base: str, skewed: str) -> Part:
    """Only where ICL forms with both is there a fade that can be weaker."""
    formed = (runs.regimes(base) != "never") & (runs.regimes(skewed) != "never")
    fall = runs.of(base, "icl", "fall") - runs.of(skewed, "icl", "fall")
    part = effect(says, fall[formed.reindex(fall.index, fill_value=False)], above=SMALLEST)
    if len(formed) and not formed.any():
        return replace(part, effect=f"there is no such run of {len(formed)}", status="inconclusive")
    return part


def dimension(runs: Runs) -> list[Part]:
    forty_eight = [f"dim-48_n_classes-{n}" for n in (256, 1024, 4096)]
    return [
        never("with 48 dimensions ICL formed", runs.formed(*forty_eight)),
        share(
            "with 12 dimensions and 1,024 classes or more ICL formed",
            runs.formed("dim-12_n_classes-1024", "dim-12_n_classes-4096"),
            above=0.5,
        ),
    ]


def scale(runs: Runs) -> list[Part]:
    half = runs.minus("d12-x0.5", "d12-x1", "icl", "highest")
    wide = runs.minus("d48-x1", "d12-x1", "icl", "highest")
    return [
        share("with 48 dimensions at the norm of `demo`'s 12, ICL formed", runs.formed("d48-x1"), above=0.5),
        effect("ICL's highest with 12 dimensions, half the norm minus `demo`'s", half, below=-SMALLEST),
        effect("ICL's highest at `demo`'s norm, 48 minus 12 dimensions", wide, above=-SMALLEST),
    ]


def tokens(runs: Runs) -> list[Part]:
    whole = ("1600x10_dim-256", "3200x5")
    return [
        share("on all features ICL formed", runs.formed(*whole), above=0.2),
        share("where ICL formed, it was lost", above=0.5, holds=runs.among_formed(LOST, *whole, "1600x10_dim-12")),
    ]


def drawings(runs: Runs) -> list[Part]:
    condition = "classes_n_classes-1856"
    return [
        share("ICL formed", runs.formed(condition), above=0.5),
        share("where ICL formed, it was lost", runs.among_formed(LOST, condition), above=0.5),
    ]


def encoder(runs: Runs) -> list[Part]:
    more = runs.minus("classes_n_classes-1856", "classes_n_classes-464", "icl", "highest")
    return [*drawings(runs), effect("ICL's highest, 1,856 minus 464 classes", more, above=SMALLEST)]


def strengths(runs: Runs) -> list[Part]:
    low = [share(s, runs.ended(STAYS, f"penalty_l2-{s}"), above=0.5) for s in ("1e-06", "1e-05", "0.0001")]
    return [
        any_of("at a strength up to 1e-4 ICL formed and stayed", low),
        share("at 1e-2 ICL formed and stayed", runs.ended(STAYS, "penalty_l2-0.01"), below=0.5),
    ]


def groups(runs: Runs) -> list[Part]:
    mlp = [share(s, runs.ended(STAYS, f"penalty_l2-{s}_l2_group-mlp"), above=0.5) for s in STRENGTHS]
    attention = [
        share(
            f"with attention penalised at {s} ICL formed and stayed",
            below=0.5,
            holds=runs.ended(STAYS, f"penalty_l2-{s}_l2_group-attention"),
        )
        for s in STRENGTHS
    ]
    return [any_of("with the MLPs penalised at one strength ICL formed and stayed", mlp), *attention]
