"""mechicl.training.own_task: what a task of one's own returns is checked before there is a run."""

from dataclasses import replace

import pytest
import torch
from own_tasks import regression_in

from mechicl.errors import ConfigError
from mechicl.recipes import get
from mechicl.sweeps.estimate import pace
from mechicl.training.loop import train

SHOWN = r"^your task 'regression' \(regression.py\): "


def changed(name, change):
    """What puts a mistake into a method of the batch: it receives what the method returned."""

    def put(module, monkeypatch):
        own = getattr(module.Pairs, name)
        monkeypatch.setattr(module.Pairs, name, lambda self, *args: change(own(self, *args), *args))

    return put


def of_task(name, value):
    return lambda module, monkeypatch: monkeypatch.setattr(module.Regression, name, value)


WRONG = {
    "loss of elements": (
        changed("loss", lambda loss, z: z[..., ::2, 0].square()),
        r"Pairs.loss returned a tensor of the shape \[64, 8\], float32: expected one number, .* such as .mean\(\) has",
    ),
    "loss as a float": (
        changed("loss", lambda loss, z: loss.item()),
        "Pairs.loss returned a float: expected one number",
    ),
    "loss without a gradient": (changed("loss", lambda loss, z: loss.detach()), "Pairs.loss .* without a gradient"),
    "score as a list": (
        changed("score", lambda s, *_: list(s.values())),
        "Pairs.score returned a list: expected a dict",
    ),
    "one score": (
        changed("score", lambda s, *_: {n: x.mean() for n, x in s.items()}),
        r"Pairs.score returned 'error' of the shape \[\]",
    ),
    "embed too short": (
        changed("embed", lambda x, *_: x[:, :3]),
        r"Pairs.embed returned a tensor of the shape \[64, 3, 32\], float32: expected .* \[64, 16, 32\], which is",
    ),
    "embed of nothing": (changed("embed", lambda x, *_: None), "Pairs.embed returned None: expected a tensor"),
    "a position too many": (
        of_task("n_tokens", property(lambda self: 2 * self.pairs + 1)),
        "ids of a Pairs has 16 positions, but n_tokens is 17",
    ),
    "no source": (of_task("source", lambda self, config, data=None: None), "source returned None: expected an object"),
    "a bare source": (
        of_task("source", lambda self, config, data=None: [1]),
        "source returned a list whose fingerprint is None: expected an object whose `fingerprint` is",
    ),
    "chance of another metric": (
        changed("chance", lambda chance, n: {"error": 1.0}),
        "Pairs.chance returned error: expected .* number for 'gain', the primary metric of the evaluator 'new_weights'",
    ),
    "no chance": (changed("chance", lambda chance, n: None), "Pairs.chance returned None: expected a dict"),
    "chance as a tensor": (
        changed("chance", lambda chance, n: {"gain": torch.zeros(2)}),
        r"Pairs.chance returned a tensor of the shape \[2\], float32 for 'gain': expected a float",
    ),
    "not recorded": (
        lambda module, monkeypatch: monkeypatch.setattr(module.Pairs, "recorded", ("error",)),
        "Pairs.recorded is error: expected 'gain' among them",
    ),
}


@pytest.mark.parametrize(("put", "said"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_said_before_there_is_a_folder(plugin_folder, monkeypatch, put, said):
    put(regression_in(plugin_folder), monkeypatch)
    config = replace(get("regression"), steps=30, n_eval=20)
    with pytest.raises(ConfigError, match=SHOWN + said):
        train(config, "lines", progress=False)
    assert not (plugin_folder / "lines").exists()


def test_a_sweep_that_measures_its_pace_says_the_same(plugin_folder, monkeypatch):
    put, said = WRONG["loss of elements"]
    put(regression_in(plugin_folder), monkeypatch)
    with pytest.raises(ConfigError, match=SHOWN + said):
        pace(replace(get("regression"), n_eval=20))
