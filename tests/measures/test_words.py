"""Interventions in words: what the options say, what they cannot say, and that writing and reading are inverse."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mechicl.errors import ConfigError
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    AblatePositions,
    CutEdges,
    CutPaths,
    Graft,
    PatchActivations,
    Together,
)
from mechicl.measures.subspace_ablation import AblateCarried
from mechicl.measures.words import NAMES, RELATIONS, Line, Words, parse_heads, read, write
from mechicl.protocol.batch import token_relations

EDGES = st.sampled_from(["query->match_label", "label->exemplar", "previous", "3->0", "self"])
PLACES = st.sampled_from(["match_label", "query", "0", "12"])
LAYERS = st.integers(0, 20)
WORDS = st.fixed_dictionaries(
    {
        "heads": st.lists(st.tuples(LAYERS, LAYERS), max_size=4).map(lambda x: ",".join(f"L{a}H{b}" for a, b in x)),
        "kind": st.sampled_from(["zero", "mean", "resample"]),
        "hold": st.lists(st.sampled_from(["pattern", "q", "k", "v"])).map(",".join),
        "mlp": st.lists(LAYERS, max_size=3).map(lambda x: ",".join(map(str, x))),
        "edge": st.lists(st.tuples(EDGES, LAYERS | st.none() | st.just("L1H3") | st.just("l0h12")), max_size=4),
        "position": st.lists(st.tuples(PLACES, LAYERS | st.none()), max_size=4),
        "patch": st.lists(st.sampled_from(["L1H3", "mlp.2", "query:1", "previous", "query->label:0"])).map(",".join),
        "counterfactual": st.sampled_from(["", "next", "labels"]),
        "graft": st.sampled_from(["", "qk.1@1400", "embeddings, ov.0@0"]),
        "without_subspace": st.sampled_from(["", "flip", "ciwl"]),
    }
).map(
    lambda given: {
        name: text if isinstance(text, str) else ",".join(each if la is None else f"{each}:{la}" for each, la in text)
        for name, text in given.items()
    }
)


@given(WORDS)
def test_what_is_written_is_read_as_the_same(texts):
    words = Words.of(texts)
    written = {name: write(name, getattr(words, name)) for name in NAMES}
    assert Words.of(written) == words
    assert {name: write(name, getattr(Words.of(written), name)) for name in NAMES} == written


def test_what_each_names():
    assert parse_heads("l1h3,L0H5") == ((0, 5), (1, 3))

    def asked(**texts: str):
        return Words.of(texts).intervention()

    assert asked() is None
    assert asked(kind="mean") is None
    assert asked(heads="L0H5", kind="mean", hold="v,k") == AblateHeads(heads=((0, 5),), kind="mean", hold=("k", "v"))
    assert asked(mlp="1,0") == AblateMLPs(layers=(0, 1))
    assert asked(edge="query -> match_label,previous") == CutEdges(edges=("previous", "query->match_label"))
    assert asked(edge="query->match_label:1") == CutEdges(edges=("query->match_label",), layers=(1,))
    assert asked(edge="self,previous:0,query->label") == Together(
        parts=(CutEdges(edges=("previous",), layers=(0,)), CutEdges(edges=("query->label", "self")))
    )
    both = AblatePositions(positions=("match_label", "query"), layers=(1,), kind="mean")
    assert asked(position="match_label,query:1", kind="mean") == both
    assert asked(position="query") == AblatePositions(positions=("query",))
    assert asked(patch="L1H3,mlp.0,l0h1") == PatchActivations(heads=((1, 3), (0, 1)), mlps=(0,))
    assert asked(patch="match_label:1,previous,query->label:1") == Together(
        parts=(
            PatchActivations(residual=(1,), positions=("match_label",)),
            PatchActivations(edges=("previous",)),
            PatchActivations(edges=("query->label",), layers=(1,)),
        )
    )
    assert asked(patch="L1H3,query:0", counterfactual="next") == Together(
        parts=(
            PatchActivations(heads=((1, 3),), counterfactual="next"),
            PatchActivations(residual=(0,), positions=("query",), counterfactual="next"),
        )
    )
    assert asked(edge="self:L1H2,previous:l0h1,self:L0H1") == Together(
        parts=(CutEdges(edges=("previous",), heads=((0, 1),)), CutEdges(edges=("self",), heads=((0, 1), (1, 2))))
    )
    assert asked(edge="self:L1H2,label->previous:L1H2,previous:1") == Together(
        parts=(
            CutEdges(edges=("previous",), layers=(1,)),
            CutEdges(edges=("label->previous", "self"), heads=((1, 2),)),
        )
    )
    graft = Graft(parts=("qk.1", "embeddings"), source=1400)
    assert asked(graft="qk.1, embeddings@1400", heads="L0H1") == Together(parts=(graft, AblateHeads(heads=((0, 1),))))
    assert asked(without_subspace="flip") == AblateCarried(variation="flip")
    assert Words.of({"without_subspace": "flip"}).intervention(50) == AblateCarried(variation="flip", n=50)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("heads", "0.5", "heads 0.5: expected layers and heads, counted from 0, such as L0H5,L1H3"),
        ("heads", "L0H٣", "as L0H5"),
        ("kind", "none", "expected one of zero, mean, resample"),
        ("hold", "x", "expected one of pattern, q, k, v"),
        ("mlp", "L1", "mlp 1 or mlp 0,1"),
        ("edge", "query->label:x", "as query->match_label"),
        ("edge", "a,,b", "expected edges"),
        ("edge", "self:L1", "in a head self:L1H3"),
        ("position", "query:L1H3", "as match_label:1"),
        ("counterfactual", "a b", "as counterfactual next"),
        ("position", ":1", "as match_label:1"),
        ("patch", "L1", "as L1H3, mlp.1, match_label:1"),
        ("patch", "match_label", "before a layer"),
        ("patch", "mlp.x", "mlp.1"),
        ("graft", "qk.1", "as qk.1@1400"),
        ("graft", "@3", "as qk.1@1400"),
        ("without_subspace", "filp", "Did you mean 'flip'"),
    ],
)
def test_what_is_written_otherwise_is_refused(name, text, words):
    with pytest.raises(ConfigError, match=words):
        read(name, text)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"hold": "k", "mlp": "1"}, "only be used with --heads"),
        ({"counterfactual": "next", "mlp": "1"}, "only be used with --patch"),
        ({"kind": "pattern_preserving", "mlp": "1"}, "for MLPs, expected zero, mean or resample"),
        ({"kind": "value_preserving", "heads": "L0H1", "position": "query"}, "for positions, expected"),
    ],
)
def test_what_does_not_go_together_is_refused(texts, words):
    with pytest.raises(ConfigError, match=words):
        Words.of(texts).intervention()


def test_every_relation_of_tokens_is_an_edge_of_one_name():
    assert set(RELATIONS) == set(token_relations(torch.zeros(1, 2)))
    assert [field.name for field in dataclasses.fields(Words)] == [*NAMES]


def test_a_line_also_says_paths():
    def asked(**texts: str):
        return Line.of(texts).intervention()

    assert asked(path="L0H5 -> L1H3.k, embed->out") == CutPaths(paths=("L0H5->L1H3.k", "embed->out"))
    assert asked(path="mlp.0->out", kind="counterfactual") == CutPaths(paths=("mlp.0->out",), kind="counterfactual")
    both = (CutPaths(paths=("embed->out",), kind="mean"), AblateHeads(heads=((0, 1),), kind="mean"))
    assert asked(path="embed->out", heads="L0H1", kind="mean") == Together(parts=both)
    assert asked(heads="L0H1", kind="mean") == both[1]
    assert asked() is None


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"path": "L0H5->L1H3"}, "as L0H5->L1H3.k"),
        ({"path": "embed->out", "kind": "resample"}, "for paths, expected one of zero, mean, counterfactual"),
        ({"path": "embed->out", "kind": "counterfactual", "mlp": "0"}, "use --patch"),
        ({"heads": "L0H1", "kind": "counterfactual"}, "only be used with --path"),
        ({"path": "embed->out", "hold": "k"}, "only be used with --heads"),
        ({"patch": "L0H1", "kind": "mean"}, "kind mean: it can only be used with --heads, --mlp, --position or --path"),
    ],
)
def test_what_does_not_go_with_paths_is_refused(texts, words):
    with pytest.raises(ConfigError, match=words):
        Line.of(texts).intervention()
