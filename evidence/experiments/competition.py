"""The competition hypothesis: one strategy alone, data switched, ICL or in-weights learning prevented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evidence import plots, tables
from evidence.claim import Claim, by_parts, not_run, table
from evidence.effects import TIMES, Effects, Key, effects
from evidence.statistics import p_text, phases, spread
from mechicl.figures.style import short

FILE, BASE = "sweeps/competition.toml", "mixed"
TITLES = {
    "mixed": "mixed (untreated)", "icl-only": "ICL-only data", "ciwl-only": "CIWL-only data",
    "icl-then-mixed": "ICL-only, mixed from 768k", "mixed-then-icl": "mixed, ICL-only from 768k",
    "ciwl-then-mixed-early": "CIWL-only, mixed from 128k", "ciwl-then-mixed-late": "CIWL-only, mixed from 768k",
    "no-previous-token": "L0: no previous token", "relabelled": "relabelled every 64k",
    "forgetting": "embeddings reset every 128k", "matched": "same exemplar",
}  # fmt: skip


@dataclass(frozen=True)
class Treated:
    """One claim about treated trainings. asked: the paired effects that are compared; parts: what the claim says, as
    tests of them; number: that of its row; before, after: paragraphs around the tables."""

    key: str
    title: str
    says: str
    names: tuple[str, ...]
    asked: tuple[Key, ...]
    rule: str
    parts: Callable[[Effects], list[bool]]
    number: Callable[[Effects], str]
    figure: str
    before: tuple[str, ...] = ()
    after: Callable[[Effects], tuple[str, ...]] = lambda effects: ()

    def claim(self, data: pd.DataFrame | None) -> Claim:
        command = f"mechicl sweep {FILE}"
        if data is None:
            return not_run(self.key, self.title, self.says, command)
        rows, found = effect_rows(data, self.asked)
        return Claim(
            self.key, self.title, self.says, _ran(data, self.names), self.number(found), self.rule,
            by_parts(self.parts(found)), command,
            [*self.before, _phase_rows(data, self.names), rows, *self.after(found)],
            {self.figure: plots.curves(data, {n: TITLES[n] for n in self.names})},
        )  # fmt: skip


def claims() -> list[Claim]:
    data = tables.read("competition")
    return [treated.claim(data) for treated in TREATED]


def _ran(data: pd.DataFrame, names: tuple[str, ...]) -> str:
    seeds = phases(data).groupby("condition").seed.nunique()
    counts = ", ".join(f"{name} {seeds.get(name, 0)}" for name in names)
    return f"`demo`, {short(data.sequences.max())} sequences; seeds: {counts}"


def _phase_rows(data: pd.DataFrame, names: tuple[str, ...]) -> str:
    """What every condition did: onset, peak, half-decay and end of ICL and Flip, and CIWL."""
    found, rows = phases(data), []
    for name in names:
        mine = found[found.condition == name].set_index("evaluator")
        if not len(mine):
            rows.append([TITLES[name], *["not run"] * 6])
            continue

        def cell(evaluator: str, quantity: str, mine: pd.DataFrame = mine) -> str:
            return spread(mine.loc[[evaluator], quantity])

        rows.append([TITLES[name], cell("icl", "onset"), cell("icl", "peak_value"), cell("icl", "final_value"),
                     cell("flip", "peak_value"), cell("flip", "final_value"), cell("ciwl", "onset")])  # fmt: skip
    return table(["condition", "ICL onset", "ICL peak", "ICL at the end", "Flip peak", "Flip at the end",
                  "CIWL onset"], rows)  # fmt: skip


def effect_rows(data: pd.DataFrame, asked: tuple[Key, ...]) -> tuple[str, Effects]:
    """Paired effects against the untreated twin, as a Markdown table and as they are."""
    out, rows = effects(data, BASE, asked), []
    for (condition, evaluator, quantity), e in out.items():
        unit = " (log2 of the ratio of times)" if quantity in TIMES else ""
        rows.append([TITLES[condition], f"{evaluator.upper()} {quantity.replace('_', ' ')}{unit}", str(e["n"]),
                     f"{e['difference']:+.3f} [{e['low']:+.3f}, {e['high']:+.3f}]",
                     p_text(e["p_holm"]).removeprefix("= ")])  # fmt: skip
    return table(["condition", "effect on", "n", "mean paired difference", "p (Holm)"], rows), out


def _significant(effects: Effects, key: Key, sign: int) -> bool:
    e = effects.get(key)
    return e is not None and e["p_holm"] < 0.05 and np.sign(e["difference"]) == sign


def _number(effects: Effects, key: Key, label: str) -> str:
    e = effects.get(key)
    if e is None:
        return "-"
    return f"{label} {e['difference']:+.2f} [{e['low']:+.2f}, {e['high']:+.2f}], n = {e['n']}, p {p_text(e['p_holm'])}"


ALONE, ONSET, CIWL = ("icl-only", "icl", "final_value"), ("icl-only", "icl", "onset"), ("ciwl-only", "ciwl", "onset")
EARLY, LATE = (("ciwl-then-mixed-early", "flip", "highest"), ("ciwl-then-mixed-late", "flip", "highest"))
REMOVED, ON_TIME = ("no-previous-token", "flip", "highest"), ("no-previous-token", "ciwl", "onset")
PREVENTED = ("relabelled", "forgetting", "matched")


def _sense_alone(effects: Effects) -> tuple[str, ...]:
    kept, sooner, later = (_significant(effects, key, sign) for key, sign in ((ALONE, 1), (ONSET, -1), (ONSET, 1)))
    ciwl = effects.get(CIWL)
    parts = ["without in-weights signal ICL " + ("does not fade as it does in the mixture"
             if kept else "is not significantly higher at the end than in the mixture")]  # fmt: skip
    if sooner or later:
        parts.append(f"its onset comes {'sooner' if sooner else 'later'} when alone, so the other strategy "
                     f"{'delays' if sooner else 'helps'} it")  # fmt: skip
    else:
        parts.append("its onset is not moved beyond chance")
    if ciwl is not None and ciwl["n"] > 1:
        word = "not moved beyond chance" if ciwl["p_holm"] >= 0.05 else \
            "sooner alone" if ciwl["difference"] < 0 else "later alone"  # fmt: skip
        parts.append(f"CIWL's onset is {word}")
    return ("What this says: " + "; ".join(parts) + ".",)


def _sooner_than(effects: Effects) -> bool:
    """Whether an early switch costs Flip less than a late one."""
    early, late = effects.get(EARLY), effects.get(LATE)
    return early is not None and late is not None and early["difference"] > late["difference"]


def _on_time(effects: Effects) -> bool:
    """Within a factor of 1.4, on average."""
    return ON_TIME in effects and abs(effects[ON_TIME]["difference"]) < 0.5


TREATED = (
    Treated("8.1", "Does the other strategy's presence change ICL and in-weights learning?",
        "ICL and IWL circuits compete for shared resources (Singh et al. 2023, T7); they also cooperate: ICL alone "
        "cannot get going (Singh et al. 2025, Fig. 4a).",
        ("mixed", "icl-only", "ciwl-only"),
        (ONSET, ALONE, ("icl-only", "flip", "final_value"), CIWL, ("ciwl-only", "ciwl", "final_value"),
         ("ciwl-only", "flip", "highest")),
        "without in-weights signal (ICL-only data) ICL at the end is higher (the other strategy is what ends it) and "
        "its onset is moved (they meet); one of the two: partly",
        lambda e: [_significant(e, ALONE, 1), _significant(e, ONSET, -1) or _significant(e, ONSET, 1)],
        lambda e: _number(e, ALONE, "ICL at the end"), "alone",
        ("From the same initial weights and the same bank, on data that only ICL solves (labels drawn per sequence), "
         "on data that only CIWL solves (the query's class is never shown), and on the mixture that `demo` is:",),
        _sense_alone),
    Treated("8.2", "Data switched in training: who can still win?",
        "From a CIWL-only start, ICL forms only while CIWL is immature (Singh et al. 2025, Fig. 4c). If ICL's end "
        "is a matter of the data, taking the in-weights signal away should bring ICL back or keep it.",
        ("mixed", "ciwl-then-mixed-early", "ciwl-then-mixed-late", "icl-then-mixed", "mixed-then-icl"),
        (EARLY, LATE, ("ciwl-then-mixed-late", "icl", "highest"), ("icl-then-mixed", "icl", "final_value"),
         ("icl-then-mixed", "flip", "final_value"), ("mixed-then-icl", "icl", "final_value"),
         ("mixed-then-icl", "flip", "final_value")),
        "after a late switch from CIWL-only data Flip's peak is lower than in the mixture, and an early switch costs "
        "it less; one of the two: partly",
        lambda e: [_significant(e, LATE, -1), _sooner_than(e)],
        lambda e: _number(e, LATE, "Flip's highest value after a late switch"), "switched"),
    Treated("8.3", "Without ICL, does in-weights learning come sooner?",
        "Forbidding layer 0's attention from labels to the exemplar before them removes the Flip bump, yet CIWL "
        "arrives on time: CIWL does not need ICL (Singh et al. 2025, science.md 5.6). If they compete for "
        "resources, CIWL should come sooner.",
        ("mixed", "no-previous-token"),
        (REMOVED, ("no-previous-token", "icl", "highest"), ON_TIME, ("no-previous-token", "ciwl", "final_value")),
        "Flip's peak is removed, and CIWL's onset stays within a factor of 1.4 on average; one of the two: partly",
        lambda e: [_significant(e, REMOVED, -1), _on_time(e)],
        lambda e: _number(e, ON_TIME, "log2 ratio of CIWL's onset"), "icl-prevented",
        after=lambda e: (
            "`demo` can form ICL without a previous-token head (the query finds its exemplar in layer 0, and layer 1 "
            "goes to the label beside it), so that the published treatment need not remove ICL here.",)),
    Treated("8.4", "If in-weights learning is kept down, does ICL stay?",
        "If ICL fades because in-weights learning overtakes it, then making memory worthless (new labels), wiping "
        "it (Anand et al. 2024: active forgetting keeps structural ICL) or taking away ICL's own cost (same "
        "exemplar: Singh et al. 2025, Fig. 6) should keep it.",
        ("mixed", *PREVENTED),
        tuple((c, e, "final_value") for c in PREVENTED for e in ("icl", "flip", "ciwl")),
        "ICL and Flip both end higher than in the untreated twin, under each of the three treatments; some: partly",
        lambda e: [all(_significant(e, (c, name, "final_value"), 1) for name in ("icl", "flip")) for c in PREVENTED],
        lambda e: "; ".join(f"{TITLES[c]}: {_number(e, (c, 'flip', 'final_value'), 'Flip at the end')}"
                            for c in PREVENTED), "recall-prevented"),
)  # fmt: skip
