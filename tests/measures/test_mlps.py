"""MLPs taken out: known answers, weight surgery and a HookedTransformer's hooks."""

import pytest
import torch
from known_models import induction_model, lookup_model, with_recall, without_mlps
from known_series import write_series

from mechicl.errors import ConfigError
from mechicl.evaluators import EVALUATORS
from mechicl.measures.ablation import evaluate
from mechicl.measures.mlps import ablate_mlps
from mechicl.measures.tables import COLUMNS

HOOK = "blocks.1.hook_mlp_out"


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Step 0: an induction circuit behind recall; 5: the same without recall; 10: recall alone."""
    config, circuit = with_recall(*induction_model())
    silent = {name: torch.zeros_like(w) if name.endswith("W_O") else w for name, w in circuit.items()}
    weights = {0: circuit, 5: without_mlps(circuit), 10: silent}
    return write_series(tmp_path_factory.mktemp("mlps") / "mlps", config, weights)


@pytest.fixture(scope="module")
def table(series):
    return ablate_mlps(series, progress=False)


def values(table, step, intervention):
    rows = table[(table.step == step) & (table.intervention == intervention)]
    return dict(zip(rows.evaluator, rows.value, strict=True))


def test_the_table(table):
    assert tuple(table.columns) == COLUMNS
    assert set(table.intervention) == {"intact", "zero L1 MLP", "mean L1 MLP"}
    assert len(table) == 3 * 3 * 4
    assert set(table[table.intervention != "intact"].layer) == {1}
    assert table[table.intervention == "intact"].layer.isna().all()
    assert all(
        table[table.evaluator == name].metric.unique() == EVALUATORS[name].primary_metric
        for name in ("icl", "flip", "ciwl", "iwl")
    )


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_recall_hides_icl_and_goes_with_the_mlp(table, kind):
    intact, without = values(table, 0, "intact"), values(table, 0, f"{kind} L1 MLP")
    assert (intact["flip"], intact["iwl"], intact["ciwl"]) == (0.0, 1.0, 1.0)
    assert (without["icl"], without["flip"], without["iwl"]) == (1.0, 1.0, 0.0)


def test_an_mlp_that_writes_nothing_is_not_missed(table):
    assert values(table, 5, "intact") == values(table, 5, "zero L1 MLP") == values(table, 5, "mean L1 MLP")
    assert values(table, 5, "intact")["flip"] == 1.0


def test_recall_without_icl_leaves_nothing(table):
    assert values(table, 10, "intact")["iwl"] == 1.0
    without = values(table, 10, "zero L1 MLP")
    assert without["iwl"] < 0.2
    assert without["icl"] == pytest.approx(0.5, abs=0.07)


def test_against_weight_surgery(series, table, tmp_path):
    cut = {step: without_mlps(series.weights(step)) for step in series.steps}
    want = evaluate(
        write_series(tmp_path / "cut", series.config, cut), evaluators=("icl", "flip", "ciwl", "iwl"), metrics=None
    )
    got = table[table.intervention == "zero L1 MLP"]
    key = ["step", "evaluator"]
    assert (got.set_index(key).value.sort_index() == want.set_index(key).value.sort_index()).all()


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_against_the_hooks_of_a_hooked_transformer(series, kind):
    model, batch = series.model(0), series.evaluation_set("flip")

    def replaced(out, hook):
        return torch.zeros_like(out) if kind == "zero" else out.mean(0, keepdim=True).expand_as(out)

    with torch.inference_mode():
        logits = model.run_with_hooks(batch, fwd_hooks=[(HOOK, replaced)])[:, -1]
    shown = logits.gather(1, batch.labels)
    right = (batch.labels.gather(1, shown.argmax(1, keepdim=True))[:, 0] == batch.target).double().mean()
    got = ablate_mlps(series, [0], ["flip"], progress=False)
    assert values(got, 0, f"{kind} L1 MLP")["flip"] == pytest.approx(float(right), abs=1e-9)


def test_a_model_without_mlps_is_refused(tmp_path):
    config, lookup = lookup_model()
    with pytest.raises(ConfigError, match="the model has no MLP"):
        ablate_mlps(write_series(tmp_path / "none", config, {0: lookup}))
