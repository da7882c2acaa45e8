"""mechicl.own_code: an error in a plugin's code is said in the plugin's own places."""

import json

import numpy as np
import pytest
from command_line import called
from PIL import Image

from mechicl import own_code, plugins
from mechicl.registry import EVALUATORS

BANK = """import numpy as np
from mechicl.tasks.exemplar_label import bank


@bank("b_type", numbers="x")
def drawn(config, seed, data):
    return np.ones((config.n_classes + "a", 3))
"""
SEVERAL = """from dataclasses import replace
from mechicl.registry import EVALUATORS, register
from mechicl.measures import measure

iwl = EVALUATORS["iwl"]


def draw(config, source, n, rng):
    return iwl.draw(config, source, n, rng) + "x"


register(replace(iwl, name="e_adds", label="adds", draw=draw))


@measure("m_key", rows="step", value="x", against="0")
def m_key(series, steps=None):
    return inner(series)


def inner(series):
    return series.curve("iwl", metric=3, of=4)
"""
ANALYSES = """from analyses import Findings, analysis


@analysis("a_zero", question="q?")
def a_zero(series, progress=True):
    return 1 / 0


@analysis("a_none", question="q?")
def a_none(series, progress=True):
    pass
"""


def test_a_command_shows_the_plugins_frames_alone(plugin_folder, capsys):
    (plugin_folder / "b_type.py").write_text(BANK)
    code, out, err = called(
        capsys, "train", "demo", "--plugin", "b_type", "--set", "bank.kind=b_type", "--out", "run", "--quiet"
    )
    assert (code, out) == (2, "")
    first, *frames = err.strip().splitlines()
    assert first == (
        "mechicl: your bank 'b_type' (b_type.py, line 7) failed: TypeError: unsupported operand type(s) for +: 'int' "
        "and 'str'"
    )
    assert frames[0].endswith('b_type.py", line 7, in drawn')
    assert frames[1] == '    return np.ones((config.n_classes + "a", 3))'
    assert len(frames) == 2
    assert not (plugin_folder / "run").exists()


def test_of_several_it_names_the_one_that_ran(plugin_folder, tiny_series, capsys):
    (plugin_folder / "several.py").write_text(SEVERAL)
    line = ("ablate", tiny_series.root, "--heads", "L1H0", "--n", "10", "--plugin", "several")
    code, _, err = called(capsys, *line)
    assert (code, "your evaluator 'e_adds' (several.py, line 9) failed: TypeError" in err) == (2, True)
    code, _, err = called(capsys, "measure", tiny_series.root, "m_key", "--plugin", "several")
    assert (code, "your measure 'm_key' (several.py, line 21) failed: TypeError" in err) == (2, True)
    assert err.count("several.py") == 3


def test_analyses(plugin_folder, tiny_copy, capsys):
    (plugin_folder / "my_analyses.py").write_text(ANALYSES)
    for name, said in (
        ("a_zero", "your analysis 'a_zero' (my_analyses.py, line 6) failed: ZeroDivisionError: division by zero"),
        ("a_none", "your analysis 'a_none' (my_analyses.py) returned None: expected analyses.Findings("),
    ):
        code, _, err = called(capsys, "analyze", tiny_copy.root, name, "--plugin", "my_analyses", "--quiet")
        assert (code, said in err) == (2, True), err
    (plugin_folder / "takes_none.py").write_text(ANALYSES.replace("series, progress=True", "series"))
    code, _, err = called(capsys, "analyze", tiny_copy.root, "a_zero", "--plugin", "takes_none", "--quiet")
    assert (code, "a_zero(series) is called with series, progress=..." in err) == (2, True)


def test_an_encoder(plugin_folder, capsys):
    (plugin_folder / "failing_encoders.py").write_text("def e(pictures):\n    return pictures.nothing\n")
    for name in ("a", "b"):
        (plugin_folder / "pictures" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(plugin_folder / "pictures" / name / "1.png")
    words = ("--encoder", "failing_encoders:e", "--size", "8", "--out", "f.safetensors")
    code, _, err = called(capsys, "features", "pictures", *words)
    assert code == 2
    assert "the encoder failing_encoders:e failed on a numpy array of shape (1, 3, 8, 8) and type float32" in err
    assert "AttributeError" in err
    assert "failing_encoders.py, line 2)" in err


def test_a_sweep_records_each_failure_and_trains_the_others(plugin_folder, capsys):
    (plugin_folder / "b_type.py").write_text(BANK)
    (plugin_folder / "two.toml").write_text(
        'recipe = "demo"\nseeds = "0..0"\n[set]\nsteps = 4\ncheckpoint_steps.windows = []\nn_eval = 8\n'
        '[[grid]]\nbank.kind = ["b_type", "gaussian"]\n'
    )
    code, out, err = called(capsys, "sweep", "two.toml", "--plugin", "b_type", "--out", "s", "--jobs", "1", "--quiet")
    assert code == 1, out + err
    (line,) = [json.loads(text) for text in (plugin_folder / "s" / "failures.jsonl").read_text().splitlines()]
    assert line["error"].startswith("your bank 'b_type' (b_type.py, line 7) failed: TypeError")
    assert "failed: your bank 'b_type' (b_type.py, line 7)" in out


def test_a_fault_of_mechicl_is_no_plugins():
    with pytest.raises(TypeError) as raised:
        EVALUATORS["iwl"].draw()
    assert own_code.failure(raised.value) is None
    assert own_code.whose("evaluator", "iwl") == "the evaluator 'iwl'"
    assert own_code.maker("evaluator", "iwl") == ""


def test_where_it_was_made(plugin_folder):
    (plugin_folder / "b_type.py").write_text(BANK)
    plugins.load(["b_type"])
    assert own_code.whose("bank kind", "b_type") == "your bank 'b_type' (b_type.py)"
    assert own_code.maker("bank kind", "b_type") == "drawn, b_type.py, line 5"
