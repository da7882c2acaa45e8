"""What `import mechicl` gives and what it costs; who may import whom; how long a file may be."""

import ast
import functools
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mechicl

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "mechicl").rglob("*.py"), *(ROOT / "analyses").glob("*.py")])
ABOVE = ("model", "series", "train", "report", "cli")
HEAVY = (
    "torch",
    "transformer_lens",
    "numpy",
    "pandas",
    "plotly",
    "circuitsvis",
    "scipy",
    "safetensors",
    "dash",
    "flask",
    "huggingface_hub",
)


@functools.cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, whole dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def importers(module: str) -> set[str]:
    """The files that import a module or a part of it."""
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name == module or name.startswith(module + ".") for name in imports(path))
    }


def loaded(code: str) -> set[str]:
    """Which of HEAVY a fresh interpreter has imported after running some code."""
    report = f"import sys\nprint('LOADED', *[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_about_thirty_names_and_each_is_there():
    assert len(mechicl.__all__) == len(set(mechicl.__all__)) <= 32
    assert set(mechicl.__all__) == set(dir(mechicl))
    for name in mechicl.__all__:
        assert getattr(mechicl, name) is not None, name
    assert isinstance(mechicl.recipes, ModuleType)
    assert isinstance(mechicl.measures, ModuleType)
    assert isinstance(mechicl.__version__, str)


@pytest.mark.parametrize(
    "name", [n for n in mechicl.__all__ if n not in ("__version__", "interventions", "measures", "recipes")]
)
def test_every_name_says_what_it_is(name):
    value = getattr(mechicl, name)
    assert value.__module__.startswith("mechicl.")
    assert value.__name__ == name
    assert inspect.getdoc(value)


def test_what_users_look_for_is_there():
    wanted = {
        "attention_scores",
        "effects",
        "head_effects",
        "ablate_mlps",
        "seed_bands",
        "series_phases",
        "phase_table",
        "save_figure",
    }
    assert wanted <= set(mechicl.__all__)


def test_measures_are_found_in_their_package():
    assert set(mechicl.measures.__all__) <= set(dir(mechicl.measures))
    for name in dir(mechicl.measures):
        value = getattr(mechicl.measures, name)
        assert value.__name__ == (name if name in mechicl.measures.__all__ else f"mechicl.measures.{name}")
        assert inspect.getdoc(value)
    with pytest.raises(AttributeError, match=r"no attribute 'attention_score'; it has .*attention_scores"):
        mechicl.measures.attention_score  # noqa: B018


def test_every_public_measure_is_exported():
    """Whoever writes a measure of a series lists it: functions whose first argument is `series` or `runs`."""
    inside = (
        "subspaces",
        "carried",
        "aligned",
        "bands",
        "chance_levels",
        "ordered_rows",
        "over_checkpoints",
        "over_evaluators",
    )
    for path in sorted((ROOT / "mechicl" / "measures").glob("*.py")):
        if path.stem in ("__init__", "asked", "tables", "cache"):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.args.args:
                first = node.args.args[0].arg
                if first in ("series", "runs") and node.name not in inside:
                    assert node.name in mechicl.measures.__all__, f"{path.stem}.{node.name}"


def test_every_exported_name_is_documented():
    text = (ROOT / "docs" / "measures.md").read_text()
    listed = set(re.findall(r"`([A-Za-z_.]+)`", text))
    for name in {*mechicl.__all__, *mechicl.measures.__all__} - {"__version__"}:
        assert name in listed, f"docs/measures.md does not list {name}"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"has no attribute 'open_serie'; it has .*open_series"):
        mechicl.open_serie  # noqa: B018


def test_no_function_shares_its_name_with_a_module():
    """Importing such a module would bind it in the function's place."""
    modules = {p.stem for p in (ROOT / "mechicl").iterdir() if p.is_dir() or p.suffix == ".py"}
    assert {n for n in mechicl.__all__ if not isinstance(getattr(mechicl, n), ModuleType)} & modules == set()


def test_import_is_light():
    assert loaded("import mechicl; mechicl.__version__; dir(mechicl)") == set()
    assert loaded("import mechicl; mechicl.recipes") <= {"numpy"}
    assert loaded("import mechicl; mechicl.measures; dir(mechicl.measures)") == set()


@pytest.mark.parametrize(
    "line",
    [["--help"], ["train", "--help"], ["sweep", "--help"], ["analyze", "--help"], ["app", "--help"], ["recipes"]],
)
def test_help_is_light(line):
    code = f"from mechicl.cli import main\ntry:\n    main({line})\nexcept SystemExit:\n    pass"
    assert loaded(code) <= ({"numpy"} if line == ["recipes"] else set())


def test_opening_a_series_needs_no_model(tiny_series):
    got = loaded(f"import mechicl; print(mechicl.open_series({str(tiny_series.root)!r}).steps)")
    assert got <= {"numpy"}
    model = loaded(f"import mechicl; mechicl.open_series({str(tiny_series.root)!r}).evaluate([60], ['icl'])")
    assert "torch" in model
    assert "transformer_lens" not in model


def test_one_module_imports_transformer_lens():
    assert importers("transformer_lens") == {"mechicl/models/lens.py"}


def test_circuitsvis_stays_in_the_figures():
    assert importers("circuitsvis") == {"mechicl/figures/attention.py"}


def test_only_the_wiring_of_the_app_imports_dash():
    """The view model and the figures are tested, and can be used, without a page."""
    wiring = {
        f"mechicl/page/{name}.py"
        for name in (
            "branch_panel",
            "callbacks",
            "circuit_panel",
            "controls",
            "editing",
            "effect_panel",
            "grid",
            "layout",
            "looking",
            "own",
            "seed_panel",
            "server",
            "sharing",
            "track_panel",
        )
    }
    assert importers("dash") == wiring
    routes = ("branch_routes", "circuit_routes", "guard", "replies", "routes", "seed_routes", "server", "sharing")
    assert importers("flask") == {f"mechicl/page/{name}.py" for name in routes}
    served = wiring | {f"mechicl/page/{name}.py" for name in routes}
    pure = {"mechicl/page/" + p.name for p in SOURCES if p.parent.name == "page"} - served
    below = {"mechicl.page.layout", "mechicl.page.callbacks", "mechicl.page.routes", "mechicl.page.server"}
    assert all(not imports(ROOT / path) & below for path in pure - {"mechicl/page/__init__.py"})


def test_nothing_pickles():
    # Jobs are pickled on their way to processes that this one starts; no file is.
    assert importers("pickle") == {"mechicl/system/executor.py"}
    for module in ("joblib", "dill", "shelve", "marshal"):
        assert importers(module) == set(), module
    # A network's weights that the user names, and state dicts that she asks to be read: nothing else in them.
    named = {ROOT / "mechicl/tasks/exemplar_label/features/encoders.py", ROOT / "mechicl" / "sources" / "reading.py"}
    for path in SOURCES:
        found = re.findall(r"(?<![.\w])torch\.(?:load|save)\([^)]*\)?|allow_pickle", path.read_text())
        assert all("weights_only=True" in each for each in found), path
        assert not found or path in named, path


def test_arrows_point_one_way():
    """The contracts of .importlinter: which room may import which."""
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_top_imports_the_analyses():
    inside = {p for p in importers("analyses") if not p.startswith("analyses/")}
    assert inside == {"mechicl/cli/analysing.py", "mechicl/reporting/report.py", "mechicl/page/seed_own.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_short_and_says_what_it_is(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    assert ast.get_docstring(ast.parse(text))
