"""Sequences as plain arrays: put together again, they are the batch; what the page cannot compute is refused."""

import pytest
import torch

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError

MODEL = ModelConfig()


@pytest.mark.parametrize("metric", ["in_context_acc", "acc"])
def test_arrays_are_the_batch(tiny_series, metric):
    batch = tiny_series.evaluation_set("icl", 40)
    found = batch.shipped(MODEL, metric)
    assert torch.equal(found.tokens[:, 1::2], batch.labels)
    assert torch.equal(found.inputs[found.shown[:, ::2]], batch.exemplars)
    assert ((found.tokens >= 0) ^ (found.shown >= 0)).all()
    assert len(found.inputs) == len(found.inputs.unique(dim=0))
    how = found.scored
    assert torch.equal(how.target, batch.target)
    assert (how.among is None) if metric == "acc" else torch.equal(how.among, batch.labels)


@pytest.mark.parametrize(
    ("model", "metric", "says"),
    [(ModelConfig(encoder="conv"), "acc", "convolutions"), (MODEL, "loss", "one of in_context_acc, acc")],
)
def test_what_the_page_cannot_compute_is_refused(tiny_series, model, metric, says):
    with pytest.raises(ConfigError, match=says):
        tiny_series.evaluation_set("icl", 4).shipped(model, metric)
