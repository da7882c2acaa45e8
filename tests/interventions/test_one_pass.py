"""Several interventions in one pass: as each alone, and as the hooks of the model."""

import pytest
import torch
from random_models import ALL, MODELS, batch_of, by_engine, hooked, make, weights_of

from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, RemoveDirectPath, edits
from mechicl.models.params import pack


def shapes_of(name: str) -> list[str]:
    return ["three-layers-mlp"] if name == "mlps" else list(MODELS)


CASES = [(name, shape) for name in ALL for shape in shapes_of(name)]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_many_at_once_equal_one_at_a_time_and_the_hooks(name, shape):
    config = make(shape)
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64)
    model, together = hooked(config, weights), by_engine(pack(weights), batch, config, ALL[name])
    intact = model(batch)[:, -1]
    for condition, got in zip(ALL[name], together, strict=True):
        alone = by_engine(pack(weights), batch, config, [condition])[0]
        here = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(condition, batch))[:, -1]
        torch.testing.assert_close(got, alone, rtol=0, atol=1e-10)
        torch.testing.assert_close(here, alone, rtol=0, atol=1e-9)
        assert (alone - intact).abs().max() > 1e-3, "an intervention that does nothing"


def test_families_do_not_share_a_pass():
    with pytest.raises(ConfigError, match="must be of one kind"):
        edits([AblateHeads(heads=((0, 0),)), RemoveDirectPath()], make().model, {})
