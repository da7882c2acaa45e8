"""Opening a run, reading its checkpoints, and every way in which a run can be broken."""

import dataclasses
import json
import shutil
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from altered_runs import rewritten, with_entry, without_weights

import mechicl
from mechicl.config import to_dict
from mechicl.engine.forward import forward, logits
from mechicl.errors import ConfigError, SeriesError
from mechicl.evaluators import applying, evaluate_params, evaluation_sets
from mechicl.models.params import init, pack, shapes
from mechicl.series import Series, open_series
from mechicl.system.files import write_json
from mechicl.tasks.exemplar_label.scores import METRICS
from mechicl.training.loop import train, training_batches
from mechicl.training.step import loss

STEPS = [0, 1, 5, 10, 20, 30, 40, 50, 60]


def refused(root, *parts: str) -> None:
    with pytest.raises(SeriesError) as error:
        open_series(root)
    for part in parts:
        assert part in str(error.value)


def test_what_a_series_knows(tiny_series, tiny_config):
    assert tiny_series.name == "tiny"
    assert tiny_series.config == tiny_config
    assert tiny_series.steps == STEPS
    assert tiny_series.sequences_seen(50) == 800
    assert tiny_series.complete
    assert [e.step for e in tiny_series.entries if e.kind == "state"] == [20, 40, 60]
    assert tiny_series.manifest["schedule"] == STEPS
    assert tiny_series.manifest["versions"]["torch"] == torch.__version__
    assert tiny_series.manifest["versions"]["mechicl"] == mechicl.__version__


def test_public_names_open_and_train():
    assert mechicl.open_series is open_series
    assert mechicl.train is train
    assert mechicl.Series is Series


def test_nearest(tiny_series):
    assert tiny_series.nearest(0) == 0
    assert tiny_series.nearest(16 * 13) == 10
    assert tiny_series.nearest(16 * 57) == 60
    assert tiny_series.nearest(1e12) == 60


def test_a_moment_of_the_curves_is_the_nearest_saved_step(tiny_series):
    assert [tiny_series.step_at(16 * s) for s in (0, 13, 57, 60)] == [0, 10, 60, 60]


def test_a_moment_whose_weights_were_not_kept_is_an_error(tiny_series):
    few = without_weights(tiny_series, 5, 10, 20, 30)
    assert [few.step_at(16 * s) for s in (1, 40, 44, 60)] == [1, 40, 40, 60]
    with pytest.raises(SeriesError, match=r"or end at step 10, but .* of step 1\. `mechicl densify .* --to 60 "):
        few.step_at(16 * 10)


def test_a_little_off_will_do(tiny_series):
    assert without_weights(tiny_series, 60).step_at(16 * 44.4) == 40  # less than a tenth
    assert without_weights(tiny_series, 0).step_at(16 * 0.5) == 1  # no evaluation is nearer to it


def test_a_run_that_kept_none_yet_is_to_be_finished_first(tiny_series):
    with pytest.raises(SeriesError, match=r"or end at step 20, .*First finish it: `mechicl train --resume "):
        without_weights(tiny_series, 1, 5, 10, 20, 30, 40, 50, 60).step_at(16 * 20)


def test_weights_have_the_models_names_and_change(tiny_series, tiny_config):
    before = None
    for step in STEPS:
        weights = tiny_series.weights(step)
        assert {k: tuple(w.shape) for k, w in weights.items()} == shapes(tiny_config)
        assert all(w.dtype == torch.float32 for w in weights.values())
        assert before is None or any(not torch.equal(weights[k], before[k]) for k in weights)
        before = weights


def test_params_are_stacked_in_the_order_asked(tiny_series):
    stacked = tiny_series.params([40, 0, 60])
    for i, step in enumerate((40, 0, 60)):
        one = pack(tiny_series.weights(step))
        assert stacked.keys() == one.keys()
        assert all(torch.equal(stacked[name][i], one[name]) for name in one)


def test_model_has_the_steps_weights(tiny_series):
    batch = tiny_series.evaluation_set("icl")
    model = tiny_series.model(60)
    params = pack(tiny_series.weights(60))
    want = logits(params, forward(params, batch, tiny_series.config.model).final)
    torch.testing.assert_close(model(batch)[:, -1], want, rtol=1e-5, atol=1e-5)
    model.load_weights(tiny_series.weights(0))
    assert not torch.allclose(model(batch)[:, -1], want, atol=1e-3)


@pytest.mark.parametrize(("step", "near"), [(25, [10, 20, 30]), (61, [40, 50, 60]), (2, [0, 1, 5]), (-3, [0, 1, 5])])
def test_a_step_that_was_not_saved_is_an_error_naming_the_nearest(tiny_series, step, near):
    for read in (tiny_series.weights, tiny_series.model, lambda s: tiny_series.params([0, s])):
        with pytest.raises(SeriesError) as error:
            read(step)
        message = str(error.value)
        assert f"tiny has no checkpoint at step {step}; the nearest are {near}" in message
        inside = 0 < step <= 60  # densify can add only steps that the run went through
        assert (f"mechicl densify {tiny_series.root} --" in message) == inside


@pytest.mark.parametrize("step", ["60", None, 60.0, 60.5, True, [60], "x", float("nan"), np.array([60, 60])])
def test_a_step_that_is_no_whole_number_is_refused_by_name(tiny_series, step):
    reads = [tiny_series.weights, tiny_series.model, lambda s: tiny_series.params([s])]
    if step is not None:  # all of them
        reads.append(lambda s: tiny_series.evaluate([s], ["icl"]))
    for read in reads:
        with pytest.raises(ConfigError, match=r"step=.*: expected an optimiser step.* not ") as error:
            read(step)
        meant = isinstance(step, (str, float)) and str(step) in ("60", "60.0")
        assert ("Write step=60." in str(error.value)) == meant


@pytest.mark.parametrize("step", [60, np.int64(60), np.uint8(60), torch.tensor(60)])
def test_whole_numbers_of_any_kind_are_steps(tiny_series, step):
    assert tiny_series.entry(step).step == 60
    assert set(tiny_series.evaluate(step, "icl").step) == {60}


@pytest.mark.parametrize(
    "ablate", [[("blocks.0.attn.hook_z", print)], ("blocks.0.attn.hook_z", print), "L0H1", (0, 1), print, {"heads": 1}]
)
def test_what_is_no_intervention_is_refused_by_name(tiny_series, ablate):
    with pytest.raises(ConfigError, match=r"ablate=.*: expected an intervention"):
        tiny_series.evaluate([60], ["icl"], ablate=ablate)
    model, batch = tiny_series.model(60), tiny_series.evaluation_set("icl", 5)
    with pytest.raises(ConfigError, match="expected an intervention"):
        model.hooks_for(ablate, batch)
    with pytest.raises(ConfigError, match="expected an intervention"):
        mechicl.show_attention(tiny_series, 60, ablate=ablate)


def test_bank_and_evaluation_sets_are_those_of_the_config(tiny_series, tiny_config):
    bank = tiny_series.bank
    assert bank.fingerprint == tiny_series.manifest["bank"]
    for name, batch in evaluation_sets(tiny_config, bank).items():
        own = tiny_series.evaluation_set(name)
        assert torch.equal(own.exemplars, batch.exemplars)
        assert torch.equal(own.labels, batch.labels)
    assert len(tiny_series.evaluation_set("icl", n=7)) == 7


def test_metrics_are_those_of_the_saved_weights(tiny_series, tiny_config):
    table = tiny_series.metrics
    assert " ".join(table.columns) == "run seed step sequences evaluator metric value n ci_low ci_high"
    assert len(table) == len(STEPS) * len(applying(tiny_config)) * len(METRICS)
    sets = evaluation_sets(tiny_config, tiny_series.bank)
    for step in (0, 20, 60):
        rows = evaluate_params(pack(tiny_series.weights(step)), sets, tiny_config)
        recorded = table[table.step == step]
        assert (recorded.sequences == 16 * step).all()
        for row, (_, line) in zip(rows, recorded.iterrows(), strict=True):
            assert (row["evaluator"], row["metric"], row["n"]) == (line.evaluator, line.metric, line.n)
            assert row["value"] == pytest.approx(line.value, abs=1e-5)
    assert set(table.run) == {"tiny"}
    assert set(table.seed) == {0}


def test_training_loss_covers_every_interval_but_the_start(tiny_series, tiny_config):
    table = tiny_series.training_loss
    assert table.step.tolist() == STEPS[1:]
    assert table.sequences.tolist() == [16 * s for s in STEPS[1:]]
    assert np.isfinite(table.loss).all()
    (first,) = training_batches(tiny_config, tiny_series.bank, 0, 1)
    assert table.loss.iloc[0] == pytest.approx(loss(pack(init(tiny_config)), first, tiny_config).item(), rel=1e-6)
    assert table.loss.iloc[-1] < table.loss.iloc[0]


def test_curve(tiny_series):
    x, y = tiny_series.curve("train")
    assert x.tolist() == [16 * s for s in STEPS]
    table = tiny_series.metrics
    want = table[(table.evaluator == "train") & (table.metric == "in_context_acc")].value
    np.testing.assert_array_equal(y, want)
    _, loss = tiny_series.curve("train", "loss")
    assert loss[-1] < loss[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.evaluation_set(3), "no evaluator named 3"),
        (lambda s: s.evaluation_set("icl", 0), "n=0"),
        (lambda s: s.evaluation_set("icl", -3), "n=-3"),
        (lambda s: s.evaluation_set("icl", "5"), "n='5'.* Write n=5"),
        (lambda s: s.evaluation_set("icl", split=-1), "split=-1"),
        (lambda s: s.evaluate([60], 5), "no evaluator named 5"),
        (lambda s: mechicl.train("demo"), "config='demo': expected a Config"),
        (lambda s: mechicl.train(mechicl.recipes.demo), "expected a Config"),
        (lambda s: mechicl.train_seeds("demo", [0]), "config='demo'"),
        (lambda s: mechicl.train_seeds(s.config, 3), "seeds=3"),
        (lambda s: mechicl.train_seeds(s.config, "0..4"), "seeds='0..4'"),
        (lambda s: mechicl.train_seeds(s.config, []), "at least one"),
        (lambda s: mechicl.train_seeds(s.config, [0.5]), "seeds=0.5"),
        (lambda s: mechicl.train_seeds(s.config, [0], jobs=0), "jobs=0"),
    ],
)
def test_likely_mistakes_are_said_in_our_words(tiny_series, tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        call(tiny_series)
    assert list(tmp_path.iterdir()) == []


def test_float16_checkpoints_are_read_as_float32(tiny_config, tiny_series, tmp_path):
    half = train(dataclasses.replace(tiny_config, weights_dtype="float16"), tmp_path / "half", progress=False)
    for step in (0, 60):
        got, full = half.weights(step), tiny_series.weights(step)
        assert all(torch.equal(got[k], full[k].half().float()) and got[k].dtype == torch.float32 for k in got)
    sizes = [s.entry(60).bytes for s in (half, tiny_series)]
    assert sizes[0] < 0.6 * sizes[1]


def test_a_series_is_read_only_and_frozen(tiny_series):
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_series.root = "elsewhere"


# Broken runs.


def test_opening_reads_only_the_small_text_files(tiny_copy):
    for folder in ("weights", "state"):
        shutil.rmtree(tiny_copy.root / folder)
    again = open_series(tiny_copy.root)
    assert again.steps == STEPS
    with pytest.raises(SeriesError, match=r"weights/step_00000005\.safetensors: missing"):
        again.weights(5)


def test_opening_a_series_of_a_thousand_checkpoints_is_quick(tiny_copy):
    lines = (tiny_copy.root / "index.jsonl").read_text().splitlines()
    entry = json.loads(lines[0])
    with open(tiny_copy.root / "index.jsonl", "a") as file:
        for step in range(100, 1100):
            file.write(json.dumps(entry | {"step": step, "file": f"weights/step_{step:08d}.safetensors"}) + "\n")
    took = []
    for _ in range(5):
        start = time.perf_counter()
        series = open_series(tiny_copy.root)
        took.append(time.perf_counter() - start)
    assert len(series.steps) == 1009
    assert min(took) < 0.2


def test_what_is_not_a_run(tiny_copy, tmp_path):
    refused(tmp_path / "tniy", "tniy is not a run: it has no manifest.json", "Runs beside it: tiny.")
    refused(tmp_path / "tniy", "mechicl train demo")
    refused(tmp_path / "no" / "such", "is not a run")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is not a run")


def test_a_sweeps_folder_is_not_taken_for_a_foreign_layout(tiny_copy, tmp_path):
    """Its conditions have numbers in their names, and a config.json, as the folders of Hugging Face's Trainer have."""
    for name in ("dim-12-s0", "dim-12-s1", "dim-24-s0", "dim-24-s1"):
        shutil.copytree(tiny_copy.root, tmp_path / "small" / name)
    some = ", ".join(f"{tmp_path}/small/{name}" for name in ("dim-12-s0", "dim-12-s1", "dim-24-s0"))
    refused(tmp_path / "small", f"small is a folder of 4 runs, such as a sweep's. Give one run: {some}, ...")


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_is_refused(tiny_copy, number):
    write_json(tiny_copy.root / "manifest.json", tiny_copy.manifest | {"format": number})
    refused(tiny_copy.root, f"has format {number!r}; this mechicl reads format 1", "git pull")


def test_broken_text_files_are_named(tiny_copy):
    root = tiny_copy.root
    for name in ("manifest.json", "config.json"):
        whole = (root / name).read_bytes()
        for broken in (whole[: len(whole) // 2], b"", b"\xff\xfe"):
            (root / name).write_bytes(broken)
            refused(root, f"{name} cannot be read")
        (root / name).write_bytes(b"[]")
        refused(root, f"{name} is not a JSON object")
        (root / name).write_bytes(whole)
    (root / "config.json").unlink()
    refused(root, "config.json cannot be read")


def test_a_config_of_another_version_names_the_key(tiny_copy):
    data = to_dict(tiny_copy.config)
    data["optim"]["momentum"] = 0.9
    write_json(tiny_copy.root / "config.json", data)
    refused(tiny_copy.root, "config.json: config.optim.momentum: unknown key")


def test_a_torn_index_loses_one_checkpoint_and_no_more(tiny_copy):
    path = tiny_copy.root / "index.jsonl"
    whole = path.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1
    for cut in (last, last + 1, (last + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        series = open_series(tiny_copy.root)
        assert len(series.entries) == len(tiny_copy.entries) - 1
    path.write_bytes(whole[: last - 5] + whole[last:])
    refused(tiny_copy.root, "index.jsonl, line", "is not a JSON object: the file was changed")


def test_torn_metrics_lose_one_step_and_no_more(tiny_copy):
    path = tiny_copy.root / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert open_series(tiny_copy.root).metrics.step.unique().tolist() == STEPS[:-1]
    assert open_series(tiny_copy.root).training_loss.step.tolist() == STEPS[1:-1]
    path.write_bytes(whole.replace(b'"step": 20', b'"step: 20'))
    with pytest.raises(SeriesError, match=r"metrics\.jsonl, line 5, is not a JSON object"):
        _ = open_series(tiny_copy.root).metrics


def test_damaged_checkpoints_are_named_and_the_others_still_read(tiny_copy):
    weights = tiny_copy.root / "weights"
    torn = weights / "step_00000010.safetensors"
    torn.write_bytes(torn.read_bytes()[:-4])
    altered = weights / "step_00000020.safetensors"
    data = bytearray(altered.read_bytes())
    data[-1] ^= 1
    altered.write_bytes(bytes(data))
    (weights / "step_00000030.safetensors").unlink()
    shutil.copy(weights / "step_00000050.safetensors", weights / "step_00000040.safetensors")
    series = open_series(tiny_copy.root)
    for step, problem in ((10, "torn or truncated"), (20, "altered"), (30, "missing"), (40, "altered")):
        with pytest.raises(SeriesError) as error:
            series.weights(step)
        assert f"step_{step:08d}.safetensors" in str(error.value)
        assert problem in str(error.value)
        assert f"mechicl verify {series.root}" in str(error.value)
    assert series.weights(50).keys() == series.weights(60).keys()


@pytest.mark.parametrize("file", ["../../secret.safetensors", "/etc/hostname", "weights/../config.json"])
def test_an_index_cannot_lead_out_of_the_run(tiny_copy, tmp_path, file):
    secret = tmp_path / "secret.safetensors"
    shutil.copy(tiny_copy.root / "weights" / "step_00000060.safetensors", secret)
    series = with_entry(tiny_copy, 20, file=file)
    with pytest.raises(SeriesError, match="lies outside the run"):
        series.weights(20)


def test_a_whole_file_of_another_model_is_refused(tiny_copy):
    weights = tiny_copy.weights(20)
    weights["embed.W_E"] = weights["embed.W_E"].T.contiguous()
    series = rewritten(tiny_copy, 20, safetensors.torch.save(weights))
    with pytest.raises(SeriesError, match=r"step 20: parameter embed\.W_E has shape \(16, 8\)"):
        series.weights(20)


def test_a_bank_that_cannot_be_rebuilt_is_refused(tiny_copy):
    write_json(tiny_copy.root / "manifest.json", tiny_copy.manifest | {"bank": "0" * 64})
    series = open_series(tiny_copy.root)
    assert series.weights(60)
    with pytest.raises(SeriesError, match="the bank rebuilt here differs from the one it was trained on"):
        series.evaluation_set("icl")


def test_a_run_without_checkpoints_says_how_to_go_on(tiny_copy):
    (tiny_copy.root / "index.jsonl").unlink()
    (tiny_copy.root / "metrics.jsonl").unlink()
    series = open_series(tiny_copy.root)
    assert series.steps == []
    assert not series.complete
    assert series.metrics.empty
    assert series.training_loss.empty
    with pytest.raises(SeriesError, match="has no checkpoints yet: `mechicl train --resume"):
        series.weights(0)
