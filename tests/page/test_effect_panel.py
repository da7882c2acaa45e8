"""The table of a checkpoint: a row for each evaluator, where guessing stands, and what the scale measures."""

from types import SimpleNamespace
from typing import Any

import pytest
from dash.development.base_component import Component

from mechicl import recipes
from mechicl.evaluators import EVALUATORS
from mechicl.page.effect_panel import effects
from mechicl.registry import MARKERS, span


def pretend(recipe: str, chance: dict[str, float]) -> Any:
    """A run of a recipe that shows these evaluators."""
    series = SimpleNamespace(config=recipes.get(recipe))
    spans = {name: span(name, [level]) for name, level in chance.items()}
    return SimpleNamespace(series=series, sets=dict.fromkeys(chance), shown=list(chance), chance=chance, spans=spans)


def children(of: Any) -> list[Any]:
    inside = getattr(of, "children", None)
    return inside if isinstance(inside, list) else [] if inside is None else [inside]


def parts(of: Any, kind: str, **wanted: str) -> list[Any]:
    """The elements of a kind, such as 'Td', in their order; wanted: properties that they have, data_x for data-x."""
    wanted = {key.replace("_", "-"): value for key, value in wanted.items()}
    found = []
    if type(of).__name__ == kind and all(of.to_plotly_json()["props"].get(k) == v for k, v in wanted.items()):
        found.append(of)
    return found + [each for child in children(of) for each in parts(child, kind, **wanted)]


def text(of: Any) -> str:
    return str(of) if not isinstance(of, Component) else "".join(map(text, children(of)))


def props(of: Component) -> dict[str, Any]:
    return of.to_plotly_json()["props"]


CHANCE = {"icl": 0.5, "iwl": 1 / 1024, "train": 0.0}


@pytest.fixture
def panel() -> Component:
    return effects(pretend("demo", CHANCE))


def test_a_row_for_each_evaluator_in_the_run_s_order(panel):
    rows = parts(parts(panel, "Tbody")[0], "Tr")
    assert [props(row)["data-row"] for row in rows] == ["icl", "iwl", "train"]
    for row, name in zip(rows, CHANCE, strict=True):
        (head,) = parts(row, "Th")
        e = EVALUATORS[name]
        assert text(head) == f"{e.short}{MARKERS[e.symbol]}{e.meaning}n = –"
        assert props(head)["scope"] == "row"
        assert props(head)["style"] == {"--own": e.colour}


def test_a_row_has_a_place_for_every_number(panel):
    """What assets/draw.js fills in, which finds them by these names."""
    (row,) = parts(panel, "Tr", data_row="icl")
    cells = [
        props(part)["data-cell"]
        for kind in ("Span", "Small")
        for part in parts(row, kind)
        if "data-cell" in props(part)
    ]
    numbers = [f"icl.{what}{end}" for what in ("intact", "ablated", "change") for end in ("", "_ci")]
    assert sorted(cells) == sorted(["icl.n", "icl.controls_ci", *numbers])
    assert [props(mark)["data-mark"] for mark in parts(row, "I") if "data-mark" in props(mark)] == [
        "icl.intact",
        "icl.ablated",
    ]
    assert [props(dot)["data-dot"] for dot in parts(row, "B")] == ["icl.intact", "icl.ablated"]
    assert len(parts(row, "Div", data_bar="icl", role="img")) == 1
    assert [text(cell) for cell in parts(row, "Td")[1:]] == ["–", "–", "–"]  # nothing is known before the first answer


@pytest.mark.parametrize(
    ("name", "left", "said"),
    [("icl", "50.00%", "guessing 0.5"), ("iwl", "0.10%", "guessing 0.000977"), ("train", "0.00%", "guessing 0")],
)
def test_guessing_stands_at_its_place_on_the_scale(panel, name, left, said):
    (row,) = parts(panel, "Tr", data_row=name)
    (mark,) = parts(row, "I", className="chance")
    assert props(mark)["style"] == {"left": left}
    assert props(mark)["title"] == said


@pytest.mark.parametrize(
    ("recipe", "shown", "measured"),
    [
        ("demo", ["icl"], "accuracy"),
        ("markov", ["recall", "conflict"], "gain or share"),
        ("text-small", ["repeat", "loss"], "accuracy or nats or share"),
    ],
)
def test_the_scale_goes_from_0_to_1_and_says_what_it_measures(recipe, shown, measured):
    panel = effects(pretend(recipe, dict.fromkeys(shown, 0.25)))
    (ends,) = parts(panel, "Div", className="ends")
    assert [text(end) for end in children(ends)] == ["0", measured, "1"]
    assert [text(head) for head in parts(parts(panel, "Thead")[0], "Th")] == [
        "evaluator",
        f"0{measured}1",
        "intact",
        "ablated",
        "change",
    ]


@pytest.mark.parametrize(
    ("recipe", "shown", "warned"),
    [("demo", ["icl", "flip"], True), ("markov", ["recall"], False), ("induction-2024", ["holdout_exemplars"], False)],
)
def test_only_a_run_that_has_flip_is_read_with_flip_in_mind(recipe, shown, warned):
    panel = effects(pretend(recipe, dict.fromkeys(shown, 0.5)))
    assert ("a rise of Flip alone is not recovered ICL" in text(panel)) is warned


def test_it_is_the_run_s_own_panel(run):
    """Of a real run: the evaluators that the page shows, with their chance."""
    panel = effects(run)
    assert [props(row)["data-row"] for row in parts(parts(panel, "Tbody")[0], "Tr")] == list(run.shown)
    assert props(panel)["id"] == "effect-panel"
    titles = {props(mark)["title"] for mark in parts(panel, "I", className="chance")}
    assert titles == {f"guessing {run.chance[name]:.3g}" for name in run.shown}


def test_a_scale_that_is_not_0_to_1_stands_in_its_row():
    """Text: guessing the next token costs ln(vocabulary) nats. Its mark is at its place, not at an end."""
    panel = effects(pretend("text-small", {"repeat": 0.0, "loss": 6.9}))
    (head,) = (each for each in parts(parts(panel, "Thead")[0], "Th") if props(each).get("className") == "wide")
    assert text(head) == "accuracy or nats or share"
    rows = {name: parts(panel, "Tr", data_row=name)[0] for name in ("repeat", "loss")}
    said = {name: [text(end) for end in children(parts(row, "Div", className="ends")[0])] for name, row in rows.items()}
    assert said == {"repeat": ["0", EVALUATORS["repeat"].quantity, "1"], "loss": ["0", "nats", "7"]}
    assert props(parts(rows["loss"], "I", className="chance")[0])["style"] == {"left": f"{100 * 6.9 / 7:.2f}%"}
