"""Logit attribution: components sum to the logit exactly, each is what taking it away takes away,
and on known models the right one carries the answer."""

import math

import pandas as pd
import pytest
import torch
from known_models import CLASSES
from known_series import write_series
from random_models import batch_of, hooked, make, weights_of

from mechicl.config import BankConfig, Config, ModelConfig, ScheduleConfig
from mechicl.engine.forward import forward, logits, stack
from mechicl.measures import tables
from mechicl.measures.attribution import METRICS, attribute, components, logit_attribution
from mechicl.models.params import init, pack

EVALUATORS = ("icl", "flip", "ciwl")  # those whose context holds the right label
MODELS = {
    "attention-only": {},
    "no-layer-norm": {"layer_norm": False},
    "mlp": {"mlp_ratio": 2},
    "mlp-in-one-layer": {"mlp_ratio": 2, "mlp_layers": (0,)},
    "rotary": {"positions": "rotary"},
    "sinusoidal": {"positions": "sinusoidal", "mlp_ratio": 2, "mlp_layers": (1,)},
    "three-layers": {"n_layers": 3},
}


def names(config: Config) -> list[str]:
    m = config.model
    out = ["embed"]
    for layer in range(m.n_layers):
        out += [f"L{layer}H{h}" for h in range(m.n_heads)]
        out += [f"L{layer} MLP"] if m.has_mlp(layer) else []
    return out


@pytest.mark.parametrize("kind", MODELS)
def test_components_sum_to_the_residual_stream(kind):
    config = make(**MODELS[kind])
    params = stack([pack(weights_of(config, torch.float64, s)) for s in range(2)])
    batch = batch_of(config, torch.float64, 6)
    parts, total, scale = components(params, batch, config.model)
    assert list(parts) == names(config)
    assert all(x.shape == (2, 6, 16) for x in parts.values())
    torch.testing.assert_close(sum(parts.values()), total, rtol=0, atol=1e-10)
    want = torch.ones_like(scale)
    if config.model.layer_norm:
        centred = total - total.mean(-1, keepdim=True)
        want = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(scale, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", MODELS)
def test_attributions_sum_to_the_centred_logit(kind):
    config = make(**MODELS[kind])
    listed, batch = [pack(weights_of(config, torch.float64, s)) for s in range(2)], batch_of(config, torch.float64, 6)
    labels = (batch.target + 3) % config.bank.labels
    got = attribute(stack(listed), batch, config.model, labels)
    assert list(got) == [*names(config), "bias"]
    for s, params in enumerate(listed):
        z = logits(params, forward(params, batch, config.model).final)
        want = z[range(6), labels] - z.mean(-1)
        torch.testing.assert_close(sum(x[s] for x in got.values()), want, rtol=0, atol=1e-10)
        assert want.abs().min() > 1e-3


@pytest.mark.parametrize("kind", MODELS)
def test_each_is_what_its_removal_takes_away_with_the_layer_norm_held(kind):
    """On the HookedTransformer: the component is subtracted from the last residual stream, and the
    final LayerNorm's scale is fixed at its intact value by a hook."""
    config = make(**MODELS[kind])
    weights, batch = weights_of(config, torch.float64), batch_of(config, torch.float64, 6)
    model = hooked(config, weights)
    _, cache = model.run_with_cache(batch)
    last = f"blocks.{config.model.n_layers - 1}.hook_resid_post"

    def centred_logits(removed):
        hooks = [(last, lambda x, hook: x - removed)]
        if config.model.layer_norm:
            hooks.append(("ln_final.hook_scale", lambda x, hook: cache["ln_final.hook_scale"]))
        z = model.run_with_hooks(batch, fwd_hooks=hooks)[:, -1].detach()
        return z[range(6), batch.target] - z.mean(-1)

    outputs = {"embed": cache["hook_embed"]}
    if config.model.positions != "rotary":
        outputs["embed"] = cache["hook_embed"] + cache["hook_pos_embed"]
    for layer in range(config.model.n_layers):
        z, w = cache[f"blocks.{layer}.attn.hook_z"], weights[f"blocks.{layer}.attn.W_O"]
        outputs |= {f"L{layer}H{h}": z[:, :, h] @ w[h] for h in range(4)}
        if config.model.has_mlp(layer):
            outputs[f"L{layer} MLP"] = cache[f"blocks.{layer}.hook_mlp_out"]
    got = attribute(stack([pack(weights)]), batch, config.model, batch.target)
    intact = centred_logits(0.0)
    assert got.keys() == {*outputs, "bias"}
    for name, x in outputs.items():
        want = intact - centred_logits(x.detach())
        torch.testing.assert_close(got[name][0], want, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
    nothing = centred_logits(sum(outputs.values()).detach())
    torch.testing.assert_close(got["bias"][0], nothing, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def known(known_series):
    table = logit_attribution(known_series)
    key = zip(table.step, table.evaluator, table.intervention, table.metric, strict=True)
    return dict(zip(key, table.value, strict=True))


def test_the_induction_head_carries_the_in_context_logit(known):
    """W_U is 20 on the label's coordinate: 20 for the label copied, minus 20/16 for the mean of all."""
    for evaluator in ("icl", "flip"):
        assert known[5, evaluator, "L1H2", "logit_in_context"] == pytest.approx(20 * (1 - 1 / CLASSES), abs=0.02)
        for part in ("embed", "L0H0", "L0H1", "L0H2", "L0H3", "L1H0", "L1H1", "L1H3"):
            assert known[5, evaluator, part, "logit_in_context"] == pytest.approx(0, abs=1e-5), part
    # On flip the in-weights answer is the other label of the context: not copied at all.
    assert known[5, "flip", "L1H2", "logit_in_weights"] == pytest.approx(-20 / CLASSES, abs=0.02)


def test_without_its_output_the_head_adds_nothing(known):
    assert known[0, "icl", "L1H2", "logit_in_context"] == 0
    assert known[0, "flip", "L1H2", "logit_in_weights"] == 0


def test_the_lookup_table_answers_from_the_embedding(known):
    for evaluator in EVALUATORS:
        assert known[10, evaluator, "embed", "logit_in_weights"] == pytest.approx(20 * (1 - 1 / CLASSES), abs=0.01)
        for part in [f"L{la}H{h}" for la in (0, 1) for h in range(4)]:
            assert known[10, evaluator, part, "logit_in_weights"] == 0
    assert known[10, "flip", "embed", "logit_in_context"] == pytest.approx(-20 / CLASSES, abs=0.01)
    assert known[10, "ciwl", "embed", "logit_in_context"] == known[10, "ciwl", "embed", "logit_in_weights"]


@pytest.fixture(scope="module")
def table(tiny_series):
    return logit_attribution(tiny_series)


def test_the_table(table, tiny_series):
    assert tuple(table.columns) == tables.COLUMNS
    parts = ["embed", "L0H0", "L0H1", "L1H0", "L1H1", "bias"]
    assert table.intervention.unique().tolist() == parts
    assert set(table.metric) == set(METRICS)
    assert set(table.evaluator) == set(EVALUATORS)
    assert len(table) == len(tiny_series.steps) * len(parts) * len(METRICS) * len(EVALUATORS)
    assert table.step.is_monotonic_increasing
    assert table.value.notna().all()
    heads = table[table["head"].notna()]
    assert (heads.intervention == "L" + heads.layer.astype(str) + "H" + heads["head"].astype(str)).all()
    assert set(table[table["head"].isna()].intervention) == {"embed", "bias"}
    assert table[table["head"].isna()].layer.isna().all()


def test_means_and_intervals_over_sequences(table, tiny_series):
    batch = tiny_series.evaluation_set("flip")
    params = tiny_series.params([60])
    values = attribute(params, batch, tiny_series.config.model, batch.trained_labels[:, -1])
    rows = table[(table.step == 60) & (table.evaluator == "flip") & (table.metric == "logit_in_weights")]
    for row in rows.itertuples():
        x = values[row.intervention][0].double().numpy()
        half = 1.959963984540054 * x.std(ddof=1) / math.sqrt(50)
        want = (50, x.mean(), x.mean() - half, x.mean() + half)
        assert (row.n, row.value, row.ci_low, row.ci_high) == pytest.approx(want, abs=1e-4)
    assert rows.value.nunique() == 6


def test_an_mlp_has_its_layer_even_above_the_tenth(tmp_path):
    config = Config(
        name="deep",
        steps=1,
        bank=BankConfig(n_classes=6, n_exemplars=2, n_holdout_classes=0, dim=4),
        model=ModelConfig(n_layers=12, d_model=4, n_heads=1, mlp_ratio=1),
        checkpoint_steps=ScheduleConfig(),
        n_eval=8,
        threads=1,
    )
    series = write_series(tmp_path / "deep", config, {0: init(config)})
    got = logit_attribution(series, [0], ["icl"])
    mlps = got[got.intervention.str.endswith("MLP")].drop_duplicates("intervention")
    assert dict(zip(mlps.intervention, mlps.layer, strict=True)) == {f"L{la} MLP": la for la in range(12)}
    assert mlps["head"].isna().all()
    heads = got[got["head"].notna()].drop_duplicates("intervention")
    assert dict(zip(heads.intervention, heads.layer, strict=True)) == {f"L{la}H0": la for la in range(12)}


def test_in_chunks_or_at_once_the_numbers_are_the_same(table, tiny_series, monkeypatch):
    monkeypatch.setattr(tables, "_FAST", 1)
    pd.testing.assert_frame_equal(logit_attribution(tiny_series), table, rtol=1e-4, atol=1e-5)


def test_steps_and_n(tiny_series):
    got = logit_attribution(tiny_series, [5], ["ciwl"], n=3)
    assert got.step.unique().tolist() == [5]
    assert set(got.n) == {3}
    alone = logit_attribution(tiny_series, [5], ["ciwl"], n=1)
    assert alone[["ci_low", "ci_high"]].isna().all(axis=None)
