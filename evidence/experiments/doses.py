"""Claims 2 to 6 and the phase diagram: sizes, data, tokens, drawings, L2. One sweep each; a condition is judged by what
became of ICL in most of its seeds (evidence/regimes.py)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from evidence import plots, tables
from evidence.claim import Claim, by_parts, not_run
from evidence.effects import against
from evidence.phase import phase
from evidence.regimes import FORMED, condition_table, most_common, regimes
from mechicl.figures.style import short
from mechicl.sweep.plan import read_plan

RULE = (f"a condition counts by what became of ICL in most of its seeds: formed (ICL and Flip peak above {FORMED}), "
        "and then faded (both fell half-way back), partial (only Flip did) or stayed. ")  # fmt: skip


@dataclass(frozen=True)
class Dose:
    """One sweep as a claim. parts: what the claim says, each a test of most_common(condition)."""

    key: str
    title: str
    says: str
    sweep: str
    rule: str
    parts: Callable[[Callable[[str], str]], list[bool]]
    note: str = ""
    arguments: str = ""
    base: str = ""  # the condition that the others are compared with
    untreated: str = ""  # the table of a recipe's own runs, which are `base`'s where that was not run again
    more: Callable[[pd.DataFrame], tuple[list[str], dict[str, Figure]]] | None = None  # paragraphs and figures

    def claim(self) -> Claim:
        file = f"sweeps/{self.sweep}.toml"
        command = f"mechicl sweep {file}{self.arguments}"
        data = tables.read(self.sweep)
        if data is None:
            return not_run(self.key, self.title, self.says, command)
        own = self._untreated(data)
        drawn = pd.concat([data, *own])
        data = pd.concat([data, *(rows[rows.step.isin(data.step.unique())] for rows in own)])
        kinds = regimes(data)
        plan = read_plan(tables.TABLES.parents[1] / file)
        names = {name: _title(name, plan.fields) for name in tables.conditions(plan)}
        whole = data[data.complete].groupby("condition").seed.nunique()
        ran = {name: title for name, title in names.items() if whole.get(name, 0)}
        left = [name for name in names if name not in ran]
        seeds = sorted(set(whole.tolist()))
        planned = len(plan.runs) // len(plan.conditions)
        few = [name for name in ran if whole[name] < planned]
        counted = kinds[~kinds.index.get_level_values(0).isin(few)]
        holds = self.parts(lambda name: most_common(counted, name))
        text = [condition_table(data, ran), *against(data, self.base, ran)] + ([self.note] if self.note else [])
        if few:
            named = ", ".join(f"`{name}`" for name in few)
            text.append(f"Unfinished, so that it does not count for the verdict: {named}.")
        if left:
            text.append("Not run yet: " + ", ".join(f"`{name}`" for name in left) + ".")
        said, figures = self.more(data) if self.more else ([], {})
        text += said
        return Claim(
            self.key, self.title, self.says,
            f"`{plan.conditions[0].config.name}`, {len(ran)} of {len(names)} conditions x {_between(seeds)} seeds, "
            f"{short(data.sequences.max())} sequences",
            _summary(kinds), RULE + self.rule, by_parts(holds) if holds else "not finished", command, text,
            {self.sweep: plots.curves(drawn[drawn.complete], ran)} | figures,
        )  # fmt: skip

    def _untreated(self, data: pd.DataFrame) -> list[pd.DataFrame]:
        """The recipe's own runs as `base`, where the sweep has none. They are drawn whole, and compared at those steps
        at which the sweep's were evaluated."""
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
    "never": "ICL never formed", "fades": "formed and faded", "partial": "formed and faded in Flip only",
    "stays": "formed and stayed",
}  # fmt: skip


def _summary(kinds: pd.Series) -> str:
    """'of 5 runs, ICL never formed in 2, formed and faded in 3'"""
    found = [f"{words} in {(kinds == kind).sum()}" for kind, words in _ENDED.items() if (kinds == kind).any()]
    return f"of {len(kinds)} runs: " + ", ".join(found)


def _formed(kind: str) -> bool:
    return kind in ("fades", "partial", "stays")


def _all(kind: Callable[[str], str], names: list[str], good: tuple[str, ...]) -> list[bool]:
    """Whether each of those conditions that were run has one of these regimes."""
    return [kind(name) in good for name in names if kind(name)]


_GROUP_STRENGTHS = ("1e-05", "0.0001", "0.001")

DOSES = (
    Dose("2", "Across model sizes",
         "Transience holds across model sizes: depth does not rescue ICL; wider embeddings soften the decline "
         "(Singh et al. 2023; T2).", "sizes",
         "Depths and MLPs: where ICL formed it faded, at least in Flip.",
         lambda kind: [k != "stays" for name in ("depth_n_layers-4", "depth_n_layers-8", "depth_n_layers-12", "mlp")
                       if _formed(k := kind(name))], base="demo"),
    Dose("3", "Across data",
         "Transience holds across data: more classes give a higher peak and slower decay; more exemplars a higher "
         "peak; Zipfian skew weakens it (Singh et al. 2023; T3).", "data",
         "Parts: with 2,048 classes ICL forms and fades; with few classes (256) it never forms; with one exemplar per "
         "class and no within-class variation it never forms or never fades.",
         lambda kind: [kind(n) in good for n, good in {
             "classes_n_classes-2048": ("fades", "partial"), "classes_n_classes-256": ("never",),
             "exemplars_n_exemplars-1": ("never", "stays")}.items() if kind(n)], base="demo"),
    Dose("3.1", "What decides: feature dimension and number of classes",
         "Ours, to be tested: between 'never forms', 'forms and fades' and 'stays' the dimension of the features "
         "decides, since in many dimensions classes are far apart and each is learned at once.", "dimension",
         "Parts: in 48 dimensions ICL never forms, at any number of classes run; in 12 dimensions with 1,024 or more "
         "it does.",
         lambda kind: [*_all(kind, [f"dim-48_n_classes-{n}" for n in (256, 1024, 4096)], ("never",)),
                       *(_formed(kind(n)) for n in ("dim-12_n_classes-1024", "dim-12_n_classes-4096") if kind(n))],
         base="dim-12_n_classes-1024", more=phase),
    Dose("4", "On language-model token embeddings",
         "On LLaMA token embeddings ICL is transient whenever it emerges; in some seeds it never does (Singh et al. "
         "2023, section 4.3; T4). Here: the table of `wordllama`, distilled from LLaMA-2 embeddings, k-means clusters.",
         "tokens", "Parts, per condition: where ICL formed, it did not stay.",
         lambda kind: [k != "stays" for n in ("1600x10_dim-256", "1600x10_dim-12", "3200x5") if _formed(k := kind(n))]
         or _all(kind, ["1600x10_dim-256", "1600x10_dim-12", "3200x5"], ("fades",))),
    Dose("5", "On real drawings",
         "On Omniglot ICL emerges and fades (Singh et al. 2023). Here 242 characters x 8 transforms at most, as fixed "
         "features.", "omniglot",
         "Parts: with all classes and 12 features ICL forms; and fades.",
         lambda kind: [_formed(kind("classes_n_classes-1856")), kind("classes_n_classes-1856") in ("fades", "partial")]
         if kind("classes_n_classes-1856") else [],
         "1,856 classes are a seventh of the published 12,800: CIWL needs fewer sequences to learn them, so that ICL "
         "has less time to form.", " --data DIR_OF_OMNIGLOT", base="classes_n_classes-1856"),
    Dose("5.1", "On real drawings, with an encoder trained jointly",
         "With a ResNet trained jointly, their main runs, ICL emerges on Omniglot and fades; more classes give a "
         "higher peak (Singh et al. 2023). Here three convolutions on 14 x 14 pixels, 242 characters x 8 transforms at "
         "most, label = class, four pairs of two classes.", "omniglot-conv",
         "Parts: with all 1,856 classes ICL forms; and fades, at least in Flip; with a quarter of them (464) it never "
         "forms.",
         lambda kind: [_formed(kind("classes_n_classes-1856")), kind("classes_n_classes-1856") in ("fades", "partial"),
                       kind("classes_n_classes-464") == "never"]
         if kind("classes_n_classes-1856") and kind("classes_n_classes-464") else [],
         "The setting was found on seed 0 alone, with all classes and with smaller evaluation sets; other seeds and "
         "class counts in this setting were first seen here.", " --data DIR_OF_OMNIGLOT",
         base="classes_n_classes-1856"),
    Dose("6.1", "L2 regularization: strengths and forms",
         "L2 up to about 1e-4 removes the decay; above it over-regularizes (Singh et al. 2023; T5). Nguyen & Reddy "
         "2024: regularization is what ends ICL.", "regularization",
         "Parts: under some penalty up to 1e-4 on all parameters ICL stays; at 1e-2 it does not.",
         lambda kind: [any(_all(kind, [f"penalty_l2-{s}" for s in ("1e-06", "1e-05", "0.0001")], ("stays",))),
                       not any(_all(kind, ["penalty_l2-0.01"], ("stays",)))] if kind("penalty_l2-0.0001") else [],
         "The penalty adds (l2/2) * sum of squares to the loss, so that its gradient passes through Adam's moments; "
         "the decoupled form shrinks parameters by lr * l2 beside Adam's step (AdamW).", base="none"),
    Dose("6.2", "L2 on one group of parameters",
         "Penalising only the MLPs keeps ICL; penalising only attention does not (Singh et al. 2023, Fig. 16; T6).",
         "regularization-mlp",
         "Parts: at one of the strengths ICL stays with the MLPs penalised; at none with attention.",
         lambda kind: [any(_all(kind, [f"penalty_l2-{s}_l2_group-mlp" for s in _GROUP_STRENGTHS], ("stays",))),
                       not any(_all(kind, [f"penalty_l2-{s}_l2_group-attention" for s in _GROUP_STRENGTHS],
                                    ("stays",)))] if kind("penalty_l2-0.0001_l2_group-mlp") else [],
         "Without a penalty (`none`) they are the runs of 1.2: the same training, at those steps at which the others "
         "were evaluated. The strength 1e-3 was added to the sweep and to the rule once 1e-5 and 1e-4 on MLP or "
         "attention had changed nothing, before any run with it.", base="none", untreated="iwl"),
)  # fmt: skip


def claims() -> list[Claim]:
    return [dose.claim() for dose in DOSES]
