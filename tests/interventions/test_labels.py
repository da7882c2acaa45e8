"""Interventions that a table could not tell apart are refused where several are given."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from random_models import ALL

from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, AblateSubspace, ClampMatch, Intervention, Temper, as_interventions
from mechicl.measures import AblateCarried


def without(column: int, **given) -> AblateSubspace:
    return AblateSubspace(directions=np.eye(128)[:, [column]], layer=1, **given)


@dataclass(frozen=True, eq=False)
class Shifted(Intervention):
    by: torch.Tensor
    called: str = "shifted"
    baseline = "a shift"

    def __str__(self) -> str:
        return self.called


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            (without(0), without(1)),
            r"'without some directions in what L1's heads write' \(they differ|give each a name",
        ),
        ((without(0, name="a"), without(1, name="a")), "give each a name of its own"),
        (
            [ClampMatch(heads=((1, 3),), strength=s) for s in (0.1234567, 0.1234568)],
            r"'match 0.123457 L1H3' \(strength=0.1234567 and 0.1234568\).*a call of its own",
        ),
        ([Temper(heads=((1, 3),), temperature=t) for t in (2.0, 2.0000001)], "temperature=2.0 and 2.0000001"),
        ([AblateCarried(variation="flip", n=n) for n in (20, 30)], "n=20 and 30"),
        ([Shifted(torch.zeros(2)), Shifted(torch.ones(2))], "both called 'shifted'"),
        ([Shifted(torch.zeros(2), called="intact")], "as the rows of the unchanged model are"),
    ],
)
def test_two_of_one_label_are_refused(known_series, given, said):
    with pytest.raises(ConfigError, match=said):
        as_interventions(given)
    with pytest.raises(ConfigError, match=said):
        known_series.evaluate([5], ["icl"], given, n=10)


def test_what_can_be_told_apart_is_taken():
    every = [one for same in ALL.values() for one in same if not isinstance(one, AblateSubspace)]
    every += [without(0, name="a"), without(1, name="b"), AblateHeads(heads=((0, 1),)), AblateHeads(heads=((0, 1),))]
    assert as_interventions(every) == every


def test_one_that_is_found_at_a_step_may_get_the_label_of_another(known_series):
    with pytest.raises(ConfigError, match="without flip in what L1's heads write"):
        known_series.evaluate([5], ["icl"], [AblateCarried(variation="flip"), without(0, name="flip")], n=10)


def test_random_directions_are_called_after_those_they_stand_for(known_series):
    drawn = without(0, name="random 3").controls(known_series.config.model, 8)
    assert len({str(one) for one in drawn} | {str(without(0, name="random 3"))}) == 9
    assert str(drawn[3]) == "without random 3 for random 3 in what L1's heads write"
