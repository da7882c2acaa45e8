"""Interventions of one's own that are wrong: what was returned, and what was expected."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from command_line import called

from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, Intervention, Together, intervention
from mechicl.measures import control_effects

V, P = "blocks.0.attn.hook_v", "blocks.0.hook_resid_pre"


@dataclass(frozen=True)
class Returns(Intervention):
    """Whose edits are what it is given."""

    made: object

    @property
    def baseline(self):
        return "something"

    def edits(self, model, intact, batch):
        return self.made


@dataclass(frozen=True)
class Named(Returns):
    name: str

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class Unlearned(Intervention):
    baseline = "nan"

    def weights(self, weights, checkpoint):
        return weights | {"blocks.0.attn.W_O": weights["blocks.0.attn.W_O"] * float("nan")}


WRONG = {
    "nothing": (None, "Returns.edits returned None: expected an Edit for each hook"),
    "list": ([Edit(0.5)], "returned a list"),
    "number": ({V: 0.5}, f"returned a float for {V}"),
    "text": ({V: Edit(0.5, "a")}, "whose parts are not numbers or tensors"),
    "misspelt": (
        {"blocks.0.attn.hook_vv": Edit(0.5)},
        "no hook named blocks.0.attn.hook_vv. There are .*hook_q, hook_k",
    ),
    "layer": ({"blocks.9.attn.hook_v": Edit(0.5)}, "no hook named blocks.9.* L from 0 to 1"),
    "shape": ({V: Edit(torch.ones(3))}, rf"the Edit of {V} has keep, of the shape \[3\]: expected .* \[10, 5, 2, 8\]"),
    "conditions": (
        {P: Edit(torch.ones(3, 1, 1, 1))},
        rf"the Edit of {P} has keep, of the shape \[3, 1, 1, 1\]: .* 3 axes",
    ),
    "checkpoints": (
        {P: Edit(1.0, torch.ones(3, 1, 1, 1, 1))},
        rf"Returns.edits: the Edit of {P} has add, of the shape \[3, 1, 1, 1, 1\]",
    ),
    "many axes": ({P: Edit(torch.ones(1, 1, 1, 1, 1, 1))}, "expected what broadcasts to the activation there"),
    "wider": ({V: Edit(torch.ones(7, 1, 2, 8))}, "has keep, of the shape"),
}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("made", "said"), WRONG.values(), ids=WRONG)
def test_what_edits_returned_is_said(tiny_series, made, said, together):
    wrong = Together(parts=(Returns(made),)) if together else Returns(made)
    with pytest.raises(ConfigError, match=said):
        tiny_series.evaluate([60], ["icl"], [wrong], n=10)


def test_an_edit_that_makes_more_of_an_activation_is_refused(tiny_series):
    with pytest.raises(ConfigError, match=r"hook_attn_out has add, of the shape \[10, 4, 1\]"):
        tiny_series.evaluate(
            [60], ["icl"], [Returns({"blocks.1.hook_attn_out": Edit(1.0, torch.ones(10, 4, 1))})], n=10
        )


def test_axes_of_checkpoints_and_conditions_as_intact_activations_have_them_fit(tiny_series):
    @dataclass(frozen=True)
    class Same(Intervention):
        baseline = "itself"

        def needs(self, model):
            return [P]

        def edits(self, model, intact, batch):
            return {P: Edit(0.0, intact[P])}

    rows = tiny_series.evaluate([20, 60], ["icl"], [Same()], n=10, metrics=["loss"])
    by = rows.pivot_table(index="step", columns=rows.intervention == "intact", values="value")
    assert by[True].to_numpy() == pytest.approx(by[False].to_numpy(), abs=1e-6)


def zeroed_scores(keep=0.0):
    return {"blocks.0.attn.hook_attn_scores": Edit(torch.tensor([1.0, keep]).reshape(1, 2, 1, 1))}


@pytest.mark.parametrize("n", [10, 200])
def test_nan_is_refused_and_never_becomes_an_accuracy(tiny_series, n):
    halved, named = Named(zeroed_scores(0.5), "halved"), Named(zeroed_scores(), "uniform")
    said = r"^uniform makes numbers that are not finite .* at blocks.0.attn.hook_attn_scores: .* -inf \* 0 is nan"
    for conditions in ([named], [halved, named]):
        with pytest.raises(ConfigError, match=said):
            tiny_series.evaluate([60], ["icl"], conditions, n=n)
    assert tiny_series.evaluate([60], ["icl"], [halved], n=n)["value"].notna().all()


def test_an_infinite_activation_is_refused_at_its_hook(tiny_series):
    with pytest.raises(ConfigError, match=r"not finite .* at blocks.1.hook_attn_out: expected"):
        tiny_series.evaluate([60], ["icl"], [Named({V: Edit(2.0), "blocks.1.hook_attn_out": Edit(1e39)}, "far")], n=10)


def test_a_changed_weight_that_is_nan_is_refused(tiny_series):
    with pytest.raises(ConfigError, match=r"^Unlearned.* in the model's output"):
        tiny_series.evaluate([60], ["icl"], [Unlearned()], n=10)


@dataclass(frozen=True)
class Controlled(Named):
    others: object = ()

    def controls(self, model, count):
        return self.others


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("others", "said"),
    [
        (None, "None: expected a list"),
        (3, "a int: expected a list"),
        ([1, 2], "a list with 1: expected a list of interv"),
    ],
)
def test_what_controls_returned_is_said(tiny_series, others, said, together):
    wrong = Controlled({V: Edit(0.5)}, "half", others)
    wrong = Together(parts=(wrong, AblateHeads(heads=((1, 0),)))) if together else wrong
    with pytest.raises(ConfigError, match=f"^Controlled.controls returned {said}"):
        control_effects(tiny_series, wrong, 60, ["icl"], n=10)


def test_a_text_that_is_none_is_said(tiny_series):
    with pytest.raises(ConfigError, match=r"^Named.__str__ returned something else than text: .*return"):
        tiny_series.evaluate([60], ["icl"], [Named({V: Edit(0.5)}, None)], n=10)


def test_without_a_baseline_it_is_not_registered():
    @dataclass(frozen=True)
    class Bare(Intervention):
        def edits(self, model, intact, batch):
            return {}

    with pytest.raises(ConfigError, match="the intervention 'bare': Bare lacks baseline: define it as a property"):
        intervention("bare")(Bare)


def test_the_docs_example_names_the_layers_that_there_are(plugin_folder, tiny_series, capsys):
    (plugin_folder / "scale_values.py").write_bytes(
        (Path(__file__).parents[2] / "examples" / "scale_values.py").read_bytes()
    )
    own = ("--own", "scale_values(layer=9, factor=0.5)", "--plugin", "scale_values")
    code, _, err = called(capsys, "ablate", tiny_series.root, *own, "--n", "10", "--quiet")
    assert (code, err) == (2, "mechicl: layer=9: expected 0 to 1.\n")
