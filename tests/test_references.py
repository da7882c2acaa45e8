"""What the texts name can be found: anchors of docs/references.md, terms of the glossary, files of the repository."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

import mechicl
from mechicl import doors
from mechicl.interventions import BASELINES
from mechicl.protocol.attention_scores import SCORES
from mechicl.registry import EVALUATORS
from mechicl.training_interventions import KINDS
from research import verdicts

ROOT = Path(__file__).parents[1]
ROOMS = ("mechicl", "analyses", "research", "docs", "tests", "examples", "benchmarks", "README.md", "CONTRIBUTING.md")
TEXTS = sorted(
    path
    for room in ROOMS
    for path in [ROOT / room, *(ROOT / room).rglob("*")]
    if path.suffix in (".py", ".md", ".toml", ".ipynb", ".js") and path != Path(__file__)
)
REFERENCES = (ROOT / "docs" / "references.md").read_text()
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()


def anchors(markdown: str) -> list[str]:
    return re.findall(r'<a id="([^"]+)">', markdown)


def test_anchors_are_there_once():
    for text in (REFERENCES, GLOSSARY):
        assert len(anchors(text)) == len(set(anchors(text))) > 10


@pytest.mark.parametrize("page", ["references", "glossary"])
def test_every_anchor_that_is_cited_exists(page):
    there = set(anchors((ROOT / "docs" / f"{page}.md").read_text()))
    cited = {
        (path.name, anchor)
        for path in TEXTS
        for anchor in re.findall(rf"{page}\.md#([\w-]+)", path.read_text(encoding="utf-8"))
    }
    assert page != "references" or len(cited) > 20
    assert not {(name, anchor) for name, anchor in cited if anchor not in there}


def test_every_paper_that_a_text_cites_is_in_the_references():
    """By its number at arXiv, or as 'Author et al. year' and 'Author & Author year'."""
    papers = set(re.findall(r"^### (.+)$", REFERENCES, flags=re.M))
    sources = (REFERENCES + " ".join(papers)).casefold()
    for path in TEXTS:
        if path.parts[len(ROOT.parts)] == "tests":
            continue
        text = path.read_text(encoding="utf-8")
        for number in re.findall(r"(?<![\d.,-])[12]\d(?:0[1-9]|1[0-2])\.\d{5}(?!\d)", text):
            assert number in REFERENCES, f"{path}: {number}"
        for authors, year in re.findall(r"\b([A-Z][a-z]+(?: et al\.| & [A-Z][a-z]+)),? \(?((?:19|20)\d\d)\b", text):
            cited = f"{authors} {year}".casefold()
            assert cited in sources or cited.replace(" & ", "-").replace(" ", "-") in sources, f"{path}: {cited}"


def files_named(text: str) -> set[str]:
    """Names of files of code and of pages, without examples such as my_bank.py, PAGE.md or URLs."""
    found = re.findall(r"(?<![\w./:-])((?:\.\./)*(?:[\w-]+/)*[\w-]+\.(?:py|md))\b", text)
    return {name for name in found if not Path(name).stem.isupper() and not Path(name).stem.startswith("my_")}


def test_files_named_finds_what_a_text_names():
    text = "(`engine/ops.py`, heads.py) [here](../a-page.md#x), my_bank.py, docs/PAGE.md, http://x.org/read.md, b.py2"
    assert files_named(text) == {"engine/ops.py", "heads.py", "../a-page.md"}


@pytest.mark.parametrize("path", [p for p in TEXTS if p.parts[len(ROOT.parts)] != "tests"], ids=lambda p: p.name)
def test_every_file_that_a_text_names_exists(path):
    """From the root, mechicl/, docs/ or docs/findings/, or from the folder of the text or one above it."""
    above = [folder for folder in path.parents if folder.is_relative_to(ROOT)]
    places = [*above, *(ROOT / room for room in ("mechicl", "docs", "docs/findings", "examples"))]
    named = files_named(path.read_text(encoding="utf-8"))
    assert not {name for name in named if not any((place / name).is_file() for place in places)}


def test_no_text_cites_what_users_do_not_have():
    for path in TEXTS:
        found = re.search(r"science\.md|\(science[:;]|; science[:;]", path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found}"


def test_the_claims_that_findings_name_are_in_the_references():
    """'T6' and 'IH3' in the findings are statements of the references."""
    there = set(anchors(REFERENCES))
    for path in (ROOT / "docs").glob("findings*/*.md"):
        for each in re.findall(r"\b(?:IH\d+|(?<=[;,] )T\d)\b", path.read_text()):
            assert each.lower() in there, f"{path.name}: {each}"


def test_every_evaluator_score_and_kind_is_in_the_glossary():
    text = GLOSSARY.casefold()
    ours = [e for e in EVALUATORS.values() if doors.home_of("evaluator", e.name).startswith("mechicl")]
    assert {"icl", "recall"} <= {e.name for e in ours}
    for evaluator in ours:
        assert f"`{evaluator.name}`" in GLOSSARY, evaluator.name
        assert f"**{evaluator.short}**" in GLOSSARY, evaluator.short
    for score in SCORES.values():
        assert score.name.removeprefix("attention ").casefold() in text, score.name
    for kind in BASELINES:
        assert f"**{kind}**" in GLOSSARY or f"`{kind}`" in GLOSSARY, kind
    assert {"graft", "relabel"} <= set(KINDS)
    for kind in KINDS:
        assert f"`{kind}`" in GLOSSARY, kind


def test_every_status_of_a_claim_is_in_the_glossary():
    for status in get_args(verdicts.Status):
        assert f"**{status}**" in GLOSSARY, status


def test_the_citation_file_has_what_its_schema_asks_for():
    """cff-version 1.2.0: https://github.com/citation-file-format/citation-file-format/blob/main/schema-guide.md"""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cff)
    known = {"abstract", "authors", "cff-version", "keywords", "license", "message", "title", "type", "version"}
    assert set(cff) <= known
    assert cff["cff-version"] == "1.2.0"
    assert cff["type"] in ("software", "dataset")
    assert cff["authors"] == [{"name": "The mechicl developers"}]  # an entity, not a person
    assert cff["version"] == mechicl.__version__
    assert cff["license"] == "MIT"
