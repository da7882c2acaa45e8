"""A file becomes exactly the runs that it describes; what cannot be is refused by name."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from mechicl import recipes
from mechicl.config import to_dict
from mechicl.errors import ConfigError
from mechicl.sweeps.conditions import Plan
from mechicl.sweeps.plan import plan, read_plan
from mechicl.system.files import write_json

SWEEPS = Path(__file__).parents[2] / "research" / "sweeps"


def parse(text: str) -> Plan:
    return plan(tomllib.loads(text), "file")


def names(found: Plan) -> list[str]:
    return [c.name for c in found.conditions]


def test_a_grid_is_a_product_and_grids_a_union():
    found = parse("""
        recipe = "demo"
        seeds = "1..2"
        [set]
        steps = 500
        checkpoint_steps = {windows = []}
        [[grid]]
        bank.dim = [8, 16]
        "optim.lr" = [1e-3, 3e-3]
        [[grid]]
        name = "wide"
        model.d_model = 128
    """)
    assert names(found) == ["dim-8_lr-0.001", "dim-8_lr-0.003", "dim-16_lr-0.001", "dim-16_lr-0.003", "wide"]
    assert found.fields == ["bank.dim", "optim.lr", "model.d_model"]
    assert [c.fields for c in found.conditions[3:]] == [
        {"bank.dim": 16, "optim.lr": 3e-3, "model.d_model": 64},
        {"bank.dim": 12, "optim.lr": 3e-3, "model.d_model": 128},
    ]
    # The whole grid at one seed, then at the next.
    assert [r.name for r in found.runs][:6] == [f"{n}-s1" for n in names(found)] + ["dim-8_lr-0.001-s2"]
    last = found.runs[-1].config
    assert (last.steps, last.model.d_model, last.bank.dim) == (500, 128, 12)
    assert (last.seeds.init, last.seeds.data, last.seeds.eval) == (2, 2, 1)
    assert last.name == "demo"


def test_without_a_grid_there_is_one_condition():
    found = parse('recipe = "iwl"')
    assert names(found) == ["base"]
    assert found.runs[0].config == recipes.iwl().with_seed(0)
    assert found.name == "file"


def test_a_config_that_two_grids_describe_is_one_condition():
    found = parse("""
        recipe = "demo"
        [[grid]]
        bank.dim = [8, 12]
        [[grid]]
        model.n_layers = [1, 2]   # 2 layers and dim 12: the recipe itself, which is there already
    """)
    assert names(found) == ["dim-8", "dim-12", "n_layers-1"]


def test_lists_none_and_tables():
    found = parse("""
        recipe = "iwl"
        name = "other"
        [[grid]]
        model.mlp_layers = [[0], [0, 1], "none"]
        [[grid]]
        name = "fixed"
        model.mlp_layers = [0]
        bank.n_labels = "none"
        sequences.copy_query_label = false
    """)
    assert found.name == "other"
    assert [c.config.model.mlp_layers for c in found.conditions] == [(0,), (0, 1), None, (0,)]
    assert names(found) == ["mlp_layers-0", "mlp_layers-0-1", "mlp_layers-none", "fixed"]
    assert found.conditions[3].config.bank.n_labels is None
    assert json.loads(found.conditions[1].fields["model.mlp_layers"]) == [0, 1]


def test_names_of_values_make_folders():
    found = parse("""
        recipe = "demo"
        [[grid]]
        sequences.exemplars = ["replacement", "matched"]
        sequences.distinct_labels = [true, false]
        optim.l2 = [1e-6, 0.01]
    """)
    assert names(found)[:2] == [
        "exemplars-replacement_distinct_labels-true_l2-1e-06",
        "exemplars-replacement_distinct_labels-true_l2-0.01",
    ]


def test_a_label_says_the_value():
    found = parse("""
        recipe = "iwl"
        [[grid]]
        model.mlp_layers = [[1], [0]]
        [[grid]]
        training_interventions = [[{kind = "relabel", every = 500}],
                                  [{kind = "clamp", pattern = "self", heads = [[0, 1], [1, 7]]}]]
        [[grid]]
        optim.betas = [[0.9, 0.99], [0.5, 0.99]]
        optim.lr = [0.0012345678, 0.0012345679]
    """)
    assert [c.config.model.mlp_layers for c in found.conditions[:2]] == [(1,), (0,)]
    assert names(found)[:2] == ["mlp_layers-1", "mlp_layers-0"]
    assert names(found)[2:4] == [
        "training_interventions-relabel-every-500",
        "training_interventions-clamp-pattern-self-heads-0-1-1-7",
    ]
    assert found.conditions[2].former[0] == "treatments-relabel-every-500"
    assert names(found)[4].startswith("betas-0.9-0.99_lr-0.00123457-")
    assert len(set(names(found))) == len(found.conditions)
    assert all(re.fullmatch(r"\w[\w.-]{,120}", name, flags=re.ASCII) for name in names(found))


def test_every_sweep_of_the_repository_keeps_its_names():
    """Finished runs are found by them."""
    for path in sorted(SWEEPS.glob("*.toml")):
        found = read_plan(path)
        assert all(name in (c.name, *c.former) for c, name in zip(found.conditions, names(found), strict=True)), path


def test_runs_under_the_names_of_an_earlier_version_are_found(tmp_path):
    text = """
        recipe = "iwl"
        [set]
        steps = 4000
        [[grid]]
        model.mlp_layers = [[1], [0]]
    """
    before = {"mlp_layers-0-s0": (1,), "mlp_layers-1-s0": (0,)}  # what the places in the list had been called
    runs = parse(text).runs
    for name, layers in before.items():
        (run,) = (r for r in runs if r.config.model.mlp_layers == layers)
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "config.json", to_dict(run.config))
        write_json(tmp_path / name / "manifest.json", {"format": 1, "schedule": [0], "bank": "", "versions": {}})
    for run in runs:
        folder = run.folder(tmp_path)
        assert before[folder.name] == run.config.model.mlp_layers
    assert [r.folder(tmp_path / "new").name for r in runs] == ["mlp_layers-1-s0", "mlp_layers-0-s0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[set]", 'recipe: name one, such as recipe = "demo"'),
        ('recipe = "dmeo"', "no recipe named 'dmeo'"),
        ('recipe = "demo"\nsteps = 5', "steps: unknown key.*belong into"),
        ('recipe = "demo"\nseed = 5', "seed: unknown key. Did you mean 'seeds'"),
        ('recipe = "demo"\nseeds = 5', "seeds=5: expected different seeds"),
        ('recipe = "demo"\nseeds = [1, 1]', "expected different seeds"),
        ('recipe = "demo"\nseeds = "5..1"', r"bad\.toml: seeds = 5\.\.1: expected a range, such as 0..4"),
        ('recipe = "demo"\nname = "a/b"', "name='a/b': a name is made of letters"),
        ('recipe = "demo"\ngrid = 5', "two brackets"),
        ('recipe = "demo"\n[grid]\nbank.dim = [4]', "two brackets"),
        ('recipe = "demo"\n[[grid]]\nbank.dmi = [4]', "bank.dmi: the config has no such field. .* 'bank.dim'"),
        ('recipe = "demo"\n[[grid]]\nn_layers = [4]', "Did you mean 'model.n_layers'"),
        ('recipe = "demo"\n[[grid]]\nbank = [4]', "grid 1.bank: .*It is a table: set one of its fields"),
        ('recipe = "demo"\n[[grid]]\nbank.dim = []', "an empty list"),
        ('recipe = "demo"\n[[grid]]\nbank.dim = [4, "x"]', r"\(bank.dim = 'x'\): config.bank.dim='x': expected int"),
        ('recipe = "demo"\n[[grid]]\nbank.dim = [4, 0]', r"grid 1 \(bank.dim = 0\): bank.dim=0: expected at least 1"),
        ('recipe = "demo"\n[[grid]]\nsequences.n_pairs = [2, 1]', r"sequences.n_pairs = 1\): sequences.burstiness=1"),
        ('recipe = "demo"\n[[grid]]\nsteps = [100]', r"steps = 100\): checkpoint_steps.windows names step"),
        ('recipe = "demo"\n[[grid]]\nseeds.init = [1]', 'seeds.init cannot be set here: write seeds = "0..4"'),
        ('recipe = "demo"\n[set]\nname = "x"', "set.name cannot be set here"),
        ('recipe = "demo"\n[[grid]]\nname = "a"\nbank.dim = 4\n[[grid]]\nname = "a"\nbank.dim = 8', "called 'a'"),
        ('recipe = "demo"\nset = 5', "set=5: expected a table"),
    ],
)
def test_refused(text, message, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_plan(path)
    assert str(error.value).startswith(f"{path}: ")


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        read_plan(tmp_path / "none.toml")
    path = tmp_path / "torn.toml"
    path.write_text("recipe = ")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_plan(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_plan(path)
