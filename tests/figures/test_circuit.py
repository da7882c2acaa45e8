"""The graph of a circuit: exactly the paths of the known one are drawn, as thick as their effect."""

from typing import Any

import pytest

from mechicl.errors import ConfigError
from mechicl.figures.circuit import circuit_graph
from mechicl.figures.scales import luminance
from mechicl.measures import circuit_shares, path_effects

CIRCUIT = {"embed->L0H1.v", "embed->L1H2.q", "L0H1->L1H2.k", "embed->L1H2.v", "L1H2->out"}


@pytest.fixture(scope="module")
def table(known_series):
    return path_effects(known_series, [0, 5, 10], ["icl", "iwl"], n=80, progress=False)


def edges(fig: Any) -> dict[str, Any]:
    return {trace.meta: trace for trace in fig.data if trace.meta}


def components(fig: Any) -> set[str]:
    return {note.text for note in fig.layout.annotations if note.name == "component"}


@pytest.mark.parametrize("threshold", [0.01, 0.1, 0.35])
def test_exactly_the_known_circuit_is_drawn(table, threshold):
    fig: Any = circuit_graph(table, 5, "icl", threshold)
    assert set(edges(fig)) == CIRCUIT
    assert components(fig) == {"embed", "L0H1", "L1H2", "out"}
    assert f"5 of {table.intervention.nunique()} paths" in fig.layout.title.text
    assert f"by {threshold:g} or more" in fig.layout.title.text


def test_the_lookup_table_is_one_path_and_at_the_start_there_is_none(table):
    assert set(edges(circuit_graph(table, 10, "iwl", 0.1))) == {"embed->out"}
    empty: Any = circuit_graph(table, 0, "icl", 0.1)
    assert not edges(empty)
    assert any("no path" in note.text for note in empty.layout.annotations)


def test_width_and_colour_are_the_effect_and_the_hover_has_its_interval(table):
    changed = table.copy()
    rows = (changed.step == 5) & (changed.evaluator == "icl")
    effects = {"embed->L0H1.v": -0.8, "embed->L1H2.q": -0.4, "L1H2->out": 0.4}
    changed.loc[rows, "effect"] = changed.loc[rows, "intervention"].map(effects).fillna(0.0)
    drawn = edges(circuit_graph(changed, 5, "icl", 0.1))
    width = {name: trace.line.width for name, trace in drawn.items()}
    assert width["embed->L0H1.v"] > width["embed->L1H2.q"] == width["L1H2->out"]
    channels = {name: [int(t.line.color[i : i + 2], 16) for i in (1, 3, 5)] for name, t in drawn.items()}
    assert channels["embed->L1H2.q"][0] > channels["embed->L1H2.q"][2]  # red: it lowers
    assert channels["L1H2->out"][0] < channels["L1H2->out"][2]  # teal: it raises
    assert luminance(drawn["embed->L0H1.v"].line.color) < luminance(drawn["embed->L1H2.q"].line.color)
    row = table[rows & (table.intervention == "L1H2->out")].iloc[0]
    hover = edges(circuit_graph(table, 5, "icl", 0.1))["L1H2->out"].hovertemplate
    for said in (f"{row.effect:+.3f}", f"{row.effect_low:+.3f}", f"{row.effect_high:+.3f}", "n = 80"):
        assert said in hover


def test_queries_keys_and_values_are_told_apart(table):
    fig: Any = circuit_graph(table, 5, "icl", 0.1)
    drawn = edges(fig)
    ends = {name: (trace.line.dash, trace.x[-1]) for name, trace in drawn.items() if "L1H2." in name}
    assert len({dash for dash, _ in ends.values()}) == len({x for _, x in ends.values()}) == 3
    legend = {trace.name for trace in fig.data if trace.showlegend is not False}
    assert len(legend) == 4  # q, k, v and 'lowers': nothing here raises


def test_no_path_runs_through_a_head_that_it_passes(table):
    fig: Any = circuit_graph(table, 5, "icl", 1e-9, paths=sorted(set(table.intervention)))
    boxes = {(s.x0, s.x1, s.y0, s.y1) for s in fig.layout.shapes}
    for trace in edges(fig).values():
        for x, y in list(zip(trace.x, trace.y, strict=True))[1:-1]:
            inside = [b for b in boxes if b[0] < x < b[1] and b[2] < y < b[3]]
            assert not inside, trace.meta


def test_faithfulness_and_completeness_are_in_the_title(table, known_series):
    shares = circuit_shares(known_series, [5], ["icl"], paths=sorted(CIRCUIT), n=80, progress=False)
    share = shares.set_index("intervention").share
    with pytest.raises(ConfigError, match=r"of a circuit of 5\.0 paths, but the figure has 4 paths"):
        circuit_graph(table, 5, "icl", 0.1, paths=sorted(CIRCUIT)[:4], shares=shares)
    fig: Any = circuit_graph(table, 5, "icl", 0.1, shares=shares)
    title = fig.layout.title.text
    assert f"faithfulness {share['circuit alone']:.2f} [" in title
    assert f"completeness {share['without circuit']:.2f} [" in title


def test_what_is_not_in_the_table_is_refused(table):
    with pytest.raises(ConfigError, match=r"path L0H0->L1H9\.k"):
        circuit_graph(table, 5, "icl", 0.1, paths=["L0H0->L1H9.k"])
    with pytest.raises(ConfigError, match="evaluators"):
        circuit_graph(table, 7, "icl", 0.1)
