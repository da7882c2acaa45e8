"""An intervention that makes nan or inf of the model's output is refused: their argmax would look like an accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mechicl.engine.forward import rank
from mechicl.errors import ConfigError
from mechicl.interventions.base import Intervention

_SCORES = (
    " Masked scores are -inf, and -inf * 0 is nan: a tensor `keep` must not be 0 there. Give all scores of the layer "
    "with keep=0.0 and `add`, or edit hook_pattern instead."
)


def finite(x: Tensor) -> bool:
    if x.is_meta:  # shapes alone: there are no numbers
        return True
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())  # the sum is quick, but may overflow


def not_finite(conditions: Sequence[Intervention], final: Tensor, axes: int, acts: Mapping[str, Tensor]) -> ConfigError:
    """The error: says under which intervention, and at which hook.

    Args:
        final: the output under them, with numbers that are not finite.
        axes: how many it has from b on.
        acts: the activations at the hooks that they edit, after editing, in the order of the pass.
    """
    i = _first(final, axes, len(conditions))
    hook = next((name for name, x in acts.items() if _broken(_of(x, rank(name), i, len(conditions)), name)), None)
    where = f"at {hook}" if hook else "in the model's output"
    helps = _SCORES if hook and hook.endswith("hook_attn_scores") else ""
    return ConfigError(
        f"{conditions[i]} makes numbers that are not finite (nan or inf) {where}: expected an intervention after which "
        f"the model still answers.{helps}"
    )


def _first(x: Tensor, axes: int, count: int) -> int:
    return next((i for i in range(count) if not finite(_of(x, axes, i, count))), 0)


def _of(x: Tensor, axes: int, i: int, count: int) -> Tensor:
    """What of an activation is of condition i; all of it where it is the same for all."""
    return x.select(-axes - 1, i) if x.dim() > axes and x.shape[-axes - 1] == count else x


def _broken(x: Tensor, hook: str) -> bool:
    if hook.endswith("hook_attn_scores"):  # masked ones are -inf
        x = x.where(x != -float("inf"), 0.0)
    return not finite(x)
