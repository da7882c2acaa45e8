"""Every kind of intervention on the page: its numbers, its pictures, its lines and its choices are the library's."""

import html
import json

import numpy as np
import pytest
import torch
from known_series import behind_recall, rise_and_fall

from mechicl.cli.ablation import asked
from mechicl.config import Config, ModelConfig, ScheduleConfig
from mechicl.figures.attention import patterns
from mechicl.measures.ablation import evaluate
from mechicl.measures.controls import CONTROLS, control_effects
from mechicl.measures.paired_effects import effects
from mechicl.measures.words import NAMES, write
from mechicl.page.answers import Answers
from mechicl.page.compare import compare
from mechicl.page.editing import editing
from mechicl.page.heads import head_grid, mlp_scores
from mechicl.page.inside import attention, logit_view
from mechicl.page.numbers import paired
from mechicl.page.payloads import mlp_cells
from mechicl.page.python import WIDTH, as_python
from mechicl.page.runs import Library
from mechicl.page.sequence import choose_one
from mechicl.page.server import build
from mechicl.page.state import View, ViewError
from mechicl.page.tables import effects_table, grid_table
from mechicl.page.view import Workbench
from mechicl.tasks.markov import Markov
from mechicl.training.loop import train

KINDS = [
    "mlp=1",
    "mlp=1&kind=mean&heads=L1H0",
    "edge=query->match_label:1",
    "edge=previous,label->exemplar:0",
    "position=match_label:1&kind=resample",
    "edge=query->match_label:L1H2,previous:L0H1,query->match_label:L1H0",
    "edge=label->previous&heads=L1H0",
    "path=L0H1->L1H2.k,embed->mlp.1&mlp=1",
    "path=L0H1->L1H2.k&kind=mean&heads=L1H0",
    "patch=L1H2,mlp.1,match_label:1",
    "patch=match_label:1&counterfactual=next",
    "patch=query->label:1",
    "patch=query->label:1&edge=query->match_label:1",
    "graft=ov.1@0",
    "graft=qk.1,embeddings@10&heads=L1H0&mlp=1",
    "without_subspace=flip",
    "without_subspace=ciwl&edge=query->query:1",
    "heads=L0H1&hold=k,v",
]


@pytest.fixture(scope="module")
def recall(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    rise_and_fall(root / "known")
    return Library(behind_recall(root / "recall").root.parent)


@pytest.fixture
def view_of(recall):
    return lambda query: recall.settled(View.from_query(f"?step=10&{query}", "recall"))


@pytest.mark.parametrize("query", KINDS)
def test_the_page_s_numbers_are_those_of_evaluate_and_of_the_command_line(recall, view_of, bench, query):
    run, view = recall.run("recall"), view_of(query)
    options = {name: write(name, getattr(view, name)) for name in NAMES}
    assert asked(**options) == view.intervention
    table = effects(evaluate(run.series, [10], ablate=view.intervention, metrics=None, progress=False))
    want = table.set_index("evaluator")
    for e in bench.effects(run, 10, view.intervention):
        row = want.loc[e.evaluator]
        if not view.intervention.found_in(run.sets[e.evaluator]):
            assert (row.effect, e.change) == (0, None)  # there is nothing to change
            continue
        assert (e.ablated.value, e.change.value) == pytest.approx((row.value, row.effect))
        assert (e.change.low, e.change.high) == pytest.approx((row.effect_low, row.effect_high), abs=1e-6)
    kept = effects_table(bench, run, [10], view)
    assert set(kept.intervention) == {"intact", str(view.intervention)}


@pytest.mark.parametrize("query", KINDS)
def test_its_lines_give_its_numbers(recall, view_of, bench, query):
    run, view = recall.run("recall"), view_of(query)
    text = as_python(view, str(recall.folder))
    assert all(len(line) <= WIDTH for line in text.splitlines() if str(recall.folder) not in line)
    names: dict = {}
    exec(text, names)
    table = names["table"][names["table"].intervention != "intact"]
    found = table[table.metric == "in_context_acc"].set_index("evaluator").value
    want = {e.evaluator: (e.ablated or e.intact).value for e in bench.effects(run, 10, view.intervention)}
    assert {name: found[name] for name in ("icl", "flip", "ciwl")} == {n: want[n] for n in ("icl", "flip", "ciwl")}
    shown = names["attention"].html
    assert "CircuitsVis.render" in shown


@pytest.mark.parametrize("query", [query for query in KINDS if "graft" not in query])
@pytest.mark.parametrize("sequence", ["", "&sequence=3"])
def test_logits_and_patterns_are_the_model_s_under_hooks(recall, view_of, bench, query, sequence):
    run, view = recall.run("recall"), view_of(f"{query}{sequence}&evaluator=flip")
    model, batch = run.series.model(10), run.sets["flip"]
    done = view.intervention.at_step(run.series, 10)
    with model.hooks(fwd_hooks=model.hooks_for(done, batch)), torch.no_grad():
        z, cache = model.run_with_cache(batch)
    p = z[:, -1].softmax(-1)
    found = logit_view(bench, run, view)
    if sequence:
        labels = [int(name.split()[1]) for name in found.labels]
        want = p[3, labels]
        rows = torch.tensor([3])
    else:
        want = torch.stack([p.gather(1, y[:, None]).mean() for y in (batch.target, batch.trained_labels[:, -1])])
        rows = torch.tensor(run.series.task.aligned(batch)[0])
    assert found.probability_ablated == pytest.approx(want.numpy(), abs=1e-5)
    seen = attention(bench, run, view)
    for layer in (0, 1):
        mean = cache["pattern", layer][rows].mean(0).numpy()
        np.testing.assert_allclose(seen.ablated[layer], mean, atol=1e-5)
        for head in range(4):
            if (layer, head) in seen.same:  # and it cannot have changed
                np.testing.assert_allclose(seen.ablated[layer, head], seen.intact[layer, head], atol=1e-6)


def test_what_is_grafted_whole_is_the_other_step_everywhere(recall, view_of, bench):
    run, view = recall.run("recall"), view_of("graft=all@5&measure=logit")
    other = recall.settled(View.from_query("?step=5&measure=logit", "recall"))
    grafted, want = logit_view(bench, run, view), logit_view(bench, run, other)
    np.testing.assert_allclose(grafted.ablated, want.intact, atol=1e-5)
    assert grafted.probability_ablated == pytest.approx(want.probability)
    np.testing.assert_allclose(attention(bench, run, view).ablated, attention(bench, run, other).intact, atol=1e-6)
    a, b = head_grid(bench, run, view), head_grid(bench, run, other)
    assert {k: x.value for k, x in a.values.items()} == pytest.approx(
        {k: x.value for k, x in b.values.items()}, abs=1e-5
    )
    assert a.mlps[1].value == pytest.approx(b.mlps[1].value, abs=1e-5)


def test_the_grid_has_mlps_and_is_of_the_model_as_it_is_edited(recall, view_of, bench):
    run = recall.run("recall")
    alone = view_of("measure=effect_flip")
    assert mlp_scores(bench, run, alone)[1] == paired(
        bench.right(run, 10, "flip", None), bench.right(run, 10, "flip", view_of("mlp=1").intervention)
    )
    grid = head_grid(bench, run, view_of("measure=effect_flip&mlp=1"))
    assert grid.mlps == {}
    assert grid.values[1, 2].value < -0.4  # without the MLP, the circuit shows, and this head carries it
    assert grid.values[1, 0].value == 0
    (cell,) = mlp_cells(grid, view_of("measure=effect_flip&mlp=1"), [1])
    assert "ablated already" in cell["says"]
    (cell,) = mlp_cells(head_grid(bench, run, view_of("")), view_of(""), [1])
    assert (cell["text"], cell["mlp"]) == ("–", 1)
    cut = head_grid(bench, run, view_of("measure=logit&edge=query->match_label:1&mlp=1"))
    assert cut.mlps[1].value == 0
    table = grid_table(bench, run, view_of("measure=effect_flip"))
    assert table[table["head"].isna()].value.item() == pytest.approx(1.0)


@pytest.mark.parametrize("query", ["edge=query->match_label:1", "graft=ov.1@0", "without_subspace=flip", "heads=L0H1"])
def test_controls_are_those_of_measures(recall, view_of, bench, query):
    run, view = recall.run("recall"), view_of(query)
    controls = bench.controls(run, 10, view.intervention)
    others, changes = controls.others, controls.changes
    table = control_effects(run.series, view.intervention, 10)
    random = table[table.control > 0]
    for name, found in changes.items():
        assert sorted(found) == pytest.approx(sorted(random[random.evaluator == name].effect))
    assert 1 <= len(others) <= CONTROLS
    answered = Answers(recall, bench, "recall").controls(f"?step=10&{query}")
    assert answered["rows"].keys() == changes.keys()
    assert not answered["partial"]
    fresh = Workbench()
    with fresh.turns.hurried():
        assert Answers(recall, fresh, "recall").controls(f"?step=10&{query}")["partial"]
    assert Answers(recall, bench, "recall").controls("?step=10")["rows"] == {}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("mlp=0", "no MLP in layer 0"),
        ("edge=query->nobody", "there is no role 'nobody'; there are query, exemplar"),
        ("edge=same_token", "a relation: previous, self, first"),
        ("position=match_label:7", "no layer 7"),
        ("position=99:1", "position '99'"),
        ("edge=query->match_label:L7H0", "no head L7H0"),
        ("edge=previous->label", "no role 'previous'"),
        ("patch=L1H0&counterfactual=other", "counterfactual='other'"),
        ("counterfactual=next", "only be used with"),
        ("patch=L0H9", "no head L0H9"),
        ("patch=nobody:1", "position 'nobody'"),
        ("patch=query->nobody", "no role 'nobody'"),
        ("graft=qk.7@0", "no part 'qk.7'"),
        ("graft=qk.1@3", "3"),
        ("heads=L5H0", "no head L5H0"),
        ("path=L1H2->L0H1.q", "reads the residual stream before L1H2 writes"),
        ("path=L0H1->mlp.0", "no mlp.0"),
        ("path=embed->out&kind=resample", "for paths, expected one of zero, mean"),
        ("path=embed->out&kind=counterfactual", "kind"),
    ],
)
def test_a_link_that_asks_for_what_is_not_there_says_so(view_of, query, says):
    with pytest.raises(ViewError, match=says):
        view_of(query)


def test_a_run_that_has_not_all_of_it_is_compared_intact(recall, view_of, bench):
    run = recall.run("recall")
    found = compare(bench, recall, run, view_of("mlp=1&with_run=known&with_step=5"))
    assert found.b.ablation is None
    assert found.b.note == "intact: it lacks some of the changed parts"
    both = compare(bench, recall, run, view_of("edge=query->match_label&with_run=known&with_step=5"))
    assert both.b.ablation == both.a.ablation is not None
    want = patterns(both.b.run.series, [5], "icl", ablate=both.b.ablation).values[0].numpy()
    np.testing.assert_allclose(both.b.patterns, want)


@pytest.mark.slow
def test_what_is_taken_along_is_under_the_same(recall, view_of):
    client = build(recall, "recall").server.test_client()
    query = "run=recall&step=10&mlp=1&edge=query->match_label:1&patch=L1H0&graft=qk.0@5&measure=effect_flip&with_step=5"
    done = str(view_of(query.split("step=10&")[1]).intervention)
    for name in ("timeline", "effect", "heads", "attention", "logits", "compare", "compare_attention"):
        answer = client.get(f"/figure/{name}.json?{query}")
        assert answer.status_code == 200, answer.text
        said = html.unescape(json.loads(answer.text)["layout"]["title"]["text"])
        if name not in ("timeline", "compare"):  # those name it where it is drawn
            assert done in said
    for name in ("table", "curve", "grid", "comparison"):
        answer = client.get(f"/export/{name}.csv?{query}")
        assert answer.status_code == 200
        assert done in answer.text
    assert "cut query" in html.unescape(client.get(f"/circuitsvis?{query}").text)
    assert "CutEdges(" in client.get(f"/python?{query}").text


def elements(component) -> list:
    found = [component]
    children = getattr(component, "children", None)
    for child in children if isinstance(children, (list, tuple)) else [children]:
        if hasattr(child, "to_plotly_json"):
            found += elements(child)
    return found


def values(component, pick: str) -> list[str]:
    (chosen,) = [e for e in elements(component) if getattr(e, "data-pick", None) == pick]
    return [e.value for e in elements(chosen) if type(e).__name__ == "Option"]


def test_the_choices_are_the_run_s_own(recall):
    shown = editing(recall.run("recall"))
    roles = ["query", "exemplar", "label", "match", "match_label", "other", "other_label"]
    whole, heads = ["previous", "self", "first"], [f"L{la}H{h}" for la in (0, 1) for h in range(4)]
    known = ["label->previous", "query->match_label", "query->match"]
    assert values(shown, "place") == roles
    assert values(shown, "to") == [*roles, *whole]
    assert values(shown, "from") == [*known, *roles, *whole]
    assert values(shown, "edge-place") == ["", "0", "1", *heads]
    assert values(shown, "partner") == ["", "next"]
    assert values(shown, "what") == [
        *("cut-edge", "patch-edge", "patch-position", "replace-position"),
        *("patch-component", "cut-path", "remove-directions", "graft", "hold"),
    ]
    assert values(shown, "component") == [*(f"L{la}H{h}" for la in (0, 1) for h in range(4)), "mlp.1"]
    assert "mlp.1" in values(shown, "parts")
    assert "mlp.0" not in values(shown, "parts")
    assert values(shown, "sender") == ["embed", *heads, "mlp.1"]
    assert values(shown, "receiver")[-2:] == ["mlp.1", "out"]
    assert values(shown, "directions") == ["flip", "ciwl", "iwl"]


def test_the_help_of_exemplars_and_labels_says_which_answers_labels_are(recall):
    assert "in weights" in choose_one(recall.run("recall"))
    assert recall.run("recall").series.task.answer == "label"


def test_every_choice_can_be_asked_for(recall, view_of):
    shown = editing(recall.run("recall"))
    for value in values(shown, "from"):
        for end in [""] if "->" in value or value in ("previous", "self", "first") else values(shown, "to"):
            view_of(f"edge={value}->{end}" if end else f"edge={value}")
    for pick, query in (
        ("edge-place", "edge=previous:{}"),
        ("place", "patch={}:1"),
        ("partner", "patch=L1H0&counterfactual={}"),
        ("component", "patch={}"),
        ("parts", "graft={}@0"),
        ("directions", "without_subspace={}"),
        ("hold", "heads=L0H0&hold={}"),
    ):
        for value in values(shown, pick):
            view_of(query.format(value).removesuffix(":"))


def test_a_task_without_roles_has_its_relations_and_places(tmp_path):
    config = Config(
        name="chains",
        steps=2,
        batch_size=4,
        task=Markov(n_states=4, n_chains=4, length=6),
        n_eval=16,
        model=ModelConfig(d_model=16, n_heads=2, mlp_ratio=2),
        checkpoint_steps=ScheduleConfig(linear_every=2),
    )
    run = Library(train(config, tmp_path / "chains", progress=False).root.parent).run("chains")
    shown = editing(run)
    assert values(shown, "place") == [str(i) for i in range(run.sets[run.leading].shape[-1])]
    assert "after_same_token" in values(shown, "from")
    assert "remove-directions" not in values(shown, "what")
    with pytest.raises(ValueError, match="unpack"):  # one counterfactual is no choice
        values(shown, "partner")
    help_text = choose_one(run)  # the task's own words: there are no labels here
    assert "after same token" in help_text
    assert "label" not in help_text
    assert run.series.task.answer == "state"
    assert not [e for e in elements(shown) if getattr(e, "data-pick", None) == "directions"]
    bench, library = Workbench(), Library(run.series.root.parent)
    cuts = ("edge=after_same_token", "edge=5->previous:L1H0")
    for query in (*cuts, "position=2:1", "patch=mlp.0,previous", "graft=ov.1@0"):
        view = library.settled(View.from_query(f"?step=2&{query}", "chains"))
        want = effects(evaluate(run.series, [2], ablate=view.intervention, metrics=None, progress=False))
        got = {e.evaluator: e.change.value for e in bench.effects(run, 2, view.intervention)}
        table = want.set_index("evaluator").effect
        assert got == pytest.approx({name: table[name] for name in got})
    with pytest.raises(ViewError, match="no variation"):
        library.settled(View.from_query("?without_subspace=flip", "chains"))


def test_an_edge_has_no_effect_where_no_sequence_has_it(recall, bench):
    """IWL's sequences do not show the right label: a change of 0 there would say that the edge does not matter."""
    run = recall.run("known")
    view = recall.settled(View.from_query("?step=10&edge=query->match_label", "known"))
    changes = {e.evaluator: e.change for e in bench.effects(run, 10, view.intervention)}
    assert changes["icl"] is not None
    assert changes["iwl"] is None
    assert "iwl" not in bench.controls(run, 10, view.intervention).changes
    assert "iwl" not in bench.curve(run, view.intervention, 0, 60).points[0][2]
    later = recall.settled(
        View.from_query("?step=10&edge=match_label->query", "known")
    )  # nothing sees what comes later
    assert {e.change for e in bench.effects(run, 10, later.intervention)} == {None}
    assert Answers(recall, bench, "known").controls("?step=10&edge=match_label->query") == {
        "rows": {},
        "says": "What is chosen is not in these sequences, so it has no controls.",
        "partial": False,  # or the page would ask again and again
    }


def test_in_language_an_intervention_shows_where_its_roles_are(token_series, bench):
    """Roles are an evaluator's own: the others say so, and the relations of tokens are everywhere."""
    library = Library(token_series.root.parent)
    run = library.run(token_series.root.name)
    shown = editing(run)
    assert {"query", "shown"} <= {*values(shown, "place")}
    assert "after_same_token" in values(shown, "to")
    step = run.steps[-1]
    for query in ("edge=query->shown", "edge=query->after_same_token:1", "patch=shown:1", "edge=after_same_token"):
        view = library.settled(View.from_query(f"?step={step}&{query}", run.series.name))
        found = {e.evaluator: e for e in bench.effects(run, step, view.intervention)}
        named = [name for name in found if run.fits(name, view.intervention)]
        assert named
        assert {name for name, e in found.items() if e.change is not None} == {*named}
        table = effects(
            evaluate(run.series, [step], named, ablate=view.intervention, metrics=None, progress=False)
        ).set_index("evaluator")
        assert {name: found[name].change.value for name in named} == pytest.approx(
            {name: table.effect[name] for name in named}
        )
        chunk = bench.curve(run, view.intervention, 0, 60)
        assert chunk.next == chunk.total
        assert all({*values} == {*named} for _, _, values in chunk.points)
    rows = Answers(library, bench, run.series.name).effect(f"?step={step}&edge=query->shown")["rows"]
    assert any(row["ablated_ci"] == "not in these sequences" for row in rows.values())
    said = Answers(library, bench, run.series.name).to("attention", f"?step={step}&edge=query->shown&evaluator=text")
    assert "Look at those of" in said["error"]
    assert found["conflict"].change.value < -0.5  # without what follows the same token, the context does not win
    with pytest.raises(ViewError, match="no role 'match_label'"):
        library.settled(View.from_query("?edge=query->match_label", run.series.name))


def test_what_is_patched_is_computed_once_for_a_checkpoint(recall, view_of, bench, monkeypatch):
    """Another patch of the same kind, or a cut, starts from what is held: no pass on other sequences, none intact."""
    run, asked = recall.run("recall"), []
    batch = type(run.sets["icl"])
    real = batch.counterfactual

    def counted(its, kind: str = ""):
        asked.extend([kind] * (len(its) > 2))  # two are asked whether there is such a kind
        return real(its, kind)

    monkeypatch.setattr(batch, "counterfactual", counted)
    bench.effects(run, 10, None)
    monkeypatch.setattr("mechicl.page.view.intact", None)  # not again
    for query in ("patch=match_label:1", "patch=query:0", "patch=L1H2", "edge=query->match_label", "heads=L0H1"):
        done = view_of(query).intervention
        asked.clear()
        bench.effects(run, 10, done)
        assert len(asked) == (5 if query == "patch=match_label:1" else 0)
