"""The competition hypothesis: one strategy alone, data switched, ICL or in-weights learning prevented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from mechicl.figures.style import short
from research import plots, tables
from research.claim import Claim, not_run, table
from research.effects import TIMES, Effects, Key, effects
from research.runs import Runs
from research.statistics import p_text, spread, spread_times
from research.verdicts import FACTOR, SMALLEST, Part, effect, share

FILE, BASE = "research/sweeps/competition.toml", "mixed"
TITLES = {
    "mixed": "mixed (untreated)",
    "icl-only": "ICL-only data",
    "ciwl-only": "CIWL-only data",
    "icl-then-mixed": "ICL-only, mixed from 768k",
    "mixed-then-icl": "mixed, ICL-only from 768k",
    "ciwl-then-mixed-early": "CIWL-only, mixed from 128k",
    "ciwl-then-mixed-late": "CIWL-only, mixed from 768k",
    "no-previous-token": "L0: no previous token",
    "relabelled": "relabelled every 64k",
    "forgetting": "embeddings reset every 128k",
    "matched": "same exemplar",
}


@dataclass(frozen=True)
class Treated:
    """One claim about treated trainings. parts: what the claim says, judged over paired seeds; asked: the effects that
    its table shows; before, after: paragraphs around the tables."""

    key: str
    title: str
    says: str
    names: tuple[str, ...]
    asked: tuple[Key, ...]
    rule: str
    parts: Callable[[Runs], list[Part]]
    figure: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def claim(self, data: pd.DataFrame | None, runs: Runs | None) -> Claim:
        command = f"mechicl sweep {FILE}"
        if data is None or runs is None:
            return not_run(self.key, self.title, self.says, command)
        return Claim(
            self.key,
            self.title,
            self.says,
            _ran(runs.phases, data, self.names),
            self.rule,
            self.parts(runs),
            command,
            [
                *self.before,
                _phase_rows(runs.phases, self.names),
                *([NOTE, effect_rows(runs.phases, self.asked)[0]] if self.asked else []),
                *self.after,
            ],
            {self.figure: plots.curves(data, {n: TITLES[n] for n in self.names})} if self.figure else {},
        )


NOTE = (
    "The table has mean paired differences with 95% t-intervals. p is corrected for this table (Holm). The verdict "
    "uses the exact intervals above, not these."
)


def claims() -> list[Claim]:
    data = tables.read("competition")
    runs = None if data is None else Runs(data)
    return [treated.claim(data, runs) for treated in TREATED]


def _ran(found: pd.DataFrame, data: pd.DataFrame, names: tuple[str, ...]) -> str:
    seeds = found.groupby("condition").seed.nunique()
    counts = ", ".join(f"{name} {seeds.get(name, 0)}" for name in names)
    return f"`demo`, {short(data.sequences.max())} sequences; seeds: {counts}"


def _phase_rows(found: pd.DataFrame, names: tuple[str, ...]) -> str:
    """What every condition did, over all its seeds: onset, highest value and end of ICL and Flip, and CIWL's onset."""
    rows = []
    for name in names:
        mine = found[found.condition == name].set_index("evaluator")
        if not len(mine):
            rows.append([TITLES[name], *["not run"] * 6])
            continue

        def cell(evaluator: str, quantity: str, mine: pd.DataFrame = mine) -> str:
            return (spread_times if quantity == "onset" else spread)(mine.loc[[evaluator], quantity])

        rows.append(
            [
                TITLES[name],
                cell("icl", "onset"),
                cell("icl", "highest"),
                cell("icl", "final_value"),
                cell("flip", "highest"),
                cell("flip", "final_value"),
                cell("ciwl", "onset"),
            ]
        )
    return table(
        ["condition", "ICL onset", "ICL, highest", "ICL at the end", "Flip, highest", "Flip at the end", "CIWL onset"],
        rows,
    )


def effect_rows(found: pd.DataFrame, asked: tuple[Key, ...]) -> tuple[str, Effects]:
    """Paired effects against the untreated twin, as a Markdown table and as they are. found: phases of the runs."""
    out, rows = effects(found, BASE, asked), []
    for (condition, evaluator, quantity), e in out.items():
        unit = " (log2 of the ratio of times)" if quantity in TIMES else ""
        rows.append(
            [
                TITLES[condition],
                f"{evaluator.upper()} {quantity.replace('_', ' ')}{unit}",
                str(e["n"]),
                f"{e['difference']:+.3f} [{e['low']:+.3f}, {e['high']:+.3f}]",
                p_text(e["p_holm"]).removeprefix("= "),
            ]
        )
    return table(["condition", "effect on", "n", "mean paired difference", "p (Holm)"], rows), out


ALONE, ONSET, CIWL = ("icl-only", "icl", "final_value"), ("icl-only", "icl", "onset"), ("ciwl-only", "ciwl", "onset")
EARLY, LATE = "ciwl-then-mixed-early", "ciwl-then-mixed-late"


def _less(runs: Runs, condition: str, evaluator: str, quantity: str) -> pd.Series:
    return runs.minus(condition, BASE, evaluator, quantity)


def _alone(runs: Runs) -> list[Part]:
    return [
        effect(
            f"{name} at the end, ICL-only data minus mixture",
            above=SMALLEST,
            values=_less(runs, "icl-only", name.lower(), "final_value"),
        )
        for name in ("ICL", "Flip")
    ] + [
        effect(
            f"{name}'s fall from its highest value to the end, ICL-only data",
            below=SMALLEST,
            values=runs.of("icl-only", name.lower(), "fall"),
        )
        for name in ("ICL", "Flip")
    ]


def _later(runs: Runs) -> list[Part]:
    return [
        effect(
            "ICL's onset, ICL-only data against mixture (log2)", _less(runs, "icl-only", "icl", "onset"), above=FACTOR
        )
    ]


def _switched(runs: Runs) -> list[Part]:
    return [
        share("after a late switch from CIWL-only data ICL formed", runs.formed(LATE), below=0.5),
        share("after an early switch ICL formed", runs.formed(EARLY), above=0.5),
    ]


def _without_icl(runs: Runs) -> list[Part]:
    return [
        effect(
            "Flip's highest, without the previous token minus with it",
            below=-SMALLEST,
            values=_less(runs, "no-previous-token", "flip", "highest"),
        ),
        effect(
            "CIWL's onset, without the previous token against with it (log2)",
            above=-FACTOR,
            below=FACTOR,
            values=_less(runs, "no-previous-token", "ciwl", "onset"),
        ),
    ]


def _kept(*conditions: str) -> Callable[[Runs], list[Part]]:
    return lambda runs: [
        effect(
            f"{TITLES[c]}: {name} at the end minus untreated",
            _less(runs, c, name.lower(), "final_value"),
            above=SMALLEST,
        )
        for c in conditions
        for name in ("ICL", "Flip")
    ]


def _ends(*conditions: str) -> tuple[Key, ...]:
    return tuple((c, e, "final_value") for c in conditions for e in ("icl", "flip", "ciwl"))


TREATED = (
    Treated(
        "8.1",
        "Without in-weights signal in the data, ICL does not fade",
        "In-context learning (ICL) fades because in-weights learning competes with it (Singh et al. 2023, T7; Singh et "
        "al. 2025). Then it should stay where the data hold nothing to learn in weights.",
        ("mixed", "icl-only", "ciwl-only"),
        (
            ONSET,
            ALONE,
            ("icl-only", "flip", "final_value"),
            CIWL,
            ("ciwl-only", "ciwl", "final_value"),
            ("ciwl-only", "flip", "highest"),
        ),
        "trained on ICL-only data, ICL and Flip end higher than in their twins on the mixture, by .1 or more (paired "
        "by seed: same initial weights, same bank), and fall by less than .1 from their highest values there. Each "
        "of the accounts of claim 9 says so, coopetition and independent rates alike: this does not tell them apart.",
        _alone,
        "alone",
        (
            "All runs have the same initial weights and the same bank. They are trained on data that only ICL "
            "solves (labels are drawn anew for each sequence), on data that only CIWL, in-weights learning among "
            "the context's labels, solves (the context never shows the query's class), or on the mixture of `demo`:",
        ),
    ),
    Treated(
        "8.2",
        "After a start on in-weights data, ICL forms only if the switch is early",
        "From a start on CIWL-only data, ICL forms only while CIWL is immature (Singh et al. 2025, Fig. 4c).",
        ("mixed", EARLY, LATE, "icl-then-mixed", "mixed-then-icl"),
        (
            (EARLY, "flip", "highest"),
            (LATE, "flip", "highest"),
            (LATE, "icl", "highest"),
            ("icl-then-mixed", "icl", "final_value"),
            ("icl-then-mixed", "flip", "final_value"),
            ("mixed-then-icl", "icl", "final_value"),
            ("mixed-then-icl", "flip", "final_value"),
        ),
        "after a late switch from CIWL-only data ICL forms in less than half of the runs, after an early one in more "
        "than half.",
        _switched,
        "switched",
        after=(
            "The switch at 128k was not early enough: CIWL was mature by then. So it does not test what an immature "
            "CIWL allows.",
        ),
    ),
    Treated(
        "8.3",
        "Without ICL, in-weights learning comes on time",
        "Forbidding layer 0's attention from labels to the exemplar before them removes the Flip bump, yet CIWL "
        "arrives on time: CIWL does not need ICL (Singh et al. 2025, Fig. 4). If they compete for "
        "resources, CIWL should come sooner.",
        ("mixed", "no-previous-token"),
        tuple(
            ("no-previous-token", *x)
            for x in (("flip", "highest"), ("icl", "highest"), ("ciwl", "onset"), ("ciwl", "final_value"))
        ),
        "Flip's highest value falls by .1 or more, and CIWL's onset stays within a factor of 1.4 (the whole interval).",
        _without_icl,
        "icl-prevented",
        after=(
            "`demo` can form ICL without a previous-token head: the query finds its exemplar in layer 0, and layer 1 "
            "attends to the label beside it. So the published intervention need not remove ICL here.",
        ),
    ),
    Treated(
        "8.4",
        "Where ICL has no cost of its own, it stays: same exemplar",
        "In-context learning (ICL) persists where the query's own drawing is in the context, because matching then "
        "costs nothing (Singh et al. 2025, Fig. 6).",
        ("mixed", "matched"),
        _ends("matched"),
        "ICL and Flip both end higher than in the untreated twin, by .1 or more.",
        _kept("matched"),
        "same-exemplar",
    ),
    Treated(
        "8.8",
        "ICL comes later alone: the strategies cooperate",
        "The two strategies also cooperate: ICL hardly forms on its own (Singh et al. 2025, Fig. 4a).",
        ("mixed", "icl-only"),
        (),  # 8.1's table has this effect, corrected with its others
        "on ICL-only data ICL's onset comes later than in the mixture by a factor of 1.4 or more (paired by seed).",
        _later,
    ),
    Treated(
        "8.9",
        "Where memory is worthless, ICL stays: relabelling",
        "Ours, to be tested: if ICL fades because in-weights learning overtakes it, then new labels every 64k "
        "sequences, which make memory worthless, should keep it.",
        ("mixed", "relabelled"),
        _ends("relabelled"),
        "ICL and Flip both end higher than in the untreated twin, by .1 or more.",
        _kept("relabelled"),
        "relabelled",
    ),
    Treated(
        "8.10",
        "Where memory is wiped, ICL stays: embeddings reset",
        "Resetting the embeddings at intervals (active forgetting) keeps structural ICL, on another task (Anand et al. "
        "2024). Here: every 128k sequences, throughout.",
        ("mixed", "forgetting"),
        _ends("forgetting"),
        "ICL and Flip both end higher than in the untreated twin, by .1 or more.",
        _kept("forgetting"),
        "forgetting",
        after=("Recall comes back between two resets. A shorter period may still keep ICL; we did not run one.",),
    ),
    Treated(
        "8.11",
        "ICL comes back when the in-weights signal is taken away",
        "Ours, to be tested: if the data end ICL, then removing the in-weights signal in the middle of training brings "
        "ICL back or keeps it.",
        ("mixed", "mixed-then-icl"),
        (("mixed-then-icl", "icl", "final_value"), ("mixed-then-icl", "flip", "final_value")),
        "after a switch from the mixture to ICL-only data at 768k sequences ICL and Flip end higher than without it, "
        "by .1 or more.",
        _kept("mixed-then-icl"),
    ),
)
