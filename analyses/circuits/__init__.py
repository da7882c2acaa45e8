"""Are the circuits of ICL and of in-weights learning shared or separate, and what changes first when ICL fades?"""

from __future__ import annotations

import pandas as pd

from analyses.circuits import figures, grafts, heads, text
from analyses.circuits.moments import moments, thinned
from analyses.door import analysis
from analyses.findings import Findings
from mechicl.measures.mlps import ablate_mlps
from mechicl.measures.subspace_ablation import ablate_subspaces
from mechicl.measures.subspaces import subspaces
from mechicl.measures.tables import tidy
from mechicl.series import Series

QUESTION = (__doc__ or "").strip()
HOSTS = 12  # checkpoints at which each thing is measured, unless told


@analysis(
    "circuits", question=QUESTION, needs=("icl", "flip", "ciwl", "iwl"), place=5, reported=False
)  # it takes longer than all the others together
def run(series: Series, progress: bool = True, hosts: int = HOSTS) -> Findings:
    """Heads (heads.py), MLPs (measures/mlps.py), directions written (measures/subspaces.py,
    measures/subspace_ablation.py) and grafts (grafts.py).

    The table has three columns more than the tidy one: `topic` ('heads', 'correlations', 'crossed',
    'subspaces', 'removal', 'halves', 'parts', 'times'; 'mlps' where the model has any, 'mlp_subspaces' where its
    last layer has one), `condition` and `effect`.

    Args:
        hosts: how many checkpoints to measure at, spread evenly over those saved.
    """
    at = moments(series)
    steps = thinned(series.steps, hosts, {at.before, at.peak, at.end})
    later = thinned([s for s in series.steps if s >= at.before], hosts, {at.before, at.peak, at.end})
    model = series.config.model
    single = heads.single_effects(series, at)
    parts = grafts.measured(series, grafts.part_grafts(model, at), later, progress)
    topics = {
        "heads": single.drop(columns="split").assign(condition=[f"split {f}" for f in single.split]),
        "correlations": tidy(series, heads.correlations(single, at)),
        "crossed": heads.crossed(series, at, steps, progress),
        "subspaces": subspaces(series, steps, progress=progress),
        "removal": ablate_subspaces(series, steps, progress=progress),
        "halves": grafts.measured(series, grafts.half_grafts(model, at), steps, progress),
        "parts": parts,
        "times": tidy(series, grafts.change_times(parts, at, grafts.parts(model))),
    }
    if any(map(model.has_mlp, range(model.n_layers))):
        topics["mlps"] = ablate_mlps(series, steps, progress=progress)
    if model.has_mlp(model.n_layers - 1):
        topics["mlp_subspaces"] = subspaces(series, steps, progress=progress, writer="mlp")
    table = pd.concat([t.assign(topic=name) for name, t in topics.items()], ignore_index=True)
    return Findings("circuits", QUESTION, text.sentences(series, at, table), table, figures.draw(series, at, table))
