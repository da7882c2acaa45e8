"""A model from elsewhere, whose text nobody has, is asked about its own bigrams."""

import logging

import pytest
import torch
from any_series import ANALYSES, all_panels_answer, analysis_answers
from trained_models import VOCABULARY, config

from mechicl.figures.caption import caption
from mechicl.series import open_series
from mechicl.series.verify import verify
from mechicl.sources.opening import Settings, open_source
from mechicl.tasks.text import Text
from mechicl.tasks.text.corpus import BIGRAMS
from mechicl.tasks.text.own_bigrams import kept

SETTINGS = Settings(length=24, n=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny GPT-NeoX: random at step 0; at step 10 token i of 0..11 is followed by i + 12, and by no head's doing."""
    from transformers import GPTNeoXForCausalLM

    root = tmp_path_factory.mktemp("neox")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = GPTNeoXForCausalLM(config("neox"))
        model.save_pretrained(root / "checkpoint-0")
        for name, p in model.named_parameters():
            if "dense" in name:  # of attention and of MLPs: they write nothing
                p.zero_()
        model.get_parameter("gpt_neox.embed_in.weight").copy_(torch.eye(VOCABULARY, 32) * 4)
        read = torch.zeros(VOCABULARY, 32)
        read[12:, :12] = torch.eye(12) * 4
        model.get_parameter("lm_head.weight").copy_(read)
        model.save_pretrained(root / "checkpoint-10")
    return root


@pytest.fixture(scope="module")
def series(folder, tmp_path_factory):
    return open_source(folder, tmp_path_factory.mktemp("opened") / "own", settings=SETTINGS, progress=False)


def test_the_model_s_own_bigrams_are_contradicted(series):
    assert isinstance(series.config.task, Text)
    known = kept(series.root, series.config.task.bigrams or "")
    assert (known.then == known.first + 12).all()
    assert set(series.metrics.evaluator) == {"repeat", "weights", "conflict", "agreement", "unshown"}
    assert caption(series).endswith("bigrams of the model run on single tokens")
    last = series.metrics[series.metrics.step == 10].set_index(["evaluator", "metric"]).value
    assert last["weights", "acc"] == 1
    assert last["conflict", "weights_acc"] == 1
    assert last["conflict", "follows_context"] == 0
    assert last["repeat", "token_acc"] < 0.1
    assert verify(series.root) == []


def test_it_is_the_same_series_when_it_is_opened_again(series, folder):
    again = open_source(folder, series.root, settings=SETTINGS, progress=False)
    assert again.config == open_series(series.root).config == series.config


@pytest.mark.slow
def test_analyses_and_the_page_take_it(series):
    for name in ANALYSES:
        found = analysis_answers(series, name)
        if name == "transience":
            (line,) = (line for line in found.text if line.startswith("Conflict, context (1)"))
            assert "the weights win at 10 (0.000" in line
    page = all_panels_answer(
        series, "&evaluator=conflict&heads=1.0&sequence=3", "&evaluator=weights&measure=effect_conflict"
    )
    assert page.base(f"run={series.name}")["evaluators"] == ["repeat", "weights", "conflict"]


def test_too_few_bigrams_are_said(folder, tmp_path, caplog):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "checkpoint-0").symlink_to(folder / "checkpoint-0")
    with caplog.at_level(logging.WARNING, "mechicl"):
        series = open_source(tmp_path / "mine", tmp_path / "run", settings=SETTINGS, progress=False)
    assert "'conflict' and 'weights' are not asked: of the model itself, found 0 pairs of bigrams" in caplog.text
    assert isinstance(series.config.task, Text)
    assert series.config.task.bigrams is None
    assert set(series.metrics.evaluator) == {"repeat"}
    assert not (series.root / BIGRAMS).exists()
