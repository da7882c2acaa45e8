"""MLPs through the same door as heads."""

import pytest
import torch
from known_models import without_mlps
from random_models import batch_of, by_engine, hooked, make, weights_of

from mechicl.errors import ConfigError
from mechicl.interventions import AblateMLPs
from mechicl.models.params import pack


@pytest.mark.parametrize("layers", [(0,), (2,), (0, 2)])
@pytest.mark.parametrize("kind", ["zero", "mean", "resample"])
def test_equals_hooks_written_by_hand(kind, layers):
    config = make("three-layers-mlp")
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    model, asked = hooked(config, weights), AblateMLPs(layers=layers, kind=kind)
    _, cache = model.run_with_cache(batch)

    def put(out, hook):
        intact, out = cache[hook.name], out.clone()
        for i in range(len(out)):
            out[i] = {"zero": 0.0, "mean": sum(intact) / len(intact), "resample": intact[i - 1]}[kind]
        return out

    hooks = [(f"blocks.{la}.hook_mlp_out", put) for la in layers]
    want = model.run_with_hooks(batch, fwd_hooks=hooks)[:, -1]
    here = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(asked, batch))[:, -1]
    there = by_engine(pack(weights), batch, config, [asked])[0]
    for got in (here, there):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-9)
    if (kind, layers) == ("zero", (0, 2)):
        torch.testing.assert_close(hooked(config, without_mlps(weights))(batch)[:, -1], want, rtol=0, atol=1e-9)


def test_printed_and_refused():
    assert str(AblateMLPs(layers=(2, 0), kind="mean")) == "mean L0 L2 MLP"
    assert AblateMLPs(layers=(1,)).place == (1, None)
    with pytest.raises(ConfigError, match=r"no MLP in layer 1.*layers 0, 2 have one"):
        AblateMLPs(layers=(1,)).check(make("three-layers-mlp").model)
    with pytest.raises(ConfigError, match="none has one"):
        AblateMLPs(layers=(0,)).check(make().model)
    with pytest.raises(ConfigError, match="kind='pattern_preserving'"):
        AblateMLPs(layers=(0,), kind="pattern_preserving")
