"""Circuits over training: the known one forms at step 5 and is gone at step 10; order in training is tested."""

import numpy as np
import pytest

import analyses
from analyses.circuit_formation import PERMUTED, orderly

CIRCUIT = {"embed->L0H1.v", "embed->L1H2.q", "L0H1->L1H2.k", "embed->L1H2.v", "L1H2->out"}


@pytest.fixture(scope="module")
def found(known_series):
    return analyses.get("circuit_formation")(known_series, progress=False)


def drawn(figure):
    return {trace.meta for trace in figure.data if trace.meta}


def test_the_circuit_at_the_peak_is_the_known_one_and_at_the_end_there_is_none(found):
    assert drawn(found.figures["peak"]) == CIRCUIT
    assert set(found.figures) == {"peak", "paths"}
    assert found.text[1].startswith("0 paths reach the threshold")
    assert {trace.name for trace in found.figures["paths"].data} == CIRCUIT


def test_each_path_rises_before_the_peak_and_falls_after_it(found):
    lines = [line for line in found.text if line.split(" ")[0] in CIRCUIT]
    assert len(lines) == len(CIRCUIT)
    for line in lines:
        assert "carries most at 40 " in line
        assert "is half-way back at 60" in line
        assert "not shown to differ" in line  # three checkpoints have too few orders


def test_it_says_what_the_circuit_keeps_beside_random_ones(found):
    share = found.table[found.table.step == 5].set_index("intervention").share
    said = found.text[0]
    assert f"faithfulness {share['circuit alone']:.2f} [" in said
    assert f"completeness {share['without circuit']:.2f} [" in said
    assert "missed" in said  # paths stand in for one another: tests/measures/test_circuits.py


def test_a_smooth_curve_differs_from_its_checkpoints_in_random_order_and_noise_does_not():
    time = np.linspace(0, 1, 30)
    smooth = np.exp(-((time - 0.4) ** 2) / 0.02)
    noise = np.random.default_rng(3).normal(size=(200, 30))
    p = orderly(np.vstack([smooth, noise]))
    assert p[0] == 1 / (1 + PERMUTED)
    assert 0.01 < (p[1:] < 0.05).mean() < 0.1
