"""Twenty people on one server, as benchmarks/crowd.py has them ask."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from mechicl.system.cores import cores

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def crowd():
    spec = importlib.util.spec_from_file_location("crowd", ROOT / "benchmarks" / "crowd.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["crowd"] = module  # dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules["crowd"]


@pytest.mark.slow
def test_twenty_people_have_right_answers_soon_while_a_branch_is_trained(crowd):
    quiet = os.getloadavg()[0] < 0.5 * cores()
    found = crowd.measure(ROOT / "checkpoints" / "demo", people=20, presses=5, think=5.0, branches=1)
    assert found.wrong == []
    assert len(found.waits) == 100
    assert found.trained == 1
    if quiet:  # beside other programs it is their number that is measured
        assert np.percentile(found.waits, 95) < 0.5
    assert found.mb[1] - found.mb[0] < 1500
    assert found.idle < 0.1  # of a core: who has left costs nothing
    assert found.threads[1] <= found.threads[0] + 4


def test_who_left_before_their_turn_is_not_computed_for(answers, monkeypatch):
    asked = []
    monkeypatch.setattr(type(answers), "curve", lambda self, query, start: asked.append(query) or {})
    assert answers.to("curve", "?step=60&heads=0.1", left=lambda: True) == {"data": None}
    assert asked == []
    assert answers.to("curve", "?step=60&heads=0.1", left=lambda: False) == {"data": {}}
    assert len(asked) == 1
