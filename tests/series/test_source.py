"""What a run's sequences are drawn from is rebuilt, or an error says that it is not the same."""

from dataclasses import replace

import pytest

from mechicl.config import Config
from mechicl.errors import SeriesError
from mechicl.series.source import rebuilt
from mechicl.tasks.markov import Markov
from mechicl.training.loop import train


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    config = Config(name="chains", steps=2, batch_size=4, n_eval=8, task=Markov(n_states=3, n_chains=2, length=6))
    return train(config, tmp_path_factory.mktemp("source") / "chains", progress=False)


def test_it_is_the_one_that_the_run_was_trained_on(tiny_series, chains):
    for series in (tiny_series, chains):
        assert rebuilt(series).fingerprint == series.manifest["bank"]


@pytest.mark.parametrize(("run", "what"), [("tiny_series", "bank"), ("chains", "data source")])
def test_another_is_refused_in_the_words_of_its_task(request, run, what):
    series = request.getfixturevalue(run)
    other = replace(series, manifest=series.manifest | {"bank": "0" * 64})
    with pytest.raises(
        SeriesError, match=f"the {what} rebuilt here differs from the one it was trained on .*recorded 000000000000"
    ):
        rebuilt(other)
