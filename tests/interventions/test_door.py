"""Interventions of one's own by name: what is read, and what is refused."""

from dataclasses import dataclass

import pytest

from mechicl import doors
from mechicl.errors import ConfigError
from mechicl.interventions import Intervention, intervention
from mechicl.interventions.door import INTERVENTIONS, named, written


@dataclass(frozen=True)
class Own(Intervention):
    """Nothing is changed; its fields count."""

    layer: int
    heads: tuple[int, ...] = ()
    how: str = "so"

    @property
    def baseline(self):
        return self.how


@pytest.fixture(autouse=True)
def _registered():
    intervention("own")(Own)
    yield
    INTERVENTIONS._entries.pop("own")
    doors._HOMES.pop("intervention own")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("own(layer=1)", Own(1)),
        (" own( layer = 1, heads=[0, 2], how='a, (b)') ", Own(1, (0, 2), "a, (b)")),
    ],
)
def test_it_is_read_and_written(text, wanted):
    assert named(text) == wanted
    assert named(written(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected NAME"),
        ("own(1)", "expected NAME"),
        ("own(layer=1", "expected NAME"),
        ("own.other(layer=1)", "expected NAME"),
        ("own", "it lacks the field 'layer': own has layer, heads, how"),
        ("own(layer=1, head=2)", "no field 'head'"),
        ("own(layer='1')", "own.layer='1': expected int"),
        ("own(layer=__import__('os').getpid())", "is not a number, text"),
        ("owm(layer=1)", "no intervention named 'owm'.*Did you mean 'own'"),
    ],
)
def test_what_cannot_be_read_is_said(text, said):
    with pytest.raises(ConfigError, match=said):
        named(text)


def test_what_is_no_intervention_is_not_registered():
    @dataclass
    class Thawed(Intervention):
        @property
        def baseline(self):
            return ""

    for cls in (Thawed, int, Intervention):
        with pytest.raises(ConfigError, match="expected a class that derives from Intervention"):
            intervention("thawed")(cls)
    with pytest.raises(ConfigError, match="without a name"):
        intervention(Own)
