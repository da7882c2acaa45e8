"""Directions taken off: those of the hand-built circuit, weight surgery, many at once, what is refused."""

import numpy as np
import pytest
import torch
from known_models import CONTENT, LABEL, MOVED
from random_models import batch_of, make, weights_of

from mechicl.engine.edit import Edit
from mechicl.engine.forward import forward
from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, AblateSubspace, Together, apply, edits
from mechicl.models.params import pack


def axes(which: slice, d: int = 128) -> np.ndarray:
    return np.eye(d)[:, which]


@pytest.mark.parametrize(
    ("which", "layer", "at", "lost"),
    [
        (LABEL, 1, "heads", True),
        (CONTENT, 1, "heads", False),
        (MOVED, 1, "heads", False),
        (MOVED, 0, "heads", True),
        (MOVED, 0, "output", True),
        (MOVED, 1, "input", True),
        (LABEL, 0, "heads", False),
        (LABEL, 1, "input", True),
        (LABEL, 1, "output", True),
    ],
)
def test_only_the_directions_that_the_circuit_uses_matter(known_series, which, layer, at, lost):
    icl = known_series.answers(5, "icl", AblateSubspace(directions=axes(which), layer=layer, at=at)).mean()
    assert 0.35 < icl < 0.65 if lost else icl == 1.0


def test_it_is_weight_surgery_of_what_writes():
    config = make("three-layers-mlp")
    weights, batch, layer = weights_of(config, torch.float64), batch_of(config, torch.float64), 2
    directions = np.random.default_rng(1).standard_normal((16, 5))
    q = torch.from_numpy(np.linalg.qr(directions)[0])
    out = torch.eye(16, dtype=torch.float64) - q @ q.T
    block = f"blocks.{layer}"
    cut = {"heads": [f"{block}.attn.W_O"], "mlp": [f"{block}.mlp.W_out", f"{block}.mlp.b_out"]}
    for at, names in cut.items():
        want = forward(pack(weights | {name: weights[name] @ out for name in names}), batch, config.model).final
        condition = AblateSubspace(directions=torch.from_numpy(directions), layer=layer, at=at)
        got = apply(pack(weights), batch, config.model, [condition]).final
        torch.testing.assert_close(got.reshape(want.shape), want, rtol=0, atol=1e-10)


def dependent() -> np.ndarray:
    """Three directions of single precision, their sum, one of them again and one of 0: [16, 6], of rank 3."""
    x = np.random.default_rng(2).standard_normal((16, 3)).astype(np.float32)
    return np.concatenate([x, x.sum(1, keepdims=True), x[:, :1] * 1e-9, 0 * x[:, :1]], 1)


@pytest.mark.parametrize(
    ("directions", "rank"),
    [
        (np.eye(16)[:, [0, 0]], 1),
        (np.eye(16)[:, [3, 3, 5]], 2),
        (np.eye(16) * [*[0] * 14, 1, 1], 2),
        (np.eye(16)[:, [1, 2]] * [1, 1e-9], 2),  # short, but another one
        (np.random.default_rng(3).standard_normal((16, 40)), 16),
        (dependent(), 3),
    ],
    ids=["twice", "one twice", "of 0", "short", "more than there are", "single precision"],
)
def test_only_what_the_directions_span_is_removed(directions, rank):
    condition = AblateSubspace(directions=directions, layer=0)
    basis = torch.from_numpy(condition.basis)
    torch.testing.assert_close(basis.mT @ basis, torch.eye(rank, dtype=torch.float64))
    unit = directions.astype(np.float64) / np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
    torch.testing.assert_close(basis @ basis.mT @ torch.from_numpy(unit), torch.from_numpy(unit), rtol=0, atol=1e-6)
    assert (condition.count, condition.baseline.split()[2]) == (rank, str(rank))
    (edit,) = condition.edits(make().model, {}).values()
    assert edit.off is not None
    assert edit.off.shape == (16, rank)
    drawn = [one for one in condition.controls(make().model, 4) if isinstance(one, AblateSubspace)]
    assert [one.count for one in drawn] == ([] if rank == 16 else [rank] * 4)


@pytest.mark.parametrize("count", [1, 5, 16])
def test_independent_directions_have_the_basis_that_they_had(count):
    directions = np.random.default_rng(count).standard_normal((16, count))
    np.testing.assert_array_equal(AblateSubspace(directions=directions, layer=0).basis, np.linalg.qr(directions)[0])


def test_it_is_compared_and_kept_by_its_numbers():
    one, same = (AblateSubspace(directions=axes(LABEL), layer=1, name="labels") for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert str(one) == "without labels in what L1's heads write"
    assert (one.baseline, one.count, one.place) == ("0 along 16 directions", 16, (1, None))
    assert len(repr(one)) < 120


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"directions": np.zeros((128, 0)), "layer": 0}, "expected finite numbers"),
        ({"directions": np.zeros((128, 2)), "layer": 0}, "all 2 columns are 0"),
        ({"directions": [1.0, 2.0], "layer": 0}, r"an array \[2\]"),
        ({"directions": "flip", "layer": 0}, "'flip'"),
        ({"directions": np.eye(3), "layer": 0}, "128 dimensions"),
        ({"directions": np.eye(128), "layer": 2}, "no layer 2"),
        ({"directions": np.eye(128), "layer": 0, "at": "mlp"}, "no MLP in layer 0"),
        ({"directions": np.eye(128), "layer": 0, "at": "head"}, "'heads'"),
    ],
)
def test_what_is_none_is_refused(known_series, given, said):
    with pytest.raises(ConfigError, match=said):
        known_series.evaluate([5], ["icl"], AblateSubspace(**given), n=10)


def test_after_another_part_has_changed_the_same_activation_it_is_refused():
    model, gone = make().model, AblateSubspace(directions=np.eye(16)[:, :2], layer=1)
    with pytest.raises(ConfigError, match="one AblateSubspace"):
        edits([Together(parts=(gone, gone))], model, {})
    (hook,) = gone.edits(model, {})
    heads = Together(parts=(gone, AblateHeads(heads=((1, 0),))))
    assert isinstance(edits([heads], model, {})[hook], Edit)
