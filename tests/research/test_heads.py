"""Configs of runs that lose their own ICL heads in training."""

import pytest
from known_models import lookup_model
from known_series import rise_and_fall, write_series

from mechicl.series import open_series
from research.heads import conditions, train_all


def test_each_seed_loses_its_own_heads_or_as_many_others():
    series = open_series("checkpoints/demo")
    found = {c.name: c for c in conditions(series)}
    assert set(found) == {"icl-heads-start", "icl-heads-peak", "random-heads-start", "random-heads-peak"}
    heads = {name: c.training_interventions[0].heads for name, c in found.items()}
    assert heads["icl-heads-start"] == heads["icl-heads-peak"]
    assert len(heads["icl-heads-start"]) == len(heads["random-heads-start"]) == 4
    assert not set(heads["icl-heads-start"]) & set(heads["random-heads-start"])
    layers = [sorted(la for la, _ in heads[f"{kind}-heads-start"]) for kind in ("icl", "random")]
    assert layers[0] == layers[1]
    assert found["icl-heads-start"].training_interventions[0].start == 0
    assert found["icl-heads-peak"].training_interventions[0].start == 2200  # Flip's peak
    assert all(c.seeds == series.config.seeds and c.bank == series.config.bank for c in found.values())


def test_where_flip_never_rose_there_are_no_icl_heads(tmp_path):
    config, lookup = lookup_model()
    assert list(conditions(write_series(tmp_path / "lookup", config, {0: lookup, 10: lookup}))) == []


@pytest.mark.slow
def test_they_are_trained_and_finished_ones_are_skipped(tmp_path, capsys):
    series = rise_and_fall(tmp_path / "known")
    train_all([series.root], tmp_path / "out", jobs=1)
    first = capsys.readouterr().out
    assert first.count(": done") == 4
    train_all([series.root], tmp_path / "out", jobs=1)
    assert ": done" not in capsys.readouterr().out
