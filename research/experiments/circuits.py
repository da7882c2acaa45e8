"""Claims 8.6 and 8.7: are ICL's and in-weights learning's circuits shared, and what changes first when ICL fades?"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from research import plots, tables
from research.claim import Claim, not_run, table
from research.definitions import FORMED
from research.statistics import spread, spread_times
from research.verdicts import SMALLEST, Part, effect

HALVES = {
    "intact": "intact",
    "first half from the peak": "first half (embeddings, layer 0) from the peak",
    "first half from before ICL": "first half from before ICL (control)",
    "second half from the peak": "second half (layer 1, unembedding) from the peak",
    "second half from before ICL": "second half from before ICL (control)",
}
PANELS = {
    "intact": "intact",
    "first half from the peak": "peak's first half",
    "first half from before ICL": "first half from before",
    "second half from the peak": "peak's second half",
    "second half from before ICL": "second half from before",
}
PARTS = {
    "embed": "label embedding",
    "ov.0": "OV of layer 0",
    "pos_embed": "positions",
    "exemplar_embed": "exemplar embedding",
    "qk.0": "QK of layer 0",
    "mlp.1": "MLP of layer 1",
    "unembedding": "unembedding",
    "qk.1": "QK of layer 1",
    "ov.1": "OV of layer 1",
}
GROUPS = {
    "intact": "intact",
    "ICL heads": "without ICL's heads",
    "random for ICL heads": "without as many other heads of the same layers as ICL's",
    "CIWL heads": "without CIWL's heads",
    "random for CIWL heads": "without as many other heads of the same layers as CIWL's",
}
MLPS = {"intact": "intact", "mean L1 MLP": "mean in the MLP's place", "zero L1 MLP": "0 in its place"}
SPACES = {
    ("flip", "ciwl"): "ICL and CIWL",
    ("flip", "iwl"): "ICL and IWL",
    ("flip", "other half"): "ICL, two halves",
    ("ciwl", "other half"): "CIWL, two halves",
    ("", "random"): "random subspaces",
}
EVALUATORS = ("icl", "flip", "ciwl", "iwl")


def claims() -> list[Claim]:
    return [_halves(), _mlps()]


def _halves() -> Claim:
    key, title = "8.6", "The first half of the model carries the switch away from ICL"
    says = (
        "After in-context learning (ICL) has formed, layer 1 is largely conserved: the switch to in-weights "
        "answers is carried by the first half, embeddings and layer 0 (Singh et al. 2025, Fig. 3b)."
    )
    command = "python -m research circuits circuits checkpoints/demo-s0 ...  (one run: mechicl analyze RUN circuits)"
    found = tables.read("circuits")
    if found is None:
        return not_run(key, title, says, command)
    at = found[found.topic == "halves"]
    seeds, left = _formed(found)
    end, peak = at[at.step == at.step.max()], _peaks(found, seeds)
    halves = [
        [label, *(spread([_value(end, s, name, e) for s in seeds]) for e in EVALUATORS)]
        for name, label in HALVES.items()
    ]
    every = all_seeds(found)
    return Claim(
        key,
        title,
        says,
        f"`demo`, {len(every)} seeds (Flip formed in {len(seeds)}), 17 or 18 of 125 checkpoints each",
        "in the median of all seeds the first half of the model at the peak, put into the end's model, gives ICL .1 "
        "or more above the same half from before ICL; and the peak's model loses less than .1 of ICL, and of Flip, "
        "with the end's second half (layer 1 is conserved: the published test). Seeds in which Flip never formed "
        "count, too: their 'peak' is the checkpoint of their highest Flip. Until 27 Nov the second part was that the "
        "peak's second half gives the end's model less than .1 more ICL. A graft that only breaks the model passes "
        "that.",
        halves_parts(found, every),
        command,
        [
            "The figure shows every checkpoint's own model with that half put in. The table shows the model of the end "
            "(n = 1,000 sequences per evaluator and seed):",
            table(["", *(e.upper() for e in EVALUATORS)], halves),
            "Flip also rises with a first half from before ICL. That is not ICL: such a half cannot recall, so answers "
            "from the weights no longer push Flip down.",
            *_parts(found, seeds),
            *_heads(found, seeds, peak),
            *_directions(found, seeds, peak, "subspaces", "heads"),
            *left,
        ],
        {"circuits": plots.curves(tables.primary_metric(at), PANELS)},
    )


def _mlps() -> Claim:
    key, title = "8.7", "With an MLP, recall is kept there and ICL does not need it"
    says = (
        "A penalty on the MLPs alone keeps ICL, as if in-weights learning lived in them and ICL in attention "
        "(Singh et al. 2023, section 6; T6). Here the MLP's output is replaced, by its mean over the evaluation "
        "set or by nothing, at every step."
    )
    command = "python -m research circuits circuits-iwl checkpoints/iwl-s0 ...  (one run: mechicl analyze RUN circuits)"
    found = tables.read("circuits-iwl")
    if found is None:
        return not_run(key, title, says, command)
    at = found[found.topic == "mlps"].assign(condition=lambda rows: rows.intervention)
    seeds, left = _formed(found)
    last, peak = int(at.step.max()), _peaks(found, seeds)
    rows = [
        [when, label, *(spread([_value(at[at.step == step[s]], s, name, e) for s in seeds]) for e in EVALUATORS)]
        for when, step in (("the peak", peak), ("the end", dict.fromkeys(seeds, last)))
        for name, label in MLPS.items()
    ]
    every = all_seeds(found)
    flip = -_lost(found, dict.fromkeys(seeds, last), "flip")
    return Claim(
        key,
        title,
        says,
        f"`iwl`, {len(every)} seeds (Flip formed in {len(seeds)}), 17 or 18 checkpoints each",
        "in the median of all seeds in-weights accuracy (IWL) at the end falls by .1 or more with the MLP's mean in "
        "its place (recall is there); and ICL at its peak falls by less than .1 (ICL is not).",
        mlps_parts(found, every),
        command,
        [
            f"n = {int(at.n.max()):,} sequences per evaluator and seed:",
            table(["at", "model", *(e.upper() for e in EVALUATORS)], rows),
            f"Without the MLP at the end Flip rises by {spread(flip.tolist())}. Either this much of an ICL circuit is "
            "left, or only recall is broken, as in 8.6.",
            *_parts(found, seeds),
            *_heads(found, seeds, peak),
            *_directions(found, seeds, peak, "subspaces", "heads"),
            *_directions(found, seeds, peak, "mlp_subspaces", "MLP"),
            *left,
        ],
        {"mlps": plots.curves(tables.primary_metric(at), MLPS)},
    )


def all_seeds(found: pd.DataFrame) -> list[int]:
    return [int(s) for s in sorted(found.seed.unique())]


def formed_seeds(found: pd.DataFrame) -> list[int]:
    """Those in which ICL formed."""
    at = found[(found.topic == "halves") & (found.condition == "intact")]
    highest = tables.primary_metric(at).groupby(["seed", "evaluator"], observed=True).value.max().astype(float)
    return [s for s in all_seeds(found) if highest[s, "icl"] >= FORMED.icl and highest[s, "flip"] >= FORMED.flip]


def halves_parts(found: pd.DataFrame, seeds: list[int]) -> list[Part]:
    """Of claim 8.6, over these seeds."""
    at = found[found.topic == "halves"]
    end = at[at.step == at.step.max()]

    def icl(name: str) -> np.ndarray:
        return np.array([_value(end, s, name, "icl") for s in seeds])

    return [
        effect(
            "ICL at the end with the peak's first half minus that with the half from before ICL",
            above=SMALLEST,
            values=icl("first half from the peak") - icl("first half from before ICL"),
        ),
        *(
            effect(
                f"{name} at the peak, lost with the end's second half",
                below=SMALLEST,
                values=_lost_to_the_end(at, _peaks(found, seeds), evaluator),
            )
            for name, evaluator in (("ICL", "icl"), ("Flip", "flip"))
        ),
    ]


def restored(found: pd.DataFrame, seeds: list[int]) -> Part:
    """What the second part of claim 8.6 was until 27 Nov."""
    at = found[found.topic == "halves"]
    end = at[at.step == at.step.max()]
    back = [_value(end, s, "second half from the peak", "icl") - _value(end, s, "intact", "icl") for s in seeds]
    return effect("ICL at the end with the peak's second half minus intact", back, below=SMALLEST)


def _lost_to_the_end(halves: pd.DataFrame, peak: dict[int, int], evaluator: str) -> list[float]:
    """By seed: a score at its peak, less that with the second half of the end."""
    at = {seed: halves[halves.step == step] for seed, step in peak.items()}
    return [
        _value(rows, s, "intact", evaluator) - _value(rows, s, "second half from the end", evaluator)
        for s, rows in at.items()
    ]


def mlps_parts(found: pd.DataFrame, seeds: list[int]) -> list[Part]:
    """Of claim 8.7, over these seeds."""
    ends = dict.fromkeys(seeds, int(found[found.topic == "mlps"].step.max()))
    return [
        effect("IWL at the end, lost without the MLP", _lost(found, ends, "iwl"), above=SMALLEST),
        effect("ICL at the peak, lost without the MLP", _lost(found, _peaks(found, seeds), "icl"), below=SMALLEST),
    ]


def _lost(found: pd.DataFrame, step: dict[int, int], evaluator: str) -> np.ndarray:
    """What a score falls by with the mean in the MLP's place, of every seed at its step."""
    at = found[found.topic == "mlps"].assign(condition=lambda rows: rows.intervention)
    now = {s: at[at.step == step[s]] for s in step}
    return np.array(
        [_value(now[s], s, "intact", evaluator) - _value(now[s], s, "mean L1 MLP", evaluator) for s in step]
    )


def _formed(found: pd.DataFrame) -> tuple[list[int], list[str]]:
    """The seeds in which ICL formed, and a sentence on those left out of the tables."""
    seeds = formed_seeds(found)
    left = [s for s in all_seeds(found) if s not in seeds]
    said = f"The tables leave out runs in which ICL never formed: seed {', '.join(map(str, left))}."
    return seeds, [said] if left else []


def _parts(found: pd.DataFrame, seeds: list[int]) -> list[str]:
    """When each part of later checkpoints starts to cost the peak's model its ICL."""
    batch = int((found.sequences[found.step > 0] / found.step[found.step > 0]).iloc[0])
    names = [p for p in PARTS if (found.intervention == f"late {p}").any()]
    rows = [
        [PARTS[p], *(spread_times(_times(found, seeds, f"late {p}", e, batch)) for e in ("icl", "flip"))] for p in names
    ]
    first = {s: {p: _first(found, s, p, batch) for p in names} for s in seeds}
    earliest = Counter(min(names, key=lambda part: at[part]) for at in first.values())
    order = [(at["ov.0"] < at["qk.0"], at["qk.0"] < at["ov.0"]) for at in first.values()]
    return [
        "We put a part of a later checkpoint into the model of Flip's peak. The table shows from when this costs .1 of "
        "ICL or of Flip, at two measured checkpoints in a row. Times are as coarse as the 17 or 18 checkpoints:",
        table(["part", "costs ICL from", "costs Flip from"], rows),
        "First to cost ICL: "
        + ", ".join(f"{PARTS[p]} (in {n} of {len(seeds)} seeds)" for p, n in earliest.items())
        + ". In layer 0, OV (what heads copy) comes "
        f"before QK (where heads look) in {sum(a for a, _ in order)} of {len(seeds)} seeds, and QK before OV in "
        f"{sum(b for _, b in order)}.",
    ]


def _heads(found: pd.DataFrame, seeds: list[int], peak: dict[int, int]) -> list[str]:
    """ICL's and CIWL's heads taken out, with their controls."""
    end = dict.fromkeys(seeds, int(found[found.topic == "crossed"].step.max()))
    rows = [
        [when, label, *(spread([_cross(found, s, step[s], name, e) for s in seeds]) for e in EVALUATORS)]
        for when, step in (("the peak", peak), ("the end", end))
        for name, label in GROUPS.items()
    ]
    random = found[(found.topic == "crossed") & found.seed.isin(seeds)].astype({"condition": str, "intervention": str})
    random = random[random.condition.str.startswith("random for ")]
    sets = random.groupby(["seed", "condition"]).intervention.nunique().max()
    controls = (
        "the only other set of the same layers and size"
        if sets == 1
        else f"the median of up to {sets} random sets of the same layers and size; if a group is half of its layer, "
        "there is only one other set, the other half"
    )
    return [
        f"Heads removed: a quarter of all, chosen on other sequences. Controls: {controls}.",
        table(["at", "model", *(e.upper() for e in EVALUATORS)], rows),
    ]


def _directions(found: pd.DataFrame, seeds: list[int], peak: dict[int, int], topic: str, writer: str) -> list[str]:
    """How much of the same subspace ICL's and in-weights answers are written in, over training."""
    rows = found[(found.topic == topic) & found["head"].isna() & (found.metric == "overlap")]
    value = rows.set_index(["seed", "step", "evaluator", "baseline"]).value.astype(float)
    steps = {
        "first checkpoint": dict.fromkeys(seeds, int(rows.step.min())),
        "the peak": peak,
        "the end": dict.fromkeys(seeds, int(rows.step.max())),
    }
    lines = [
        [label, *(spread([value[s, step[s], *pair] for s in seeds]) for step in steps.values())]
        for pair, label in SPACES.items()
    ]
    return [
        f"Overlap (mean squared cosine of principal angles) of the subspaces that the last layer's {writer} write"
        f"{'s' if writer == 'MLP' else ''} in. It says something about learning only where it differs from the "
        "untrained model's, and by more than two halves of the same sequences differ:",
        table(["", *steps], lines),
    ]


def _peaks(found: pd.DataFrame, seeds: list[int]) -> dict[int, int]:
    """Seed -> the step that the analysis calls Flip's peak: the donor of its grafts."""
    rows = found[(found.topic == "halves") & (found.condition == "first half from the peak")]
    return {s: int(rows[rows.seed == s].baseline.iloc[0].removeprefix("step ")) for s in seeds}


def _value(rows: pd.DataFrame, seed: int, condition: str, evaluator: str) -> float:
    mine = rows[(rows.seed == seed) & (rows.condition == condition) & (rows.evaluator == evaluator)]
    return float(tables.primary_metric(mine).value.iloc[0])


def _times(found: pd.DataFrame, seeds: list[int], what: str, evaluator: str, batch: int) -> list[float]:
    rows = found[(found.topic == "times") & (found.metric == "matters_from") & (found.intervention == what)]
    rows = rows[rows.evaluator == evaluator].set_index("seed").value.astype(float)
    return [float(rows[s]) * batch for s in seeds]


def _first(found: pd.DataFrame, seed: int, part: str, batch: int) -> float:
    """When the later part first costs ICL; infinity where it never does."""
    value = _times(found, [seed], f"late {part}", "icl", batch)[0]
    return np.inf if np.isnan(value) else value


def _cross(found: pd.DataFrame, seed: int, step: int, condition: str, evaluator: str) -> float:
    rows = found[(found.topic == "crossed") & (found.seed == seed) & (found.step == step)]
    rows = rows[(rows.condition == condition) & (rows.evaluator == evaluator)]
    return float(tables.primary_metric(rows).value.median())
