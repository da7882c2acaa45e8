"""Claims 2 to 6 and the phase diagram: sizes, data, tokens, drawings, L2. One sweep each; what a claim says is in
research/experiments/dose_rules.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from mechicl.figures.style import short
from mechicl.sweeps.conditions import Plan
from mechicl.sweeps.plan import read_plan
from research import plots, tables
from research.claim import Claim, not_run
from research.effects import against
from research.experiments import dose_rules as rules
from research.phase import phase
from research.regimes import condition_table
from research.runs import Runs
from research.verdicts import Part


@dataclass(frozen=True)
class Dose:
    """One sweep as a claim. parts: what the claim says, judged over the runs of finished conditions."""

    key: str
    title: str
    says: str
    sweep: str
    rule: str
    parts: Callable[[Runs], list[Part]]
    note: str = ""
    arguments: str = ""
    base: str = ""  # the condition that the others are compared with
    untreated: str = ""  # the table of a recipe's own runs, which are `base`'s where that was not run again
    more: Callable[[pd.DataFrame], tuple[list[str], dict[str, Figure]]] | None = None  # paragraphs and figures
    panels: dict[str, str] = field(default_factory=dict)  # conditions -> titles: the first figure has these alone
    titles: dict[str, str] = field(default_factory=dict)  # of all conditions, in order, where names do not say enough
    shown: bool = True  # whether the sweep's tables and figure are here; another claim of the same sweep has them

    @cached_property
    def plan(self) -> Plan:
        return read_plan(tables.TABLES.parent / f"sweeps/{self.sweep}.toml")

    def runs(self) -> tuple[pd.DataFrame, Runs, list[str]] | None:
        """The table with the base's runs, the runs that count, and the conditions that lack seeds; None: not run."""
        data = tables.read(self.sweep)
        if data is None:
            return None
        data = pd.concat([data, *(rows[rows.step.isin(data.step.unique())] for rows in self._untreated(data))])
        whole = data[data.complete].groupby("condition").seed.nunique()
        planned = len(self.plan.runs) // len(self.plan.conditions)
        few = [name for name in tables.conditions(self.plan) if 0 < whole.get(name, 0) < planned]
        return data, Runs(data, without=few), few

    def claim(self) -> Claim:
        command = f"mechicl sweep research/sweeps/{self.sweep}.toml{self.arguments}"
        found = self.runs()
        if found is None:
            return not_run(self.key, self.title, self.says, command)
        data, counted, few = found
        everything = Runs(data) if few else counted
        names = self.titles or {name: _title(name, self.plan.fields) for name in tables.conditions(self.plan)}
        ran = {name: title for name, title in names.items() if everything.has(name)}
        seeds = sorted({everything.phases[everything.phases.condition == name].seed.nunique() for name in ran})
        text, figures = [], {}
        if self.shown:
            own = tables.read(self.sweep)
            assert own is not None
            drawn = pd.concat([own, *self._untreated(own)])
            drawn = drawn[drawn.complete]
            first = {c: title for c, title in self.panels.items() if c in ran}
            figures = {f"{self.sweep}-first": plots.curves(drawn, first)} if first else {}
            figures[self.sweep] = plots.curves(drawn, ran)
            text = [
                f"{_summary(everything.kinds)}.",
                condition_table(everything.phases, everything.kinds, ran),
                *against(everything.phases, self.base, ran),
            ]
        text += [self.note] if self.note else []
        if few:
            text.append(
                "These conditions are not finished, and the verdict leaves them out: "
                f"{', '.join(f'`{name}`' for name in few)}."
            )
        if left := [name for name in names if name not in ran]:
            text.append("Not run yet: " + ", ".join(f"`{name}`" for name in left) + ".")
        said, more = self.more(data) if self.more else ([], {})
        return Claim(
            self.key,
            self.title,
            self.says,
            f"`{self.plan.conditions[0].config.name}`, {len(ran)} of {len(names)} conditions x {_between(seeds)} "
            f"seeds, {short(data.sequences.max())} sequences",
            self.rule,
            self.parts(counted),
            command,
            [*text, *said],
            figures | more,
        )

    def _untreated(self, data: pd.DataFrame) -> list[pd.DataFrame]:
        """The recipe's own runs as `base`, where the sweep has none. They are drawn whole, and compared at those steps
        at which the sweep's were evaluated. data: the sweep's own table."""
        own = tables.read(self.untreated) if self.untreated and self.base not in set(data.condition) else None
        return [] if own is None else [own.assign(condition=self.base)]


def _title(condition: str, fields: list[str]) -> str:
    """depth_n_layers-4 -> depth: n layers = 4. fields: those that the sweep varies."""
    starts = [i for field in fields if (i := condition.find(f"{field.rpartition('.')[2]}-")) >= 0]
    at = min(starts, default=len(condition))
    grid, valued = condition[:at], condition[at:]
    valued = re.sub(r"-([\d.]+(?:e-?\d+)?|\w+)(?=_|$)", r" = \1", valued)
    valued = re.sub(r"(= [^_]+)_", r"\1, ", valued).replace("_", " ")
    return ": ".join(part for part in (grid.strip("_"), valued) if part)


def _between(seeds: list[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"


_ENDED = {
    "never": "ICL never formed",
    "fades": "formed and faded",
    "partial": "formed and faded in Flip only",
    "stays": "formed and stayed",
}


def _summary(kinds: pd.Series) -> str:
    """'Of 5 runs: ICL never formed in 2, formed and faded in 3'"""
    found = [f"{words} in {(kinds == kind).sum()}" for kind, words in _ENDED.items() if (kinds == kind).any()]
    return f"Of {len(kinds)} runs: " + ", ".join(found)


DOSES = (
    Dose(
        "2",
        "Depth does not keep ICL",
        "Transience holds across depths: a deeper model does not keep ICL (Singh et al. 2023; T2).",
        "sizes",
        "at each depth (4, 8, 12 layers), of the runs in which ICL formed, more than half lost it again, at least in "
        "Flip.",
        rules.depth,
        base="demo",
    ),
    Dose(
        "2.1",
        "Width softens the decline of ICL",
        "Wider embeddings soften the decline (Singh et al. 2023; T2).",
        "sizes",
        "with 128 dimensions instead of 64 ICL ends higher by .1 or more, and its half-decay comes later by a factor "
        "of 1.4 or more (paired by seed; a half-decay that never comes counts as infinite).",
        rules.width,
        base="demo",
        shown=False,
    ),
    Dose(
        "3",
        "Classes, exemplars and skew change ICL's rise and fade",
        "Transience holds across data: more classes give a higher peak and slower decay; more exemplars a higher "
        "peak; Zipfian skew weakens the transience (Singh et al. 2023; T3).",
        "data",
        "with 4,096 classes ICL's highest value and its end are higher than with 256 by .1 or more; with 100 "
        "exemplars a class ICL's highest value is higher than with 5 by .1 or more; with a Zipf exponent of 1 ICL "
        "falls less far than with uniform classes by .1 or more, where it formed with both (all paired by seed).",
        rules.data,
        base="demo",
    ),
    Dose(
        "3.1",
        "The dimension of the features decides whether ICL forms",
        "Ours: the dimension of the features decides whether ICL forms, because in many dimensions classes are far "
        "apart and each is learned at once. So with 48 dimensions ICL never forms, and with 12 it forms with 1,024 "
        "classes or more.",
        "dimension",
        "ICL forms in no run with 48 dimensions (one such run contradicts the claim); with 12 dimensions and 1,024 or "
        "4,096 classes it forms in more than half of the runs.",
        rules.dimension,
        "Dimension and scale were not separate here. The features have norm 1 at any dimension, so an exemplar's "
        "embedding starts at a norm of 8 / sqrt(dimension). So what this diagram calls dimension may be scale, in "
        "part: 3.2 takes the two apart.",
        base="dim-12_n_classes-1024",
        more=phase,
    ),
    Dose(
        "3.2",
        "Scale, not dimension, decides whether ICL forms",
        "Ours: what decides whether ICL forms is the norm at which an exemplar's embedding starts. In 3.1 it was 8 / "
        "sqrt(dimension), so dimension and scale were varied together.",
        "scale",
        "with 48 dimensions at the norm of `demo`'s 12 ICL forms in more than half of the runs; with 12 dimensions "
        "half the norm lowers ICL's highest value by .1 or more; and at `demo`'s norm ICL's highest value with 48 "
        "dimensions is not lower than with 12 by .1 or more (the last two paired by seed).",
        rules.scale,
        "'x 2' is twice the norm that `demo`'s embeddings start with (8 / sqrt(12)), at any dimension.",
        base="d12-x1",
        titles={f"d{d}-x{x:g}": f"{d} dimensions, norm x {x:g}" for d in (4, 12, 24, 48) for x in (0.5, 1, 2, 4)},
    ),
    Dose(
        "4",
        "On language-model token embeddings ICL fades, too",
        "On LLaMA token embeddings ICL is transient whenever it emerges; in some seeds it never does (Singh et al. "
        "2023, section 4.3; T4). Here: the table of `wordllama`, distilled from LLaMA-2 embeddings, k-means clusters.",
        "tokens",
        "on all 256 features ICL forms in more than one run of five; and of all runs in which it formed, "
        "also of those on the twelve leading features, more than half lost it again, at least in Flip.",
        rules.tokens,
        "The claim is about all features. There ICL formed in no run, so it is not known whether it would be "
        "transient. With twelve features it was; that is another setting, which we found by trying.",
    ),
    Dose(
        "5",
        "On real drawings ICL forms and fades",
        "On Omniglot ICL emerges and fades (Singh et al. 2023). Here 242 characters x 8 transforms at most, as fixed "
        "features.",
        "omniglot",
        "with all 1,856 classes and 12 features ICL forms in more than half of the runs; and of those in which it "
        "formed, more than half lost it again, at least in Flip.",
        rules.drawings,
        "1,856 classes are a seventh of the published 12,800. CIWL needs fewer sequences to learn them, so ICL has "
        "less time to form.",
        " --data DIR_OF_OMNIGLOT",
        base="classes_n_classes-1856",
    ),
    Dose(
        "5.1",
        "On real drawings ICL forms and fades, with an encoder trained jointly",
        "With a ResNet trained jointly, their main runs, ICL emerges on Omniglot and fades; more classes give a "
        "higher peak (Singh et al. 2023). Here three convolutions on 14 x 14 pixels, 242 characters x 8 transforms at "
        "most, label = class, four pairs of two classes.",
        "omniglot-conv",
        "with all 1,856 classes ICL forms in more than half of the runs; of those in which it formed, more than half "
        "lost it again, at least in Flip; and ICL's highest value is higher than with 464 classes by .1 or more.",
        rules.encoder,
        "The setting was found on seed 0 alone, with all classes and with smaller evaluation sets. Other seeds and "
        "numbers of classes were first run here.",
        " --data DIR_OF_OMNIGLOT",
        base="classes_n_classes-1856",
    ),
    Dose(
        "6.1",
        "L2 up to 1e-4 keeps ICL, more does not",
        "An L2 penalty up to about 1e-4 removes the decay. A stronger one over-regularizes: transience returns (Singh "
        "et al. 2023; T5). In Nguyen & Reddy 2024 regularization ends ICL.",
        "regularization",
        "at one of three strengths up to 1e-4 on all parameters (1e-6, 1e-5, 1e-4) ICL forms and stays in more than "
        "half of the runs; at 1e-2 it does so in less than half.",
        rules.strengths,
        "The penalty adds (l2/2) * sum of squares to the loss, so its gradient passes through Adam's moments. The "
        "decoupled form (AdamW) shrinks parameters by lr * l2 beside Adam's step. The published form is not known, so "
        "a published strength need not be the same strength here.",
        base="none",
    ),
    Dose(
        "6.2",
        "An L2 penalty on the MLPs alone keeps ICL, one on attention does not",
        "An L2 penalty on the MLPs alone keeps in-context learning (ICL); one on attention alone does not (Singh et "
        "al. 2023, Fig. 16; T6).",
        "regularization-mlp",
        "at one of three strengths (1e-5, 1e-4, 1e-3) on the MLPs ICL forms and stays in more than half of the "
        "runs; at every strength on attention it does so in less than half.",
        rules.groups,
        "The runs without a penalty (`none`) are those of `iwl` (1.1). The training is the same, and the table has the "
        "steps at which the others were evaluated.",
        base="none",
        untreated="iwl",
        panels={
            "none": "no penalty",
            **{
                f"penalty_l2-{s}_l2_group-{group}": f"{name}, {s}"
                for group, name in (("mlp", "MLPs"), ("attention", "attention"))
                for s in rules.STRENGTHS
            },
        },
    ),
)


def claims() -> list[Claim]:
    return [dose.claim() for dose in DOSES]
