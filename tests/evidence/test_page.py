"""The page: every claim has a row and a section, verdicts follow their rules, figures are reproducible."""

import re

import numpy as np
import pandas as pd
import pytest
from table_shapes import TIMES

from evidence import page, plots, tables
from evidence.claim import Claim, by_parts, most, not_run, table
from evidence.experiments import competition, faithful, transience

FADES = np.interp(np.arange(20), [0, 8, 19], [0.5, 0.97, 0.55])
RISES = np.linspace(0.5, 0.99, 20)


def runs(condition: str, seeds: int, **curves) -> pd.DataFrame:
    """Runs with these curves, each seed a little later than the one before."""
    parts = []
    for seed in range(seeds):
        for evaluator, values in curves.items():
            late = TIMES * (1 + seed / 20)
            parts.append(pd.DataFrame({
                "condition": condition, "seed": seed, "complete": True, "step": np.arange(20), "sequences": late,
                "evaluator": evaluator, "value": np.asarray(values) + seed / 1000, "n": 1000,
                "chance": 0.0 if evaluator == "iwl" else 0.5}))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def demo_like(flip_end: float = 0.0, loss_end: float = 0.01, **more) -> pd.DataFrame:
    given = {
        "icl": FADES, "icl_holdout": FADES, "flip": np.interp(np.arange(20), [0, 7, 19], [0.5, 0.9, flip_end]),
        "ciwl": RISES, "iwl": RISES - 0.49, "train": RISES, "training": np.linspace(3, loss_end, 20),
    }  # fmt: skip
    return runs("demo", 5, **(given | more))


@pytest.fixture
def given(monkeypatch):
    """Tables to be read instead of the committed ones."""
    held: dict[str, pd.DataFrame] = {}
    monkeypatch.setattr(tables, "read", held.get)
    return held


def claim(module, key: str) -> Claim:
    return next(c for c in module.claims() if c.key == key)


def test_what_was_not_run_is_said_so(given):
    found = page.claims()
    assert {c.verdict for c in found} == {"not run yet"}
    text = page.text(found)
    assert text.count("**Not run yet.**") == len(found)


def test_a_rise_and_fade_is_reproduced_and_says_its_numbers(given):
    given["demo"] = demo_like()
    got = claim(transience, "1.1")
    assert got.verdict == "reproduced"
    assert "ICL 0.972 (0.970 to 0.974; n = 5) → 0.552 (0.550 to 0.554; n = 5)" in got.number


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"icl": RISES}, "partly"),  # it never fades
        ({"loss_end": 5.0}, "partly"),  # the loss rises
        ({"icl": np.full(20, 0.5), "flip": np.full(20, 0.5)}, "not reproduced"),  # it never forms
    ],
)
def test_a_claim_that_fails_is_said_to(given, change, verdict):
    given["demo"] = demo_like(**change)
    assert claim(transience, "1.1").verdict == verdict


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ([(0.6, 0.0)] * 3, "reproduced"),
        ([(0.6, 0.0)] * 2 + [(0.97, 0.0)], "partly"),  # one ICL stays: only Flip fades in four fifths
        ([(0.6, 0.0)] * 2 + [(0.6, 0.2)], "partly"),
        ([(0.6, 0.0)] * 2 + [(0.97, 0.9)], "not reproduced"),
    ],
)
def test_the_published_setting_is_judged_over_seeds(given, ends, verdict):
    made = [
        runs("24-dimensional", 1, icl=np.interp(np.arange(20), [0, 8, 19], [0.5, 0.97, icl]), ciwl=RISES,
             flip=np.interp(np.arange(20), [0, 7, 19], [0.5, 0.9, flip])).assign(seed=seed)
        for seed, (icl, flip) in enumerate(ends)
    ]  # fmt: skip
    given["faithful"] = pd.concat([made[0], runs("isotropic", 1, icl=RISES, flip=RISES, ciwl=RISES)])
    assert claim(faithful, "0.4").verdict == "not run yet"
    given["faithful-seeds"] = pd.concat(made[1:])
    got = claim(faithful, "0.4")
    assert got.verdict == verdict
    assert "seeds 0, 1, 2" in got.ran
    middle = sorted(icl for icl, _ in ends)
    assert f"ICL {middle[1]:.3f} ({middle[0]:.3f} to {middle[2]:.3f}; n = 3)" in got.number


def test_early_stopping_keeps_what_fades(given):
    given["demo"] = demo_like()
    got = claim(transience, "7")
    assert got.verdict == "reproduced"
    assert "`demo`: ICL kept +0.42" in got.number


def test_competition_compares_each_seed_with_its_own_twin(given):
    kept = np.interp(np.arange(20), [0, 8, 19], [0.5, 0.97, 0.97])
    others = {"flip": FADES, "ciwl": RISES, "iwl": RISES - 0.49, "training": RISES}
    given["competition"] = pd.concat([
        runs("mixed", 5, icl=FADES, **others),
        runs("icl-only", 5, **others, icl=np.interp(np.arange(20), [0, 4, 19], [0.5, 0.97, 0.97])),
        runs("ciwl-only", 5, **others, icl=np.full(20, 0.5)),
    ])  # fmt: skip
    got = claim(competition, "8.1")
    assert got.verdict == "reproduced"
    assert re.search(r"ICL at the end \+0\.42 \[\+0\.42, \+0\.42\], n = 5, p < 0\.001", got.number)
    assert "its onset comes sooner when alone" in got.text[-1]
    given["competition"] = pd.concat([runs(c, 5, icl=kept, **others) for c in ("mixed", "icl-only", "ciwl-only")])
    assert claim(competition, "8.1").verdict == "not reproduced"


def test_verdicts():
    assert [by_parts(x) for x in ([True, True], [True, False], [False])] == ["reproduced", "partly", "not reproduced"]
    assert most([True] * 4 + [False])
    assert not most([True] * 3 + [False] * 2)
    assert not most([])


def test_the_committed_page_is_what_its_tables_say(tmp_path):
    """docs/findings.md has not been edited by hand, and is not older than its tables."""
    written = page.build(tmp_path)
    assert (tmp_path / "findings.md").read_text() == (page.DOCS / "findings.md").read_text()
    assert {p.name for p in written[1:]} == {p.name for p in (page.DOCS / "findings").glob("*.svg")}


def test_every_row_leads_to_its_section_and_every_figure_exists():
    text = (page.DOCS / "findings.md").read_text()
    found = re.findall(r"## (\d\S* .+)", text)
    headings = {page.anchor(Claim(*h.split(" ", 1), *[""] * 4, "partly", "")) for h in found}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
    assert len(headings) == len(page.claims())
    for figure in re.findall(r"\]\((findings/[^)]+)\)", text):
        assert (page.DOCS / figure).stat().st_size > 1000, figure


def test_a_figure_is_the_same_bytes_again(tmp_path):
    for name in ("a", "b"):
        plots.save(plots.curves(demo_like(), {"demo": "demo"}), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_figures_of_claims_that_are_gone_are_removed(given, tmp_path):
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "old.svg").write_text("<svg/>")
    page.build(tmp_path)
    assert not list((tmp_path / "findings").glob("*.svg"))


def test_a_markdown_table():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    assert not_run("1", "t", "s", "c").verdict == "not run yet"
