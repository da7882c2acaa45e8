"""The reference: every public name is on its page, its examples run, and it says what it takes and gives."""

import doctest
import inspect
import re
import shutil
from pathlib import Path

import pytest

import mechicl

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "api.md").read_text()
MODULES = ("interventions", "measures", "recipes")
FUNCTIONS = [name for name in mechicl.__all__ if name not in ("__version__", *MODULES)]
# They train, serve or write a whole report, which tests of their own do; the page shows `Series` and `Batch` at work.
NO_EXAMPLE = {
    "train",
    "train_seeds",
    "resume",
    "densify",
    "app",
    "report",
    "open_series",
    "Series",
    "Batch",
    "ablate_mlps",
}


@pytest.fixture(scope="module")
def beside_the_demo(tmp_path_factory):
    """A folder with the demo's series, to which examples may write."""
    here = tmp_path_factory.mktemp("reference")
    made_here = shutil.ignore_patterns("analysis", "cache", "report.html")
    shutil.copytree(ROOT / "checkpoints" / "demo", here / "checkpoints" / "demo", ignore=made_here)
    return here


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(getattr(mechicl, name), name)
    return [test for test in found if test.examples]


def run(test: doctest.DocTest, folder: Path) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    test.globs = {"mechicl": mechicl, "series": mechicl.open_series(folder / "checkpoints" / "demo")}
    runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_every_public_name_is_on_the_page():
    shown = set(re.findall(r"^::: mechicl\.(\w+)$", PAGE, flags=re.M))
    assert shown == set(mechicl.__all__) - {"__version__", "interventions", "measures"}


def shown_of(module: str) -> set[str]:
    text = (ROOT / "docs" / "reference" / f"{module}.md").read_text()
    return set(re.findall(rf"^::: mechicl\.{module}\.(\w+)$", text, flags=re.M))


def test_every_measure_and_intervention_is_on_its_page():
    assert shown_of("measures") == set(mechicl.measures.__all__)
    classes = {
        name
        for name, each in vars(mechicl.interventions).items()
        if inspect.isclass(each) and issubclass(each, mechicl.interventions.Intervention)
    }
    assert len(classes) > 8
    assert classes <= shown_of("interventions")
    assert shown_of("interventions") <= set(dir(mechicl.interventions))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_name_has_an_example_that_runs(name, beside_the_demo, monkeypatch):
    monkeypatch.chdir(beside_the_demo)
    found = examples(name)
    assert bool(found) != (name in NO_EXAMPLE), f"{name}: an example, or a place in NO_EXAMPLE"
    for test in found:
        run(test, beside_the_demo)


def test_the_examples_of_the_page_run(beside_the_demo, monkeypatch):
    monkeypatch.chdir(beside_the_demo)
    blocks = re.findall(r"```pycon\n(.*?)```", PAGE, flags=re.S)
    assert blocks
    for block in blocks:
        run(doctest.DocTestParser().get_doctest(block, {}, "api.md", None, None), beside_the_demo)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if inspect.isfunction(getattr(mechicl, name))])
def test_every_function_says_what_it_takes_and_gives(name):
    """Each parameter beside the first is described, and so is what comes back."""
    function = getattr(mechicl, name)
    text, parameters = inspect.getdoc(function), list(inspect.signature(function).parameters)
    for parameter in parameters[1:]:
        assert re.search(rf"^    {parameter}: ", text, flags=re.M), f"{name}({parameter}) is not described"
    if function.__annotations__.get("return") not in (None, "None"):
        assert "Returns:" in text, f"{name} does not say what it returns"
