"""Which runs the page can run, and how their weights are shipped."""

from dataclasses import replace

import numpy as np
import pytest

from mechicl.errors import ConfigError, SeriesError
from mechicl.export.shape import check_series, halves, packed, shape_of


def test_weights_are_float16_in_the_order_of_the_shape(series_of):
    series = series_of("mlp")
    step = series.steps[-1]
    numbers = np.frombuffer(halves(series, step), "<f2")
    shape = shape_of(series, series.evaluation_set("icl").shipped(series.config.model, "acc"))
    at = 0
    for (name, size), (own, x) in zip(shape["parameters"], packed(series, step).items(), strict=True):
        assert (name, size) == (own, x.numel())
        np.testing.assert_array_equal(numbers[at : at + size].astype("f4"), x.numpy().ravel())  # saved as float16
        at += size
    assert at == len(numbers)


def test_what_float16_cannot_hold_is_refused(series_of, monkeypatch):
    series = series_of("attention-only")
    monkeypatch.setattr("mechicl.export.shape.packed", lambda *_: {"w": series.weights(0)["unembed.W_U"] * 1e7})
    with pytest.raises(SeriesError, match="too large for float16"):
        halves(series, 0)


def test_models_from_elsewhere_are_refused(series_of):
    series = series_of("attention-only")
    hooked = {"n_layers": 2, "d_model": 16, "n_heads": 2, "d_head": 8}
    foreign = replace(series, config=replace(series.config, model=replace(series.config.model, hooked=hooked)))
    with pytest.raises(ConfigError, match=r"from elsewhere.*mechicl report"):
        check_series(foreign)


def test_labels_that_change_during_training_are_refused(series_of, monkeypatch):
    series = series_of("attention-only")
    monkeypatch.setattr(type(series.task), "changes", lambda *_: True)
    with pytest.raises(ConfigError, match="change during training"):
        check_series(series)
