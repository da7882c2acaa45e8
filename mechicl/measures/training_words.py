"""What a branch does otherwise, in words: the same in the options of `mechicl branch` and on the page.

without    L0H5,L1H3: these heads' outputs are 0 from there on
clamp      previous:L0H5=0.8: attention of these heads is held, 0.8 of it; PATTERN is one of those of
           `training_interventions`, or match (heads of the last layer look at the right answer)
intervene  {kind = "freeze", groups = ["unembedding"]}: any training intervention, as a table of TOML
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Any

from mechicl.attention_patterns import PATTERNS
from mechicl.errors import ConfigError
from mechicl.loading import from_dict
from mechicl.measures.words import parse_heads
from mechicl.training_interventions import TrainingIntervention

__all__: list[str] = []

MATCH = "match"


def clamp(text: str, option: str = "--clamp") -> TrainingIntervention:
    """'previous:L0H5,L0H6=0.8' as a training intervention. option: where it is written, for messages.

    Raises:
        ConfigError: it is written otherwise, or there is no such pattern.
    """
    found = re.fullmatch(r"\s*(\w+)\s*:([^=:]+)(?:=(.+))?", text)
    if not found:
        raise ConfigError(
            f"{option} {text}: expected PATTERN:HEADS=STRENGTH, such as previous:L0H5=0.8 or match:L1H3=1."
        )
    pattern, heads = found[1], parse_heads(found[2], option)
    try:
        strength = float(found[3] or 1)
    except ValueError:
        raise ConfigError(f"{option} {text}: its strength {found[3]!r} is not a number from 0 to 1.") from None
    if pattern == MATCH:
        return TrainingIntervention(kind="clamp_match", heads=heads, strength=strength)
    if pattern not in PATTERNS:
        raise ConfigError(
            f"{option} {text}: there is no pattern {pattern!r}: expected one of {', '.join((*PATTERNS, MATCH))}."
        )
    return TrainingIntervention(kind="clamp", pattern=pattern, heads=heads, strength=strength)


def table(text: str) -> TrainingIntervention:
    """'{kind = "freeze", groups = ["unembedding"]}' as a training intervention.

    Raises:
        ConfigError: it is no such table.
    """
    try:
        given: Any = tomllib.loads(f"x = {text}")["x"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise ConfigError(f"--intervene {text}: it is not a TOML table ({error}).") from None
    if not isinstance(given, dict):
        raise ConfigError(
            f'--intervene {text}: expected a table, such as \'{{kind = "freeze", groups = ["unembedding"]}}\'.'
        )
    return from_dict(TrainingIntervention, given)


def interventions(clamps: Iterable[str] = (), tables: Iterable[str] = ()) -> list[TrainingIntervention]:
    """Those that the options `--clamp` and `--intervene` ask for."""
    return [*map(clamp, clamps), *map(table, tables)]
