"""Positions ablated: in the hand-built circuit, those that hold what it reads."""

import pytest
import torch
from random_models import batch_of, make, weights_of

from mechicl.engine.forward import forward
from mechicl.errors import ConfigError
from mechicl.interventions import AblatePositions, apply
from mechicl.interventions.positions import position_mask
from mechicl.models.params import pack


@pytest.mark.parametrize(
    ("positions", "layers", "lost"),
    [
        (("match_label",), (0,), True),
        (("match_label",), (1,), True),
        (("query",), (0,), True),
        (("match",), (0,), True),
        (("match",), (1,), False),  # by then its content is where its label stands
        (("other",), (1,), False),
        (("other_label", "other"), (1,), False),
    ],
)
def test_only_what_is_still_read_there_matters(known_series, positions, layers, lost):
    icl = known_series.answers(5, "icl", AblatePositions(positions=positions, layers=layers)).mean()
    assert icl < 0.65 if lost else icl == 1.0


def test_positions_by_hand():
    config = make()
    params, batch, hook = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64), "hook_resid_pre"
    x = forward(params, batch, config.model, capture=[f"blocks.1.{hook}"]).acts[f"blocks.1.{hook}"]
    put = {"zero": torch.zeros_like(x), "mean": x.mean(0, keepdim=True).expand_as(x), "resample": x.roll(1, 0)}
    for kind, want in put.items():
        cut = [AblatePositions(positions=("1", "4"), layers=(1,), kind=kind)]
        got = apply(params, batch, config.model, cut, capture=[f"blocks.1.{hook}"]).acts[f"blocks.1.{hook}"]
        got = got.reshape(x.shape)
        torch.testing.assert_close(got[:, [1, 4]], want[:, [1, 4]])
        assert torch.equal(got[:, [0, 2, 3, 5, 6]], x[:, [0, 2, 3, 5, 6]])


def test_roles_and_numbers_name_positions(tiny_series):
    batch = tiny_series.evaluation_set("flip", 20)
    assert torch.equal(position_mask(batch, ("label", "query")), batch.roles()["label"] | batch.roles()["query"])
    assert position_mask(batch, ("0", "4")).sum() == 40


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"positions": ()}, "at least one"),
        ({"positions": ("9",)}, "0 to 4"),
        ({"positions": ("lable",)}, "match_label"),
        ({"positions": ("0",), "layers": (2,)}, "no layer 2"),
        ({"positions": ("0",), "kind": "none"}, "resample"),
    ],
)
def test_what_is_none_is_refused(tiny_series, given, said):
    with pytest.raises(ConfigError, match=said):
        tiny_series.evaluate([60], ["icl"], AblatePositions(**given), n=10)
