"""What the `transformers` Trainer wrote, as a series: opened, verified, measured, ablated, drawn, reported, shown."""

import json
import shutil

import numpy as np
import pytest
import torch
from any_series import ANALYSES, all_panels_answer, analysis_answers
from trained_models import EVERY, STEPS

from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.figures.attention import patterns
from mechicl.figures.caption import caption, facts
from mechicl.interventions import AblateHeads, AblateMLPs, CutEdges
from mechicl.measures import attention_scores, head_effects, logit_attribution
from mechicl.measures.attention import standing_out
from mechicl.reporting.summary import one
from mechicl.series import open_series
from mechicl.series.elsewhere import assumed, is_light
from mechicl.series.verify import verify
from mechicl.sources import odd
from mechicl.sources.opening import Settings, open_source
from mechicl.training.replay import densify, resume

FAMILIES = ["gpt2", "neox", "llama"]
LEARNED = ["neox", "llama"]  # GPT-2's positions are slower to learn
SETTINGS = Settings(length=24, n=64)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_opens_with_its_curves(opened, trainer_folder, family):
    series = opened(family)
    assert series.steps == list(range(0, STEPS + 1, EVERY))
    assert is_light(series)
    assert series.config.batch_size == 32
    assert series.sequences_seen(STEPS) == STEPS * 32
    x, y = series.curve("repeat", "token_acc")
    assert len(x) == len(series.steps)
    assert y[0] < 0.12
    state = json.loads((trainer_folder(family) / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    logged = [each["loss"] for each in state["log_history"] if EVERY < each.get("step", 0) <= 2 * EVERY]
    assert series.training_loss.query(f"step == {2 * EVERY}").loss.item() == pytest.approx(np.mean(logged))
    if family in LEARNED:
        assert y[-1] > 0.7
    assert verify(series.root) == []
    assert odd.remarks(series) == []
    assert [step for step, _ in odd.fixed_losses(series)] == series.steps
    assert odd.fixed_losses(series)[0][1] == pytest.approx(np.log(24), abs=0.1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_a_hooked_transformer_that_gives_the_recorded_loss(opened, family):
    series = opened(family)
    batch, model = series.evaluation_set("repeat"), series.model(STEPS)
    with torch.inference_mode():
        loss = float(model(batch, return_type="loss"))
    recorded = series.metrics.query(f"step == {STEPS} and metric == 'loss'").value.item()
    assert loss == pytest.approx(recorded, abs=1e-4)
    ablate = AblateHeads(heads=((1, 2),))
    with torch.inference_mode():
        z = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(ablate, batch))
    one = {"unembed.W_U": torch.eye(24), "unembed.b_U": torch.zeros(24)}
    want = batch.score(one, z, ["loss"])["loss"]
    np.testing.assert_allclose(series.answers(STEPS, "repeat", ablate, "loss"), want, atol=1e-4)


def test_the_circuit_is_found_and_carries_the_answer(opened):
    series = opened("llama")
    scores = attention_scores(series, [0, STEPS], progress=False)
    high = standing_out(scores, "prefix_matching", STEPS)
    assert len(high)
    assert high.value.iloc[0] > 0.5 > 5 * high.uniform.iloc[0]
    effects = head_effects(series, [STEPS], ["repeat"], progress=False)
    assert len(effects) == 8
    worst = effects.sort_values("effect").iloc[0]
    assert worst.effect_high < -0.2
    more = series.evaluate(
        [STEPS],
        ["repeat"],
        [AblateHeads(heads=((1, 0),), kind="resample"), AblateMLPs(layers=(0,)), CutEdges(edges=("after_same_token",))],
        metrics=None,
    )
    intact, *others = more.value
    assert intact > 0.7
    assert min(others) < intact - 0.3


@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_sum_to_the_logit(opened, family):
    series = opened(family)
    table = logit_attribution(series, [STEPS], n=16, progress=False)
    batch, model = series.evaluation_set("repeat", 16), series.model(STEPS)
    with torch.inference_mode():
        z = model(batch)[:, -1]
    want = (z.gather(1, batch.answers()["logit_in_context"][:, None])[:, 0] - z.mean(-1)).mean()
    assert table.value.sum() == pytest.approx(float(want), abs=2e-3)


@pytest.mark.parametrize("name", ANALYSES)
def test_analyses_run(opened, name):
    analysis_answers(opened("llama"), name)


@pytest.mark.slow
def test_every_command_that_looks_takes_it(opened, tmp_path, capsys):
    root = str(opened("neox").root)
    for words in (
        ["show"],
        ["verify"],
        ["report", "--out", str(tmp_path / "page.html"), "--quiet"],
        ["ablate", "--heads", "L0H1", "--mlp", "1"],
        ["measure", "attention_scores", "--steps", f"{STEPS}"],
    ):
        cli.main([words[0], root, *words[1:]])
    out = capsys.readouterr().out
    assert "repeat" in out
    assert "all unchanged" in out
    assert (tmp_path / "page.html").stat().st_size < 8e6


def test_every_panel_of_the_page_answers(opened):
    series = opened("llama")
    page = all_panels_answer(
        series,
        "",
        "&heads=0.1",
        "&heads=0.1,1.0&kind=mean&sequence=3",
        "&measure=prefix_matching",
        "&measure=effect_repeat",
        "&measure=logit",
        f"&with_step={EVERY}&tab=compare",
    )
    assert page.base(f"run={series.name}")["evaluators"] == ["repeat"]


def test_patterns_are_attention(opened):
    drawn = patterns(opened("neox"), [0, STEPS])
    assert drawn.values.shape == (2, 2, 4, 24, 24)
    assert np.allclose(drawn.values.sum(-1), 1, atol=1e-5)


def test_a_copy_needs_its_source_no_longer(trainer_folder, opened, tmp_path):
    source = shutil.copytree(trainer_folder("llama"), tmp_path / "source")
    copied = open_source(source, tmp_path / "copy", progress=False, settings=Settings(length=24, n=64, copy=True))
    shutil.rmtree(source)
    series = opened("llama")
    again = open_series(copied.root)
    assert not is_light(again)
    assert verify(again.root) == []
    assert series.metrics.value.tolist() == again.metrics.value.tolist()
    for name, w in series.weights(STEPS).items():
        assert torch.equal(w, again.weights(STEPS)[name])


def test_open_series_of_such_a_folder_makes_and_then_uses_the_light_series(trainer_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = shutil.copytree(trainer_folder("gpt2"), tmp_path / "mine")
    for step in range(EVERY, STEPS, EVERY):
        shutil.rmtree(source / f"checkpoint-{step}")
    series = open_series(source)
    assert series.root == tmp_path / "checkpoints" / "mine"
    written = (series.root / "metrics.jsonl").read_bytes()
    assert open_series(source).steps == [0, STEPS]
    assert (series.root / "metrics.jsonl").read_bytes() == written


def test_it_goes_on_after_a_kill_and_takes_up_what_came_since(trainer_folder, tmp_path):
    source = shutil.copytree(trainer_folder("gpt2"), tmp_path / "mine")
    later = tmp_path / "later"
    shutil.move(source / f"checkpoint-{STEPS}", later)
    series = open_source(source, tmp_path / "run", settings=SETTINGS, progress=False)
    whole = (series.root / "metrics.jsonl").read_bytes()
    for name in ("index.jsonl", "metrics.jsonl"):  # as a kill in the middle of the third checkpoint leaves it
        lines = (series.root / name).read_bytes().splitlines(keepends=True)
        (series.root / name).write_bytes(b"".join(lines[:2]) + lines[2][:30])
    again = open_source(source, tmp_path / "run", settings=SETTINGS, progress=False)
    assert (again.root / "metrics.jsonl").read_bytes() == whole
    shutil.move(later, source / f"checkpoint-{STEPS}")
    more = open_source(source, tmp_path / "run", settings=SETTINGS, progress=False)
    assert more.steps[-1] == STEPS
    assert more.complete
    assert verify(more.root) == []


@pytest.fixture
def made(trainer_folder, tmp_path):
    """A source of two checkpoints, and its series."""
    source = tmp_path / "mine"
    for step in (0, STEPS):
        shutil.copytree(trainer_folder("gpt2") / f"checkpoint-{step}", source / f"checkpoint-{step}")
    return source, open_source(source, tmp_path / "run", settings=Settings(length=24, n=8), progress=False)


def test_settings_that_are_given_again_must_be_those_it_was_made_with(made, tmp_path):
    source, series = made
    np.save(tmp_path / "ids.npy", np.arange(240) % 24)
    before = {p: p.read_bytes() for p in series.root.rglob("*") if p.is_file()}
    place = "reads its weights from .*/mine: do not delete that"
    for settings, said in (
        (Settings(n=16), r"--n 16 \(the series has 8\)"),
        (Settings(length=32), r"--length 32 \(the series has 24\)"),
        (Settings(batch_size=1024), r"--batch-size 1024 \(the series has 32\)"),
        (Settings(tokens=tmp_path / "ids.npy"), r"--tokens .*ids.npy \(the series has no text\)"),
        (Settings(copy=True), rf"--copy \(the series {place}\)"),
        (Settings(n=16, length=24, copy=True), rf"--n 16 \(the series has 8\); --copy \(the series {place}\). For"),
    ):
        with pytest.raises(ConfigError, match=rf"run was opened with other settings.*{said}.*elsewhere with --out DIR"):
            open_source(source, series.root, settings=settings, progress=False)
    for settings in (None, Settings(n=8), Settings(length=24, n=8)):
        open_source(source, series.root, settings=settings, progress=False)
    assert {p: p.read_bytes() for p in series.root.rglob("*") if p.is_file()} == before


def test_the_same_text_is_the_same_setting(made, tmp_path):
    source, _ = made
    for name, shift in (("ids", 0), ("again", 0), ("other", 1)):
        np.save(tmp_path / f"{name}.npy", (np.arange(240) + shift) % 24)
    first, again, other = (
        Settings(length=12, n=8, tokens=tmp_path / f"{name}.npy") for name in ("ids", "again", "other")
    )
    open_source(source, tmp_path / "text", settings=first, progress=False)
    assert open_source(source, tmp_path / "text", settings=again, progress=False).complete
    with pytest.raises(ConfigError, match=r"other.npy \(the series has another text\)"):
        open_source(source, tmp_path / "text", settings=other, progress=False)


def test_a_copy_goes_on_as_a_copy(made, tmp_path):
    source, _ = made
    later = shutil.move(source / f"checkpoint-{STEPS}", tmp_path / "later")
    open_source(source, tmp_path / "copy", settings=Settings(n=8, copy=True), progress=False)
    shutil.move(later, source / f"checkpoint-{STEPS}")
    copied = open_source(source, tmp_path / "copy", progress=False)  # without --copy: as it was made
    assert copied.steps == [0, STEPS]
    assert not is_light(copied)
    assert open_source(source, tmp_path / "copy", settings=Settings(copy=True), progress=False).complete


def test_the_command_says_what_differs(made, capsys):
    source, series = made
    with pytest.raises(SystemExit):
        cli.main(["open", str(source), "--out", str(series.root), "--n", "500", "--copy", "--quiet"])
    assert "--n 500 (the series has 8)" in capsys.readouterr().err


def test_sequences_per_step_that_are_assumed_are_said_wherever_they_count(made, tmp_path, capsys):
    """The Trainer records the batch of one process; accumulation 8 in 4 processes is 32 times as many."""
    source, series = made
    note = assumed(series)
    assert note is not None
    assert note.startswith("32 per step are assumed: this is the Trainer's batch in one process, before gradient accum")
    assert "6.4k sequences seen (32 per step assumed)" in facts(series)
    assert f"SEQUENCES: {note}" in one(series)
    words = ["open", str(source), "--length", "24", "--n", "8", "--quiet"]
    cli.main([*words, "--out", str(tmp_path / "unsaid")])
    assert f"SEQUENCES: {note}" in capsys.readouterr().out
    cli.main([*words, "--out", str(tmp_path / "said"), "--batch-size", "1024"])
    assert "SEQUENCES" not in capsys.readouterr().out
    said = open_series(tmp_path / "said")
    assert (said.seen, assumed(said)) == (STEPS * 1024, None)
    assert "assumed" not in facts(said) + one(said)
    assert said.metrics.sequences.max() == STEPS * 1024
    confirmed = open_source(source, series.root, settings=Settings(batch_size=32), progress=False)
    assert assumed(confirmed) is None
    assert assumed(open_source(source, series.root, progress=False)) is None


def test_where_nothing_is_recorded_sequences_are_steps_and_said_to_be(made, tmp_path):
    source, _ = made
    for path in source.glob("*/trainer_state.json"):
        path.unlink()
    series = open_source(source, tmp_path / "silent", settings=Settings(length=12, n=8), progress=False)
    assert series.seen == STEPS
    assert (assumed(series) or "").startswith("1 per step are assumed: the source does not record them. If that is")


def test_an_altered_checkpoint_is_named(trainer_folder, tmp_path):
    source = shutil.copytree(trainer_folder("gpt2"), tmp_path / "mine")
    series = open_source(source, tmp_path / "run", settings=SETTINGS, progress=False)
    path = source / f"checkpoint-{EVERY}" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SeriesError, match="altered"):
        series.weights(EVERY)
    assert [f"checkpoint-{EVERY}" in problem for problem in verify(series.root)] == [True]
    path.unlink()
    with pytest.raises(SeriesError, match="cannot be read"):
        series.weights(EVERY)


def test_wrong_checkpoints_are_said(trainer_folder, tmp_path):
    """As of Pythia-2.8b: early steps that serve late weights."""
    source = shutil.copytree(trainer_folder("llama"), tmp_path / "mine")
    for step in (0, EVERY):
        shutil.copy(source / f"checkpoint-{STEPS}" / "model.safetensors", source / f"checkpoint-{step}")
    series = open_source(source, tmp_path / "run", settings=SETTINGS, progress=False)
    equal, untrained, *_ = odd.remarks(series)
    assert f"0, {EVERY}, {STEPS}" in equal
    assert "not all of them neighbours" in equal
    assert "not untrained" in untrained
    assert any("same weights" in problem for problem in verify(series.root))


def test_shards_are_one_checkpoint(trainer_folder, opened, tmp_path):
    from transformers import AutoModelForCausalLM

    source = tmp_path / "mine"
    for step in (0, STEPS):
        model = AutoModelForCausalLM.from_pretrained(trainer_folder("llama") / f"checkpoint-{step}")
        model.save_pretrained(source / f"checkpoint-{step}", max_shard_size="30KB")
    series = open_source(source, tmp_path / "run", settings=SETTINGS, progress=False)
    assert len(series.manifest["source"]["files"]["0"]) > 1
    for name, w in opened("llama").weights(STEPS).items():
        assert torch.equal(w, series.weights(STEPS)[name])


def test_text_is_an_evaluator_where_tokens_are_given(trainer_folder, tmp_path):
    ids = np.tile(np.arange(24), 50)
    np.save(tmp_path / "ids.npy", ids)
    source = tmp_path / "mine"
    shutil.copytree(trainer_folder("neox") / f"checkpoint-{STEPS}", source / f"checkpoint-{STEPS}")
    settings = Settings(length=24, n=16, tokens=tmp_path / "ids.npy")
    series = open_source(source, tmp_path / "run", settings=settings, progress=False)
    (tmp_path / "ids.npy").unlink()  # the run has its own
    series = open_series(series.root)
    asked = {"repeat", "text", "loss", "weights", "conflict", "agreement", "unshown"}
    assert set(series.metrics.evaluator) == asked
    assert "bigrams of that text" in caption(series)
    batch = series.evaluation_set("text")
    assert (batch.tokens.diff() % 24 == 1).all()
    assert verify(series.root) == []
    np.save(tmp_path / "ids.npy", ids + 1)
    with pytest.raises(ConfigError, match="another model's tokenizer"):
        open_source(source, tmp_path / "other", settings=settings, progress=False)


def test_what_mechicl_did_not_train_it_does_not_train_on(opened):
    for call in (lambda root: resume(root), lambda root: densify(root, 0, 50, 10)):
        with pytest.raises(SeriesError, match="mechicl open"):
            call(opened("llama").root)


def test_another_source_does_not_take_a_run_s_place(trainer_folder, opened, tiny_series):
    with pytest.raises(SeriesError, match="another series"):
        open_source(trainer_folder("neox"), opened("llama").root, settings=SETTINGS, progress=False)
    with pytest.raises(SeriesError, match="that mechicl trained"):
        open_source(trainer_folder("neox"), tiny_series.root, settings=SETTINGS, progress=False)


def test_what_is_no_source_is_refused_with_what_is(tmp_path):
    with pytest.raises(ConfigError, match="checkpoint-500"):
        open_source(tmp_path, progress=False)


def test_the_command_says_the_losses_and_what_is_odd(trainer_folder, tmp_path, capsys):
    source = tmp_path / "mine"
    for step in (0, 7):
        shutil.copytree(trainer_folder("neox") / "checkpoint-0", source / f"checkpoint-{step}")
    cli.main(["open", str(source), "--out", str(tmp_path / "run"), "--length", "24", "--n", "8", "--quiet"])
    out = capsys.readouterr().out
    assert "ODD: steps 0, 7 have the same weights" in out
    assert "3.1" in out


def test_only_the_steps_that_are_asked_for(trainer_folder, tmp_path, capsys):
    run = ["--out", str(tmp_path / "run"), "--length", "24", "--n", "8", "--quiet"]
    cli.main(["open", str(trainer_folder("neox")), "--steps", f"0,{EVERY}", *run])
    assert open_series(tmp_path / "run").steps == [0, EVERY]
    cli.main(["open", str(trainer_folder("neox")), "--every", str(2 * EVERY), *run])
    assert open_series(tmp_path / "run").steps == [0, EVERY, 2 * EVERY, STEPS]
    assert verify(tmp_path / "run") == []
    for words, said in (
        (["--steps", "7"], "no step 7"),
        (["--steps", "x"], "--steps x"),
        (["--every", "0"], "--every 0"),
        (["--cache", "1GB"], "--cache"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["open", str(trainer_folder("neox")), *words, *run])
        assert said in capsys.readouterr().err
