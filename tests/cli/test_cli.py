"""Every verb in-process on a tiny series, and every mistake: one message, exit code 2, no traceback."""

import dataclasses
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import called
from PIL import Image

import analyses
import mechicl
from mechicl import cli, recipes
from mechicl.cli.overview import overview
from mechicl.config import ScheduleConfig, Window
from mechicl.errors import ConfigError
from mechicl.loading import parse_seeds
from mechicl.series import open_series
from mechicl.settings import assignments, changed
from mechicl.system.files import read_jsonl
from mechicl.training.loop import train


@pytest.fixture
def run(capsys):
    """Run a command line; returns (exit code, stdout, stderr)."""

    return partial(called, capsys)


@pytest.fixture
def refused(run):
    """A command line that is refused: exit 2, nothing on stdout, one line that says why."""

    def call(*arguments) -> str:
        code, out, err = run(*arguments)
        assert code == 2
        assert out == ""
        assert err.startswith("mechicl: ")
        assert err.endswith("\n")
        assert "Traceback" not in err
        return err.removeprefix("mechicl: ").strip()

    return call


@pytest.fixture
def tiny_recipe(tiny_config, monkeypatch, tmp_path):
    """A recipe `tiny-run` of 20 steps, in a working directory of its own."""

    def recipe():
        """Nothing is reproduced.

        Takes no time."""
        every = dataclasses.replace(tiny_config.checkpoint_steps, linear_every=5)
        return dataclasses.replace(tiny_config, name="tiny-run", steps=20, checkpoint_steps=every)

    monkeypatch.setitem(recipes.RECIPES, "tiny-run", recipe)
    monkeypatch.chdir(tmp_path)
    return recipe


@pytest.fixture(scope="module")
def copy(tiny_series, tmp_path_factory):
    """The tiny series, to write beside."""
    root = tmp_path_factory.mktemp("cli") / "tiny"
    shutil.copytree(tiny_series.root, root)
    return root


# Help.


VERBS = [name for commands in cli.app.groups.values() for name in commands]


@pytest.mark.parametrize("line", [["--help"], ["-h"], ["--help", "train"]])
def test_help_is_the_overview(run, line):
    assert run(*line) == (0, overview(cli.app.groups) + "\n", "")


def test_mechicl_alone_says_what_there_is(run):
    code, out, err = run()
    assert (code, err) == (2, "")
    assert out == run("--help")[1]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("train", ["RECIPE", "--seed", "--seeds", "--out", "--resume", "--data", "--quiet"]),
        ("analyze", ["RUN", "NAME", "--quiet"]),
        ("report", ["RUN", "--out"]),
        ("densify", ["RUN", "--from", "--to", "--every"]),
        ("verify", ["RUN"]),
        ("show", ["RUN"]),
        ("recipes", []),
    ],
)
def test_help_of_each_verb_names_its_options(run, verb, words):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"mechicl {verb}" in out
    for word in words:
        assert word in out


def test_version(run):
    assert run("--version") == (0, f"mechicl {mechicl.__version__}\n", "")


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_what_may_be_left_out_and_no_none(run, verb):
    out = run(verb, "--help")[1]
    assert "None" not in out
    assert "(default: )" not in out
    assert "(default: '')" not in out
    usage = out.partition("\n\n")[0]
    optional = {"recipes": "[RECIPE]", "train": "[RECIPE]", "analyze": "[NAME]", "measure": "[NAME]", "app": "[RUN...]"}
    optional = optional.get(verb)
    assert [word for word in ("[RECIPE]", "[NAME]", "[RUN]", "[RUN...]") if word in usage] == (
        [optional] if optional else []
    )


def test_help_names_every_analysis(run):
    out = run("analyze", "--help")[1]
    assert [name for name in analyses.NAMES if not re.search(rf"\b{name}\b", out)] == []


def test_examples_stand_a_line_each(run):
    for verb in ("train", "sweep", "show"):
        lines = run(verb, "--help")[1].splitlines()
        assert sum(line.startswith(f"$ mechicl {verb}") for line in lines) >= 2, verb


def test_a_reader_that_leaves_is_no_error():
    command = [sys.executable, "-m", "mechicl", "recipes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("line", ["trane", "verify", "densify x --from 1", "show --wrong x"])
def test_a_line_that_is_none_is_exit_2(run, line):
    code, _, err = run(*line.split())
    assert code == 2
    assert err.strip()


# Recipes.


def test_recipes_are_listed_with_what_they_say(run, tiny_recipe):
    code, out, _ = run("recipes")
    assert code == 0
    for name in recipes.RECIPES:
        assert re.search(rf"^{re.escape(name)}$", out, flags=re.M)
    assert "tiny-run\n    Nothing is reproduced.\n    Takes no time.\n" in out
    assert "`mechicl train NAME`" in out.splitlines()[-1]
    assert "`mechicl recipes NAME`" in out.splitlines()[-1]


# Features.


def test_pictures_become_a_bank_that_a_recipe_trains_on(run, refused, tiny_config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for c in range(tiny_config.bank.n_classes + tiny_config.bank.n_holdout_classes):
        (tmp_path / "pictures" / f"{c:03}").mkdir(parents=True)
        for i in range(4):
            drawn = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
            drawn.save(tmp_path / "pictures" / f"{c:03}" / f"{i}.png")
    code, out, _ = run("features", "pictures", "--encoder", "pixels", "--size", 9, "--out", "f.safetensors", "--quiet")
    assert code == 0
    assert "4 exemplars x 81 features" in out
    bank = dataclasses.replace(tiny_config.bank, kind="features", n_exemplars=4, n_holdout_exemplars=0, dim=81)
    monkeypatch.setitem(recipes.RECIPES, "mine", lambda: dataclasses.replace(tiny_config, name="mine", bank=bank))
    assert run("train", "mine", "--data", "f.safetensors", "--quiet")[0] == 0
    series = open_series("checkpoints/mine")
    geometry = series.manifest["bank_geometry"]  # scale and mean are part of a setting: they are on record
    assert geometry["norm"] == pytest.approx(series.bank.norm, rel=1e-4)
    assert 0 < geometry["mean_norm"] < geometry["norm"]
    assert run("verify", "checkpoints/mine")[0] == 0
    assert "exists already" in refused("features", "pictures", "--out", "f.safetensors")


# Train.


def test_train_and_then_resume_and_train_again(run, refused, tiny_recipe, tmp_path):
    code, out, err = run("train", "tiny-run", "--quiet")
    assert (code, err) == (0, "")
    assert out == (
        "checkpoints/tiny-run: 6 checkpoints, to step 20.\n"
        "Look at it with `mechicl show checkpoints/tiny-run`; analyse it with `mechicl report checkpoints/tiny-run`.\n"
    )
    root = tmp_path / "checkpoints" / "tiny-run"
    series = open_series(root)
    assert series.config == tiny_recipe()
    assert series.complete
    files = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    code, out, _ = run("train", "--resume", "checkpoints/tiny-run", "--quiet")
    said = "checkpoints/tiny-run has 6 checkpoints, to step 20. It is complete; `mechicl train --resume "
    assert (code, out) == (0, said + "checkpoints/tiny-run --steps N` trains it longer.\n")
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == files
    message = refused("train", "tiny-run", "--quiet")
    assert message.startswith("checkpoints/tiny-run contains a run already.")
    assert "mechicl train --resume checkpoints/tiny-run" in message


def test_train_shows_its_progress_on_stderr(run, tiny_recipe):
    code, out, err = run("train", "tiny-run")
    assert code == 0
    assert "loss" in err
    assert "icl" in err
    assert "%" not in out


def test_train_with_a_seed_and_a_folder(run, tiny_recipe, tmp_path):
    assert run("train", "tiny-run", "--seed", "3", "--quiet")[0] == 0
    assert run("train", "tiny-run", "--out", tmp_path / "here", "--quiet")[0] == 0
    seeded = open_series(tmp_path / "checkpoints" / "tiny-run-s3")
    plain = open_series(tmp_path / "here")
    assert seeded.config == tiny_recipe().with_seed(3)
    assert plain.config == tiny_recipe()
    assert not torch.equal(seeded.weights(0)["embed.W_E"], plain.weights(0)["embed.W_E"])
    direct = train(tiny_recipe(), tmp_path / "direct", progress=False)
    assert all(torch.equal(w, direct.weights(20)[k]) for k, w in plain.weights(20).items())


@pytest.mark.slow
def test_train_several_seeds_skips_what_is_finished_and_continues_what_is_not(run, tiny_recipe, tmp_path):
    assert run("train", "tiny-run", "--seeds", "0,2", "--quiet")[0] == 0
    roots = {s: tmp_path / "checkpoints" / f"tiny-run-s{s}" for s in range(3)}
    assert [s for s, root in roots.items() if root.exists()] == [0, 2]
    want = {s: open_series(roots[s]) for s in (0, 2)}
    times = {p: p.stat().st_mtime_ns for p in roots[0].rglob("*") if p.is_file()}
    last = want[2].entry(20)
    for name in ("index.jsonl", "metrics.jsonl"):  # seed 2 was interrupted before its last step
        lines = (roots[2] / name).read_text().splitlines(keepends=True)
        (roots[2] / name).write_text("".join(x for x in lines if '"step": 20' not in x))
    for path in roots[2].glob("*/step_00000020.safetensors"):
        path.unlink()
    code, out, _ = run("train", "tiny-run", "--seeds", "0..2", "--quiet")
    assert code == 0
    assert [re.match(r"(\S+): 6 checkpoints, to step 20", x)[1] for x in out.splitlines()[:3]] == [
        f"checkpoints/tiny-run-s{s}" for s in range(3)
    ]
    assert {p: p.stat().st_mtime_ns for p in roots[0].rglob("*") if p.is_file()} == times  # not touched
    assert open_series(roots[2]).entry(20) == last
    assert [open_series(r).config.seeds.init for r in roots.values()] == [0, 1, 2]
    assert len(read_jsonl(roots[2] / "metrics.jsonl")) == 6


def test_train_seeds_beside_a_folder(run, tiny_recipe, tmp_path):
    assert run("train", "tiny-run", "--seeds", "1", "--out", "deep/mine", "--quiet")[0] == 0
    assert open_series(tmp_path / "deep" / "mine-s1").config.seeds.init == 1


@pytest.mark.slow
def test_train_with_other_settings(run, refused, tiny_recipe, tmp_path):
    set_two = ("train", "tiny-run", "--set", "model.n_layers=1", "--set", "optim.l2_form=decoupled", "--quiet")
    assert run(*set_two)[0] == 0
    series = open_series(tmp_path / "checkpoints" / "tiny-run_n_layers-1_l2_form-decoupled")
    plain = tiny_recipe()
    assert series.config == dataclasses.replace(
        plain,
        model=dataclasses.replace(plain.model, n_layers=1),
        optim=dataclasses.replace(plain.optim, l2_form="decoupled"),
    )
    assert "contains a run already" in refused(*set_two)
    assert run("train", "tiny-run", "--set", "bank.eps=0.5", "--seeds", "0,1", "--quiet")[0] == 0
    assert run("train", "tiny-run", "--set", "bank.eps=0.5", "--seed", "2", "--quiet")[0] == 0
    assert run("train", "tiny-run", "--set", "name=mine", "--quiet")[0] == 0
    assert run("train", "tiny-run", "--set", "bank.eps=0.5", "--out", tmp_path / "here", "--quiet")[0] == 0
    assert open_series(tmp_path / "here").config.bank.within_class_std == 0.5
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {
        "tiny-run_n_layers-1_l2_form-decoupled",
        *(f"tiny-run_within_class_std-0.5-s{s}" for s in range(3)),
        "mine",
    }
    assert open_series(tmp_path / "checkpoints" / "mine").config.name == "mine"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("model.n_layer=3", "--set model.n_layer: the config has no such field. Did you mean 'model.n_layers'?"),
        ("n_layers=3", "Did you mean 'model.n_layers'?"),
        ("model=3", "It is a table: set one of its fields, as model."),
        ("model.n_layers", "expected FIELD=VALUE, such as --set model.n_layers=3"),
        ("model.n_layers=", "expected FIELD=VALUE"),
        ("=3", "expected FIELD=VALUE"),
        ("model n_layers=3", "--set model n_layers=3"),
        ("model.n_layers=three", "config.model.n_layers='three': expected int, got str."),
        ("model.n_layers=[1", "its value is not TOML"),
        ("bank.dim=0", "--set (bank.dim = 0): bank.dim=0: expected at least 1."),
        ("optim.lr_schedule=cosine", "config.optim.lr_schedule='cosine': expected one of 'constant', 'inverse_sqrt'."),
    ],
)
def test_settings_that_are_none(refused, tiny_recipe, tmp_path, given, words):
    assert words in refused("train", "tiny-run", "--set", given)
    assert not (tmp_path / "checkpoints").exists()


def test_settings_go_with_a_recipe_and_are_given_once(refused, tiny_recipe):
    twice = ("--set", "bank.dim=4", "--set", "bank.dim=5")
    assert refused("train", "tiny-run", *twice) == "--set bank.dim is given twice: as 4 and as 5."
    message = refused("train", "--resume", "checkpoints/x", "--set", "bank.dim=4")
    assert "cannot be combined with --set. To train on with other settings, make a branch: `mechicl branch" in message


def test_a_run_is_given_more_steps(run, refused, tiny_recipe, tmp_path):
    assert run("train", "tiny-run", "--quiet")[0] == 0
    root = tmp_path / "checkpoints" / "tiny-run"
    code, out, _ = run("train", "--resume", root, "--steps", "30", "--quiet")
    assert (code, out) == (0, "checkpoints/tiny-run has 8 checkpoints, to step 30.\n")
    assert run("verify", root)[0] == 0
    assert "is planned for 30 steps: give more" in refused("train", "--resume", root, "--steps", "29")
    assert "--set steps=30" in refused("train", "tiny-run", "--steps", "30")


def test_options_that_would_do_nothing_are_refused(refused, tiny_recipe):
    assert "--jobs 2 needs --seeds" in refused("train", "tiny-run", "--jobs", "2")
    assert "cannot be combined with --jobs" in refused("train", "--resume", "x", "--jobs", "2")
    message = refused("measure", "x", "--steps", "0,5", "--out", "x.csv")
    assert message.startswith(
        "--out, --steps: no measure was named. Use for example `mechicl measure x attention_scores`"
    )


def test_a_recipes_settings_can_be_given_again(run, refused):
    lines = run("recipes", "iwl")[1].splitlines()
    assert "bank.dim = 32" in lines
    assert changed(recipes.demo(), assignments(lines), "--set") == recipes.iwl()
    assert refused("recipes", "iwll").startswith("no recipe named 'iwll'")


def test_what_train_refuses(refused, tiny_recipe, tmp_path):
    message = refused("train", "dmeo")
    assert message.startswith("no recipe named 'dmeo'; there are ")
    assert "demo" in message
    assert "`mechicl recipes` describes them." in message
    assert refused("train").startswith("no recipe was given")
    assert "cannot be combined with a recipe." in refused("train", "tiny-run", "--resume", "checkpoints/tiny-run")
    message = refused("train", "--resume", "checkpoints/x", "--seed", "1", "--out", "y")
    assert "cannot be combined with --seed and --out." in message
    assert "not both" in refused("train", "tiny-run", "--seed", "1", "--seeds", "0..3")
    for seeds in ("nonsense", "3..1", "1,,2", "", "0..", "1.5", "0...3"):
        assert refused("train", "tiny-run", "--seeds", seeds) == (
            f"--seeds {seeds}: expected a range, such as 0..4, or a list, such as 0,3,7."
        )
    assert "seeds.init=-1: expected at least 0" in refused("train", "tiny-run", "--seed", "-1")
    assert "is not a run: it has no manifest.json" in refused("train", "--resume", "checkpoints/tiny-run")
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("text", "seeds"), [("0..4", [0, 1, 2, 3, 4]), ("3..3", [3]), ("0,3,7", [0, 3, 7]), ("5", [5]), ("2, 1", [2, 1])]
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


def test_seeds_that_are_none():
    with pytest.raises(ConfigError, match=r"expected a range, such as 0\.\.4"):
        parse_seeds("a..b")


def test_an_interrupt_says_how_to_go_on(run, tiny_recipe, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("mechicl.training.step.Trainer.update", interrupted)
    code, out, err = run("train", "tiny-run", "--quiet")
    assert (code, out) == (130, "")
    said = "All saved files are complete. `mechicl train --resume checkpoints/tiny-run` continues.\n"
    assert err == f"\nmechicl: stopped. {said}"
    code, _, err = run("train", "--resume", "checkpoints/tiny-run", "--quiet")
    assert (code, err) == (130, "\nmechicl: stopped. All saved files are complete. The same command continues.\n")


def test_a_run_made_shorter_leaves_out_the_checkpoints_after_its_end(run, refused, tiny_recipe, monkeypatch):
    """The first thing that a new user does, to see whether it works."""
    windows = (Window(start=4, stop=15, every=4), Window(start=18, stop=20, every=1))
    plan = ScheduleConfig(log_points=3, steps=(5, 20), windows=windows)
    monkeypatch.setitem(recipes.RECIPES, "tiny-run", lambda: dataclasses.replace(tiny_recipe(), checkpoint_steps=plan))
    message = refused("train", "tiny-run", "--steps", "10", "--set", "model.n_heads=1")
    assert "For a new run use `mechicl train tiny-run --set steps=10 --set model.n_heads=1`." in message
    code, out, _ = run("train", "tiny-run", "--set", "steps=10", "--quiet")
    assert (code, out.splitlines()[0]) == (0, "note: the checkpoints that tiny-run names after step 10 are left out.")
    assert open_series("checkpoints/tiny-run_steps-10").steps == [0, 1, 3, 4, 5, 8, 10]


# Analyze, report, densify, verify, show.


@pytest.mark.slow
def test_analyze_all(run, copy):
    code, out, err = run("analyze", copy, "--quiet")
    assert (code, err) == (0, "")
    for name in ("transience", "induction_heads", "attention_over_time", "head_ablations"):
        path = copy / "analysis" / f"{name}.parquet"
        assert f"  {path} ({len(pd.read_parquet(path)):,} rows) and " in out
    assert "Does in-context learning appear, and does it fade" in out
    assert out.count("\n  - ") >= 6


def test_analyze_one(run, tiny_copy):
    code, out, _ = run("analyze", tiny_copy.root, "transience", "--quiet")
    assert code == 0
    assert [p.name for p in (tiny_copy.root / "analysis").glob("*.parquet")] == ["transience.parquet"]
    assert out.rstrip().endswith("and figures in the same folder: 1.")


def test_report(run, copy, tmp_path):
    code, out, err = run("report", copy, "--out", tmp_path / "page.html", "--quiet")
    assert (code, err) == (0, "")
    size = (tmp_path / "page.html").stat().st_size / 1e6
    assert out == f"{tmp_path / 'page.html'} ({size:.1f} MB): open it in a browser.\n"
    assert not (copy / "report.html").exists()


def test_densify(run, tiny_copy):
    before = {s: tiny_copy.entry(s) for s in tiny_copy.steps}
    arguments = ("densify", tiny_copy.root, "--from", "22", "--to", "30", "--every", "4", "--quiet")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out == f"{tiny_copy.root} now has 3 checkpoints in 22..30, 11 in all.\n"
    after = open_series(tiny_copy.root)
    assert after.steps == [0, 1, 5, 10, 20, 22, 26, 30, 40, 50, 60]
    assert {s: after.entry(s) for s in before} == before
    assert run("verify", tiny_copy.root)[0] == 0
    assert run(*arguments)[1] == out  # again, to no effect


def test_what_densify_refuses(refused, tiny_series):
    root = tiny_series.root
    assert refused("densify", root, "--from", "50", "--to", "61", "--every", "1") == "--to 61: tiny has steps 0..60."
    assert "expected 0 <= start <= stop" in refused("densify", root, "--from", "9", "--to", "3", "--every", "1")
    assert "every >= 1" in refused("densify", root, "--from", "1", "--to", "3", "--every", "0")


def test_verify(run, tiny_copy):
    code, out, err = run("verify", tiny_copy.root)
    assert (code, err) == (0, "")
    assert out == f"{tiny_copy.root}: 9 checkpoints, all unchanged.\n"
    path = tiny_copy.root / "weights" / "step_00000030.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    code, out, err = run("verify", tiny_copy.root)
    assert (code, err) == (1, "")
    assert out.startswith("weights/step_00000030.safetensors: its sha256 is not the recorded one (altered).\nOn a ")
    assert f"`mechicl densify {tiny_copy.root} --from 29 --to 30 --every 1`" in out


def test_show_one(run, tiny_series):
    code, out, err = run("show", tiny_series.root)
    assert (code, err) == (0, "")
    assert out.startswith(f"{tiny_series.root}  complete\n")
    assert f"ends at {tiny_series.curve('flip')[1][-1]:.3f}" in out


def test_show_several(run, tiny_series, known_series):
    code, out, _ = run("show", tiny_series.root, known_series.root)
    assert code == 0
    assert out.split()[:2] == ["tiny", "known"]
    assert "median" not in out.split("\n")[0]  # they are not seeds of one recipe
    row = next(x for x in out.splitlines() if x.startswith("flip final value"))
    assert f"{tiny_series.curve('flip')[1][-1]:.3f}" in row
    assert "0.000" in row


def test_what_is_not_a_run_is_refused_by_every_verb(refused, tmp_path, tiny_series):
    beside = tiny_series.root.parent / "tyni"
    for line in (
        ["analyze", beside],
        ["report", beside],
        ["verify", beside],
        ["show", beside],
        ["densify", beside, "--from", "0", "--to", "1", "--every", "1"],
        ["train", "--resume", beside],
    ):
        message = refused(*line)
        assert message.startswith(f"{beside} is not a run: it has no manifest.json.")
        assert "Runs beside it: tiny" in message
    assert "Runs beside it" not in refused("show", tmp_path / "x")
    assert refused("show").startswith("no run was given")


def test_an_unknown_analysis_is_refused(refused, tiny_series):
    message = refused("analyze", tiny_series.root, "inductionheads")
    assert message.startswith("no analysis named 'inductionheads'; there are transience, induction_heads")
    assert not (tiny_series.root / "analysis").exists()


def test_a_run_without_checkpoints_is_refused(refused, tiny_copy):
    for name in ("index.jsonl", "metrics.jsonl"):
        (tiny_copy.root / name).unlink()
    for verb in ("analyze", "report", "show"):
        assert "has no metrics yet: `mechicl train --resume" in refused(verb, tiny_copy.root)


def test_a_newer_format_is_refused(refused, tiny_copy):
    manifest = tiny_copy.root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    message = refused("show", tiny_copy.root)
    assert "has format 2; this mechicl reads format 1" in message
    assert "git pull" in message  # no index has it


def test_one_step_and_some_evaluators_are_chosen_alike(run, refused, tiny_copy, tmp_path, monkeypatch):
    """`ablate` had no --evaluators, and `measure` no --step."""
    monkeypatch.chdir(tmp_path)
    few = ("--step", 10, "--evaluators", "icl,flip", "--n", 20)
    code, out, _ = run("ablate", tiny_copy.root, "--heads", "L0H1", *few)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[3:5]] == ["icl", "flip"]
    code, _, err = run("measure", tiny_copy.root, "attention_scores", *few, "--out", "scores.csv", "--quiet")
    assert (code, err) == (0, "")
    table = pd.read_csv("scores.csv")
    assert (set(table.step), set(table.evaluator)) == ({10}, {"icl", "flip"})
    for verb in (("measure", tiny_copy.root, "attention_scores"), ("ablate", tiny_copy.root, "--heads", "L0H1")):
        assert "give --step 10 for one checkpoint" in refused(*verb, "--step", 10, "--steps", "0..20")
