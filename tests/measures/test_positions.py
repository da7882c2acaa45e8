"""The loss at every position, against the recorded losses, which are its means."""

import numpy as np
import pytest

from mechicl.errors import ConfigError
from mechicl.measures import loss_by_position


def test_its_means_are_the_recorded_losses(token_series):
    table = loss_by_position(token_series, [10, 20])
    assert set(table.evaluator) == {"repeat", "text", "loss"}  # those that are scored everywhere
    assert table.groupby(["step", "evaluator"]).position.apply(list).map(lambda x: x == list(range(24))).all()
    assert table.chance.unique() == pytest.approx(np.log(24))
    recorded = token_series.metrics.set_index(["step", "evaluator", "metric"]).value
    for step in (10, 20):
        of = {name: rows.value.to_numpy() for name, rows in table[table.step == step].groupby("evaluator")}
        assert of["text"].mean() == pytest.approx(recorded[step, "text", "loss"], abs=1e-4)
        assert of["repeat"][:12].mean() == pytest.approx(recorded[step, "repeat", "loss_first"], abs=1e-4)
        assert of["repeat"][12:].mean() == pytest.approx(recorded[step, "repeat", "loss"], abs=1e-4)
        late = of["loss"][-1:].mean() - of["loss"][2:3].mean()
        assert late == pytest.approx(recorded[step, "loss", "in_context_score"], abs=1e-4)


def test_questions_at_the_end_have_no_positions(token_series, tiny_series):
    with pytest.raises(ConfigError, match="'conflict': it has an answer only at the last position"):
        loss_by_position(token_series, [20], ["conflict"])
    with pytest.raises(ConfigError, match="no evaluator of tiny has an answer at every position"):
        loss_by_position(tiny_series)
