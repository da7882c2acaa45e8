"""Composition scores: by hand, and of the hand-built circuit, which composes through K alone."""

import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD, induction_model

from mechicl.errors import ConfigError
from mechicl.measures.composition import composition_scores
from mechicl.models.params import init


@pytest.mark.parametrize("through", ["Q", "K", "V"])
def test_pair_by_pair(tiny_config, through):
    weights = init(tiny_config)
    got = composition_scores(weights, through)
    heads = tiny_config.model.n_heads
    assert got.shape == (heads, heads)
    for i in range(heads):
        for j in range(heads):
            out, read = weights["blocks.0.attn.W_O"][i].double(), weights[f"blocks.1.attn.W_{through}"][j].double()
            want = (out @ read).square().sum().sqrt() / (out.square().sum() * read.square().sum()).sqrt()
            assert got[i, j] == pytest.approx(float(want), rel=1e-9)
    assert ((got > 0) & (got < 1)).all()


def test_the_circuit_composes_through_keys():
    _, weights = induction_model()
    pair = PREVIOUS_TOKEN_HEAD[1], INDUCTION_HEAD[1]
    assert composition_scores(weights, "K")[pair] > 0
    assert composition_scores(weights, "Q")[pair] == composition_scores(weights, "V")[pair] == 0
    assert torch.isnan(composition_scores(weights, "K")[0, 0])  # two heads that are nothing


def test_what_is_not_there_is_refused(tiny_config):
    weights = init(tiny_config)
    for through, layers in (("O", (0, 1)), ("K", (1, 0)), ("K", (0, 7))):
        with pytest.raises(ConfigError, match="expected 'Q', 'K' or 'V'"):
            composition_scores(weights, through, layers)
