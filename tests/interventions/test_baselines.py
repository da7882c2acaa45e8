"""One list of baselines, for whatever is replaced."""

from typing import get_args

import pytest
import torch

from mechicl.errors import ConfigError
from mechicl.interventions import BASELINES, AblateHeads, AblateMLPs, AblatePositions
from mechicl.interventions.baselines import Kind, Plain, baseline, of_others


def test_every_kind_is_in_words():
    assert set(BASELINES) == set(get_args(Kind)) > set(get_args(Plain))
    for kind in get_args(Plain):
        assert AblateHeads(heads=((0, 1),), kind=kind).baseline == baseline(kind, "head")
        assert AblateMLPs(layers=(0,), kind=kind).baseline == baseline(kind, "MLP")
        assert AblatePositions(positions=("0",), kind=kind).baseline == baseline(kind, "position")
    assert baseline("resample", "MLP") == "the same MLP on the next sequence of the evaluation set"


@pytest.mark.parametrize("cls", [lambda kind: AblateMLPs(layers=(0,), kind=kind)])
def test_the_preserving_ones_are_of_heads(cls):
    with pytest.raises(ConfigError, match="kind"):
        cls("pattern_preserving")


def test_others_are_the_mean_or_the_next_along_the_sequences():
    x = torch.arange(24.0).reshape(4, 3, 2)
    assert torch.equal(of_others(x, "mean"), x.mean(0, keepdim=True))
    assert torch.equal(of_others(x, "resample"), x.roll(1, 0))
    heads = x.reshape(4, 3, 2, 1)
    assert torch.equal(of_others(heads, "resample", -4), heads.roll(1, 0))
