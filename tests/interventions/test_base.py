"""The protocol: every intervention as hooks, many at once, in tables, cached under its own name; and one's own."""

import dataclasses

import pytest
import torch
from random_models import ALL

from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions import (
    AblateHeads,
    ClampMatch,
    Intervention,
    RemoveDirectPath,
    Temper,
    Together,
    only_direct_path,
    only_head,
)
from mechicl.interventions.base import described
from mechicl.measures.ablation import answers, evaluate


@dataclasses.dataclass(frozen=True)
class ScaleValues(Intervention):
    """Somebody's own: one class."""

    layer: int
    factor: float

    @property
    def baseline(self) -> str:
        return f"{self.factor:g} x its value"

    def edits(self, model, intact, batch):
        return {f"blocks.{self.layer}.attn.hook_v": Edit(self.factor)}


def test_one_of_ones_own_is_evaluated_like_all_others(tiny_series):
    table = evaluate(tiny_series, [60], ["icl"], [ScaleValues(0, 0.0), ScaleValues(0, 1.0)], metrics=("loss",))
    loss = table.set_index("intervention").value
    silent = tiny_series.evaluate([60], ["icl"], AblateHeads(heads=((0, 0), (0, 1))), metrics=["loss"])
    assert loss["ScaleValues(layer=0, factor=1.0)"] == pytest.approx(loss["intact"], abs=1e-5)
    want = silent[silent.intervention != "intact"].value.item()
    assert loss["ScaleValues(layer=0, factor=0.0)"] == pytest.approx(want, abs=1e-5)


def test_every_condition_is_in_the_table_with_its_baseline_and_place(tiny_series):
    conditions = [
        RemoveDirectPath(),
        only_direct_path(tiny_series.config.model),
        Temper(heads=((1, 0),), temperature=2.0),
        ClampMatch(heads=((1, 1),), strength=0.25),
        AblateHeads(heads=((0, 0),), hold=("q", "v")),
    ]
    table = tiny_series.evaluate([20, 60], ["icl", "ciwl"], conditions)
    for condition in conditions:
        rows = table[table.intervention == str(condition)]
        assert len(rows) == 2 * 2 * 3
        assert set(rows.baseline) == {condition.baseline}
        layer, head = condition.place
        assert rows.layer.isna().all() if layer is None else (rows.layer == layer).all()
        assert rows["head"].isna().all() if head is None else (rows["head"] == head).all()
        alone = tiny_series.evaluate([60], ["icl"], condition)
        for metric, value in alone[alone.intervention != "intact"].set_index("metric").value.items():
            with_others = rows[(rows.step == 60) & (rows.evaluator == "icl") & (rows.metric == metric)].value.item()
            assert with_others == pytest.approx(value, abs=1e-5)


def test_a_table_is_kept_under_all_that_it_depends_on():
    every = [x for xs in ALL.values() for x in xs] + [ScaleValues(0, 1.0), ScaleValues(0, 2.0)]
    seen = {str(described(x)): x for x in every}
    assert len(seen) == len(set(every))
    assert "def baseline" in described(ScaleValues(0, 1.0))["code"]
    assert described(Together(parts=(RemoveDirectPath(),)))["parts"] == [described(RemoveDirectPath())]


def test_one_whose_code_cannot_be_read_is_measured_and_not_kept(known_series, monkeypatch):
    kept = []
    monkeypatch.setattr("mechicl.measures.cache.worth", lambda steps, chunks: True)
    monkeypatch.setattr("mechicl.measures.parts.cached", lambda *args: kept.append(args) or args[3]())
    lost = dataclasses.make_dataclass("Lost", [], bases=(ScaleValues,), frozen=True)
    monkeypatch.setattr(lost, "__module__", "no.such.module")
    monkeypatch.setitem(__import__("sys").modules, "no.such.module", type(torch)("no.such.module"))
    assert len(evaluate(known_series, [5], ["icl"], lost(0, 1.0), metrics=None)) == 2
    assert not kept
    evaluate(known_series, [5], ["icl"], ScaleValues(0, 1.0), metrics=None)
    assert len(kept) == 1


def test_answers_are_what_evaluate_averages(tiny_series):
    condition = only_head(tiny_series.config.model, 1, 0)
    for metric in ("in_context_acc", "loss", "in_context_prob"):
        table = tiny_series.evaluate([60], ["flip"], condition, metrics=[metric])
        for what, done in (("intact", None), (str(condition), condition)):
            got = tiny_series.answers(60, "flip", done, metric)
            assert got.shape == (50,)
            assert got.dtype == (bool if metric == "in_context_acc" else "float32")
            assert got.mean() == pytest.approx(table[table.intervention == what].value.item(), abs=1e-6)
    assert answers(tiny_series, 60, "iwl", n=20).shape == (20,)


def test_answers_of_several_or_by_no_metric_are_refused(tiny_series):
    with pytest.raises(ConfigError, match="one intervention"):
        tiny_series.answers(60, "flip", [RemoveDirectPath(), RemoveDirectPath()])
    with pytest.raises(ConfigError, match="metric 'accuracy': expected one of in_context_acc"):
        tiny_series.answers(60, "flip", metric="accuracy")


def test_conditions_that_make_the_same_edit_each_have_their_rows(known_series):
    twice = [ScaleValues(0, 0.0), ScaleValues(0, 0.0), ScaleValues(0, 1.0), ScaleValues(0, 1.0)]
    table = evaluate(known_series, [5], ["icl"], twice, metrics=None)
    assert len(table) == 5
    value = table.groupby("intervention").value
    assert value.nunique().eq(1).all()
    assert value.first()[str(ScaleValues(0, 1.0))] == value.first()["intact"]
