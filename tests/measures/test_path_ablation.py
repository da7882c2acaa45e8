"""What every path does: against CutPaths one by one, in models whose circuit is known, kept and gone on with."""

from functools import partial

import numpy as np
import pytest
import torch
from random_models import MODELS, batch_of, hooked, make, weights_of

from mechicl.config import Config, ModelConfig
from mechicl.engine import foreign
from mechicl.errors import ConfigError
from mechicl.evaluators import score
from mechicl.interventions import CutPaths, apply, every_path
from mechicl.measures import path_effects
from mechicl.measures import path_scores as quick
from mechicl.measures.path_attribution import attributed
from mechicl.measures.path_scores import Cutting
from mechicl.models.foreign import Pass
from mechicl.models.params import init, pack
from mechicl.tasks.markov import Markov

CIRCUIT = {"embed->L0H1.v", "embed->L1H2.q", "L0H1->L1H2.k", "embed->L1H2.v", "L1H2->out"}


@pytest.mark.parametrize("kind", ["zero", "mean", "counterfactual"])
@pytest.mark.parametrize("shape", MODELS)
def test_many_at_once_are_cut_paths_one_by_one(shape, kind, monkeypatch):
    monkeypatch.setattr(quick, "_SEQUENCES", 3)  # in several parts
    config = make(shape)
    params, batch = pack(weights_of(config, torch.float64)), batch_of(config, torch.float64, 7)
    paths = every_path(config.model)
    with torch.inference_mode():
        before, got = Cutting(params, batch, config.model, CutPaths(paths=(), kind=kind), ("loss", "acc")).scores(paths)
        conditions = [CutPaths(paths=(path,), kind=kind) for path in paths]
        want = score(params, apply(params, batch, config.model, conditions).final, batch, ("loss", "acc"))
    torch.testing.assert_close(got["loss"], want["loss"], rtol=0, atol=1e-9)
    assert torch.equal(got["acc"], want["acc"])
    assert ((got["loss"] - before["loss"]).abs().amax(-1) > 1e-6).float().mean() > 0.9
    some = paths[::-5]
    with torch.inference_mode():
        alone = Cutting(params, batch, config.model, CutPaths(paths=(), kind=kind), ("loss",)).scores(some)[1]
    torch.testing.assert_close(alone["loss"], got["loss"].flip(0)[::5], rtol=0, atol=1e-12)


def test_where_every_position_answers():
    task = Markov(n_states=4, n_chains=3, length=8)
    config = Config(name="m", steps=1, task=task, model=ModelConfig(n_layers=3, d_model=16, n_heads=2, mlp_ratio=1))
    batch = next(task.batches(config, task.source(config), 0, 1))[:5]
    params, paths = pack(init(config)), every_path(config.model)
    with torch.inference_mode():
        got = Cutting(params, batch, config.model, CutPaths(paths=(), kind="mean"), ("loss",)).scores(paths)[1]["loss"]
        conditions = [CutPaths(paths=(path,), kind="mean") for path in paths]
        want = score(params, apply(params, batch, config.model, conditions).final, batch, ("loss",))["loss"]
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_in_the_known_circuit_exactly_the_paths_that_nothing_stands_in_for_are_found_at_every_threshold(known_series):
    """At step 5 the circuit, without its looks at positions, either of which can go alone (test_circuits.py); at step
    10 the lookup table, which no path that crosses positions serves."""
    table = path_effects(known_series, [5, 10], ["icl", "flip", "ciwl", "iwl"], n=100, progress=False)
    paths = every_path(known_series.config.model)
    assert len(table) == 2 * table.evaluator.nunique() * len(paths)
    for name in ("icl", "flip"):
        circuit = table[(table.step == 5) & (table.evaluator == name)]
        assert circuit.intervention.tolist() == paths
        strength = circuit.set_index("intervention").effect.abs()
        assert set(strength[strength > 0].index) == CIRCUIT
        assert strength[list(CIRCUIT)].min() > 0.35  # so every threshold between 0 and this finds them and no other
        assert (circuit[circuit.intervention.isin(CIRCUIT)].effect_high < 0).all()
    lookup = table[(table.step == 10) & (table.effect != 0)]
    assert set(lookup.intervention) == {"embed->out"}
    assert lookup.set_index("evaluator").effect["iwl"] < -0.9


def test_it_is_evaluate_in_one_table(tiny_series):
    table = path_effects(tiny_series, [20, 60], ["icl", "iwl"], kind="mean", n=30, progress=False)
    cuts = [CutPaths(paths=(path,), kind="mean") for path in ("embed->L0H0.k", "L0H1->L1H0.v", "embed->out")]
    want = tiny_series.evaluate([20, 60], ["icl", "iwl"], cuts, n=30, metrics=None)
    assert set(table.baseline) == {cuts[0].baseline}
    assert (table.sender + "->" + table.receiver == table.intervention).all()
    for cut in cuts:
        rows = want[want.intervention == str(cut)].set_index(["step", "evaluator"])
        got = table[table.intervention == cut.paths[0]].set_index(["step", "evaluator"])
        for column in ("value", "ci_low", "ci_high", "effect_low", "effect_high", "n"):
            assert got[column].to_dict() == pytest.approx(rows[column].to_dict(), abs=1e-6)


def test_it_is_kept_and_gone_on_with(tiny_copy, monkeypatch):
    monkeypatch.setattr("mechicl.measures.cache._WORTH", 1)
    monkeypatch.setattr("mechicl.measures.parts.SECONDS", 0.0)  # each step is kept at once
    scores, seen = Cutting.scores, []

    def watched(self, paths):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(1)
        return scores(self, paths)

    monkeypatch.setattr(Cutting, "scores", watched)
    ask = {"steps": tiny_copy.steps[:4], "evaluators": ["icl"], "paths": ["L0H1->L1H0.k", "embed->out"], "n": 20}
    with pytest.raises(KeyboardInterrupt):
        path_effects(tiny_copy, **ask, progress=False)
    seen.clear()
    table = path_effects(tiny_copy, **ask, progress=False)
    assert len(seen) < 4  # some steps were there
    seen.clear()
    again = path_effects(tiny_copy, **ask, progress=False)
    assert not seen
    assert again.equals(table)
    assert len(table) == 8


def test_the_estimate_is_the_derivative():
    """A sender that writes little: what cutting it does is what the gradient says."""
    config = make("three-layers-mlp")
    weights = weights_of(config, torch.float64)
    for name in list(weights):
        if name.endswith(("W_O", "mlp.W_out", "mlp.b_out")):
            weights[name] = weights[name] * 1e-5
    params, batch = pack(weights), batch_of(config, torch.float64, 6)
    paths = [path for path in every_path(config.model) if not path.startswith("embed")]
    for kind in ("zero", "mean", "counterfactual"):
        like = CutPaths(paths=(), kind=kind)
        with torch.inference_mode():
            before, after = Cutting(params, batch, config.model, like, ("loss",)).scores(paths)
            estimate = attributed(params, batch, config.model, like, paths)
        effect = (after["loss"] - before["loss"]).mean(-1)
        assert effect.abs().max() > 1e-7
        torch.testing.assert_close(estimate, effect, rtol=1e-3, atol=1e-11)


def test_the_estimate_is_the_same_through_hooks(monkeypatch):
    """As for models from elsewhere."""
    config = make("three-layers-mlp")
    weights = weights_of(config, torch.float64)
    params, batch, paths = pack(weights), batch_of(config, torch.float64, 6), every_path(config.model)
    want = attributed(params, batch, config.model, CutPaths(paths=(), kind="mean"), paths)
    through = partial(foreign.forward, through=Pass(hooked(config, weights)))
    monkeypatch.setattr("mechicl.measures.path_attribution.forward", through)
    got = attributed(params, batch, config.model, CutPaths(paths=(), kind="mean"), paths)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
    assert (want.abs() > 1e-9).double().mean() > 0.9


def test_of_many_the_strongest_are_cut_and_the_error_is_shown(tiny_series):
    every = path_effects(tiny_series, [60], ["icl"], n=30, progress=False)
    some = path_effects(tiny_series, [60], ["icl"], n=30, exact=7, progress=False)
    loss, primary = some[some.metric == "loss"], some[some.metric != "loss"]
    assert len(loss) == len(every)
    assert len(primary) == loss.effect.notna().sum() == 7
    cut = loss[loss.effect.notna()]
    left = loss[loss.effect.isna()]
    assert cut.attributed.abs().min() >= left.attributed.abs().max()
    np.testing.assert_allclose(cut.attribution_error, cut.attributed - cut.effect)
    want = every.set_index("intervention").effect
    assert primary.set_index("intervention").effect.to_dict() == pytest.approx(want[primary.intervention].to_dict())
    assert every.attributed.isna().all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"paths": ["L0H9->out"]}, "no L0H9"),
        ({"kind": "resample"}, "'counterfactual'"),
        ({"kind": "counterfactual", "counterfactual": "x"}, "'labels', 'next'"),
        ({"exact": 0}, "at least one"),
    ],
)
def test_what_cannot_be_is_refused(tiny_series, given, said):
    with pytest.raises(ConfigError, match=said):
        path_effects(tiny_series, [60], ["icl"], n=10, progress=False, **given)
