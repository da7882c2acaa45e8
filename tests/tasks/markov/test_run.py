"""A run of Markov chains is a run as any: trained, continued, verified, measured, ablated, drawn, reported, shown."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from any_series import ANALYSES, all_panels_answer, analysis_answers

from mechicl import cli
from mechicl.config import Config, ModelConfig, OptimConfig, ScheduleConfig, TrainingIntervention
from mechicl.engine.forward import forward, logits
from mechicl.errors import ConfigError
from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads, AblateMLPs, ClampMatch
from mechicl.measures import attention_scores, logit_attribution
from mechicl.models.params import pack
from mechicl.series import open_series
from mechicl.tasks.markov import Markov
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import train
from mechicl.training.replay import densify, resume

DEMO = Path(__file__).parents[3] / "checkpoints" / "demo"

CONFIG = Config(
    name="chains",
    steps=60,
    batch_size=16,
    task=Markov(n_states=4, n_chains=4, length=12),
    n_eval=64,
    states=2,
    model=ModelConfig(d_model=16, n_heads=2, mlp_ratio=2),
    optim=OptimConfig(lr=3e-3),
    checkpoint_steps=ScheduleConfig(linear_every=20),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(CONFIG, tmp_path_factory.mktemp("runs") / "chains", progress=False)


def test_it_learns_and_opens_again(run):
    loss = run.training_loss.loss
    assert loss.iloc[-1] < loss.iloc[0]
    again = open_series(run.root)
    assert again.config == CONFIG
    assert again.source.fingerprint == run.manifest["bank"]
    with pytest.raises(ConfigError, match="markov"):
        _ = again.bank


def test_it_is_verified_and_replayed_to_the_same_bytes(run, tmp_path, capsys):
    cli.main(["verify", str(run.root)])
    assert "all unchanged" in capsys.readouterr().out
    longer = densify(run.root, 20, 40, 10, progress=False)
    assert longer.steps == [0, 20, 30, 40, 60]
    short = train(dataclasses.replace(CONFIG, steps=40), tmp_path / "short", progress=False)
    extended = resume(short.root, steps=60, progress=False)
    for name, w in run.weights(60).items():
        assert torch.equal(w, extended.weights(60)[name])


def test_seeds_in_one_pass_are_those_alone(run, tmp_path):
    seeds = train_seeds(CONFIG, [0, 1], tmp_path / "chains", jobs=1, progress=False)
    assert [s.config.seeds.init for s in seeds] == [0, 1]
    for name, w in run.weights(60).items():
        assert torch.equal(w, seeds[0].weights(60)[name])


@pytest.mark.parametrize("evaluator", ["recall", "inference", "conflict"])
def test_the_engine_is_the_hooked_transformer(run, evaluator):
    model, batch = run.model(60), run.evaluation_set(evaluator, 16)
    params = pack(run.weights(60))
    z, cache = model.run_with_cache(batch)
    hooks = [name for name in cache if ("blocks" in name and "hook_resid_pre" in name) or "pattern" in name]
    ours = forward(params, batch, CONFIG.model, capture=hooks)
    assert torch.allclose(z, logits(params, ours.final), atol=1e-5)
    for name in hooks:
        assert torch.allclose(cache[name], ours.acts[name], atol=1e-5)
    assert float(model(batch, return_type="loss").detach()) == pytest.approx(float(batch.loss(z).detach()), abs=1e-6)


def test_a_folded_model_gives_the_same_answers(run):
    model, folded, batch = run.model(60), run.model(60, fold_ln=True), run.evaluation_set("recall", 16)
    with torch.no_grad():
        torch.testing.assert_close(folded(batch).log_softmax(-1), model(batch).log_softmax(-1), rtol=0, atol=1e-5)


def test_its_loss_is_one_number_and_its_sequences_are_its_own(run):
    model, batch = run.model(60), run.evaluation_set("recall", 4)
    with pytest.raises(ConfigError, match="one number"):
        model(batch, return_type="loss", loss_per_token=True)
    other = open_series(DEMO).evaluation_set("icl", 4)
    with pytest.raises(TypeError, match="of the task 'markov', not Batch"):
        model(other)
    with pytest.raises(TypeError, match="of the task 'exemplar_label', not MarkovBatch"):
        open_series(DEMO).model(0)(batch)


@pytest.mark.parametrize(
    "ablate",
    [
        AblateHeads(heads=((0, 1),)),
        AblateHeads(heads=((1, 0), (1, 1)), kind="mean"),
        AblateMLPs(layers=(1,)),
        AblateHeads(heads=((0, 0),), kind="resample", hold=("pattern",)),
    ],
)
def test_interventions_are_hooks(run, ablate):
    model, batch = run.model(60), run.evaluation_set("inference", 64)
    hooked = model.run_with_hooks(batch, fwd_hooks=model.hooks_for(ablate, batch)).log_softmax(-1)
    identity = {"unembed.W_U": torch.eye(4), "unembed.b_U": torch.zeros(4)}
    want = batch.score(identity, hooked.detach(), ["inference_gain"])["inference_gain"]
    assert run.answers(60, "inference", ablate, n=64) == pytest.approx(want.numpy(), abs=2e-4)
    table = run.evaluate([60], ["inference"], ablate, n=64, metrics=None)
    assert table.value.iloc[-1] == pytest.approx(float(want.mean()), abs=2e-4)
    assert table.effect_low.iloc[-1] <= table.value.iloc[-1] - table.value.iloc[0] <= table.effect_high.iloc[-1]


def test_interventions_of_exemplars_and_labels_are_refused(run):
    with pytest.raises(ConfigError, match="MarkovBatch"):
        run.evaluate([60], ["inference"], ClampMatch(heads=((0, 0),)))


def test_heads_ablated_and_held_in_training_are_so_in_the_checkpoints(tmp_path):
    treated = (
        TrainingIntervention(kind="ablate", heads=((0, 1),)),
        TrainingIntervention(kind="clamp", heads=((1, 0),), pattern="previous"),
    )
    series = train(dataclasses.replace(CONFIG, training_interventions=treated), tmp_path / "treated", progress=False)
    recorded = series.metrics.query("step == 60 and evaluator == 'recall' and metric == 'recall_gain'").value.item()
    intact = series.evaluate([60], ["recall"], metrics=None).value.item()
    assert recorded != pytest.approx(intact, abs=1e-4)


def test_measures_and_pictures(run):
    scores = attention_scores(run, progress=False)
    assert set(scores.metric) == {"prefix_matching", "same_token", "previous_token", "to_self", "to_first"}
    assert scores.uniform.notna().all()
    assert set(logit_attribution(run, progress=False).metric) == {"logit_in_context", "logit_in_weights"}
    drawn = patterns(run, [60])
    assert drawn.values.shape == (1, 2, 2, 12, 12)
    assert np.allclose(drawn.values.sum(-1), 1, atol=1e-5)
    one = patterns(run, [60], "conflict", sequence=3)
    assert len(set(one.tokens)) == 12  # no two alike: plotly would draw them as one


@pytest.mark.parametrize("name", ANALYSES)
def test_analyses_run(run, name):
    analysis_answers(run, name)


def test_every_command_that_looks_takes_it(run, tmp_path, capsys):
    for words in (
        ["show"],
        ["report", "--out", str(tmp_path / "page.html"), "--quiet"],
        ["ablate", "--heads", "L0H1", "--mlp", "1"],
    ):
        cli.main([words[0], str(run.root), *words[1:]])
    out = capsys.readouterr().out
    assert "inference" in out
    assert (tmp_path / "page.html").stat().st_size < 8e6


def test_every_panel_of_the_page_answers(run):
    page = all_panels_answer(
        run,
        "",
        "&heads=0.1",
        "&heads=0.1,1.0&kind=mean&sequence=3",
        "&measure=prefix_matching",
        "&measure=effect_conflict",
        "&measure=logit",
        "&with_step=20&tab=compare",
    )
    assert page.base(f"run={run.name}")["evaluators"] == ["recall", "inference", "conflict"]
