"""A run that is trained on text is a run as any: trained, continued, verified, measured, reported, shown."""

import dataclasses
import shutil

import pytest
import torch
from any_series import all_panels_answer
from small_text import CONFIG, TASK, write_documents

from mechicl import cli, recipes
from mechicl.engine.forward import forward, logits
from mechicl.errors import ConfigError, SeriesError
from mechicl.figures.attention import patterns
from mechicl.measures import attention_scores
from mechicl.models.params import pack
from mechicl.series import open_series
from mechicl.series.verify import verify
from mechicl.tasks.text import Text, corpus
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import train, training_batches
from mechicl.training.replay import densify, resume


def test_it_learns_and_says_what_it_read(run, folder):
    loss = run.training_loss.loss
    assert loss.iloc[-1] < loss.iloc[0] - 0.1
    text = run.manifest["text"]
    assert text["from"] == folder.name
    assert text["documents"] == 14
    assert text["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert text["held_out"]["documents"] == len(run.source.part("held_out").documents)
    assert len(text["tokens_sha256"]) == len(text["tokenizer_sha256"]) == 64
    assert "14 documents (words)" in run.task.caption(run.manifest)
    assert {"repeat", "text"} <= set(run.metrics.evaluator)


def test_held_out_documents_are_never_trained_on_and_alone_are_evaluated(run):
    source = run.source
    out, learned = (
        {tuple(part.ids[i:j].tolist()) for i, j in zip(part.starts[:-1], part.starts[1:], strict=True)}
        for part in (source.part("held_out"), source.part("train"))
    )

    def inside(sequence, documents):
        text = ",".join(map(str, sequence))
        return any(f",{text}," in f",{','.join(map(str, document))}," for document in documents)

    for batch in training_batches(run.config, source, 0, 40):
        for row, real in zip(batch.tokens, batch.scored, strict=True):
            assert inside(row[: int(real.sum()) + 1].tolist(), learned)
    for row in run.evaluation_set("text").tokens:
        assert inside(row.tolist(), out)


def test_the_same_seed_gives_the_same_bytes_without_what_it_was_read_from(run, tmp_path):
    folder = write_documents(tmp_path / "words")
    again = train(dataclasses.replace(CONFIG, steps=20), tmp_path / "again", data=folder, progress=False)
    shutil.rmtree(folder)
    longer = resume(again.root, steps=40, progress=False)
    for name, w in run.weights(40).items():
        assert torch.equal(w, longer.weights(40)[name])
    assert densify(longer.root, 20, 40, 5, progress=False).steps == [0, 20, 25, 30, 35, 40]
    assert verify(longer.root) == []
    other = train(CONFIG.with_seed(1), tmp_path / "other", data=run.root, progress=False)  # another run's tokens
    assert other.manifest["text"]["tokens_sha256"] == run.manifest["text"]["tokens_sha256"]
    assert not torch.equal(other.weights(40)["embed.W_E"], run.weights(40)["embed.W_E"])


def test_seeds_in_one_pass_are_those_alone(run, folder, tmp_path):
    seeds = train_seeds(CONFIG, [0, 1], tmp_path / "words", data=folder, jobs=1, progress=False)
    for name, w in run.weights(40).items():
        assert torch.equal(w, seeds[0].weights(40)[name])
    assert all(verify(each.root, again=1) == [] for each in seeds)


def test_a_run_whose_text_was_altered_says_so(run, tmp_path):
    root = shutil.copytree(run.root, tmp_path / "altered")
    path = root / corpus.DOCUMENTS
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[::-1]) + "\n")
    with pytest.raises(SeriesError, match="put the files back"):
        _ = open_series(root).source
    path.unlink()
    assert any(corpus.DOCUMENTS in problem for problem in verify(root))


def test_the_engine_is_the_hooked_transformer(run):
    model, batch = run.model(40), run.evaluation_set("text", 8)
    params = pack(run.weights(40))
    z, cache = model.run_with_cache(batch)
    ours = forward(params, batch, run.config.model, capture=["blocks.1.attn.hook_pattern"])
    assert torch.allclose(z, logits(params, ours.final), atol=1e-5)
    assert torch.allclose(cache["blocks.1.attn.hook_pattern"], ours.acts["blocks.1.attn.hook_pattern"], atol=1e-5)
    assert float(model(batch, return_type="loss").detach()) == pytest.approx(float(batch.loss(z).detach()), abs=1e-6)


def test_measures_and_pictures(run):
    assert "prefix_matching" in set(attention_scores(run, progress=False).metric)
    one = patterns(run, [40], "text", sequence=3)
    assert len(set(one.tokens)) == 16
    assert not all(token.split(" ", 1)[1].isdigit() for token in one.tokens)  # words, not numbers


def test_every_command_that_looks_takes_it(run, tmp_path, capsys):
    for words in (["show"], ["report", "--out", str(tmp_path / "page.html"), "--quiet"], ["ablate", "--heads", "L0H1"]):
        cli.main([words[0], str(run.root), *words[1:]])
    assert "repeat" in capsys.readouterr().out
    assert (tmp_path / "page.html").stat().st_size < 8e6


def test_every_panel_of_the_page_answers(run):
    all_panels_answer(run, "", "&heads=0.1", "&measure=prefix_matching", "&measure=logit", "&with_step=20&tab=compare")


def test_a_run_is_asked_for_labels_where_it_says_so(folder, tmp_path):
    task = dataclasses.replace(TASK, length=360, few_shot=True)
    config = dataclasses.replace(CONFIG, task=task, steps=1, n_eval=8, batch_size=2)
    series = train(config, tmp_path / "labelled", data=folder, progress=False)
    found = series.metrics.query("metric == 'follows_context' and step == 1").set_index("evaluator").value
    assert {"labels", "flipped_labels", "symbols"} <= set(found.index)
    assert "same_label" in series.evaluation_set("symbols", n=2).roles()


def test_the_recipe_is_trained_on_python_s_library_or_on_what_is_given(folder, tmp_path):
    config = recipes.get("text-small")
    assert config.task.documents == "python"
    task = dataclasses.replace(config.task, vocabulary=280, length=16, held_out=0.3)
    source = task.source(dataclasses.replace(config, task=task), folder)
    assert len(source.documents) == 14


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"held_out": 1.0}, "share between 0 and 1"),
        ({"repeats": 1.5}, "at most 1"),
        ({"corpus": "0" * 64}, "not both"),
        ({"documents": "web"}, "'python'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        Text(**{**dataclasses.asdict(TASK), **change})


def test_what_is_not_given_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="--data FOLDER"):
        train(CONFIG, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
