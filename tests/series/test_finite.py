"""A run that is no longer numbers stops at the checkpoint that would have held them, and says where and why."""

import json
from dataclasses import replace

import pytest
import torch
from altered_runs import rewritten
from safetensors.torch import save

from mechicl.config import OptimConfig, ScheduleConfig, TrainingIntervention
from mechicl.errors import SeriesError
from mechicl.models.params import not_finite
from mechicl.series import open_series
from mechicl.series.finite import Diverged
from mechicl.series.storage import LATEST, file_problem, load_latest, load_tensors
from mechicl.training.loop import train
from mechicl.training.replay import resume
from mechicl.training.step import Trainer


def stopped(config, root) -> str:
    """How a training stops; what it has saved until then is whole and finite."""
    with pytest.raises(Diverged) as error:
        train(config, root, progress=False)
    series = open_series(root)
    for entry in series.entries:
        assert file_problem(root, entry) is None
        assert not_finite(load_tensors(root, entry)) is None
    recorded = (root / "metrics.jsonl").read_text()
    assert "NaN" not in recorded
    assert "Infinity" not in recorded
    assert len(recorded.splitlines()) == len(series.evaluated)
    return str(error.value)


def spoiled(monkeypatch, at: int, spoil) -> None:
    """Training in which something happens to the trainer in the update that leads to a step."""
    update = Trainer.update

    def changed(trainer, batch):
        value = update(trainer, batch)
        if trainer.step == at:
            spoil(trainer)
        return value

    monkeypatch.setattr(Trainer, "update", changed)


@pytest.fixture
def config(tiny_config):
    """12 steps, evaluated and saved at 0, 4, 8, 12; states at 4, 8, 12."""
    return replace(tiny_config, steps=12, checkpoint_steps=ScheduleConfig(linear_every=4))


def test_half_precision_that_overflows_with_a_finite_loss(config, tmp_path):
    large = replace(config, weights_dtype="float16", optim=OptimConfig(lr=3e4))
    message = stopped(large, tmp_path / "run")
    assert "float16, the run's weights_dtype, cannot at step 4; the run diverged and stopped" in message
    assert "weights_dtype='float32'" in message
    assert open_series(tmp_path / "run").steps == [0]
    # and that is all that was wrong
    whole = train(replace(large, weights_dtype="float32"), tmp_path / "wide", progress=False)
    assert whole.complete
    assert whole.training_loss.loss.notna().all()
    assert max(float(w.abs().max()) for w in whole.weights(4).values()) > 65504


@pytest.mark.parametrize("keep", ["all", "metrics"])
@pytest.mark.parametrize(("row", "what"), [(0, "weights/"), (1, "exp_avg/"), (2, "exp_avg_sq/")])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weight_or_moment_that_the_loss_does_not_show(config, tmp_path, monkeypatch, keep, row, what, value):
    def spoil(trainer):
        name = "ln_final.b"
        (trainer.params[name], *trainer.moments[name])[row][3] = value

    spoiled(monkeypatch, 8, spoil)
    message = stopped(replace(config, keep=keep), tmp_path / "run")
    assert f"{what}ln_final.b has numbers that are not finite at step 8" in message
    series = open_series(tmp_path / "run")
    assert series.evaluated == [0, 4]
    assert [e.step for e in series.entries if e.kind == "state"] == ([4] if keep == "all" else [])
    if keep == "metrics":
        latest = load_latest(tmp_path / "run")
        assert latest is not None
        assert int(latest["step"]) == 4
        assert (tmp_path / "run" / LATEST).exists()


def test_what_stopped_in_one_place_goes_on_where_nothing_spoils_it(config, tmp_path, monkeypatch):
    spoiled(monkeypatch, 8, lambda trainer: trainer.params["embed.W_E"].fill_(torch.nan))
    stopped(config, tmp_path / "run")
    monkeypatch.undo()
    again = resume(tmp_path / "run", progress=False)
    plain = train(config, tmp_path / "plain", progress=False)
    assert [e.sha256 for e in again.entries] == [e.sha256 for e in plain.entries]


def test_a_score_that_is_no_number(config, tmp_path, monkeypatch):
    import sys

    module = sys.modules["mechicl.training.loop"]
    evaluate = module.evaluate_params

    def broken(params, *rest):
        rows = evaluate(params, *rest)
        next(r for r in rows if r["evaluator"] == "flip" and r["metric"] == "loss")["value"] = float("inf")
        return rows

    monkeypatch.setattr(module, "evaluate_params", broken)
    message = stopped_at_once(config, tmp_path / "run")
    assert "loss of the evaluator flip is inf at step 0, where nothing was trained yet: the sequences" in message
    assert "diverged" not in message
    assert "optim.lr" not in message


def stopped_at_once(config, root) -> str:
    with pytest.raises(SeriesError) as error:
        train(config, root, progress=False)
    assert open_series(root).entries == ()
    assert not (root / "metrics.jsonl").exists()
    return str(error.value)


def broken_at(series, step):
    """An old run that was saved as it diverged."""
    weights = series.weights(step)
    weights["blocks.1.attn.W_K"][0, 1, 2] = torch.nan
    return rewritten(series, step, save(weights))


def test_an_old_run_that_diverged_is_read_up_to_there(tiny_copy):
    series = broken_at(tiny_copy, 30)
    words = r"step 30: blocks\.1\.attn\.W_K has numbers that are not finite"
    for ask in (series.weights, series.model, lambda s: series.params([10, 20, s, 40]), lambda s: series.evaluate([s])):
        with pytest.raises(SeriesError, match=words):
            ask(30)
    assert len(series.evaluate([10, 20, 40], ["icl"])) == 9


def test_no_graft_from_what_is_not_finite(tiny_copy, tmp_path):
    series = broken_at(tiny_copy, 30)
    graft = TrainingIntervention(kind="graft", groups=("attention",), source=str(series.root), step=30)
    with pytest.raises(SeriesError, match=r"step 30: blocks\.1\.attn\.W_K has numbers that are not finite"):
        train(replace(series.config, training_interventions=(graft,)), tmp_path / "run", progress=False)


def test_not_finite_looks_at_every_number():
    large = torch.full((3,), 3e38)  # whose sum is none
    assert not_finite({"a": large, "b": torch.tensor(3)}) is None
    assert not_finite({"a": large, "b": torch.tensor([1.0, -torch.inf, torch.inf])}) == "b"
    assert not_finite({"a": torch.tensor([65504.0] * 9, dtype=torch.float16)}) is None
    assert json.dumps(not_finite({})) == "null"
