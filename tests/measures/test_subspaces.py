"""Subspaces: known angles, what an exchange changes, and directions taken out."""

import numpy as np
import pytest
import torch
from known_models import LABEL

from mechicl.engine.forward import forward
from mechicl.interventions import apply
from mechicl.measures.subspace_ablation import ablate_subspaces, without_directions
from mechicl.measures.subspaces import (
    block_squares,
    carried,
    compare,
    directions,
    random_pairs,
    subspaces,
    writes,
)
from mechicl.measures.tables import COLUMNS
from mechicl.models.params import pack
from mechicl.tasks.exemplar_label.batch import Batch


def spanned(columns: list[int], d: int = 8) -> np.ndarray:
    """Directions found from differences that lie in these coordinates."""
    x = torch.zeros(64, d)
    x[:, columns] = torch.randn(64, len(columns))
    return directions(block_squares(x).sum(0), len(columns))


def test_the_same_subspace_is_at_0_degrees_and_another_at_90():
    same, orthogonal = compare(spanned([0, 3]), spanned([0, 3])), compare(spanned([0, 3]), spanned([1, 5]))
    assert same == {"angle": pytest.approx(0, abs=1e-3), "overlap": pytest.approx(1)}
    assert orthogonal == {"angle": pytest.approx(90, abs=1e-3), "overlap": pytest.approx(0, abs=1e-9)}
    assert compare(spanned([0, 3]), spanned([0, 5]))["overlap"] == pytest.approx(0.5)


def test_random_subspaces_overlap_by_their_share_of_the_space():
    assert random_pairs(64, 16).overlap.mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("name", Batch.variations)
def test_what_an_exchange_changes(known_series, name):
    first, second = known_series.evaluation_set(name).varied(name)
    assert len(first) == len(second) > 100
    own, new = first.trained_labels[:, -1], second.trained_labels[:, -1]
    assert torch.equal(first.exemplars[:, :-1], second.exemplars[:, :-1])
    if name == "flip":
        assert torch.equal(first.exemplars, second.exemplars)
        assert torch.equal(first.labels, second.labels.flip(1))
        assert (first.target != second.target).all()
        assert torch.equal(own, new)
        return
    assert torch.equal(first.labels, second.labels)
    assert (own != new).all()
    shown = [(first.labels == x[:, None]).any(1).tolist() for x in (own, new)]
    assert shown == [[name == "ciwl"] * len(first)] * 2
    for batch in (first, second):  # nothing in context to match
        assert (batch.classes[:, :-1] != batch.classes[:, -1:]).all()


def test_the_circuit_writes_labels_and_the_lookup_table_nothing(known_series):
    config = known_series.config
    rows = subspaces(known_series, [5, 10], progress=False)
    assert tuple(rows.columns) == COLUMNS
    params = {n: w[0] for n, w in known_series.params([5]).items()}
    basis = carried(known_series, params, "flip")[:, :15]  # of 16 labels, differences span 15
    outside = np.ones(config.model.d_model, bool)
    outside[LABEL] = False
    assert np.abs(basis[outside]).max() < 1e-6
    whole = rows[rows["head"].isna() & (rows.metric == "variance") & (rows.evaluator == "flip")].set_index("step").value
    assert whole[5] == pytest.approx(1)
    assert np.isnan(whole[10])


def test_tables_of_other_sequences_have_other_names_though_they_are_of_as_many_pairs(known_series, monkeypatch):
    kept = []
    monkeypatch.setattr("mechicl.measures.subspaces.over_checkpoints", lambda *given, **_: kept.append(given[4]))
    pairs = {n: len(known_series.evaluation_set("iwl", n).varied("iwl")[0]) for n in range(2, 80)}
    n = next(n for n in range(2, 79) if pairs[n] == pairs[n + 1])
    for each in (n, n + 1, None):
        subspaces(known_series, [5], "iwl", n=each)
    assert kept[0] != kept[1]
    assert kept[2]["drawn"] == {"iwl": known_series.config.n_eval}


def test_the_heads_write_what_the_layer_adds(tiny_series):
    batch, model = tiny_series.evaluation_set("flip"), tiny_series.config.model
    params = tiny_series.params([60])
    hook = f"blocks.{model.n_layers - 1}.hook_attn_out"
    want = forward(params, batch, model, capture=[hook]).acts[hook][:, 0, :, -1]
    torch.testing.assert_close(writes(params, batch, model).sum(1), want, rtol=1e-4, atol=1e-5)


def test_a_layer_cannot_write_along_directions_taken_from_it(tiny_series):
    model, batch = tiny_series.config.model, tiny_series.evaluation_set("flip")
    params, last = pack(tiny_series.weights(60)), model.n_layers - 1
    basis = carried(tiny_series, params, "ciwl")
    hook = f"blocks.{last}.hook_attn_out"
    cut = apply(params, batch, model, [without_directions(basis, model, "ciwl")], capture=[hook]).acts[hook]
    assert (cut @ torch.from_numpy(basis).to(cut)).abs().max() < 1e-4
    assert cut.abs().max() > 1e-3


def test_taking_out_what_carries_the_label_ends_icl_in_the_circuit_alone(known_series):
    table = ablate_subspaces(known_series, [5, 10], progress=False)
    values = table.set_index(["step", "intervention", "evaluator"]).value
    assert values[5, "intact", "icl"] == 1
    assert values[5, "without flip", "icl"] < 0.7
    assert values[5, "without random 0", "icl"] > 0.95
    for evaluator in ("icl", "flip", "ciwl", "iwl"):
        assert values[10, "without flip", evaluator] == values[10, "intact", evaluator]
