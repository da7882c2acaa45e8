"""A language model's run, and one of somebody else's model on the same text, in a real browser: the context against the
weights over training, with heads taken out."""

import dataclasses

import pytest
import torch
import trained_models
from small_text import CONFIG, TASK, write_documents

from mechicl.interventions import AblateHeads
from mechicl.page.server import open_server
from mechicl.sources.opening import Settings, open_source
from mechicl.training.loop import train

pytestmark = pytest.mark.slow
ASKED = {"repeat", "text", "loss", "weights", "conflict"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Trained by mechicl on words, with the evaluators of strong bigrams."""
    folder = write_documents(tmp_path_factory.mktemp("documents") / "words", count=40)
    task = dataclasses.replace(TASK, length=32, bigrams="corpus", repeats=0.5)
    config = dataclasses.replace(CONFIG, task=task, steps=60, n_eval=48)
    return train(config, tmp_path_factory.mktemp("runs") / "words", data=folder, progress=False)


@pytest.fixture(scope="module")
def theirs(ours, tmp_path_factory):
    """A GPT-NeoX that the Trainer trained on the same tokens, opened with them."""
    root = tmp_path_factory.mktemp("neox")
    data = trained_models.Windows(torch.from_numpy(ours.source.needed()), 32)
    trained_models.train(root / "mine", "neox", 60, 20, data, ours.config.task.vocabulary)
    for place in (root / "mine").glob("checkpoint-*"):
        (place / "tokenizer.json").write_bytes((ours.root / "tokenizer.json").read_bytes())
    settings = Settings(length=32, n=48, tokens=ours.root / "tokens.npy")
    return open_source(root / "mine", root / "opened", settings=settings, progress=False)


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_context_and_weights_over_training_with_heads_taken_out(begin, serving, request, whose):
    series = request.getfixturevalue(whose)
    running = serving(open_server(series.root, port=0))
    one = begin(running.url)
    page = one.open(f"?step={series.steps[-1]}")
    assert set(one.numbers()) == ASKED
    one.check(series, series.steps[-1], None)
    one.head(0, 0).click()
    one.head(1, 1).click()
    one.check(series, series.steps[-1], AblateHeads(heads=((0, 0), (1, 1))))
    count = len(series.steps)
    page.wait_for_function(
        f"mechicl.settled('timeline') && document.getElementById('curve-progress').dataset.done == {count}"
    )
    names = page.evaluate("document.querySelector('#timeline .js-plotly-plot').data.map(d => d.name || '')")
    for label in ("Repeat", "In-context gain", "Weights", "Conflict"):
        assert any(label in name for name in names), label
    page.wait_for_function("mechicl.settled('heads') && mechicl.settled('attention')")
    one.shot(f"language-{whose}", full_page=True)
