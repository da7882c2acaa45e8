"""mechicl.protocol.scored: a score is a number for each sequence, or no interval is made of it."""

from dataclasses import replace

import pytest
import torch
from own_tasks import regression_in

from mechicl.engine.forward import forward, stack
from mechicl.errors import ConfigError
from mechicl.evaluators import evaluation_set, score
from mechicl.models.params import init, pack
from mechicl.recipes import get

WRONG = {
    "few": (
        lambda s, wanted: {name: torch.zeros(3) for name in wanted},
        r"'error' of the shape \[3\]: .* \[40\] for each",
    ),
    "mean": (lambda s, wanted: {n: x.mean() for n, x in s.items()}, r"'error' of the shape \[\]: expected a tensor"),
    "positions": (
        lambda s, wanted: {n: x[..., None].expand(40, 8) for n, x in s.items()},
        r"'error' of the shape \[40, 8\]",
    ),
    "number": (lambda s, wanted: dict.fromkeys(wanted, 0.5), "'error' as a float"),
    "list": (lambda s, wanted: list(s.values()), r"a list: expected a dict\. In it"),
    "nothing": (lambda s, wanted: None, "None: expected a dict"),
    "lacking": (lambda s, wanted: {"error": s["error"]}, "no 'gain': .* of error, gain"),
}


@pytest.fixture
def regression(plugin_folder):
    """The module of docs/extending.md's task."""
    return regression_in(plugin_folder)


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_what_score_returned_is_said_with_its_file(regression, monkeypatch, change, said):
    own = regression.Pairs.score
    monkeypatch.setattr(regression.Pairs, "score", lambda self, p, f, wanted: change(own(self, p, f, wanted), wanted))
    config = replace(get("regression"), n_eval=40)
    batch = evaluation_set("new_weights", config, config.task.source(config))
    params = pack(init(config))
    final = forward(params, batch, config.model).final
    with pytest.raises(ConfigError, match=rf"^your task 'regression' \(regression.py\): Pairs.score returned {said}"):
        score(params, final, batch)


def test_stacked_checkpoints_and_conditions_have_axes_of_their_own(regression):
    config = replace(get("regression"), n_eval=6)
    batch = evaluation_set("new_weights", config, config.task.source(config))
    params = stack([pack(init(config))] * 2)
    final = forward(params, batch, config.model).final
    assert {x.shape for x in score(params, final, batch).values()} == {(2, 1, 6)}
