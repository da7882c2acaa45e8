"""The page and its appendices: every claim has a row and a section, statuses follow their rules, figures are
reproducible."""

import re

import numpy as np
import pandas as pd
import pytest
from table_shapes import TIMES

from research import page, plots, tables, tidy
from research.claim import Claim, not_run, table
from research.declared import DECLARED
from research.experiments import accounts, competition, faithful, heads, transience

STATUSES = {"supported", "contradicted", "inconclusive", "not comparable", "running", "not run yet"}
FADES = np.interp(np.arange(20), [0, 8, 19], [0.5, 0.97, 0.55])
RISES = np.linspace(0.5, 0.99, 20)


def runs(condition: str, seeds: int, **curves) -> pd.DataFrame:
    """Runs with these curves, each seed a little later than the one before."""
    parts = []
    for seed in range(seeds):
        for evaluator, values in curves.items():
            late = TIMES * (1 + seed / 20)
            parts.append(
                pd.DataFrame(
                    {
                        "condition": condition,
                        "seed": seed,
                        "complete": True,
                        "step": np.arange(20),
                        "sequences": late,
                        "evaluator": evaluator,
                        "value": np.asarray(values) + seed / 1000,
                        "n": 1000,
                        "chance": 0.0 if evaluator == "iwl" else 0.5,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def demo_like(flip_end: float = 0.0, loss_end: float = 0.01, **more) -> pd.DataFrame:
    given = {
        "icl": FADES,
        "icl_holdout": FADES,
        "flip": np.interp(np.arange(20), [0, 7, 19], [0.5, 0.9, flip_end]),
        "ciwl": RISES,
        "iwl": RISES - 0.49,
        "train": RISES,
        "training": np.linspace(3, loss_end, 20),
    }
    return runs("demo", 5, **(given | more))


@pytest.fixture
def given(monkeypatch):
    """Tables to be read instead of the committed ones."""
    held: dict[str, pd.DataFrame] = {}
    monkeypatch.setattr(tables, "read", held.get)
    return held


def claim(module, key: str) -> Claim:
    return next(c for c in module.claims() if c.key == key)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The page of the committed tables, built once."""
    folder = tmp_path_factory.mktemp("docs")
    return folder, page.build(folder)


def statuses(claim: Claim) -> list[str]:
    return [part.status for part in claim.parts]


def test_what_was_not_run_is_said_so(given):
    found = page.claims()
    assert {c.status for c in found} == {"not run yet", "running"}
    assert all(c.reason.startswith("running: 0 of") for c in found if c.status == "running")
    text = page.front({c.key: c for c in found})
    assert "running: 0 of 5 seeds, to 0 million sequences" in text
    for status in ("supported", "contradicted", "inconclusive"):
        assert f"| **{status}** |" not in text  # in no row
        assert f"Status: {status}" not in text


def both(**change) -> dict[str, pd.DataFrame]:
    made = demo_like(**change)
    return {
        "demo": made,
        "iwl": made.assign(condition="iwl", value=made.value.where(made.evaluator != "iwl", made.value + 0.49)),
    }


def test_a_rise_and_fade_is_supported_and_says_its_numbers(given):
    given.update(both())
    got = claim(transience, "1.1")
    assert (got.status, statuses(got)) == ("supported", ["supported"] * 4)
    assert "ICL's fall from its highest value to the end, all runs: +0.42 [+0.42, +0.42], n = 10" in got.number
    assert claim(transience, "1.2").status == "supported"


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"icl": RISES}, [0, 1, 3]),  # it never fades: its highest value is the end, and no loss falls after it
        ({"loss_end": 5.0}, [3]),  # the loss rises
        ({"ciwl": FADES, "iwl": FADES - 0.49}, [2]),  # nothing is learned in weights
        ({"icl": np.full(20, 0.5), "flip": np.full(20, 0.5)}, [1]),
    ],  # it never forms
)
def test_every_part_of_transience_can_be_contradicted(given, change, failing):
    given.update(both(**change))
    got = claim(transience, "1.1")
    assert got.status == "contradicted"
    assert [i for i, status in enumerate(statuses(got)) if status == "contradicted"] == failing


def test_icl_that_forms_in_no_or_in_some_runs(given):
    flat = {"icl": np.full(20, 0.5), "flip": np.full(20, 0.5)}
    given.update(both(**flat))
    assert claim(transience, "1.2").status == "contradicted"
    given["demo"] = demo_like()
    assert claim(transience, "1.2").status == "inconclusive"  # five of ten


@pytest.mark.parametrize(
    ("key", "names"),
    [("0.1", ["faithful"]), ("0.2", ["demo"]), ("0.3", ["faithful-longer"]), ("0.4", ["faithful", "faithful-seeds"])],
)
def test_runs_on_inputs_of_norm_1_are_not_comparable_whatever_they_show(given, key, names):
    curves = {"icl": FADES, "flip": FADES, "ciwl": RISES, "iwl": RISES - 0.49}
    given["demo"] = demo_like()
    given["faithful"] = runs("24-dimensional", 1, **curves)
    given["faithful-seeds"] = runs("24-dimensional", 3, **curves).query("seed > 0")
    given["faithful-longer"] = runs("24-dimensional-longer", 1, **curves)
    got = claim(faithful, key)
    assert got.status == "not comparable"
    assert "norm 1" in got.reason
    assert got.parts
    for name in names:
        del given[name]
    assert claim(faithful, key).status == "not run yet"


def test_seeds_in_which_flip_never_rose_count_in_the_shape_of_demo(given):
    given["demo"] = demo_like()
    assert claim(faithful, "0.2").parts[0].status == "supported"
    data = demo_like()
    data.loc[(data.evaluator == "flip") & (data.seed == 2), "value"] = 0.3
    given["demo"] = data
    part = claim(faithful, "0.2").parts[0]
    assert (part.status, "4 of 5" in part.effect) == ("inconclusive", True)


def test_early_stopping_keeps_what_fades(given):
    given["demo"] = demo_like()
    got = claim(transience, "7")
    assert got.status == "supported"
    assert "`demo`: ICL kept by stopping: +0.42" in got.number
    given["demo"] = demo_like(icl=RISES, icl_holdout=RISES)
    assert claim(transience, "7").status == "contradicted"


UP, DOWN, FLAT = (
    np.interp(np.arange(20), [0, 8, 19], [0.5, top, end]) for top, end in ((0.97, 0.97), (0.97, 0.55), (0.5, 0.5))
)
SOON, LATE = (np.interp(np.arange(20), [0, at, 19], [0.5, 0.97, 0.97]) for at in (2, 16))


def treated(name: str, mixed: dict, other: dict) -> pd.DataFrame:
    """Five seeds of the mixture and of a treatment, with these curves; those not given are the same in both."""
    same = {"icl": DOWN, "flip": DOWN, "ciwl": UP, "iwl": UP - 0.49, "training": UP}
    return pd.concat([runs("mixed", 5, **(same | mixed)), runs(name, 5, **(same | other))])


@pytest.mark.parametrize(
    ("key", "name", "supported", "contradicted"),
    [
        ("8.1", "icl-only", {"icl": UP, "flip": UP}, {}),
        ("8.3", "no-previous-token", {"flip": FLAT}, {}),
        ("8.3", "no-previous-token", {"flip": FLAT}, {"flip": FLAT, "ciwl": LATE}),
        ("8.4", "matched", {"icl": UP, "flip": UP}, {"icl": UP}),
        ("8.8", "icl-only", {"icl": LATE}, {"icl": SOON}),
        ("8.9", "relabelled", {"icl": UP, "flip": UP}, {"flip": UP}),
        ("8.10", "forgetting", {"icl": UP, "flip": UP}, {"icl": FLAT}),
        ("8.11", "mixed-then-icl", {"icl": UP, "flip": UP}, {}),
    ],
)
def test_treatments_are_judged_against_each_seeds_twin(given, monkeypatch, key, name, supported, contradicted):
    monkeypatch.setattr(plots, "curves", lambda *_, **__: None)
    yes, no = (treated(name, {}, change) for change in (supported, contradicted))
    given["competition"] = yes
    assert claim(competition, key).status == "supported"
    given["competition"] = no
    assert claim(competition, key).status == "contradicted"
    given["competition"] = pd.concat([yes[yes.seed < 4], no[no.seed == 4]])  # one seed of five goes the other way
    assert claim(competition, key).status == "inconclusive"


@pytest.mark.parametrize(
    ("early", "late", "status"),
    [(DOWN, FLAT, "supported"), (DOWN, DOWN, "contradicted"), (FLAT, FLAT, "contradicted")],
)
def test_a_head_start_is_judged_by_whether_icl_forms(given, monkeypatch, early, late, status):
    monkeypatch.setattr(plots, "curves", lambda *_, **__: None)
    given["competition"] = pd.concat(
        [
            treated("ciwl-then-mixed-early", {}, {"icl": early, "flip": early}),
            runs("ciwl-then-mixed-late", 5, icl=late, flip=late, ciwl=UP),
        ]
    )
    assert claim(competition, "8.2").status == status


@pytest.mark.parametrize(
    ("seeds", "own", "status"),
    [
        (5, {"icl": FLAT, "ciwl": SOON}, "supported"),
        (5, {"icl": UP, "ciwl": LATE}, "contradicted"),
        (4, {"icl": FLAT, "ciwl": SOON}, "inconclusive"),
    ],  # four seeds decide nothing
)
def test_a_seeds_own_heads_against_random_ones(given, monkeypatch, seeds, own, status):
    monkeypatch.setattr(plots, "curves", lambda *_, **__: None)
    same = {"icl": UP, "flip": UP, "ciwl": LATE, "iwl": UP - 0.49}
    given["competition"] = runs("mixed", seeds, **same)
    given["heads"] = pd.concat(
        [
            runs(f"{kind}-heads-{when}", seeds, **(same | (own if kind == "icl" else {})))
            for kind in ("icl", "random")
            for when in ("start", "peak")
        ]
    )
    assert claim(heads, "8.5").status == status


@pytest.mark.parametrize(
    ("better", "status"),
    [(0.5, "supported"), (2.0, "contradicted"), (None, "inconclusive")],
)
def test_accounts_are_judged_by_their_held_out_errors(monkeypatch, better, status):
    """coopetition's errors are changed by a factor, in all conditions of every seed, or left as they are."""
    found = tables.read("accounts")
    assert found is not None
    if better is not None:
        rows = (found.kind == "rmse") & (found.account == "coopetition")
        found.loc[rows, "value"] *= better
    original = tables.read
    monkeypatch.setattr(tables, "read", lambda name: found if name == "accounts" else original(name))
    monkeypatch.setattr(accounts, "figure", lambda *args: None)
    assert claim(accounts, "9").status == status


@pytest.mark.slow
def test_the_committed_pages_are_what_their_tables_say(built):
    """Nothing in docs has been edited by hand, and nothing is older than the tables."""
    folder, written = built
    for path in written:
        if path.suffix != ".svg":
            committed = page.DOCS / path.relative_to(folder)
            assert committed.read_text() == path.read_text(), path.name
    here = {p.name for p in (page.DOCS / "findings").iterdir()}
    assert {p.name for p in written[1:]} == here - {*page.BESIDE}


def test_every_link_leads_somewhere_and_every_figure_exists():
    files = [page.DOCS / "findings.md", *(page.DOCS / "findings").glob("*.md")]
    anchors = {path: {_anchor(h) for h in re.findall(r"^## (.+)$", path.read_text(), re.M)} for path in files}
    for path in files:
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
            file, _, anchor = target.partition("#")
            to = (path.parent / file).resolve() if file else path
            assert to.exists(), (path.name, target)
            if to.suffix == ".svg":
                assert to.stat().st_size > 1000, target
            if anchor:
                known = anchors.get(to) or set(re.findall(r'id="([\w-]+)"', to.read_text()))
                assert anchor in known, (path.name, target)


def _anchor(heading: str) -> str:
    return "".join(ch for ch in heading.lower().replace(" ", "-") if ch.isalnum() or ch in "-_")


def test_every_claim_is_in_one_appendix_and_has_its_dates():
    placed = [key for _, keys in page.APPENDICES.values() for key in keys]
    assert len(placed) == len(set(placed))
    assert set(placed) == set(DECLARED)
    text = "".join(path.read_text() for path in (page.DOCS / "findings").glob("*.md"))
    assert all(re.search(rf"^## {re.escape(key)} ", text, re.M) for key in placed)


def test_the_page_has_five_claims_with_a_figure_an_effect_and_a_status():
    text = (page.DOCS / "findings.md").read_text()
    sections = re.split(r"^## ", text, flags=re.M)
    first = [s for s in sections if re.match(r"\d\. ", s)]
    assert len(first) == 5
    for section in first:
        assert section.count("![") == 1
        assert re.search(r"\*\*Status: (.+?)\.\*\*", section).group(1) in STATUSES
        assert "Rule before its runs: **" in section
        assert re.search(r"\], (n = \d|\d+ of \d)", section) or "**Status: running.** " in section


@pytest.mark.parametrize("short", ["ICL", "IWL", "CIWL", "Flip"])
def test_every_page_says_what_its_short_words_mean(short):
    long = {
        "ICL": "in-context learning",
        "IWL": "in-weights learning",
        "CIWL": "in-weights learning",
        "Flip": "contradicts the weights",
    }[short]
    for path in [page.DOCS / "findings.md", *(page.DOCS / "findings").glob("*.md")]:
        if not re.search(rf"\b{short}\b", path.read_text()):
            continue  # that of Singh et al. 2024 has none of these evaluators
        before = path.read_text().split("|")[0]  # what comes before the first table
        assert re.search(rf"\b{short}\b", before), path.name
        assert long in " ".join(before.split()), path.name


def test_own_hypotheses_stand_apart_from_replications():
    assert set(page.OWN) == set(page.APPENDICES["hypotheses"][1])
    assert not set(page.OWN) & set(page.FIRST)


def test_all_runs_and_all_parts_are_in_the_csv_files():
    runs_ = pd.read_csv(page.DOCS / "findings" / "runs.csv")
    assert len(runs_) == sum(data[data.complete].groupby(["condition", "seed"]).ngroups for data in tidy.every_table())
    parts = pd.read_csv(page.DOCS / "findings" / "claims.csv", dtype={"claim": str})  # 0.10 is not 0.1
    assert set(parts.claim) == set(DECLARED)
    assert set(parts.status) | set(parts.status_at_95.dropna()) <= STATUSES


def test_a_figure_is_the_same_bytes_again(tmp_path):
    for name in ("a", "b"):
        plots.save(plots.curves(demo_like(), {"demo": "demo"}), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("linear", "said", "scale"), [(False, "sequences seen", "log"), (True, "seen, million", "linear")]
)
def test_curves_stand_on_the_axis_that_is_asked_for(linear, said, scale):
    figure = plots.curves(demo_like(), {"demo": "demo"}, linear=linear)
    assert figure.get_supxlabel().endswith(said)
    (axis,) = figure.axes
    assert axis.get_xscale() == scale
    last = axis.lines[0].get_xdata()[-1] * (1e6 if linear else 1)
    assert last == demo_like().sequences.max()


def test_files_of_claims_that_are_gone_are_removed(given, tmp_path):
    (tmp_path / "findings").mkdir()
    for name in ("old.svg", "old.md", "old.csv"):
        (tmp_path / "findings" / name).write_text("old")
    page.build(tmp_path)
    assert not list((tmp_path / "findings").glob("old.*"))


def test_a_markdown_table():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    assert not_run("1", "t", "s", "c").status == "not run yet"


def test_the_page_says_which_numbers_its_claims_have_in_the_appendices():
    *most, last = page.FIRST
    text = " ".join((page.DOCS / "findings.md").read_text(encoding="utf-8").split())
    assert f"claims 1 to 5 of this page are {', '.join(most)} and {last} there." in text
