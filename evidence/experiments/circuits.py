"""Claim 8.6: are ICL's and in-weights learning's circuits shared, and what changes first when ICL fades?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from evidence import plots, tables
from evidence.claim import Claim, by_parts, most, not_run, table
from evidence.statistics import spread

HALVES = {"intact": "intact", "first half from the peak": "first half (embeddings, layer 0) from the peak",
          "first half from before ICL": "first half from before ICL (control)",
          "second half from the peak": "second half (layer 1, unembedding) from the peak",
          "second half from before ICL": "second half from before ICL (control)"}  # fmt: skip
PANELS = {"intact": "intact", "first half from the peak": "peak's first half",
          "first half from before ICL": "first half from before", "second half from the peak": "peak's second half",
          "second half from before ICL": "second half from before"}  # fmt: skip
PARTS = {"embed": "label embedding", "ov.0": "OV of layer 0", "pos_embed": "positions",
         "exemplar_embed": "exemplar embedding", "qk.0": "QK of layer 0", "unembedding": "unembedding",
         "qk.1": "QK of layer 1", "ov.1": "OV of layer 1"}  # fmt: skip
EVALUATORS = ("icl", "flip", "ciwl", "iwl")


def claims() -> list[Claim]:
    key, title = "8.6", "Shared or separate circuits, and what changes first when ICL fades?"
    says = ("After the phase change layer 1 is largely conserved: layer 1 of the end with embeddings and layer 0 of "
            "each checkpoint reproduces nearly the whole course, so the switch is carried by the first half (Singh et "
            "al. 2025, Fig. 3b). Whether attention (QK) or what is copied (OV) goes first is not known.")  # fmt: skip
    command = "python -m evidence.circuits OUT checkpoints/demo-s0 ...  (one run: mechicl analyze RUN circuits)"
    found = tables.read("circuits")
    if found is None:
        return [not_run(key, title, says, command)]
    at = found[found.topic == "halves"]
    batch = int((found.sequences[found.step > 0] / found.step[found.step > 0]).iloc[0])
    seeds = [s for s in sorted(found.seed.unique()) if _flip_peak(at, s) > 0.75]
    left = sorted(set(found.seed.unique()) - set(seeds))
    end, peak = (at[at.step == at.step.max()], _peaks(found, seeds))
    halves = [[label, *(spread([_value(end, s, name, e) for s in seeds]) for e in EVALUATORS)]
              for name, label in HALVES.items()]  # fmt: skip
    parts = [[label, *(spread(_times(found, seeds, f"late {part}", e, batch)) for e in ("icl", "flip"))]
             for part, label in PARTS.items()]  # fmt: skip
    heads = [[when, label, *(spread([_cross(found, s, step[s], name, e) for s in seeds]) for e in EVALUATORS)]
             for when, step in (("the peak", peak), ("the end", dict.fromkeys(seeds, int(at.step.max()))))
             for name, label in (("intact", "intact"), ("ICL heads", "without ICL's heads"),
                                 ("CIWL heads", "without CIWL's heads"),
                                 ("random heads", "without random others (median of the sets)"))]  # fmt: skip
    back = [_value(end, s, "first half from the peak", "icl") - _value(end, s, "first half from before ICL", "icl")
            for s in seeds]  # fmt: skip
    second = [_value(end, s, "second half from the peak", "icl") - _value(end, s, "intact", "icl") for s in seeds]
    earlier = [_first(found, s, "ov.0", batch) < _first(found, s, "qk.0", batch) for s in seeds]
    label_first = [_first(found, s, "embed", batch) <= min(_first(found, s, p, batch) for p in PARTS) for s in seeds]
    restored = {half: spread([_value(end, s, f"{half} half from the peak", "icl") for s in seeds])
                for half in ("first", "second")}  # fmt: skip
    return [Claim(
        key, title, says, f"`demo`, seeds {', '.join(map(str, seeds))} (Flip formed), 17 or 18 of 125 checkpoints each",
        "ICL at the end with the peak's first half "
        f"{restored['first']}, with its second half {restored['second']}",
        "in at least four fifths of the seeds the peak's first half, put into the end's model, raises ICL at least .1 "
        "above the same half from before ICL; and the peak's second half does not raise it by .1; one of both: partly",
        by_parts([most([x > 0.1 for x in back]), most([x < 0.1 for x in second])]), command,
        ["Above: every checkpoint's own model with that half put in. Below: the end's (n = 1,000 sequences per "
         "evaluator and seed):",
         table(["", *(e.upper() for e in EVALUATORS)], halves),
         "The trap is in the control: Flip rises with a half that has no ICL at all, because recall is broken.",
         "When a part of a later checkpoint, put into the model of Flip's peak, first costs it .1 of ICL or of Flip "
         "(and again at the next measured checkpoint; times are as coarse as the 17 or 18 checkpoints):",
         table(["part", "costs ICL from", "costs Flip from"], parts),
         f"The label embedding is the first to matter in {sum(label_first)} of {len(seeds)} seeds, and OV of layer 0 "
         f"before QK of layer 0 in {sum(earlier)}: what is copied changes before where heads look.",
         "Heads taken out (a quarter of all, chosen on other sequences):",
         table(["at", "model", *(e.upper() for e in EVALUATORS)], heads),
         "Random heads are drawn from both layers, the chosen ones lie mostly in layer 0: the control is not matched "
         "by layer. Directions: the subspaces that ICL's and CIWL's answers are written in overlap as much as two "
         "halves of one evaluator do, but they do so before training already (.76): no evidence of a shared circuit.",
         f"Left out, since Flip never formed: seed {', '.join(map(str, left))}." if left else ""],
        {"circuits": plots.curves(tables.headline(at[at.seed.isin(seeds)]), PANELS)},
    )]  # fmt: skip


def _flip_peak(rows: pd.DataFrame, seed: int) -> float:
    mine = rows[(rows.seed == seed) & (rows.condition == "intact") & (rows.evaluator == "flip")]
    return float(mine.value.max())


def _peaks(found: pd.DataFrame, seeds: list[int]) -> dict[int, int]:
    """Seed -> the step that the analysis calls Flip's peak: the donor of its grafts."""
    rows = found[(found.topic == "halves") & (found.condition == "first half from the peak")]
    return {s: int(rows[rows.seed == s].baseline.iloc[0].removeprefix("step ")) for s in seeds}


def _value(rows: pd.DataFrame, seed: int, condition: str, evaluator: str) -> float:
    mine = rows[(rows.seed == seed) & (rows.condition == condition) & (rows.evaluator == evaluator)]
    return float(tables.headline(mine).value.iloc[0])


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
    return float(tables.headline(rows).value.median())
