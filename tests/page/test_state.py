"""A view goes to a URL and back, says what is wrong with a bad one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mechicl
from mechicl.interventions import AblateHeads, AblateMLPs, CutEdges, Graft, Together
from mechicl.measures.words import NAMES, Words, read, write
from mechicl.page.state import View, ViewError

HEAD = st.tuples(st.integers(0, 99), st.integers(0, 99))
NAME = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=("Cs",)), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)
CUT = st.lists(
    st.tuples(st.sampled_from(["query->label", "label->previous", "self"]), st.integers(0, 9) | st.none() | HEAD)
)
PLACED = st.lists(st.tuples(st.sampled_from(["query->label", "previous", "3"]), st.integers(0, 9) | st.none()))
VIEWS = st.builds(
    View,
    hold=st.lists(st.sampled_from(["pattern", "q", "k", "v"])).map(lambda x: read("hold", ",".join(x))),
    mlp=st.lists(st.integers(0, 9)).map(lambda x: tuple(sorted(set(x)))),
    edge=CUT.map(lambda x: read("edge", write("edge", x)) if x else ()),
    position=PLACED.map(lambda x: read("position", write("position", x)) if x else ()),
    patch=st.lists(st.sampled_from(["L1H3", "mlp.0", "query:1", "query->label"]), unique=True).map(tuple),
    counterfactual=st.sampled_from(["", "next"]),
    graft=st.sampled_from(["", "qk.1@3", "embeddings,ov.0@1400"]),
    without_subspace=st.sampled_from(["", "flip"]),
    run=NAME,
    step=st.none() | st.integers(0, 10**9),
    heads=st.lists(HEAD, unique=True, max_size=6).map(lambda x: tuple(sorted(x))),
    kind=st.sampled_from(["zero", "mean", "resample", "pattern_preserving", "value_preserving"]),
    measure=st.sampled_from(["previous_token", "logit", "effect_iwl"]),
    evaluator=st.sampled_from(["icl", "flip", "iwl"]),
    sequence=st.none() | st.integers(0, 999),
    head=st.none() | HEAD,
    axis=st.sampled_from(["log", "linear"]),
    unit=st.sampled_from(["sequences", "steps"]),
    tab=st.sampled_from(["attention", "logits", "compare"]),
    with_run=st.none() | NAME,
    with_step=st.none() | st.integers(0, 10**9),
    seeds=st.lists(NAME, unique=True, max_size=4).map(tuple),
    over=st.none() | st.sampled_from(["icl", "flip"]),
    against=st.sampled_from(["", "own"]) | NAME.map("run/{}".format) | NAME.map("condition/{}".format),
)


@given(VIEWS)
def test_a_url_holds_the_whole_view(view):
    assert View.from_query("?" + view.query()) == view
    assert View.from_query(view.query(), "another") == view
    assert view.query().startswith("run=")
    assert view.words == Words(**{name: getattr(view, name) for name in NAMES})


def test_a_plain_url_is_short():
    assert View(run="demo").query() == "run=demo"
    assert View(run="demo", step=3, heads=((0, 5), (1, 3))).query() == "run=demo&step=3&heads=L0H5,L1H3"


def test_what_a_url_leaves_out_is_as_by_default():
    assert View.from_query("", "demo") == View(run="demo")
    assert View.from_query("?heads=1.3,0.5,1.3", "demo").heads == ((0, 5), (1, 3))
    assert View.from_query("?token=x&run=other", "demo") == View(run="other")  # the server's part


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?stpe=3", r"'stpe' is not a part of a view\. Did you mean 'step'\?"),
        ("?step=3&step=4", "has 'step' twice"),
        ("?step=-1", "step='-1': expected a whole number, 0 or more"),
        ("?step=1e3", "expected a whole number"),
        ("?step=٣", "expected a whole number"),
        ("?step=" + "9" * 13, "expected a whole number"),
        ("?heads=05", "expected layers and heads, counted from 0, such as L0H5,L1H3"),
        ("?heads=0.x", "as L0H5,L1H3"),
        ("?head=05", r"expected LAYER\.HEAD, such as 0\.5"),
        ("?head=0.x", "expected a whole number"),
        ("?mlp=L1", "mlp 1 or mlp 0,1"),
        ("?edge=a:b", "expected edges, as query->match_label"),
        ("?position=:1", "as match_label:1"),
        ("?patch=query", "query->match_label:1"),
        ("?graft=qk.1", "as qk.1@1400"),
        ("?hold=x", "expected one of pattern, q, k, v"),
        ("?without_subspace=filp", "Did you mean 'flip'"),
        ("?kind=one", "kind='one': expected one of zero, mean, resample"),
        ("?measure=", "expected one of previous_token"),
        ("?evaluator=icl2", "expected one of train, icl, flip"),
        ("?run=../demo", "run='../demo': expected the name of a run in the same folder"),
        ("?run=..", "expected the name of a run"),
        ("?run=%2Fetc", "expected the name of a run"),
        ("?run=a%00b", "expected the name of a run"),
        ("?with_run=a%5Cb", "expected the name of a run"),
        ("?heads=" + "0.1," * 1001, "characters long"),
    ],
)
def test_a_bad_url_says_what_is_wrong_with_it(query, says):
    with pytest.raises(ViewError, match=says):
        View.from_query(query, "demo")


def test_the_ablation_is_the_same_object_as_in_code():
    assert View(run="x").intervention is None
    assert View(run="x", heads=((1, 0),), kind="mean").intervention == mechicl.AblateHeads(heads=((1, 0),), kind="mean")
    assert isinstance(View(run="x", heads=((1, 0),)).intervention, AblateHeads)


def test_a_link_says_what_the_command_line_says():
    query = "?heads=L1H0&mlp=1&edge=query->label:1&graft=qk.0@3&step=5"
    view = View.from_query(query, "demo")
    parts = (
        Graft(parts=("qk.0",), source=3),
        AblateHeads(heads=((1, 0),)),
        AblateMLPs(layers=(1,)),
        CutEdges(edges=("query->label",), layers=(1,)),
    )
    assert view.intervention == Together(parts=parts)
    options = {name: text for name, _, text in (part.partition("=") for part in query[1:].split("&")) if name in NAMES}
    assert Words.of(options).intervention() == view.intervention
    assert view.untouched().intervention is None
    assert view.untouched().step == 5
    more = view.also(heads=((0, 2),), mlp=(0,))
    assert (more.heads, more.mlp) == (((0, 2), (1, 0)), (0, 1))


def test_what_does_not_go_together_is_one_sentence():
    for query in ("?mlp=1&kind=pattern_preserving", "?hold=k&mlp=1"):
        with pytest.raises(ViewError, match="heads"):
            _ = View.from_query(query, "demo").intervention
