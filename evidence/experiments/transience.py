"""Claims 1 and 7: ICL rises and fades while the loss falls; what early stopping would have kept."""

from __future__ import annotations

import pandas as pd

from evidence import plots, tables
from evidence.claim import Claim, by_parts, most, not_run, table
from evidence.statistics import at, losses, paired, phases, spread
from mechicl.figures.style import short

RECIPES = {"demo": ("ciwl", "attention only, every sequence solvable in context"),
           "iwl": ("iwl", "an MLP, shared labels, one sequence in nine not bursty")}  # fmt: skip
RISE, FADE = 0.8, 0.75  # ICL formed: its peak is above; faded: the end is below


def claims() -> list[Claim]:
    return [*(_transience(*item) for item in zip((1, 2), RECIPES, strict=True)), _early_stopping()]


def formed(found: pd.DataFrame) -> pd.Series:
    """[seed] whether ICL formed: its peak and Flip's are above RISE."""
    icl, flip = (found[found.evaluator == name].set_index("seed").peak_value for name in ("icl", "flip"))
    return (icl > RISE) & (flip.reindex(icl.index) > RISE)


def _transience(number: int, recipe: str) -> Claim:
    rival, what = RECIPES[recipe]
    key, title = f"1.{number}", f"ICL rises, then fades, while the loss still falls: `{recipe}`"
    says = (f"ICL accuracy rises, then falls while in-weights accuracy rises, with training loss still decreasing "
            f"(Singh et al. 2023, Fig. 1; T1). Here: {what}.")  # fmt: skip
    command = f"mechicl train {recipe} --seeds 0..4"
    data = tables.read(recipe)
    if data is None:
        return not_run(key, title, says, command)
    found, loss = phases(data), losses(data).set_index("seed")
    seeds = sorted(found.seed.unique())
    value = found.pivot(index="seed", columns="evaluator")
    rows = [
        [label, *(_cell(v) for v in column.reindex(seeds)), spread(column)]
        for label, column in {
            "ICL onset": value["onset"]["icl"], "ICL peak": value["peak_value"]["icl"],
            "ICL peak at": value["peak"]["icl"], "ICL half-decay": value["half_decay"]["icl"],
            "ICL at the end": value["final_value"]["icl"], "Flip peak": value["peak_value"]["flip"],
            "Flip at the end": value["final_value"]["flip"], "CIWL onset": value["onset"]["ciwl"],
            "CIWL at the end": value["final_value"]["ciwl"], "IWL at the end": value["final_value"]["iwl"],
            "ICL, held-out classes, peak": value["peak_value"]["icl_holdout"],
            "training loss at ICL's peak": loss.at_peak, "training loss at the end": loss.final,
        }.items()
    ]  # fmt: skip
    good = formed(found)
    kept = good[good].index
    end = value["final_value"]
    faded, rose = end["icl"][kept] < FADE, end[rival][kept] > 0.9
    holds = [most(good.tolist()), most(faded.tolist()), most(rose.tolist()),
             most((loss.final < loss.at_peak)[kept].tolist())]  # fmt: skip
    note = "" if good.all() else (f" In seed {', '.join(map(str, good[~good].index))} CIWL won the race, as Flip "
                                  "shows. It is in every spread above.")  # fmt: skip
    return Claim(
        key, title, says, f"`{recipe}`, {len(seeds)} seeds, {short(data.sequences.max())} sequences each",
        f"ICL {spread(value['peak_value']['icl'])} → {spread(value['final_value']['icl'])}; "
        f"Flip {spread(value['peak_value']['flip'])} → {spread(value['final_value']['flip'])}",
        f"in at least four fifths of the seeds ICL and Flip peak above {RISE}; and of those, in at least four fifths "
        f"ICL ends below {FADE}, {rival.upper()} above .9, and the training loss ends below its value at ICL's peak; "
        "some parts only: partly",
        by_parts(holds), command,
        [table(["", *(f"seed {s}" for s in seeds), "median (range)"], rows),
         f"ICL formed (ICL and Flip) in {int(good.sum())} of {len(good)} seeds.{note}"],
        {recipe: plots.curves(data, {recipe: recipe})},
    )  # fmt: skip


def _cell(value: float) -> str:
    if pd.isna(value):
        return "never"
    return short(value) if value > 1000 else f"{value:.3f}"


def _early_stopping() -> Claim:
    key, title = "7", "Overtraining: what early stopping on ICL would have kept, and its cost"
    says = ("Early stopping needs an ICL-style validation set, since the training loss keeps falling past ICL's peak "
            "(Singh et al. 2023; T8).")  # fmt: skip
    command = "mechicl train demo --seeds 0..4 && mechicl train iwl --seeds 0..4"
    found = {name: data for name in RECIPES if (data := tables.read(name)) is not None}
    if not found:
        return not_run(key, title, says, command)
    rows, holds, number = [], [], ""
    for name, data in found.items():
        stops = phases(data)
        stops = stops[stops.evaluator == "icl_holdout"].set_index("seed").peak.dropna()
        end = data[data.evaluator == "icl"].groupby("seed").sequences.max()
        for evaluator, label in {"icl": "ICL", "flip": "Flip", "train": "Train", "ciwl": "CIWL", "iwl": "IWL",
                                 "training": "training loss"}.items():  # fmt: skip
            stopped, ended = (
                pd.Series({s: at(data[data.seed == s], evaluator, t).iloc[0] for s, t in times.items()})
                for times in (stops, end[stops.index])
            )
            effect = paired(stopped, ended)
            rows.append([f"`{name}`", label, spread(stopped), spread(ended),
                         f"{effect['difference']:+.3f} [{effect['low']:+.3f}, {effect['high']:+.3f}]"])  # fmt: skip
            if evaluator == "icl":
                holds.append(effect["low"] > 0)
                number += f"`{name}`: ICL kept {effect['difference']:+.2f}; "
            if evaluator == "train":
                number += f"training accuracy {effect['difference']:+.3f}. "
    return Claim(
        key, title, says, ", ".join(f"`{n}`, {d.seed.nunique()} seeds" for n, d in found.items()), number.strip(),
        "stopping at the peak of the validation set keeps more ICL than training on, the interval of the paired "
        "difference above 0, in every recipe",
        by_parts(holds), command,
        ["The validation set is `icl_holdout`: ICL on classes never trained on. Stopped at its highest checkpoint, "
         "against the end of the run (mean difference over seeds with its interval):",
         table(["recipe", "", "stopped", "trained on", "stopped minus trained on"], rows),
         "What it costs is the in-weights knowledge that was still to come, and the loss on the training data; the "
         "training accuracy says how much of that matters for the task itself."],
    )  # fmt: skip
