"""Verdicts: each can come out supported, contradicted and in between, by intervals that are known."""

import numpy as np
import pytest

from research.verdicts import Part, any_of, effect, judged, never, number, share, together


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([0.2, 0.3, 0.4, 0.5, 0.6], "supported"),
        ([0.0, 0.05, 0.02, -1, 0.09], "contradicted"),
        ([0.0, 0.3, 0.4, 0.5, 0.6], "inconclusive"),
        ([0.4, 0.4, 0.4, 0.4], "inconclusive"),
    ],
)
def test_an_effect_is_decided_only_where_all_five_seeds_agree(values, status):
    assert effect("x", values, above=0.1).status == status


def test_five_seeds_decide_nothing_at_95():
    five, ten = (effect("x", np.linspace(0.2, 0.6, n), above=0.1) for n in (5, 10))
    assert (five.status, five.strict) == ("supported", "inconclusive")
    assert (ten.status, ten.strict) == ("supported", "supported")
    none, all_ = (share("x", [False] * n, above=0.5) for n in (5, 10))
    assert (none.status, none.strict, all_.strict) == ("contradicted", "inconclusive", "contradicted")
    assert (any_of("x", [none, none]).status, any_of("x", [none, none]).strict) == ("contradicted", "inconclusive")
    assert any_of("x", [none, all_]).strict == "inconclusive"
    assert never("x", [True] + [False] * 14).strict is None  # one run is enough at any level
    assert never("x", [False] * 12).strict == "inconclusive"
    assert together([ten, five]) == "supported"
    assert together([ten, five], strict=True) == "inconclusive"
    counted = Part("x", "1", "contradicted")  # no interval decides it
    assert together([counted, ten], strict=True) == "contradicted"


def test_an_effect_may_be_below_or_between():
    near = [-0.1, 0.0, 0.1, 0.2, 0.3]
    assert effect("x", near, above=-0.5, below=0.5).status == "supported"
    assert effect("x", [0.6, 0.7, 0.8, 0.9, 1.0], above=-0.5, below=0.5).status == "contradicted"
    assert effect("x", [-2.1, 0.0, 0.1, 0.2, 0.9], above=-0.5, below=0.5).status == "inconclusive"  # both answers
    assert effect("x", near, below=0.5).status == "supported"


def test_a_time_that_never_comes_counts_as_infinite():
    part = effect("x", [1.0, 2.0, np.inf, np.inf, np.inf], above=0.5, text="{:.1f}")
    assert part.effect == "never [1.0, never], n = 5"
    assert part.status == "supported"


def test_what_has_no_bound_cannot_be_a_part():
    with pytest.raises(ValueError, match="could not fail"):
        effect("x", [1.0])
    with pytest.raises(ValueError, match="could not fail"):
        share("x", [True])


@pytest.mark.parametrize(
    ("count", "of", "status"),
    [
        (5, 5, "supported"),
        (4, 5, "inconclusive"),
        (1, 5, "inconclusive"),
        (0, 5, "contradicted"),
        (4, 4, "inconclusive"),
        (8, 8, "supported"),
    ],
)
def test_a_share_of_runs(count, of, status):
    assert share("x", [True] * count + [False] * (of - count), above=0.5).status == status
    turned = {"supported": "contradicted", "contradicted": "supported"}.get(status, status)
    assert share("x", [True] * count + [False] * (of - count), below=0.5).status == turned


def test_not_run_is_not_the_same_as_no_such_run():
    assert share("x", None, above=0.5).status == "not run yet"
    assert share("x", [], above=0.5).status == "inconclusive"


def test_one_run_contradicts_a_never():
    assert never("x", [False] * 14 + [True]).status == "contradicted"
    assert never("x", [False] * 15).status == "supported"
    assert never("x", [False] * 5).status == "inconclusive"  # up to 45% may


def test_one_of_several_is_enough_and_all_have_to_fail():
    yes, no, open_ = (Part("x", "", s) for s in ("supported", "contradicted", "inconclusive"))
    assert [any_of("x", p).status for p in ([no, yes], [no, no], [no, open_])] == [
        "supported",
        "contradicted",
        "inconclusive",
    ]


def test_a_claim_says_all_of_its_parts():
    yes, no, open_, later = (Part("x", "", s) for s in ("supported", "contradicted", "inconclusive", "not run yet"))
    assert [together(p) for p in ([yes, yes], [yes, no, open_], [yes, open_], [yes, later], [later], [])] == [
        "supported",
        "contradicted",
        "inconclusive",
        "running",
        "not run yet",
        "not run yet",
    ]


def test_no_interval_is_no_verdict():
    assert judged(np.nan, np.nan, above=0) == "inconclusive"


def test_numbers_as_text():
    assert [number(0.5), number(193_000, "time"), number(np.inf), number(-0.0)] == ["+0.50", "193k", "never", "+0.00"]
