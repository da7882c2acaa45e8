"""The embed-unembed path, with and without the rest."""

import pytest
import torch
from known_models import induction_model, lookup_model
from known_series import write_series
from random_models import MODELS, batch_of, by_engine, hooked, make, weights_of

from mechicl.interventions import AblateHeads, RemoveDirectPath, Together, only_direct_path
from mechicl.models.params import pack


@pytest.mark.parametrize("shape", MODELS)
def test_both_equal_hooks_written_by_hand(shape):
    config = make(shape)
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    model, last = hooked(config, weights), config.model.n_layers - 1
    _, cache = model.run_with_cache(batch)
    embedded = cache["hook_embed"] + (cache["hook_pos_embed"] if config.model.positions != "rotary" else 0.0)
    without = model.run_with_hooks(batch, fwd_hooks=[(f"blocks.{last}.hook_resid_post", lambda x, hook: x - embedded)])[
        :, -1
    ]
    alone = model.run_with_hooks(
        batch, fwd_hooks=[(f"blocks.{last}.hook_resid_post", lambda x, hook: embedded.clone())]
    )[:, -1]
    for asked, want in ((RemoveDirectPath(), without), (only_direct_path(config.model), alone)):
        here = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch))[:, -1]
        there = by_engine(pack(weights), batch, config, [asked])[0]
        for got in (here, there):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-9)


def test_recall_is_the_path_and_the_induction_circuit_is_all_else(tmp_path):
    for name, made, path, rest in (("lookup", lookup_model, 1.0, None), ("circuit", induction_model, None, 1.0)):
        config, weights = made()
        series = write_series(tmp_path / name, config, {0: weights})
        evaluator = "ciwl" if name == "lookup" else "flip"
        only, without = only_direct_path(config.model), RemoveDirectPath()
        table = series.evaluate([0], [evaluator], [only, without], metrics=None).set_index("intervention").value
        for condition, wanted in ((only, path), (without, rest)):
            assert table[str(condition)] == pytest.approx(0.5 if wanted is None else 1.0, abs=0 if wanted else 0.07)


def test_with_every_head_gone_too_nothing_is_left():
    """Final residual stream 0: the logits are the same for every sequence."""
    config = make()
    heads = AblateHeads(heads=tuple((la, h) for la in (0, 1) for h in range(4)))
    got = by_engine(
        pack(weights_of(config, torch.float64)),
        batch_of(config, torch.float64),
        config,
        [Together(parts=(heads, RemoveDirectPath()))],
    )[0]
    torch.testing.assert_close(got, got[:1].expand_as(got), rtol=0, atol=1e-9)
