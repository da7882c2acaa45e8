"""Composition scores: by hand, and of the hand-built circuit, which composes through K alone."""

import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD, induction_model

from mechicl.errors import ConfigError
from mechicl.interventions import every_path
from mechicl.measures.composition import composition_scores, path_composition, random_scores
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


def test_random_matrices_keep_the_spectrum_and_lose_the_direction(tiny_config):
    """In the mean of squares 1 / d_model, whatever the spectrum; a head's own score is drawn from the same where its
    weights are random."""
    weights = init(tiny_config)
    random, own = random_scores(weights, "K", draws=4000), composition_scores(weights, "K")
    d = tiny_config.model.d_model
    torch.testing.assert_close(random.square().mean(0), torch.full_like(own, 1 / d), rtol=0.03, atol=0)
    low, high = torch.quantile(random, torch.tensor([0.001, 0.999], dtype=torch.float64), 0)
    assert ((own > low) & (own < high)).all()
    one = {name: torch.zeros_like(w) for name, w in weights.items()}  # of rank 1: the widest spread
    for name in ("blocks.0.attn.W_O", "blocks.1.attn.W_K"):
        one[name][:, 0, 0] = 1.0
    narrow, wide = random_scores(weights, "K").std(0), random_scores(one, "K").std(0)
    assert (wide > 2 * narrow).all()
    assert (composition_scores(one, "K") == 1).all()


def test_the_table_has_the_names_of_paths_and_stands_out_where_the_circuit_does(known_series, tiny_series):
    table = path_composition(known_series, [5]).set_index("intervention")
    assert len(table) == 3 * 16
    own = table.loc["L0H1->L1H2.k"]
    assert own.value > own.random_high > own.random > own.random_low > 0
    assert (table[table.index != "L0H1->L1H2.k"].value.fillna(0) == 0).all()
    some = path_composition(tiny_series, [0, 60])
    want = composition_scores(tiny_series.weights(60), "V")
    got = some[(some.step == 60) & (some.intervention == "L0H1->L1H0.v")].value.item()
    assert got == pytest.approx(float(want[1, 0]))
    assert set(some.intervention) == {p for p in every_path(tiny_series.config.model) if p[0] == "L" and "out" not in p}
