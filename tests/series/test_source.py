"""What a run's sequences are drawn from is rebuilt, or an error says that it is not the same."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mechicl import plugins
from mechicl.config import Config
from mechicl.errors import ConfigError, SeriesError
from mechicl.reporting.summary import one
from mechicl.series import open_series
from mechicl.series.source import rebuilt
from mechicl.tasks.exemplar_label.features.own import bank_file
from mechicl.tasks.markov import Markov
from mechicl.training.loop import train
from mechicl.training.replay import resume


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


def test_data_that_moved_are_named_with_what_notes_their_new_place(tiny_config, tmp_path):
    """Everything recorded can be seen without them; and the command works on a finished run."""
    bank = replace(tiny_config.bank, kind="file")
    size = (bank.n_classes + bank.n_holdout_classes, bank.n_exemplars + bank.n_holdout_exemplars, bank.dim)
    file = bank_file(np.random.default_rng(0).standard_normal(size), tmp_path / "bank.safetensors")
    series = train(replace(tiny_config, bank=bank, steps=5), tmp_path / "run", data=file, progress=False)
    whole = one(open_series(series.root))
    file.rename(tmp_path / "moved.safetensors")
    again = "If it has moved: `mechicl train --resume [^`]*run --data FILE` notes its new place"
    with pytest.raises(ConfigError, match=again):
        rebuilt(open_series(series.root))
    said = one(open_series(series.root))
    assert re.search(f"chance: unknown without the data, and with it the phases.*{again}", said)
    assert "icl" in said
    resume(series.root, data=tmp_path / "moved.safetensors", progress=False)
    assert one(open_series(series.root)) == whole


def drawn_anew(plugin_folder):
    """A bank that ignores its seed."""
    (plugin_folder / "loose.py").write_text(
        "import numpy as np\n"
        "from mechicl.tasks.exemplar_label import bank\n\n"
        "@bank('loose', numbers='x')\n"
        "def drawn(config, seed, data):\n"
        "    classes = config.n_classes + config.n_holdout_classes\n"
        "    each = config.n_exemplars + config.n_holdout_exemplars\n"
        "    return np.random.standard_normal((classes, each, config.dim))\n"
    )
    plugins.load(["loose"])


def test_a_bank_that_is_another_at_every_call_is_refused_before_training(plugin_folder, tiny_config):
    drawn_anew(plugin_folder)
    config = replace(tiny_config, bank=replace(tiny_config.bank, kind="loose", within_class_std=0.7))
    said = r"your bank 'loose' \(loose.py\) gave another bank .*\(drawn, loose.py, line 4\).*from the seed"
    with pytest.raises(ConfigError, match=said):
        train(config, plugin_folder / "run", progress=False)
    assert not (plugin_folder / "run").exists()


def test_opening_names_the_function_that_made_another(plugin_folder, tiny_config, monkeypatch):
    drawn_anew(plugin_folder)
    config = replace(tiny_config, bank=replace(tiny_config.bank, kind="loose", within_class_std=0.7))
    monkeypatch.setattr("mechicl.training.loop.check_repeats", lambda *_: None)
    series = train(config, plugin_folder / "run", progress=False)
    with pytest.raises(SeriesError, match=r"or drawn, loose.py, line 4, has changed or draws from something else"):
        rebuilt(series)
