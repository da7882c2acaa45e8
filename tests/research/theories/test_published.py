"""The published toy, from the published seeds' own vectors.

published_seeds.npz: for seeds 0 to 11, JAX's vectors (threefry keys, not partitionable; split once per vector,
then into target and init), [12, 20] and [12, 160], float32.
"""

from pathlib import Path

import numpy as np
import pytest

from research.theories.coopetition import COOPETITION
from research.theories.flow import trajectory
from research.theories.published import KEYS, Toy, overlap_flow, train
from research.theories.training import Condition

SEEDS = np.load(Path(__file__).parent / "published_seeds.npz")


def vectors(seed: int) -> tuple[dict, dict]:
    return {k: SEEDS[k][seed].astype(float) for k in KEYS}, {k: SEEDS[f"{k}_true"][seed].astype(float) for k in KEYS}


def rises_and_falls(path) -> bool:
    """Mechanism 1 is learned and lost again, to mechanism 2."""
    return path.icl.min() < 0.01 and path.icl[-1] > 0.2 and path.iwl[-1] < 1e-3


def test_figure_seed_stops_at_the_published_step():
    path = train(*vectors(7))
    assert len(path.total) - 1 == 9620
    assert rises_and_falls(path)
    first = int(np.flatnonzero(path.icl < path.icl[3000] / 2)[0])
    assert 4300 < first < 5000  # 'plateau to ~4.4k steps'
    assert path.iwl[4600:5000].max() > path.iwl[4600] + 0.005  # mechanism 2's small upward divot
    assert path.iwl[7000] < 0.005


@pytest.mark.slow
def test_ten_of_twelve_seeds_show_it_and_the_two_published_do_not():
    assert [s for s in range(12) if not rises_and_falls(train(*vectors(s)))] == [2, 9]


@pytest.mark.slow
def test_without_the_handicap_mechanism_1_persists_in_the_same_ten():
    kept = []
    for seed in range(12):
        path = train(*vectors(seed), Toy(mu1=0.0))
        if path.icl[-1] < 1e-3 and path.iwl[-1] > 1:
            kept.append(seed)
    assert kept == [0, 1, *range(3, 9), 10, 11]


def test_eight_overlaps_are_the_whole_dynamics():
    start, target = vectors(8)
    path = train(start, target, steps=3000)
    times = np.arange(0, 3000, 50)
    flow = overlap_flow(start, target, times.astype(float))
    np.testing.assert_allclose(flow.icl, path.icl[times], atol=0.03)  # steps of size 1 against a flow
    np.testing.assert_allclose(flow.iwl, path.iwl[times], atol=0.03)


def test_scalar_flow_is_the_toy_on_the_line_through_its_targets():
    """Targets of equal size, shared vectors equal, nothing beside the targets' directions."""
    rng = np.random.default_rng(0)
    target = {k: rng.normal(size=n) for k, n in (("a", 20), ("b", 20), ("c", 20), ("d", 160))}
    target = {k: x * np.sqrt(len(x) / (x @ x)) for k, x in target.items()}
    sizes = {"a": 0.1, "b": 0.3, "c": 0.3, "d": 0.15}
    steps = np.linspace(0, 8000, 40)
    flow = overlap_flow({k: sizes[k] * target[k] for k in KEYS}, target, steps)

    p = {"rate": 1e6 / 20, "slower": 20 / 160, "mu1": 0.1, "alpha": 0.1, "a0": 0.1, "d0": 0.15, "s0": 0.3}
    sequences = np.sqrt(steps / 1e6 * 2 * 1.536)  # the learning time in the warm-up, inverted
    np.testing.assert_allclose([Condition("mixed").learning_time(t) for t in sequences], steps / 1e6)
    a, d, s = trajectory(COOPETITION, p, Condition("mixed"), sequences).T
    np.testing.assert_allclose((a * s * s - 1) ** 2 / 2, flow.icl, atol=1e-4)
    np.testing.assert_allclose((d * s * s - 1) ** 2 / 2, flow.iwl, atol=1e-4)
    assert flow.icl.min() < 0.02 < 0.2 < flow.icl[-1]
