"""Each way in which a run can be wrong is found and named, alone."""

import json
import re
import shlex
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from mechicl import cli
from mechicl.config import OptimConfig, TrainingIntervention
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.series.reevaluate import differences, sample
from mechicl.series.storage import Writer
from mechicl.series.verify import verify
from mechicl.system.files import write_json
from mechicl.training.loop import train


def lines(root, name):
    return [json.loads(x) for x in (root / name).read_text().splitlines()]


def rewrite(root, name, records):
    (root / name).write_text("".join(json.dumps(r) + "\n" for r in records))


def replace_weights(series, step, change):
    """Other weights at a step, with an index that agrees: as if the run had saved them."""
    root, weights = series.root, series.weights(step)
    change(weights)
    rewrite(
        root,
        "index.jsonl",
        [r for r in lines(root, "index.jsonl") if not (r["kind"] == "weights" and r["step"] == step)],
    )
    (root / f"weights/step_{step:08d}.safetensors").unlink()
    Writer(root).save("weights", step, step * 16, weights)


def test_a_trained_run_is_sound(tiny_series, known_series):
    assert verify(tiny_series.root) == []
    assert verify(known_series.root) == []


def test_a_missing_file(tiny_copy):
    (tiny_copy.root / "weights/step_00000005.safetensors").unlink()
    assert verify(tiny_copy.root) == ["weights/step_00000005.safetensors: missing."]


def test_a_truncated_file(tiny_copy):
    path = tiny_copy.root / "weights/step_00000020.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert verify(tiny_copy.root) == [
        f"weights/step_00000020.safetensors: {len(whole) - 7} bytes, but {len(whole)} were written (torn or truncated)."
    ]


@pytest.mark.parametrize("file", ["weights/step_00000060.safetensors", "state/step_00000040.safetensors"])
def test_one_altered_bit(tiny_copy, file):
    path = tiny_copy.root / file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert verify(tiny_copy.root) == [f"{file}: its sha256 is not the recorded one (altered)."]


def test_a_file_outside_the_run(tiny_copy):
    records = lines(tiny_copy.root, "index.jsonl")
    records[0]["file"] = "../elsewhere.safetensors"
    rewrite(tiny_copy.root, "index.jsonl", records)
    got = verify(tiny_copy.root)
    assert "../elsewhere.safetensors: lies outside the run." in got
    assert any("weights/step_00000000.safetensors: not in the index" in p for p in got)


def test_the_same_weights_at_neighbouring_steps(tiny_copy):
    other = tiny_copy.weights(20)
    replace_weights(tiny_copy, 30, lambda w: w.update(other))
    assert verify(tiny_copy.root) == [
        "steps 20 and 30: the same weights (sha256) at both, though 10 updates lie between."
    ]


def test_the_same_weights_far_apart(tiny_copy):
    """Pythia's published series had a copy of its last file in the place of an earlier one."""
    other = tiny_copy.weights(60)
    replace_weights(tiny_copy, 30, lambda w: w.update(other))
    assert verify(tiny_copy.root) == [
        "steps 30 and 60: the same weights (sha256) at both, though 30 updates lie between."
    ]


def test_every_pair_of_the_same_weights_is_named(tiny_copy):
    other = tiny_copy.weights(60)
    for step in (1, 30):
        replace_weights(tiny_copy, step, lambda w: w.update(other))
    got = verify(tiny_copy.root)
    assert [re.match(r"steps (\d+) and (\d+)", p).groups() for p in got] == [("1", "30"), ("30", "60")]


@pytest.mark.parametrize(
    "changes",
    [
        {"optim": OptimConfig(lr=0.0)},
        {"training_interventions": (TrainingIntervention(kind="freeze", groups=("all",)),)},
    ],
)
def test_where_nothing_is_trained_the_same_weights_are_no_fault(tiny_config, tmp_path, changes):
    root = train(replace(tiny_config, steps=20, **changes), tmp_path / "still", progress=False).root
    assert len({e.sha256 for e in open_series(root).entries if e.kind == "weights"}) == 1
    assert verify(root) == []


# Evaluated again.


def slightly_other(series, step):
    replace_weights(series, step, lambda w: w.update({k: 1.1 * x for k, x in w.items() if "W_U" in k}))


def test_weights_that_do_not_score_what_was_recorded(tiny_copy):
    slightly_other(tiny_copy, 20)
    (got,) = verify(tiny_copy.root)
    assert got.startswith("step 20: evaluated again, ")
    assert "but metrics.jsonl has " in got


def test_a_sample_is_evaluated_again_or_all(tiny_copy):
    slightly_other(tiny_copy, 30)
    assert sample(tiny_copy.steps, 5) == [0, 5, 20, 40, 60]
    assert verify(tiny_copy.root) == []
    (got,) = verify(tiny_copy.root, again=None)
    assert got.startswith("step 30: ")
    assert verify(tiny_copy.root, again=0) == []


def test_metrics_that_were_changed(tiny_copy):
    records = lines(tiny_copy.root, "metrics.jsonl")
    row = next(r for r in records[-1]["evaluators"] if (r["evaluator"], r["metric"]) == ("icl", "in_context_acc"))
    row["value"] += 0.08
    rewrite(tiny_copy.root, "metrics.jsonl", records)
    got = verify(tiny_copy.root)
    assert got[0] == "metrics.jsonl: the line of step 60 is not what was written (altered)."
    assert got[1].startswith("step 60: evaluated again, in_context_acc of icl is ")
    assert len(got) == 2


def test_metrics_that_were_changed_are_found_without_evaluating_them_again(tiny_copy):
    records = lines(tiny_copy.root, "metrics.jsonl")
    records[5]["evaluators"][0]["value"] = 0.11
    rewrite(tiny_copy.root, "metrics.jsonl", records)
    step = records[5]["step"]
    assert verify(tiny_copy.root, again=0) == [
        f"metrics.jsonl: the line of step {step} is not what was written (altered)."
    ]


def test_settings_that_were_changed(tiny_copy):
    config = json.loads((tiny_copy.root / "config.json").read_text())
    config["optim"]["lr"] = 0.5
    write_json(tiny_copy.root / "config.json", config)
    assert verify(tiny_copy.root) == ["config.json: its sha256 is not the recorded one (altered)."]


def test_of_an_earlier_run_it_says_what_cannot_be_checked(tiny_copy):
    root, notes = tiny_copy.root, []
    write_json(root / "manifest.json", {k: v for k, v in tiny_copy.manifest.items() if k != "config_sha256"})
    kept = [{k: v for k, v in line.items() if k != "sha256"} for line in lines(root, "metrics.jsonl")]
    rewrite(root, "metrics.jsonl", kept)
    assert verify(root, notes=notes) == []
    assert [note.split(" ")[0] for note in notes] == ["config.json", "metrics.jsonl"]
    assert "9 lines without a sha256" in notes[1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "training_interventions": (
                TrainingIntervention(kind="relabel", every=7),
                TrainingIntervention(kind="ablate", heads=((0, 1),), start=5),
            )
        },
        {"keep": "metrics"},
    ],
)
def test_on_this_machine_the_numbers_are_the_recorded_ones_to_the_last_bit(tiny_config, tmp_path, changes):
    series = train(replace(tiny_config, steps=20, **changes), tmp_path / "run", progress=False)
    pairs = [pair for each in differences(series, series.steps).values() for pair in each]
    assert len(pairs) == 18 * len(series.steps)  # six evaluators, three metrics
    assert all(then == now for then, now in pairs)
    assert verify(series.root, again=None) == []


def test_what_half_precision_rounds_is_no_fault(tiny_config, tmp_path):
    root = train(replace(tiny_config, weights_dtype="float16"), tmp_path / "run", progress=False).root
    assert verify(root, again=None) == []


def test_without_its_images_the_rest_is_checked_and_that_is_said(tiny_copy, monkeypatch):
    def missing(*_):
        raise ConfigError("bank.kind='omniglot' needs images: --data DIR")

    monkeypatch.setattr("mechicl.tasks.exemplar_label.banks.build.build_bank", missing)
    notes: list[str] = []
    assert verify(tiny_copy.root, notes=notes) == []
    assert len(notes) == 1
    assert "needs images: --data DIR" in notes[0]
    (tiny_copy.root / "weights/step_00000005.safetensors").unlink()
    assert verify(tiny_copy.root) == ["weights/step_00000005.safetensors: missing."]


def test_another_bank_is_a_problem(tiny_copy):
    write_json(tiny_copy.root / "manifest.json", tiny_copy.manifest | {"bank": "0" * 64})
    (got,) = verify(tiny_copy.root)
    assert "the bank rebuilt here differs" in got


def test_weights_that_are_not_finite(tiny_copy):
    def spoil(weights):
        weights["blocks.0.attn.W_O"][1, 2, 3] = torch.inf

    replace_weights(tiny_copy, 10, spoil)
    assert verify(tiny_copy.root) == ["step 10: blocks.0.attn.W_O has numbers that are not finite."]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.update({"unembed.b_U": torch.zeros(9)}), "step 10: parameter unembed.b_U has shape (9,)"),
        (lambda w: w.pop("embed.W_E"), "step 10: parameter embed.W_E has shape None"),
    ],
)
def test_weights_of_another_model(tiny_copy, change, words):
    replace_weights(tiny_copy, 10, change)
    (got,) = verify(tiny_copy.root)
    assert words in got


def test_stray_files(tiny_copy):
    for name in ("weights/.step_00000007.safetensors.tmp", "state/step_00000010.safetensors"):
        (tiny_copy.root / name).write_bytes(b"half")
    got = verify(tiny_copy.root)
    assert [p.split(":")[0] for p in got] == [
        "weights/.step_00000007.safetensors.tmp",
        "state/step_00000010.safetensors",
    ]
    assert all("not in the index" in p and f"mechicl train --resume {tiny_copy.root}" in p for p in got)


def test_a_schedule_that_is_not_the_configs(tiny_copy):
    manifest = tiny_copy.manifest | {"schedule": [*tiny_copy.manifest["schedule"], 59]}
    write_json(tiny_copy.root / "manifest.json", manifest)
    assert verify(tiny_copy.root) == ["manifest.json: its schedule is not the one that config.json describes."]


def test_a_run_that_was_not_finished(tiny_copy):
    root = tiny_copy.root
    for name in ("index.jsonl", "metrics.jsonl"):
        rewrite(root, name, [r for r in lines(root, name) if r["step"] <= 20])
    for path in root.glob("*/step_*.safetensors"):
        if int(path.stem.removeprefix("step_")) > 20:
            path.unlink()
    assert verify(root) == [
        f"4 of 9 scheduled checkpoints are missing, the first at step 30: `mechicl train --resume {root}`."
    ]


def test_a_checkpoint_without_its_metrics(tiny_copy):
    kept = [r for r in lines(tiny_copy.root, "metrics.jsonl") if r["step"] not in (30, 50)]
    rewrite(tiny_copy.root, "metrics.jsonl", kept)
    assert verify(tiny_copy.root) == ["metrics.jsonl: no line for step 30 (2 steps in all)."]


def test_several_problems_are_all_named(tiny_copy):
    root = tiny_copy.root
    (root / "weights/step_00000001.safetensors").unlink()
    (root / "weights/step_00000005.safetensors").write_bytes(b"")
    (root / "weights/x").write_bytes(b"")
    rewrite(root, "metrics.jsonl", lines(root, "metrics.jsonl")[:-1])
    got = verify(root)
    assert len(got) == 4
    for words in ("step_00000001.safetensors: missing", "0 bytes, but", "no line for step 60", "weights/x: not"):
        assert sum(words in p for p in got) == 1, words


def test_what_cannot_be_opened_is_an_error(tiny_copy, tmp_path):
    with pytest.raises(SeriesError, match="is not a run: it has no manifest"):
        verify(tmp_path / "nothing")
    config = json.loads((tiny_copy.root / "config.json").read_text())
    config["model"]["n_head"] = config["model"].pop("n_heads")
    write_json(tiny_copy.root / "config.json", config)
    with pytest.raises(SeriesError, match=re.escape("config.model.n_head: unknown key. Did you mean 'n_heads'?")):
        verify(tiny_copy.root)


def test_verifying_writes_nothing(tiny_copy):
    def state():
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tiny_copy.root.rglob("*") if p.is_file()}

    before = state()
    verify(tiny_copy.root)
    assert state() == before
    assert len(open_series(tiny_copy.root).steps) == 9
    weights = safetensors.torch.load_file(tiny_copy.root / "weights/step_00000060.safetensors")
    assert all(torch.equal(w, tiny_copy.weights(60)[k]) for k, w in weights.items())


@pytest.mark.parametrize("step", [0, 30])
def test_a_damaged_checkpoint_is_named_with_the_command_that_writes_it_again(tiny_copy, step):
    file = tiny_copy.root / tiny_copy.entry(step).file
    file.write_bytes(b"x" + file.read_bytes()[1:])
    notes: list[str] = []
    assert len(verify(tiny_copy.root, notes=notes)) == 1
    words = shlex.split(notes[0].partition(": `mechicl ")[2].partition("`")[0])
    assert words[0] == "densify"
    cli.main([*words, "--quiet"])
    assert verify(tiny_copy.root) == []
