"""Controls of a set of heads: as many others, of the same layers, in words that say how many sets there are."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from mechicl.config import ModelConfig
from mechicl.interventions import AblateHeads

CONTROLS = 20  # random sets, where there are as many


def random_sets(model: ModelConfig, like: tuple[tuple[int, int], ...]) -> list[AblateHeads]:
    """CONTROLS distinct random sets of as many other heads, of the same layers where those have enough others
    (`interventions.matched_heads`), from a fixed seed; all that exist where they are fewer, none where `like` is
    the whole model."""
    drawn = AblateHeads(heads=like).controls(model, CONTROLS)
    return sorted((one for one in drawn if isinstance(one, AblateHeads)), key=lambda one: one.heads)


def described(chosen: str, controls: Collection[str]) -> str:
    """What the controls of a set of heads are, for a legend. Both are as `str(AblateHeads)` writes them."""
    if not controls:
        return "no other heads to compare with"
    own, theirs = _layers(chosen), [_layers(c) for c in controls]
    alike = "the same layers and size" if all(x == own for x in theirs) else "the same size (layers too small)"
    if any(len(x) < len(own) for x in theirs):
        alike = "fewer heads (the model has no more)"
    if len(controls) == 1:
        return f"the only other set of {alike}"
    if len(controls) < CONTROLS:
        return f"all {len(controls)} other sets of {alike} (median, range)"
    return f"{len(controls)} random other sets of {alike} (median, range)"


def _layers(heads: str) -> list[str]:
    return [word.partition("H")[0] for word in heads.split()[1:]]


def spread(controls: pd.Series, what: str = "sets") -> str:
    """'0.950 (0.923 to 0.970, 20 sets)' of the controls' values, or '0.759 (the only such set)'."""
    if not len(controls):
        return "- (there are none)"
    if len(controls) == 1:
        return f"{controls.item():.3f} (the only such set)"
    return f"{controls.median():.3f} ({controls.min():.3f} to {controls.max():.3f}, {len(controls)} {what})"
