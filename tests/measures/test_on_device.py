"""Every measure, intervention, analysis and number of the page on another device: what the CPU says."""

import dataclasses

import numpy as np
import pandas as pd
import pretend_device
import pytest
import random_models
import torch

import analyses
from mechicl import measures
from mechicl.config import ModelConfig
from mechicl.engine.forward import logits, stack
from mechicl.figures.attention import patterns
from mechicl.interventions import AblateHeads, CutEdges, Graft, apply
from mechicl.loading import Options
from mechicl.measures.ablation import answers, evaluate
from mechicl.models import foreign
from mechicl.models.params import pack
from mechicl.page.runs import Library
from mechicl.page.view import Workbench
from mechicl.series import open_series
from mechicl.tasks.text.batch import repeated

STEPS = [20, 60]
MORE = [AblateHeads(heads=((0, 1),)), AblateHeads(heads=((0, 1),), kind="mean"), CutEdges(edges=("query->label",))]


@pytest.fixture
def device(monkeypatch):
    with pretend_device.pretended(monkeypatch) as made:
        yield made


@pytest.fixture
def away(device, tiny_copy):
    return open_series(tiny_copy.root, device=pretend_device.NAME)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Tables whose numbers are alike: accuracies may differ by a near tie, decided otherwise."""
    assert len(a) == len(b) > 0
    for column in a:
        if pd.api.types.is_numeric_dtype(a[column]):
            x, y = (np.asarray(t[column].astype(float), float) for t in (a, b))
            apart = np.abs(x - y)[~np.isnan(x)]
            assert np.isnan(x).tolist() == np.isnan(y).tolist()
            assert (apart < 1e-3).sum() >= 0.9 * len(apart), column
        else:
            assert a[column].astype(str).tolist() == b[column].astype(str).tolist(), column


OF_TOKENS = ("copying_scores", "loss_by_position")


@pytest.mark.parametrize("name", list(measures.registered()))
def test_every_measure(away, tiny_series, token_series, name):
    measure, steps = measures.registered().find(name), STEPS
    if name in OF_TOKENS:
        away, tiny_series, steps = open_series(token_series.root, device=pretend_device.NAME), token_series, [20]
    options = {k: v for k, v in (("steps", steps), ("n", 24), ("progress", False)) if k in measure.takes}
    if name == "ablate_mlps":
        pytest.skip("the tiny model has no MLP: `test_every_intervention` has those")
    each = [
        measure.function([series] if measure.takes[0] == "runs" else series, **options)
        for series in (away, tiny_series)
    ]
    same(*each)


@pytest.mark.parametrize("kind", random_models.MODELS)
@pytest.mark.parametrize("family", [*random_models.ALL, "more"])
def test_every_intervention(device, kind, family):
    config = random_models.make(kind)
    asked = MORE if family == "more" else random_models.ALL[family]
    conditions = [c for c in asked if family != "mlps" or config.model.has_mlp(0)]
    if not conditions:
        pytest.skip("this model has no MLP")
    params = stack([pack(random_models.weights_of(config, torch.float32, seed)) for seed in (0, 1)])
    batch = random_models.batch_of(config, torch.float32)
    there = {name: p.to(pretend_device.NAME) for name, p in params.items()}
    for each in conditions if family == "more" else [conditions]:
        asked = each if isinstance(each, list) else [each]
        here = logits(params, apply(params, batch, config.model, asked).final)
        found = logits(there, apply(there, batch.to(pretend_device.NAME), config.model, asked).final)
        assert found.device.type == pretend_device.NAME
        torch.testing.assert_close(found.cpu().broadcast_to(here.shape), here, atol=1e-4, rtol=1e-4)


def test_weights_of_another_step(away, tiny_series):
    graft = Graft(parts=("qk.1",), source=20)
    asked = {"steps": [60], "evaluators": ["icl"], "n": 24, "progress": False}
    same(evaluate(away, ablate=graft, **asked), evaluate(tiny_series, ablate=graft, **asked))
    assert answers(away, 60, "icl", n=24).dtype == bool


def test_an_analysis(away, tiny_series):
    found = analyses.get("transience")(away, progress=False)
    same(found.table, analyses.get("transience")(tiny_series, progress=False).table)


@pytest.mark.parametrize("positions", ["rotary", "standard"])
def test_a_model_from_elsewhere(positions):
    """Through HookedTransformer's hooks, whose masks and rotary tables lie with the weights. On torch's own meta
    device, without numbers: HookedTransformer takes no subclass of a tensor."""
    hooked = {"n_layers": 2, "d_model": 8, "n_heads": 2, "d_head": 4, "d_mlp": 8, "n_ctx": 8, "d_vocab": 7}
    hooked |= {"act_fn": "gelu", "normalization_type": "LN", "positional_embedding_type": positions}
    hooked |= {"rotary_dim": 4} if positions == "rotary" else {}
    kept = "rotary" if positions == "rotary" else "learned"
    model = ModelConfig(n_layers=2, d_model=8, n_heads=2, mlp_ratio=1, positions=kept, hooked=Options(hooked))
    rng, draws = torch.Generator().manual_seed(0), np.random.default_rng(0)
    params = pack({name: torch.randn(shape, generator=rng) for name, shape in foreign.shapes(model).items()})
    batch = repeated(7, 5, 8, draws)
    there = {name: p.to("meta") for name, p in params.items()}
    for condition in (AblateHeads(heads=((0, 1),)), AblateHeads(heads=((0, 1),), kind="mean")):
        found = apply(there, batch.to("meta"), model, [condition], capture=["blocks.1.attn.hook_pattern"])
        assert {x.device.type for x in (found.final, *found.acts.values())} == {"meta"}
        assert found.final.shape == apply(params, batch, model, [condition]).final.shape
        buffers = {x.device.type for x in foreign.pass_of(model, "meta").buffers()}
        assert buffers == {"meta"}


def test_pictures_and_models(away, tiny_series):
    for options in ({}, {"ablate": AblateHeads(heads=((0, 1),))}, {"sequence": 3}):
        here, there = (patterns(series, [60], "icl", n=24, **options) for series in (tiny_series, away))
        assert here.values.numpy() == pytest.approx(there.values.numpy(), abs=1e-5)
    batch = away.evaluation_set("icl", n=5)
    z = away.model(60)(batch)
    assert z.device.type == batch.device.type == pretend_device.NAME
    assert z.cpu().detach().numpy() == pytest.approx(
        tiny_series.model(60)(tiny_series.evaluation_set("icl", n=5)).detach().numpy(), abs=1e-4
    )


def test_the_page(device, tiny_copy):
    library = Library(tiny_copy.root.parent, device=pretend_device.NAME)
    run, bench = library.run("tiny"), Workbench()
    assert run.sets["icl"].device.type == pretend_device.NAME
    for ablation in (None, AblateHeads(heads=((0, 1),)), AblateHeads(heads=((1, 0),), kind="mean")):
        right = bench.right(run, 60, "icl", ablation)
        here = answers(tiny_copy, 60, "icl", ablation)
        assert (right == here).mean() > 0.95


def test_a_table_of_one_device_is_not_taken_for_another(away, tiny_copy, monkeypatch):
    monkeypatch.setattr("mechicl.measures.cache._WORTH", 8)
    asked = {"evaluators": ["icl"], "n": 24, "progress": False, "metrics": ["loss"]}
    before = set((tiny_copy.root / "cache").glob("ablation-*"))  # other tests' tables
    for series in (away, tiny_copy, dataclasses.replace(away, device="cpu")):
        evaluate(series, **asked)
    assert len({*(tiny_copy.root / "cache").glob("ablation-*")} - before) == 2
