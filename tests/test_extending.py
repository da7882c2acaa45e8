"""docs/extending.md: each of its files is run by real command lines, and nothing else is touched."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import called

import mechicl
from mechicl.errors import SeriesError
from mechicl.page.answers import PANELS, Answers
from mechicl.page.python import as_python
from mechicl.page.runs import Library
from mechicl.page.sequence import tokens
from mechicl.page.state import View
from mechicl.page.view import Workbench
from mechicl.series import open_series
from mechicl.series.verify import verify

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
PAGE = (ROOT / "docs" / "extending.md").read_text()
TINY = """
import dataclasses
from mechicl.config import BankConfig, Config, ModelConfig, ScheduleConfig
from mechicl.recipes import recipe

@recipe
def tiny_plugged() -> Config:
    '''Nothing is reproduced.'''
    bank = BankConfig(n_classes=8, n_exemplars=4, n_holdout_classes=4, n_holdout_exemplars=2, dim=6)
    return Config(name="tiny-plugged", steps=20, batch_size=8, bank=bank, n_eval=20, states=1,
                  model=ModelConfig(d_model=16, n_heads=2), checkpoint_steps=ScheduleConfig(linear_every=5))
"""


@pytest.fixture
def run(plugin_folder, capsys):
    """Run a command line in a folder that has the examples and a recipe; returns (exit code, output)."""
    for name in EXAMPLES:
        shutil.copy(ROOT / "examples" / f"{name}.py", plugin_folder)
    (plugin_folder / "tiny_recipe.py").write_text(TINY)

    def call(*arguments) -> tuple[int, str]:
        code, out, err = called(capsys, *arguments)
        return code, out + err

    return call


def trained(run, *words) -> Path:
    code, out = run("train", "tiny-plugged", "--plugin", "tiny_recipe", "--out", "run", "--quiet", *words)
    assert code == 0, out
    return Path("run").absolute()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_shows_the_file_that_runs(name):
    assert f"```python\n# {name}.py\n{(ROOT / 'examples' / f'{name}.py').read_text()}```" in PAGE


def test_the_page_shows_every_door():
    wanted = ["Bank", "Evaluator", "Intervention", "Measure", "Analysis", "Task", "Source"]
    assert [w for w in wanted if not re.search(rf"^## {w}\b", PAGE, flags=re.M)] == []


def test_a_plugins_recipe_is_listed(run):
    assert "tiny-plugged\n    Nothing is reproduced." in run("recipes", "--plugin", "tiny_recipe")[1]
    assert "bank.dim = 6" in run("recipes", "tiny-plugged", "--plugin=tiny_recipe")[1]


def test_a_bank(run):
    root = trained(
        run,
        "--plugin",
        "moons",
        "--set",
        "bank.kind=moons",
        "--set",
        "bank.options.length=2",
        "--set",
        "bank.options.noise=0.1",
    )
    series = open_series(root)
    assert series.config.bank.options == {"length": 2.0, "noise": 0.1}
    assert json.loads((root / "config.json").read_text())["bank"]["options"] == {"length": 2.0, "noise": 0.1}
    assert series.manifest["plugins"] == {"moons": ["bank kind moons"]}
    assert series.bank.exemplars.shape == (12, 6, 6)
    assert "6 coordinates of moons, raw" in run("show", root)[1]
    assert verify(root) == []
    code, out = run("report", root, "--quiet")
    assert code == 0
    assert f"`mechicl report {root.name} --plugin" not in out
    assert "coordinates of moons" in (root / "report.html").read_text()
    page = Library(root.parent).run("run")
    assert [t.name for t in tokens(page, "icl", 0)] == ["x1", "y1", "x2", "y2", "query"]


def test_an_evaluator(run):
    root = trained(run, "--plugin", "first_half")
    series = open_series(root)
    assert series.manifest["plugins"] == {"first_half": ["evaluator iwl_first"]}
    assert "iwl_first" in set(series.metrics.evaluator)
    assert "iwl_first" in run("show", root)[1]
    assert run("analyze", root, "transience", "--quiet")[0] == 0
    assert "iwl_first" in set(pd.read_parquet(root / "analysis" / "transience.parquet").evaluator)
    assert "IWL, first half" in (root / "analysis" / "transience_curves.html").read_text()
    page = Library(root.parent).run("run")
    assert "iwl_first" in page.shown
    assert len(page.curve("iwl_first")) == 5


def test_an_intervention(run, tiny_series):
    code, out = run(
        "measure",
        tiny_series.root,
        "scaled_values",
        "--plugin",
        "scale_values",
        "--steps",
        "60",
        "--evaluators",
        "icl",
        "--out",
        "scaled.csv",
    )
    assert code == 0, out
    table = pd.read_csv("scaled.csv")
    assert set(table.intervention) == {"intact", *(f"values of L{la} x {x}" for la in (0, 1) for x in ("0.5", "2"))}


def test_an_intervention_is_named_in_a_command_and_a_link(run, tiny_series):
    own = "scale_values(factor=0.5, layer=0)"
    words = ("ablate", tiny_series.root, "--plugin", "scale_values", "--own", own, "--out", "own.csv")
    code, out = run(*words)
    assert code == 0, out
    assert "values of L0 x 0.5 (0.5 x its value)" in out
    from scale_values import ScaleValues

    wanted = tiny_series.evaluate([60], ["icl"], ScaleValues(0, 0.5), metrics=["in_context_acc"])
    table = pd.read_csv("own.csv")
    got = table[(table.evaluator == "icl") & (table.metric == "in_context_acc") & (table.intervention != "intact")]
    assert got.value.tolist() == wanted[wanted.intervention != "intact"].value.tolist()
    view = View.from_query(f"run=tiny&step=60&own={quote(own)}")
    assert view.intervention == ScaleValues(0, 0.5)
    assert View.from_query(view.query()) == view
    code = as_python(view, str(tiny_series.root.parent))
    assert "from scale_values import ScaleValues" in code
    assert "ScaleValues(layer=0, factor=0.5)" in code
    code, out = run(*words[:4], "--own", "scale_values(layer=0)")
    assert (code, "it lacks the field 'factor'" in out) == (2, True)


def test_a_measure(run, tiny_series):
    code, out = run("measure", tiny_series.root, "weight_norms", "--plugin", "weight_norms", "--out", "norms.parquet")
    assert code == 0, out
    assert "norms.parquet: 18 rows." in out
    table = pd.read_parquet("norms.parquet")
    assert list(table[table.layer == 0].step) == tiny_series.steps
    listed = run("measure", tiny_series.root, "--plugin", "weight_norms")[1]
    assert "weight_norms\n    a row per step, layer" in listed
    assert "attention_scores\n" in listed
    code, out = run("measure", tiny_series.root, "weight_norms", "--n", "5")
    assert (code, "does not take this argument" in out) == (2, True)


def test_an_analysis(run, tiny_copy):
    root = tiny_copy.root
    assert "recall" in run("analyze", "--help", "--plugin", "recall")[1]
    code, out = run("analyze", root, "recall", "--quiet", "--plugin", "recall")
    assert (code, "IWL ends at" in out) == (0, True)
    assert run("report", root, "--quiet", "--plugin", "recall")[0] == 0
    assert "How often is the class&#39;s own label given" in (root / "report.html").read_text()
    assert (root / "analysis" / "recall.parquet").is_file()
    assert "plugins" not in tiny_copy.manifest  # a run does not need the analyses that look at it


@pytest.mark.slow
def test_a_run_never_loads_what_it_names(run):
    root = trained(run, "--plugin", "moons", "--set", "bank.kind=moons")
    line = [sys.executable, "-m", "mechicl", "show", str(root)]
    refused = subprocess.run(line, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "was registered by the module moons, which is not loaded" in refused.stderr
    assert "--plugin moons" in refused.stderr
    assert "import moons" in refused.stderr
    shown = subprocess.run([*line, "--plugin", "moons"], capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.slow
def test_several_processes_load_it_too(run):
    code, out = run(
        "train",
        "tiny-plugged",
        "--plugin",
        "tiny_recipe",
        "--plugin",
        "moons",
        "--set",
        "bank.kind=moons",
        "--seeds",
        "0..1",
        "--jobs",
        "2",
        "--out",
        "many",
        "--quiet",
    )
    assert code == 0, out
    assert [open_series(f"many-s{seed}").complete for seed in (0, 1)] == [True, True]


@pytest.mark.slow
def test_a_sweep_varies_its_settings(run):
    Path("lengths.toml").write_text(
        'recipe = "tiny-plugged"\nseeds = [0]\n[set]\nbank.kind = "moons"\n[[grid]]\nbank.options.length = [1.0, 2.0]\n'
    )
    code, out = run(
        "sweep",
        "lengths.toml",
        "--plugin",
        "tiny_recipe",
        "--plugin",
        "moons",
        "--out",
        "swept",
        "--quiet",
        "--jobs",
        "1",
    )
    assert code == 0, out
    table = pd.read_parquet("swept/table.parquet")
    assert sorted(set(table["bank.options.length"])) == [1.0, 2.0]


def test_a_manifest_that_names_nonsense_is_refused(tiny_copy):
    path = tiny_copy.root / "manifest.json"
    path.write_text(json.dumps(tiny_copy.manifest | {"plugins": ["os"]}))
    with pytest.raises(SeriesError, match="expected modules"):
        open_series(tiny_copy.root)
    path.write_text(json.dumps(tiny_copy.manifest | {"plugins": {"__main__": ["bank kind x"]}}))
    with pytest.raises(SeriesError, match="registered by a script or a notebook"):
        mechicl.open_series(tiny_copy.root)


def test_a_task(run):
    """Continuous targets, another loss, another input: seen wherever a run is, and refused without its module."""
    made = (
        "train",
        "regression",
        "--plugin",
        "regression",
        "--quiet",
        "--out",
        "lines",
        "--set",
        "steps=60",
        "--set",
        "n_eval=60",
        "--set",
        "checkpoint_steps.linear_every=30",
    )
    code, out = run(*made)
    assert code == 0, out
    assert "regression\n    Linear regression in context" in run("recipes", "--plugin", "regression")[1]
    series = open_series("lines")
    assert json.loads((series.root / "config.json").read_text())["task"]["kind"] == "regression"
    assert set(series.manifest["plugins"]["regression"]) == {
        "task regression",
        "evaluator new_weights",
        "evaluator known_weights",
    }
    for words in (
        ("show", "lines"),
        ("verify", "lines"),
        ("ablate", "lines", "--heads", "L0H1", "--mlp", "0"),
        ("analyze", "lines", "transience"),
        ("report", "lines", "--quiet"),
    ):
        code, out = run(*words, "--plugin", "regression")
        assert code == 0, out
    assert "new_weights" in run("show", "lines", "--plugin", "regression")[1]
    page = Answers(Library(series.root.parent, "lines"), Workbench(), "lines")
    for panel in PANELS:
        answer = page.to(panel, "run=lines&heads=0.1")
        assert ("error" in answer) == (panel == "logits"), (panel, answer)  # it names no answers to attribute
    model, batch = series.model(60), series.evaluation_set("new_weights", 8)
    assert model(batch).shape == (8, 16, 1)
    resumed = subprocess.run([sys.executable, "-m", "mechicl", "show", "lines"], capture_output=True, text=True)
    assert resumed.returncode != 0
    assert "--plugin regression" in resumed.stderr


def small_model(folder: Path) -> dict:
    """A folder with the description of a small HookedTransformer."""
    fields = {
        "n_layers": 2,
        "d_model": 16,
        "n_heads": 2,
        "d_head": 8,
        "n_ctx": 20,
        "d_vocab": 12,
        "attn_only": True,
        "normalization_type": "LN",
        "positional_embedding_type": "standard",
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    return fields


def small_weights(fields: dict, step: int) -> dict[str, np.ndarray]:
    from mechicl.models.lens import hooked_transformer
    from mechicl.sources.layouts import model_of

    model = hooked_transformer(model_of(fields))
    for i, p in enumerate(model.parameters()):
        torch.nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(step + i))
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


def test_a_source(run):
    fields = small_model(Path("mine"))
    for step in (0, 100):
        np.savez(f"mine/step-{step}.npz", **small_weights(fields, step))
    code, out = run("open", "mine", "--out", "opened", "--n", "20", "--plugin", "npz_series", "--quiet")
    assert (code, "2 checkpoints, to step 100" in out) == (0, True), out
    series = open_series("opened")
    assert series.steps == [0, 100]
    assert np.array_equal(series.weights(100)["blocks.1.attn.W_Q"], small_weights(fields, 100)["blocks.1.attn.W_Q"])
    assert run("show", "opened", "--plugin", "npz_series")[0] == 0
    assert run("open", "mine", "--out", "other", "--kind", "parquet")[0] == 2
    assert series.manifest["plugins"] == {"npz_series": ["source npz"]}  # so that a process without it says what lacks


def test_a_source_with_all_steps_in_one_file(run, plugin_folder):
    """`tensors_at` is told the step; equal files of two steps are then no sign of equal weights."""
    (plugin_folder / "whole.py").write_text(
        """
import json
from pathlib import Path

import numpy as np
import torch

from mechicl.sources.base import Found, Source, by_step, register


@register
class OneFile(Source):
    kind = "one_file"
    says = "a folder with all.npz, whose arrays are called STEP/PARAMETER"

    def claims(self, place):
        return (Path(place) / "all.npz").exists()

    def find(self, place, asked):
        with np.load(Path(place) / "all.npz") as file:
            steps = {int(name.split("/")[0]) for name in file.files}
        settings = json.loads((Path(place) / "config.json").read_text())
        files = by_step([(step, ("all.npz",)) for step in steps], place, "")
        return Found(place=str(Path(place).absolute()), layout="transformer_lens", settings=settings, files=files)

    def tensors_at(self, step, paths, pickles):
        with np.load(paths[0]) as file:
            own = [name for name in file.files if name.startswith(f"{step}/")]
            return {name.partition("/")[2]: torch.from_numpy(file[name]) for name in own}
"""
    )
    fields = small_model(Path("mine"))
    arrays = {f"{step}/{name}": x for step in (0, 100) for name, x in small_weights(fields, step).items()}
    np.savez("mine/all.npz", **arrays)
    code, out = run("open", "mine", "--out", "opened", "--n", "20", "--plugin", "whole", "--quiet")
    assert code == 0, out
    series = open_series("opened")
    for step in (0, 100):
        assert np.array_equal(series.weights(step)["blocks.1.attn.W_Q"], arrays[f"{step}/blocks.1.attn.W_Q"])
    assert verify("opened", notes=[]) == []


def test_a_task_whose_training_sequences_no_model_can_read(run, plugin_folder):
    own = "        return self.sequences(source.trained[rng.integers(self.n_weights, size=n)], rng)\n"
    file = plugin_folder / "regression.py"
    assert own in file.read_text()
    file.write_text(file.read_text().replace(own, own.rstrip("\n") + "[: n - 1]\n"))
    # The evaluation sets are sound, so that it is training that refuses.
    file.write_text(
        file.read_text().replace("config.task.draw(source, n, rng)", "config.task.draw(source, n + 1, rng)")
    )
    code, out = run("train", "regression", "--plugin", "regression", "--quiet", "--out", "lines")
    assert code == 2, out
    assert "your task 'regression' (regression.py): draw(..., n=4096, rng) returned a Pairs whose field x has" in out
    assert "expected 4096 sequences" in out
    assert not Path("lines").exists()
