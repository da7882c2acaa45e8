"""The competition hypothesis: one strategy alone, data switched, ICL or in-weights learning prevented."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evidence import plots, tables
from evidence.claim import Claim, Verdict, not_run, table
from evidence.statistics import holm, paired, phases, spread
from mechicl.figures.style import short

FILE, BASE = "sweeps/competition.toml", "mixed"
TITLES = {
    "mixed": "mixed (untreated)", "icl-only": "ICL-only data", "ciwl-only": "CIWL-only data",
    "icl-then-mixed": "ICL-only, mixed from 768k", "mixed-then-icl": "mixed, ICL-only from 768k",
    "ciwl-then-mixed-early": "CIWL-only, mixed from 128k", "ciwl-then-mixed-late": "CIWL-only, mixed from 768k",
    "no-previous-token": "L0: no previous token", "relabelled": "relabelled every 64k",
    "forgetting": "embeddings reset every 128k", "matched": "same exemplar",
}  # fmt: skip


def claims() -> list[Claim]:
    data = tables.read("competition")
    built = [_alone, _switched, _icl_prevented, _recall_prevented]
    if data is None:
        return [make(None) for make in built]
    return [make(data) for make in built]


def _ran(data: pd.DataFrame, names: list[str]) -> str:
    seeds = phases(data).groupby("condition").seed.nunique()
    counts = ", ".join(f"{name} {seeds.get(name, 0)}" for name in names)
    return f"`demo`, {short(data.sequences.max())} sequences; seeds: {counts}"


def _phase_rows(data: pd.DataFrame, names: list[str]) -> str:
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


def effect_rows(data: pd.DataFrame, asked: list[tuple[str, str, str]]) -> tuple[str, dict[tuple[str, str, str], dict]]:
    """Paired effects against the untreated twin. asked: (condition, evaluator, quantity); times are compared as
    log2 ratios. Returns the Markdown table and the effects, p-values Holm-corrected over the table."""
    found = phases(data).set_index(["condition", "evaluator", "seed"]).sort_index()
    out = {}
    for condition, evaluator, quantity in asked:
        if (condition, evaluator) not in found.index or (BASE, evaluator) not in found.index:
            continue
        pair = [found.loc[(c, evaluator)][quantity] for c in (condition, BASE)]
        if quantity in ("onset", "half_decay", "peak"):
            pair = [np.log2(x) for x in pair]
        out[condition, evaluator, quantity] = paired(*pair)
    corrected = holm([e["p"] for e in out.values()])
    rows = []
    for ((condition, evaluator, quantity), e), p in zip(out.items(), corrected, strict=True):
        e["p_holm"] = float(p)
        unit = " (log2 of the ratio of times)" if quantity in ("onset", "half_decay", "peak") else ""
        rows.append([TITLES[condition], f"{evaluator.upper()} {quantity.replace('_', ' ')}{unit}", str(e["n"]),
                     f"{e['difference']:+.3f} [{e['low']:+.3f}, {e['high']:+.3f}]", f"{p:.3f}"])  # fmt: skip
    return table(["condition", "effect on", "n", "mean paired difference", "p (Holm)"], rows), out


def _significant(e: dict | None, sign: int) -> bool:
    return e is not None and e["p_holm"] < 0.05 and np.sign(e["difference"]) == sign


def _alone(data: pd.DataFrame | None) -> Claim:
    key, title = "8.1", "Does the other strategy's presence change ICL and in-weights learning?"
    says = ("ICL and IWL circuits compete for shared resources (Singh et al. 2023, T7); they also cooperate: ICL alone "
            "cannot get going (Singh et al. 2025, Fig. 4a).")  # fmt: skip
    command = f"mechicl sweep {FILE}"
    if data is None:
        return not_run(key, title, says, command)
    names = ["mixed", "icl-only", "ciwl-only"]
    rows, effect = effect_rows(data, [("icl-only", "icl", "onset"), ("icl-only", "icl", "final_value"),
                                      ("icl-only", "flip", "final_value"), ("ciwl-only", "ciwl", "onset"),
                                      ("ciwl-only", "ciwl", "final_value"),
                                      ("ciwl-only", "flip", "highest")])  # fmt: skip
    kept = _significant(effect.get(("icl-only", "icl", "final_value")), 1)
    sooner = _significant(effect.get(("icl-only", "icl", "onset")), -1)
    later = _significant(effect.get(("icl-only", "icl", "onset")), 1)
    ciwl = effect.get(("ciwl-only", "ciwl", "onset"))
    verdict: Verdict = "reproduced" if kept and (sooner or later) else "partly" if kept or sooner or later else \
        "not reproduced"  # fmt: skip
    return Claim(
        key, title, says, _ran(data, names), _number(effect, ("icl-only", "icl", "final_value"), "ICL at the end"),
        "without in-weights signal (ICL-only data) ICL at the end is higher (the other strategy is what ends it) and "
        "its onset is moved (they meet); one of the two: partly",
        verdict, command,
        ["From the same initial weights and the same bank, on data that only ICL solves (labels drawn per sequence), "
         "on data that only CIWL solves (the query's class is never shown), and on the mixture that `demo` is:",
         _phase_rows(data, names), rows,
         "What this says: " + _sense_alone(kept, sooner, later, ciwl)],
        {"alone": plots.curves(data, {n: TITLES[n] for n in names})},
    )  # fmt: skip


def _sense_alone(kept: bool, sooner: bool, later: bool, ciwl: dict | None) -> str:
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
    return "; ".join(parts) + "."


def _number(effect: dict, key: tuple[str, str, str], label: str) -> str:
    e = effect.get(key)
    if e is None:
        return "-"
    return f"{label} {e['difference']:+.2f} [{e['low']:+.2f}, {e['high']:+.2f}], n = {e['n']}, p = {e['p_holm']:.3f}"


def _switched(data: pd.DataFrame | None) -> Claim:
    key, title = "8.2", "Data switched in training: who can still win?"
    says = ("From a CIWL-only start, ICL forms only while CIWL is immature (Singh et al. 2025, Fig. 4c). If ICL's end "
            "is a matter of the data, taking the in-weights signal away should bring ICL back or keep it.")  # fmt: skip
    command = f"mechicl sweep {FILE}"
    if data is None:
        return not_run(key, title, says, command)
    names = ["mixed", "ciwl-then-mixed-early", "ciwl-then-mixed-late", "icl-then-mixed", "mixed-then-icl"]
    rows, effect = effect_rows(data, [
        ("ciwl-then-mixed-early", "flip", "highest"), ("ciwl-then-mixed-late", "flip", "highest"),
        ("ciwl-then-mixed-late", "icl", "highest"), ("icl-then-mixed", "icl", "final_value"),
        ("icl-then-mixed", "flip", "final_value"), ("mixed-then-icl", "icl", "final_value"),
        ("mixed-then-icl", "flip", "final_value")])  # fmt: skip
    late = effect.get(("ciwl-then-mixed-late", "flip", "highest"))
    closed = _significant(late, -1)
    early = effect.get(("ciwl-then-mixed-early", "flip", "highest"))
    open_ = early is not None and late is not None and early["difference"] > late["difference"]
    verdict: Verdict = "reproduced" if closed and open_ else "partly" if closed or open_ else "not reproduced"
    return Claim(
        key, title, says, _ran(data, names), _number(effect, ("ciwl-then-mixed-late", "flip", "highest"),
                                                     "Flip's highest value after a late switch"),
        "after a late switch from CIWL-only data Flip's peak is lower than in the mixture, and an early switch costs "
        "it less; one of the two: partly",
        verdict, command,
        [_phase_rows(data, names), rows],
        {"switched": plots.curves(data, {n: TITLES[n] for n in names})},
    )  # fmt: skip


def _icl_prevented(data: pd.DataFrame | None) -> Claim:
    key, title = "8.3", "Without ICL, does in-weights learning come sooner?"
    says = ("Forbidding layer 0's attention from labels to the exemplar before them removes the Flip bump, yet CIWL "
            "arrives on time: CIWL does not need ICL (Singh et al. 2025, science.md 5.6). If they compete for "
            "resources, CIWL should come sooner.")  # fmt: skip
    command = f"mechicl sweep {FILE}"
    if data is None:
        return not_run(key, title, says, command)
    names = ["mixed", "no-previous-token"]
    rows, effect = effect_rows(data, [("no-previous-token", "flip", "highest"),
                                      ("no-previous-token", "icl", "highest"),
                                      ("no-previous-token", "ciwl", "onset"),
                                      ("no-previous-token", "ciwl", "final_value")])  # fmt: skip
    removed = _significant(effect.get(("no-previous-token", "flip", "highest")), -1)
    ciwl = effect.get(("no-previous-token", "ciwl", "onset"))
    on_time = ciwl is not None and abs(ciwl["difference"]) < 0.5  # within a factor of 1.4
    verdict: Verdict = "reproduced" if removed and on_time else "partly" if removed or on_time else "not reproduced"
    return Claim(
        key, title, says, _ran(data, names), _number(effect, ("no-previous-token", "ciwl", "onset"),
                                                     "log2 ratio of CIWL's onset"),
        "Flip's peak is removed, and CIWL's onset stays within a factor of 1.4 on average; one of the two: partly",
        verdict, command,
        [_phase_rows(data, names), rows,
         "`demo` can form ICL without a previous-token head (the query finds its exemplar in layer 0, and layer 1 goes "
         "to the label beside it), so that the published treatment need not remove ICL here."],
        {"icl-prevented": plots.curves(data, {n: TITLES[n] for n in names})},
    )  # fmt: skip


def _recall_prevented(data: pd.DataFrame | None) -> Claim:
    key, title = "8.4", "If in-weights learning is kept down, does ICL stay?"
    says = ("If ICL fades because in-weights learning overtakes it, then making memory worthless (new labels), wiping "
            "it (Anand et al. 2024: active forgetting keeps structural ICL) or taking away ICL's own cost (same "
            "exemplar: Singh et al. 2025, Fig. 6) should keep it.")  # fmt: skip
    command = f"mechicl sweep {FILE}"
    if data is None:
        return not_run(key, title, says, command)
    names = ["mixed", "relabelled", "forgetting", "matched"]
    asked = [(c, e, "final_value") for c in names[1:] for e in ("icl", "flip", "ciwl")]
    rows, effect = effect_rows(data, asked)
    kept = {c: _significant(effect.get((c, "icl", "final_value")), 1) and
            _significant(effect.get((c, "flip", "final_value")), 1) for c in names[1:]}  # fmt: skip
    verdict: Verdict = "reproduced" if all(kept.values()) else "partly" if any(kept.values()) else "not reproduced"
    label = "Flip at the end"
    shown = "; ".join(f"{TITLES[c]}: {_number(effect, (c, 'flip', 'final_value'), label)}" for c in names[1:])
    return Claim(
        key, title, says, _ran(data, names), shown,
        "ICL and Flip both end higher than in the untreated twin, under each of the three treatments; some: partly",
        verdict, command, [_phase_rows(data, names), rows],
        {"recall-prevented": plots.curves(data, {n: TITLES[n] for n in names})},
    )  # fmt: skip


