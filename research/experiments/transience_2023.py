"""Claims 10.1 to 10.7: what Singh et al. 2023 say of data, size and regularization, on features of real drawings. The
rules are the comments of research/sweeps/transience-2023.toml, written before its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from research.claim import Claim
from research.experiments.against_raw import Why
from research.experiments.figure1b import PEAK
from research.figure_1b_runs import RAW, SEEDS
from research.statistics import phases, spread
from research.verdicts import Part, decided

SWEEP = "transience-2023"
KEPT, DIFFERS, FADES = 0.05, 0.03, 0.1  # of the decay: ICL is kept below it; the least difference; ICL fades from it on
CLASSES = tuple(f"classes_n_classes-{n}" for n in (1600, 3200, 6400))
EXEMPLARS = tuple(f"exemplars_n_exemplars-{n}" for n in (1, 5))
WIDE, NARROW = "width_d_model-128", "width_d_model-32"
WEAK = "l2_l2-1e-05"
GROUPS = {group: f"mlp-l2_l2_group-{group}" for group in ("mlp", "embeddings", "attention")}
TITLES = {
    RAW: "the base (12,800 classes; 20 exemplars; width 64; 2 layers)",
    WEAK: "L2 of 1e-5 on all weights",
    **{name: f"{int(name.rsplit('-', 1)[1]):,} classes" for name in CLASSES},
    EXEMPLARS[0]: "1 exemplar a class",
    EXEMPLARS[1]: "5 exemplars a class",
    WIDE: "width 128",
    NARROW: "width 32",
    "layers": "4 layers",
    "zipf": "classes by Zipf's law, exponent 1",
    "mlp": "with an MLP, no L2",
    GROUPS["mlp"]: "L2 of 1e-5 on the MLPs",
    GROUPS["embeddings"]: "L2 of 1e-5 on the embeddings",
    GROUPS["attention"]: "L2 of 1e-5 on attention",
}


@dataclass(frozen=True)
class Seed:
    """One seed's runs: by condition, ICL's highest value, and how far it is below that at the end."""

    peak: dict[str, float]
    decay: dict[str, float]

    def formed(self, condition: str) -> bool:
        return self.peak[condition] >= PEAK

    def kept(self, condition: str) -> bool:
        return self.formed(condition) and self.decay[condition] < KEPT

    def rises(self, *conditions: str) -> bool:
        """Whether the peak is higher in each condition than in the one before."""
        peaks = [self.peak[name] for name in conditions]
        return all(a < b for a, b in pairwise(peaks))

    def more(self, condition: str) -> float:
        """Its decay less the base's."""
        return self.decay[condition] - self.decay[RAW]


Rule = Callable[[Seed], bool]


def of_seeds(data: pd.DataFrame) -> dict[int, Seed]:
    """Every seed's runs, from the table of complete ones."""
    found = phases(data)
    icl = found[found.evaluator == "icl"]
    return {
        int(seed): Seed(
            dict(zip(rows.condition, rows.highest, strict=True)),
            dict(zip(rows.condition, rows.highest - rows.final_value, strict=True)),
        )
        for seed, rows in icl.groupby("seed")
    }


def judged(needs: tuple[str, ...], holds: Rule, opposite: Rule, what: str) -> Callable[[pd.DataFrame], Part]:
    """A part: supported where the rule holds in all seeds, contradicted where its opposite does."""

    def part(data: pd.DataFrame) -> Part:
        seeds = of_seeds(data)
        yes, no = (sum(rule(seed) for seed in seeds.values()) for rule in (holds, opposite))
        status = decided(yes == len(SEEDS), no == len(SEEDS))
        said = "; ".join(
            f"{TITLES[name]}: peak {spread([s.peak[name] for s in seeds.values()])}, "
            f"decay {spread([s.decay[name] for s in seeds.values()])}"
            for name in needs
        )
        return Part("ICL", f"{said}; holds in {yes} of {len(seeds)} seeds, its opposite in {no}", status, what)

    return part


def _why(
    key: str, title: str, says: str, needs: tuple[str, ...], rule: str, other: str, holds: Rule, opposite: Rule
) -> Why:
    """rule, other: what holds, and what its opposite is, in words."""
    text = (
        f"(comments of the sweep) {rule}. The opposite: {other}. Supported if this holds in all three seeds, "
        "contradicted if the opposite does."
    )
    return Why(key, title, says, SWEEP, needs, text, judged(needs, holds, opposite, rule), TITLES, SWEEP)


CLAIMS = (
    _why(
        "10.1",
        "ICL is transient at other depths",
        "ICL fades at other depths, too (Singh et al. 2023, on the number of layers).",
        (RAW, "layers"),
        "With 4 layers ICL decays by .1 or more by 20 million sequences",
        "it forms and decays by less than .05",
        lambda s: s.decay["layers"] >= FADES,
        lambda s: s.kept("layers"),
    ),
    _why(
        "10.2",
        "Wider models keep ICL longer",
        "A wider embedding softens ICL's decline (Singh et al. 2023).",
        (NARROW, RAW, WIDE),
        "The decay is smaller by .03 or more at width 128 than at 64, and larger by .03 or more at width 32",
        "both the other way",
        lambda s: s.more(WIDE) <= -DIFFERS and s.more(NARROW) >= DIFFERS,
        lambda s: s.more(WIDE) >= DIFFERS and s.more(NARROW) <= -DIFFERS,
    ),
    _why(
        "10.3",
        "More classes, a higher peak",
        "With more classes ICL rises higher (Singh et al. 2023).",
        (*CLASSES, RAW),
        "ICL's peak rises from 1,600 over 3,200 and 6,400 to 12,800 classes",
        "it falls at each",
        lambda s: s.rises(*CLASSES, RAW),
        lambda s: s.rises(RAW, *CLASSES[::-1]),
    ),
    _why(
        "10.4",
        "More exemplars, a higher peak",
        "With more exemplars in a class ICL rises higher (Singh et al. 2023).",
        (*EXEMPLARS, RAW),
        "ICL's peak rises from 1 over 5 to 20 exemplars",
        "it falls at each",
        lambda s: s.rises(*EXEMPLARS, RAW),
        lambda s: s.rises(RAW, *EXEMPLARS[::-1]),
    ),
    _why(
        "10.5",
        "Rare classes keep ICL",
        "With classes by Zipf's law ICL fades less (Singh et al. 2023).",
        (RAW, "zipf"),
        "The decay with an exponent of 1 is smaller than the base's by .03 or more; a seed in which ICL did not form "
        "counts for neither",
        "larger by .03 or more",
        lambda s: s.formed(RAW) and s.formed("zipf") and s.more("zipf") <= -DIFFERS,
        lambda s: s.formed(RAW) and s.formed("zipf") and s.more("zipf") >= DIFFERS,
    ),
    _why(
        "10.6",
        "L2 regularization keeps ICL",
        "L2 on all weights keeps ICL (Singh et al. 2023).",
        (RAW, WEAK),
        "With L2 of 1e-5 ICL forms and decays by less than .05",
        "its decay is not below the base's",
        lambda s: s.kept(WEAK),
        lambda s: s.more(WEAK) >= 0,
    ),
    _why(
        "10.7",
        "Which weights L2 must be on",
        "L2 on MLPs or embeddings keeps ICL, L2 on attention does not (Singh et al. 2023).",
        ("mlp", *GROUPS.values()),
        "With an MLP, L2 of 1e-5 on the MLPs alone keeps ICL (it forms and decays by less than .05), so does L2 on the "
        "embeddings alone, and L2 on attention alone does not",
        "L2 on attention alone keeps it, and neither of the others does",
        lambda s: s.kept(GROUPS["mlp"]) and s.kept(GROUPS["embeddings"]) and not s.kept(GROUPS["attention"]),
        lambda s: s.kept(GROUPS["attention"]) and not (s.kept(GROUPS["mlp"]) or s.kept(GROUPS["embeddings"])),
    ),
)


def claims() -> list[Claim]:
    return [why.claim() for why in CLAIMS]
