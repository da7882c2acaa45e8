"""A run whose model encodes pictures, through every verb: exact replays, interventions, analyses, page, report."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import analyses
from mechicl.config import BankConfig, Config, ModelConfig, TrainingIntervention
from mechicl.evaluators import evaluate_params, evaluation_sets
from mechicl.measures.grafts import Graft, evaluate_grafts
from mechicl.models.params import pack
from mechicl.page.answers import PANELS
from mechicl.page.runs import Library
from mechicl.page.server import build
from mechicl.reporting.report import report
from mechicl.series import Series, open_series
from mechicl.series.verify import verify
from mechicl.system.files import read_jsonl
from mechicl.training.ensemble import train_seeds
from mechicl.training.loop import train
from mechicl.training.replay import densify, resume

CONVOLUTIONS = {f"encoder.{i}.{leaf}" for i in (0, 1) for leaf in "Wb"}


@pytest.fixture(scope="module")
def config(tiny_config) -> Config:
    """Pictures of 6 x 6 pixels of noise: every class's are alike."""
    bank = BankConfig(
        n_classes=8, n_exemplars=4, n_holdout_classes=4, n_holdout_exemplars=2, dim=36, within_class_std=0.1
    )
    model = ModelConfig(n_layers=2, d_model=16, n_heads=2, encoder="conv", channels=(3, 4))
    return replace(tiny_config, name="pictures", bank=bank, model=model)


@pytest.fixture(scope="module")
def series(config, tmp_path_factory) -> Series:
    return train(config, tmp_path_factory.mktemp("pictures") / "run", progress=False)


@pytest.fixture
def copy(series, tmp_path) -> Series:
    shutil.copytree(series.root, tmp_path / "run")
    return open_series(tmp_path / "run")


def weights_of(series: Series) -> dict[int, str]:
    return {e.step: e.sha256 for e in series.entries if e.kind == "weights"}


def test_the_convolutions_are_trained_and_saved(series):
    first, last = series.weights(0), series.weights(60)
    assert {name for name in first if name.startswith("encoder.")} == CONVOLUTIONS
    assert all(not torch.equal(first[name], last[name]) for name in CONVOLUTIONS)
    losses = [line["training_loss"] for line in read_jsonl(series.root / "metrics.jsonl")]
    assert losses[-1] < 0.7 * losses[1]
    assert verify(series.root) == []
    assert open_series(series.root).config == series.config


def test_it_resumes_densifies_and_trains_beside_others_to_the_same_bytes(series, copy, config, tmp_path):
    lines = (copy.root / "index.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] <= 20]
    (copy.root / "index.jsonl").write_text("".join(line + "\n" for line in kept))
    for entry in series.entries:
        if entry.step > 20:
            (copy.root / entry.file).unlink()
    assert weights_of(resume(copy.root, progress=False)) == weights_of(series)
    dense = densify(copy.root, 20, 30, 2, progress=False)
    assert set(dense.steps) - set(series.steps) == {22, 24, 26, 28}
    one, other = train_seeds(config, [0, 1], tmp_path / "seeds", jobs=1, progress=False)
    assert weights_of(one) == weights_of(series)
    assert weights_of(other)[60] != weights_of(series)[60]


@pytest.mark.parametrize("kind", ["freeze", "reset"])
def test_training_interventions_reach_the_convolutions(config, series, tmp_path, kind):
    intervention = TrainingIntervention(kind=kind, groups=("embeddings",), start=20)
    treated = train(replace(config, training_interventions=(intervention,)), tmp_path / "run", progress=False)
    at, after = treated.weights(20), treated.weights(60 if kind == "freeze" else 30)
    for name in CONVOLUTIONS:
        assert torch.equal(at[name], series.weights(20)[name])
        assert torch.equal(at[name], after[name]) == (kind == "freeze")
    if kind == "reset":  # ten updates after it was drawn anew, it is nowhere near what it was
        name = "encoder.0.W"
        moved = (after[name] - at[name]).norm(), (series.weights(30)[name] - at[name]).norm()
        assert moved[0] > 3 * moved[1]


def test_measures_agree_with_the_recorded_metrics(series):
    table = series.evaluate()
    line = read_jsonl(series.root / "metrics.jsonl")[-1]
    recorded = {(r["evaluator"], r["metric"]): r["value"] for r in line["evaluators"]}
    rows = table[(table.step == 60) & (table.intervention == "intact")]
    assert {(r.evaluator, r.metric): r.value for r in rows.itertuples()} == pytest.approx(recorded, abs=1e-6)


def test_the_hooked_transformer_gives_the_engines_answers(series):
    batch = series.evaluation_set("flip")
    logits = series.model(60)(batch)[:, -1]
    chosen = logits.gather(1, batch.labels).argmax(1, keepdim=True)
    right = (batch.labels.gather(1, chosen)[:, 0] == batch.target).float().mean().item()
    rows = series.evaluate(steps=[60], evaluators=["flip"])
    assert right == pytest.approx(rows[rows.metric == "in_context_acc"].value.item())


def test_a_graft_of_the_encoder_is_weight_surgery(series):
    graft = Graft(parts=("encoder",), source=60)
    rows = evaluate_grafts(series, [graft], [0], ["train"], progress=False)
    mixed = series.weights(0) | {name: series.weights(60)[name] for name in CONVOLUTIONS}
    sets = {"train": evaluation_sets(series.config, series.bank)["train"]}
    by_hand = {r["metric"]: r["value"] for r in evaluate_params(pack(mixed), sets, series.config)}
    found = rows[rows.intervention == str(graft)]
    assert dict(zip(found.metric, found.value, strict=True)) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("name", analyses.NAMES)
@pytest.mark.slow
def test_every_analysis_runs(series, name):
    findings = analyses.get(name)(series, progress=False)
    assert len(findings.table) > 0
    assert findings.text


def test_the_page_answers(series):
    client = build(Library(series.root.parent), series.name).server.test_client()
    for panel in PANELS:
        answer = client.get(f"/answer/{panel}/0?step=60&heads=0.1&with_step=20&sequence=2")
        assert answer.status_code == 200, panel
        assert list(answer.json or {}) == ["data"], panel


def test_the_report_says_what_reads_the_pictures(copy):
    text = report(copy, progress=False).read_text()
    assert "exemplars of 36 Gaussian features" in text
    assert "read by 2 convolutions" in text
