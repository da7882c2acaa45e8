"""Claims 1 and 7: ICL rises and fades while the loss falls; what early stopping would have kept."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mechicl.figures.style import short
from research import plots, tables
from research.claim import Claim, not_run, table
from research.runs import Runs
from research.statistics import at, losses, paired, phases, spread, spread_times
from research.verdicts import FACTOR, SMALLEST, Part, effect, share

RECIPES = {
    "demo": ("ciwl", "attention only, every sequence solvable in context"),
    "iwl": ("iwl", "an MLP, shared labels, one sequence in nine not bursty"),
}
COMMAND = "mechicl train demo --seeds 0..4 && mechicl train iwl --seeds 0..4"


def claims() -> list[Claim]:
    return [_transience(), _how_often(), _early_stopping()]


def _tables() -> dict[str, pd.DataFrame]:
    return {name: data for name in RECIPES if (data := tables.read(name)) is not None}


def parts(runs: dict[str, Runs], loss: dict[str, pd.DataFrame]) -> list[Part]:
    """Of claim 1.1, over the seeds of all given recipes together."""
    faded = [x for name, run in runs.items() for x in run.among_formed(("fades",), name) or []]
    fall = pd.concat([run.of(name, "icl", "fall") for name, run in runs.items()])
    rival = pd.concat([run.of(name, RECIPES[name][0], "final_value") for name, run in runs.items()])
    lower = pd.concat([np.log2(found.final / found.at_peak) for found in loss.values()])
    return [
        share("where ICL formed, ICL and Flip fell half-way back", faded, above=0.5),
        effect("ICL's fall from its highest value to the end, all runs", fall, above=SMALLEST),
        effect("in-weights accuracy at the end, all runs", rival, above=0.9, text="{:.3f}"),
        effect("training loss at the end against ICL's peak, all runs (log2)", lower, below=-FACTOR),
    ]


def _transience() -> Claim:
    key, title = "1.1", "Where ICL forms it fades, while the training loss still falls"
    says = (
        "In-context learning (ICL) accuracy rises, then falls while in-weights accuracy rises, with training loss "
        "still decreasing (Singh et al. 2023, Fig. 1; T1)."
    )
    found = _tables()
    if len(found) < len(RECIPES):
        return not_run(key, title, says, COMMAND)
    runs = {name: Runs(data) for name, data in found.items()}
    loss = {name: losses(data) for name, data in found.items()}
    text = [
        part
        for name, data in found.items()
        for part in (
            f"`{name}` ({RECIPES[name][1]}; {short(data.sequences.max())} sequences a run):",
            _seeds(runs[name], loss[name].set_index("seed")),
        )
    ]
    return Claim(
        key,
        title,
        says,
        _ran(found),
        "over the seeds of both recipes: of the runs in which ICL formed, more than half faded; in the median of all "
        "runs ICL fell by more than .1, in-weights accuracy (`demo`: among the context's labels, CIWL; `iwl`: IWL) "
        "ended above .9, and the training loss fell after ICL's highest value by a factor of 1.4 or more.",
        parts(runs, loss),
        COMMAND,
        text,
        {"transience": plots.curves(pd.concat(found.values()), {name: name for name in RECIPES})},
    )


def how_often(runs: dict[str, Runs]) -> list[Part]:
    """Of claim 1.2."""
    return [share("ICL formed", [x for name, run in runs.items() for x in run.formed(name) or []], above=0.5)]


def _how_often() -> Claim:
    key, title = "1.2", "ICL forms in most runs"
    says = (
        "ICL rises before it falls (Singh et al. 2023, Fig. 1). In some settings it does not rise in every seed "
        "(section 4.3)."
    )
    found = _tables()
    if len(found) < len(RECIPES):
        return not_run(key, title, says, COMMAND)
    runs = {name: Runs(data) for name, data in found.items()}
    failed = "; ".join(
        f"`{name}`, seed {seed}"
        for name, run in runs.items()
        for seed, kind in run.regimes(name).items()
        if kind == "never"
    )
    return Claim(
        key,
        title,
        says,
        _ran(found),
        "ICL forms in more than half of the runs of both recipes.",
        how_often(runs),
        COMMAND,
        [
            f"Runs in which it did not form: {failed or 'none'}. There CIWL (in-weights learning among the context's "
            "labels) was first, and Flip never rose."
        ],
    )


def _ran(found: dict[str, pd.DataFrame]) -> str:
    return ", ".join(f"`{name}`, {data.seed.nunique()} seeds" for name, data in found.items())


def _seeds(runs: Runs, loss: pd.DataFrame) -> str:
    """Every seed's numbers, and their spread; a time that never comes counts as infinite."""
    value = runs.phases.pivot(index="seed", columns="evaluator")
    columns = {
        "ICL onset": value["onset"]["icl"],
        "ICL, highest": value["highest"]["icl"],
        "ICL highest at": value["peak"]["icl"],
        "ICL half-decay": value["half_decay"]["icl"],
        "ICL at the end": value["final_value"]["icl"],
        "Flip, highest": value["highest"]["flip"],
        "Flip at the end": value["final_value"]["flip"],
        "CIWL onset": value["onset"]["ciwl"],
        "CIWL at the end": value["final_value"]["ciwl"],
        "IWL at the end": value["final_value"]["iwl"],
        "ICL, held-out classes, highest": value["highest"]["icl_holdout"],
        "training loss at ICL's peak": loss.at_peak,
        "training loss at the end": loss.final,
    }
    rows = [
        [label, *(_cell(v) for v in column), (spread_times if column.max() > 1000 else spread)(column)]
        for label, column in columns.items()
    ]
    return table(["", *(f"seed {s}" for s in value.index), "median (range)"], rows)


def _cell(value: float) -> str:
    if pd.isna(value):
        return "never"
    return short(value) if value > 1000 else f"{value:.3f}"


def _early_stopping() -> Claim:
    key, title = "7", "Early stopping on ICL would have kept it"
    says = (
        "Early stopping needs an ICL-style validation set, since the training loss keeps falling past ICL's peak "
        "(Singh et al. 2023; T8)."
    )
    found = _tables()
    if not found:
        return not_run(key, title, says, COMMAND)
    rows, judged = [], []
    for name, data in found.items():
        stops = phases(data)
        stops = stops[stops.evaluator == "icl_holdout"].set_index("seed").peak.dropna()
        end = data[data.evaluator == "icl"].groupby("seed").sequences.max()
        for evaluator, label in {
            "icl": "ICL",
            "flip": "Flip",
            "train": "Train",
            "ciwl": "CIWL",
            "iwl": "IWL",
            "training": "training loss",
        }.items():
            stopped, ended = (
                pd.Series({s: at(data[data.seed == s], evaluator, t).iloc[0] for s, t in times.items()})
                for times in (stops, end[stops.index])
            )
            difference = paired(stopped, ended)
            rows.append(
                [
                    f"`{name}`",
                    label,
                    spread(stopped),
                    spread(ended),
                    f"{difference['difference']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}] ",
                ]
            )
            if evaluator == "icl":
                judged.append(effect(f"`{name}`: ICL kept by stopping", stopped - ended, above=SMALLEST))
            if evaluator == "training":
                lower = np.log2(ended / stopped)
                judged.append(effect(f"`{name}`: loss at the end against stopping (log2)", lower, below=-FACTOR))
    return Claim(
        key,
        title,
        says,
        _ran(found),
        "stopping at the peak of the validation set keeps more ICL than training on, by .1 or more, while the training "
        "loss is still to fall by a factor of 1.4 or more; in each recipe.",
        judged,
        COMMAND,
        [
            "The validation set is `icl_holdout`: ICL on classes never trained on. The table compares its highest "
            "checkpoint with the end of the run (mean difference over seeds with its 95% t-interval):",
            table(["recipe", "", "stopped", "trained on", "stopped minus trained on"], rows),
            "Stopping costs the in-weights knowledge that was still to come, and it leaves a higher training loss. The "
            "training accuracy says how much of that matters for the task itself.",
        ],
    )
