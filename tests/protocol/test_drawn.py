"""mechicl.protocol.drawn: what a plugin's draw returns is checked before a kernel reads it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import called

from mechicl import doors
from mechicl.config import Config, ModelConfig
from mechicl.errors import ConfigError
from mechicl.evaluators import evaluation_sets
from mechicl.protocol.drawn import check_drawn
from mechicl.protocol.known import task_of
from mechicl.registry import EVALUATORS, applying, register
from mechicl.tasks.markov import Markov
from mechicl.tasks.text import Text
from mechicl.training.loop import train

OF_EXEMPLARS = {
    "labels": (lambda b: replace(b, labels=b.labels + 5000), "labels has numbers from 50.*: expected 0 to 7"),
    "negative": (lambda b: replace(b, labels=b.labels - 50), "labels has numbers from -"),
    "target": (lambda b: replace(b, target=b.target + 8), "target has numbers from .* there are 8 labels"),
    "trained": (lambda b: replace(b, trained_labels=b.trained_labels + 8), "trained_labels has numbers"),
    "none": (lambda b: None, "returned None: .*return"),
    "tuple": (
        lambda b: (b.exemplars, b.labels),
        r"a tuple: expected a batch of the task 'exemplar_label', Batch\(exemplars, labels, ",
    ),
    "float": (lambda b: replace(b, labels=b.labels.float()), "labels is of type float32: expected whole numbers"),
    "arrays": (lambda b: replace(b, labels=b.labels.numpy()), "labels is a ndarray: expected a tensor"),
    "wide": (lambda b: replace(b, exemplars=b.exemplars[..., :5]), r"\[20, 3, 5\]: expected \[20, 3, 6\]"),
    "short": (lambda b: replace(b, exemplars=b.exemplars[:, :1]), r"exemplars has the shape \[20, 1, 6\]"),
    "one label": (lambda b: replace(b, labels=b.labels[:, :1]), r"labels has the shape \[20, 1\]: expected \[20, 2\]"),
    "half": (lambda b: b[:10], "expected 20 sequences"),
    "nan": (lambda b: replace(b, exemplars=b.exemplars * np.nan), "not finite"),
}


@pytest.fixture
def own(monkeypatch):
    """Registers an evaluator as a plugin would, from a shipped one and a change of its batch."""
    added = []

    def add(of: str, change) -> str:
        entry = EVALUATORS[of]

        def draw(config, source, n, rng):
            return change(entry.draw(config, source, n, rng))

        register(replace(entry, name="own_one", label="own", draw=draw, control_of=None))
        added.append("own_one")
        return "own_one"

    yield add
    for name in set(added):
        EVALUATORS.pop(name)
        del doors._HOMES[f"evaluator {name}"]


@pytest.mark.parametrize(("change", "message"), OF_EXEMPLARS.values(), ids=OF_EXEMPLARS)
def test_what_no_model_could_read_is_refused_by_name(own, tiny_series, change, message):
    name = own("iwl", change)
    with pytest.raises(ConfigError, match=rf"your evaluator 'own_one' \(test_drawn.py\): .*{message}"):
        tiny_series.evaluate([60], [name], n=20)


def test_training_refuses_before_it_makes_a_folder(own, tiny_config, tmp_path):
    own("iwl", lambda b: replace(b, labels=torch.where(torch.arange(len(b))[:, None] > 3, 5000, b.labels)))
    with pytest.raises(ConfigError, match="own_one"):  # of one sequence nothing would be wrong
        train(tiny_config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_sound_one_is_taken(own, tiny_series):
    name = own("iwl", lambda b: replace(b, exemplars=b.exemplars.double()))
    assert len(tiny_series.evaluate([60], [name], n=20))


def test_a_command_says_so(plugin_folder, tiny_series, capsys):
    (plugin_folder / "e_far.py").write_text(
        "from dataclasses import replace\n"
        "from mechicl.registry import EVALUATORS, register\n"
        "iwl = EVALUATORS['iwl']\n"
        "def draw(config, source, n, rng):\n"
        "    b = iwl.draw(config, source, n, rng)\n"
        "    return replace(b, labels=b.labels + 5000)\n"
        "register(replace(iwl, name='e_far', label='far', draw=draw))\n"
    )
    code, _, err = called(capsys, "ablate", tiny_series.root, "--heads", "L1H0", "--n", "10", "--plugin", "e_far")
    assert code == 2
    assert "your evaluator 'e_far' (e_far.py): draw(" in err


def configs() -> dict[str, Config]:
    model = ModelConfig(d_model=16, n_heads=2)
    return {
        "markov": Config(name="m", steps=10, task=Markov(n_states=5, n_chains=4, length=16), n_eval=8, model=model),
        "text": Config(name="t", steps=10, task=Text(vocabulary=50, length=16), n_eval=8, model=model),
    }


@pytest.mark.parametrize("kind", ["exemplar_label", "markov", "text"])
def test_every_shipped_set_would_pass(kind, tiny_config):
    config = (configs() | {"exemplar_label": tiny_config})[kind]
    task = task_of(config)
    sets = evaluation_sets(config, task.source_at(config, task.source(config), 0), 8)
    assert set(sets) == set(applying(config))
    for name, batch in sets.items():
        check_drawn(batch, task, 8, name)


@pytest.mark.parametrize(("kind", "field"), [("markov", "states"), ("text", "tokens")])
def test_a_token_that_is_not_in_the_vocabulary_is_refused(kind, field):
    config = configs()[kind]
    task = task_of(config)
    batch = next(iter(evaluation_sets(config, task.source(config), 8).values()))
    for x in (getattr(batch, field) + task.n_outputs, getattr(batch, field) - 1000):
        with pytest.raises(ConfigError, match=f"whose field {field} has numbers from .*expected 0 to"):
            check_drawn(replace(batch, **{field: x}), task, 8, "mine")
    with pytest.raises(ConfigError, match=f"{field} is of type float32"):
        check_drawn(replace(batch, **{field: getattr(batch, field).float()}), task, 8, "mine")
