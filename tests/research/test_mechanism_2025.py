"""The published mechanism: what is measured on a run, what the rules say of it, and that they can fail."""

from dataclasses import replace

import pandas as pd
import pytest

from mechicl.config import Config, ModelConfig, ScheduleConfig
from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.settings import BankConfig
from mechicl.training.loop import train
from research import mechanism_2025 as mechanism
from research import mechanism_2025_page as page
from research import mechanism_2025_rules as rules

CONFIG = Config(
    name="tiny",
    steps=40,
    batch_size=16,
    n_eval=60,
    bank=BankConfig(n_classes=24, n_exemplars=3, n_holdout_classes=4, n_holdout_exemplars=1, dim=6),
    model=ModelConfig(d_model=16, n_heads=2),
    checkpoint_steps=ScheduleConfig(linear_every=10),
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> pd.DataFrame:
    return mechanism.measure(train(CONFIG, tmp_path_factory.mktemp("runs") / "tiny", progress=False))


def test_every_part_of_every_head_is_measured(measured):
    sizes = measured.groupby("part").size()
    conditions = len(mechanism.HELD) + 2 + 1
    assert sizes["interventions"] == conditions * len(mechanism.ASKED)
    assert sizes["copier"] == 2 * len(mechanism.STRENGTHS) + 1
    assert set(measured[measured.metric == "induction_strength"].condition) == {"L1H0", "L1H1"}
    assert set(measured[measured.metric == "label_to_exemplar"].condition) == {"L0H0", "L0H1"}
    intact = measured[(measured.condition == "intact") & (measured.evaluator == "ciwl") & (measured.step == 40)]
    assert intact.value.nunique() == 1  # the same model and sequences in every part


def test_at_the_end_the_graft_of_the_end_changes_nothing(measured):
    at_end = measured[(measured.part == "halves") & (measured.step == 40)]
    assert at_end.groupby("evaluator").value.nunique().eq(1).all()


def test_an_untrained_run_has_no_mechanism(measured):
    judged = rules.rules(measured)
    assert set(judged) == set(rules.ABOUT)
    assert not any(judged[key][0] for key in ("strength", "looks", "copier"))


def test_of_the_committed_seeds_each_rule_says_yes_or_no():
    every = mechanism.read()
    assert every is not None
    runs = [run for _, run in every.groupby("seed")]
    for run in runs:
        assert {type(bool(met)) for met, _ in rules.rules(run).values()} == {bool}
    turned = [run for run in runs if rules.rules(run)["strength"][0]]
    assert len(turned) in range(2, len(runs))  # some seed misses it
    for run in turned:
        worse = run.copy()
        worse.loc[worse.metric == "induction_strength", "value"] *= 0.1
        assert not rules.rules(worse)["strength"][0]


def test_verdicts_wait_for_five_seeds():
    met, missed = {"keys": (True, "")}, {"keys": (False, "")}
    assert page._status(dict.fromkeys(range(3), met), "keys") == "3 of 5 seeds"
    assert page._status(dict.fromkeys(range(5), met), "keys") == "supported"
    assert page._status({0: missed} | dict.fromkeys(range(1, 5), met), "keys") == "supported"
    assert page._status({0: missed, 1: missed} | dict.fromkeys(range(2, 5), met), "keys") == "inconclusive"
    assert page._status(dict.fromkeys(range(5), missed), "keys") == "contradicted"


def test_runs_of_another_length_have_a_table_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(mechanism, "TABLES", tmp_path)
    assert mechanism.table_at(20_000_000).name == "mechanism-2025.csv"
    assert mechanism.table_at(64_000_000).name == "mechanism-2025-64.csv"
    run = train(CONFIG, tmp_path / "tiny", progress=False)
    first = mechanism.collect([run.root])
    assert len(pd.read_csv(tmp_path / "mechanism-2025-0.csv")) == len(first)
    mechanism.collect([run.root])  # again: the seed's rows are replaced
    assert len(pd.read_csv(tmp_path / "mechanism-2025-0.csv")) == len(first)
    assert not (tmp_path / "mechanism-2025.csv").exists()


def test_other_runs_are_refused(tmp_path):
    with_mlp = replace(CONFIG, steps=2, model=replace(CONFIG.model, mlp_ratio=2))
    with pytest.raises(ConfigError, match="two layers of attention alone"):
        mechanism.measure(train(with_mlp, tmp_path / "mlp", progress=False))
