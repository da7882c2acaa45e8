"""Figure 1b: no verdict before all seeds are finished; then each of its rules can come out either way."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mechicl.sweeps.plan import plan
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.banks.shaping import Geometry, geometry
from research import page, published, tables
from research.experiments import figure1b, figure1b_why

FEATURES = Geometry(norm=45.36, mean_norm=34.39, within_over_between=0.911, participation_ratio=16.35)  # measured
INPUT = Path(__file__).parents[2] / "research" / "sweeps" / "figure-1b-input.toml"

TIMES = np.linspace(0, 2e7, 201)
PUBLISHED = {name: np.interp(TIMES, *np.array(sorted(points.items())).T) for name, points in published.points().items()}
LATE = {
    **PUBLISHED,
    "icl": np.interp(TIMES, [0, 3e6, 4e6, 8e6, 2e7], [0.5, 0.5, 0.75, 0.93, 0.8]),
    "flip": np.interp(TIMES, [0, 3e6, 4e6, 8e6, 2e7], [0.5, 0.5, 0.7, 0.88, 0.4]),
}
STAYS = {
    **LATE,
    **{name: np.interp(TIMES, [0, 3e6, 4e6, 8e6, 2e7], [0.5, 0.5, 0.72, 0.95, 0.95]) for name in ("icl", "flip")},
}
FLAT = {name: np.full(201, 0.5) for name in PUBLISHED}


def run(curves, seed=0, condition="raw", to=2e7):
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "condition": condition,
                    "seed": seed,
                    "complete": to >= 2e7,
                    "step": (TIMES / 32).astype(int),
                    "sequences": TIMES,
                    "evaluator": name,
                    "value": np.clip(values + seed / 1000, 0, 1),
                    "n": 5000,
                    "chance": 0.5,
                }
            )
            for name, values in curves.items()
        ]
    ).query("sequences <= @to")


@pytest.fixture
def given(monkeypatch):
    held: dict[str, pd.DataFrame] = {}
    monkeypatch.setattr(tables, "read", held.get)
    return held


def claim(module, key):
    return next(c for c in module.claims() if c.key == key)


def seeds(*curves, condition="raw"):
    return pd.concat([run(c, seed, condition) for seed, c in enumerate(curves)])


def test_nothing_run_says_how_many_seeds_are_to_come(given):
    got = claim(figure1b, "0.5")
    assert (got.status, got.reason) == ("running", "running: 0 of 5 seeds, to 0 million sequences")
    assert "python -m research collect research/sweeps/figure-1b.toml" in got.awaited
    assert not got.front


@pytest.mark.parametrize(("curves", "of"), [(PUBLISHED, 5), (STAYS, 0), (FLAT, 0)])
def test_the_page_says_in_words_whether_the_course_is_there(given, curves, of):
    given["figure-1b"] = seeds(*[curves] * 5)
    assert claim(figure1b, "0.5").front[0].startswith(f"In words: in {of} of 5 seeds")


def test_unfinished_runs_give_no_verdict(given):
    given["figure-1b"] = pd.concat([*(run(PUBLISHED, s) for s in range(4)), run(PUBLISHED, 4, to=1.2e7)])
    got = claim(figure1b, "0.5")
    assert got.status == "running"
    assert got.reason == "running: 5 of 5 seeds begun, 4 finished, to 20.0 million sequences"
    assert not got.parts
    assert got.awaited
    assert "| ICL | 4M |" in got.front[-1]  # what the seeds have reached is shown
    given["figure-1b"] = run(PUBLISHED, 0, to=1.2e7)
    assert "1 of 5 seeds begun, 0 finished, to 12.0 million" in claim(figure1b, "0.5").reason
    given["figure-1b"] = seeds(*[PUBLISHED] * 4)
    assert claim(figure1b, "0.5").status == "running"  # all that began are finished, and one has not begun


@pytest.mark.parametrize(
    ("curves", "rise", "fade", "status"),
    [
        ([PUBLISHED] * 5, "supported", "supported", "supported"),
        ([LATE] * 5, "supported", "inconclusive", "inconclusive"),  # it fades at another speed
        ([STAYS] * 5, "supported", "contradicted", "contradicted"),
        ([STAYS] * 4 + [PUBLISHED], "supported", "contradicted", "contradicted"),
        ([STAYS] * 3 + [PUBLISHED] * 2, "supported", "inconclusive", "inconclusive"),
        ([FLAT] * 5, "contradicted", "contradicted", "contradicted"),
        ([FLAT] * 2 + [PUBLISHED] * 3, "inconclusive", "supported", "inconclusive"),
    ],
)
def test_the_rules_of_the_rise_and_the_fade(given, curves, rise, fade, status):
    given["figure-1b"] = seeds(*curves)
    got = claim(figure1b, "0.5")
    assert [part.status for part in got.parts] == [rise, fade]
    assert got.status == status
    assert not got.awaited
    assert ("its speed differs" in got.parts[1].effect) == (fade == "inconclusive")


def test_every_published_point_has_its_difference_and_spread(given):
    given["figure-1b"] = seeds(*[PUBLISHED] * 5)
    lines = claim(figure1b, "0.5").front[-1].splitlines()
    assert len(lines) == 2 + sum(len(points) for points in published.points().values())
    assert "| ICL | 4M | 0.75 | 0.752 [0.750, 0.754] | +0.002 [+0.000, +0.004] | 5 |" in lines
    reached = figure1b.point_table(run(PUBLISHED, to=5e6)).splitlines()
    assert "| ICL | 20M | 0.59 | - | - | 0 |" in reached


def test_runs_that_went_on_stand_beside_the_long_published_run(given):
    given["figure-1b"] = seeds(*[PUBLISHED] * 5)
    assert list(claim(figure1b, "0.5").figures) == ["figure-1b"]
    further = run(PUBLISHED).assign(sequences=TIMES.tolist() * len(PUBLISHED))
    further["sequences"] *= 3.2  # to 64 million
    given["figure-1b-long-acc"] = pd.concat([further, further.assign(seed=1)[further.sequences <= 4.1e7]])
    got = claim(figure1b, "0.5")
    assert list(got.figures) == ["figure-1b", "figure-1b-long"]
    drawn = got.figures["figure-1b-long"].axes[0]
    assert (drawn.get_xlim(), drawn.get_ylabel()) == ((0, 64), "accuracy among all labels")
    lines = got.text[0].splitlines()
    assert "| ICL | 64M | 0.51 | 0.590 | - |" in lines
    assert sum(line.startswith("| FLIP ") for line in lines) == len(figure1b.FURTHER)
    assert got.status == claim(figure1b, "0.5").status  # it decides nothing


def test_the_long_published_run_is_the_same_curve_where_both_are_read():
    long, short = published.long_curves(), published.curves()
    for name in published.points():
        mine, theirs = (c[(c.evaluator == name) & (c.sequences > 1e7)] for c in (long, short))
        near = np.interp(mine.sequences, theirs.sequences, theirs.value)[mine.sequences <= 2e7]
        assert np.abs(near - mine.value[mine.sequences <= 2e7]).max() < 0.1


def test_the_published_points_are_near_the_digitised_curve():
    curves = published.curves()
    for name, points in published.points().items():
        mine = curves[curves.evaluator == name]
        for sequences, value in points.items():
            assert np.interp(sequences, mine.sequences, mine.value) == pytest.approx(value, abs=0.03)


def three(**conditions):
    return pd.concat([run(c, s, name) for name, c in conditions.items() for s in range(3)])


@pytest.mark.parametrize(
    ("centred", "scaled", "both", "size", "mean"),
    [
        (PUBLISHED, FLAT, FLAT, "supported", "contradicted"),
        (FLAT, PUBLISHED, FLAT, "contradicted", "supported"),
        (PUBLISHED, PUBLISHED, FLAT, "inconclusive", "inconclusive"),
        (FLAT, FLAT, FLAT, "inconclusive", "inconclusive"),
    ],
)
def test_what_of_the_input_decides(given, centred, scaled, both, size, mean):
    given["figure-1b"] = seeds(*[PUBLISHED] * 5)
    assert claim(figure1b_why, "0.6").status == "not run yet"  # its own sweep has not begun
    given["figure-1b-input"] = three(**{"centred": centred}).query("seed == 0")
    assert claim(figure1b_why, "0.6").status == "running"
    given["figure-1b-input"] = three(**{"centred": centred, "scaled": scaled, "centred-scaled": both})
    assert claim(figure1b_why, "0.6").status == size
    assert claim(figure1b_why, "0.7").status == mean


def decaying(at):
    return {**PUBLISHED, "flip": np.interp(TIMES, [0, 3e6, 4e6, at, 2e7], [0.5, 0.5, 0.9, 0.5, 0.4])}


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ((1.6e7, 1.2e7, 1e7, 7e6), "supported"),
        ((7e6, 1e7, 1.2e7, 1.6e7), "contradicted"),
        ((1.6e7, 7e6, 1.2e7, 1e7), "inconclusive"),
    ],
)
def test_the_speed_of_the_fade_by_the_spread(given, ends, status):
    low, raw, some, much = (decaying(at) for at in ends)
    given["figure-1b"] = seeds(*[raw] * 5)
    given["figure-1b-speed"] = three(**{"spread-0.8": low, "spread-1.3": some, "spread-1.6": much})
    assert claim(figure1b_why, "0.9").status == status


def test_a_claim_says_how_easy_the_tasks_are_where_all_its_banks_are_measured(given):
    given["figure-1b"] = seeds(*[decaying(1e7)] * 5)
    given["figure-1b-speed"] = three(**{"layout-released": decaying(1.6e7)})
    rows = [("figure-1b", "raw", 0.94), ("figure-1b-speed", "layout-released", 0.97), ("demo", "raw", 0.1)]
    easy = pd.DataFrame(rows, columns=["sweep", "condition", "match"]).assign(recall=0.5, seed=0)
    given["geometry"] = easy[:1]
    assert "two drawings match" not in claim(figure1b_why, "0.10").text[0]
    given["geometry"] = easy
    lines = claim(figure1b_why, "0.10").text[0].splitlines()
    assert lines[0].endswith("| two drawings match | nearest mean is right |")
    assert lines[2].endswith("| 0.940 | 0.500 |")
    assert lines[3].endswith("| 0.970 | 0.500 |")


@pytest.mark.parametrize(("at", "status"), [(1.6e7, "supported"), (7e6, "contradicted"), (1e7, "inconclusive")])
def test_the_speed_of_the_fade_by_the_layout(given, at, status):
    given["figure-1b"] = seeds(*[decaying(1e7)] * 5)
    given["figure-1b-speed"] = three(**{"layout-released": decaying(at)})
    assert claim(figure1b_why, "0.10").status == status


@pytest.mark.parametrize(("at", "status"), [(1.05e7, "supported"), (1.9e7, "contradicted")])
def test_the_speed_of_the_fade_by_the_initialisation(given, at, status):
    given["figure-1b"] = seeds(*(decaying(t) for t in (0.9e7, 1e7, 1.1e7, 1e7, 1e7)))
    given["figure-1b-speed"] = three(**{"model.init-normal": decaying(at)})
    assert claim(figure1b_why, "0.11").status == status


def rising(at):
    return {**PUBLISHED, "icl": np.interp(TIMES, [0, at - 1e6, at + 1e6, 2e7], [0.5, 0.5, 0.9, 0.6])}


@pytest.mark.parametrize(
    ("at", "status"),
    [((4e6, 4e6, 4e6), "supported"), ((7e6, 8e6, 9e6), "contradicted"), ((4e6, 4e6, 8e6), "inconclusive")],
)
def test_the_rise_by_the_initialisation(given, at, status):
    given["figure-1b"] = seeds(*(rising(t) for t in (5e6, 8e6, 6e6, 5e6, 5e6)))
    given["figure-1b-speed"] = pd.concat([run(rising(t), s, "model.init-normal") for s, t in enumerate(at)])
    assert claim(figure1b_why, "0.12").status == status


def test_a_run_that_never_forms_rises_last(given):
    given["figure-1b"] = seeds(*[rising(5e6)] * 5)
    given["figure-1b-speed"] = three(**{"model.init-normal": FLAT})
    got = claim(figure1b_why, "0.12")
    assert got.status == "contradicted"
    assert "not cut never (0 of 3)" in got.parts[0].effect


def test_a_fade_that_never_comes_is_the_slowest():
    data = three(a=STAYS, b=FLAT)
    assert np.isinf(figure1b_why.half_decay(data, "a")).all()
    assert figure1b_why.half_decay(data, "b").isna().all()  # it never rose, so it cannot fade


@pytest.mark.parametrize(("curve", "status"), [(PUBLISHED, "supported"), (FLAT, "contradicted"), (LATE, "supported")])
def test_the_geometry_of_gaussian_clusters(curve, status):
    assert figure1b_why.geometry(three(raw=PUBLISHED, gaussian=curve)).status == status


def test_the_gaussian_condition_has_the_geometry_of_the_features():
    (condition,) = (c for c in plan(tomllib.loads(INPUT.read_text()), "x").conditions if c.name == "gaussian")
    bank = dataclasses.replace(condition.config.bank, n_classes=2000, n_exemplars=6, n_holdout_classes=0)
    found = geometry(build_bank(dataclasses.replace(condition.config, bank=bank)).exemplars)
    for name, wanted in vars(FEATURES).items():
        assert getattr(found, name) == pytest.approx(wanted, rel=0.04), name


def test_all_conditions_that_the_hypotheses_name_are_planned(given):
    for why in figure1b_why.WHY:
        got = why.claim()
        assert got.status == "not run yet"
        assert "is collected yet" in got.reason
        assert why.key in page.OWN
