"""How strongly a head's output is read by another head, from the weights alone (composition scores).

    score = |W_O W|_F / (|W_O|_F |W|_F)     W: the later head's W_Q, W_K or W_V

(Elhage et al. 2021; as in Singh et al. 2024, docs/references.md#singh-2024-measures: raw weights, no LayerNorm folded
in.)
Two random matrices do not score 0 but about 1 / sqrt(d_model): compare with other pairs of heads.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mechicl.errors import ConfigError
from mechicl.models.params import Params

__all__ = ["composition_scores"]


def composition_scores(weights: Params, through: Literal["Q", "K", "V"], layers: tuple[int, int] = (0, 1)) -> Tensor:
    """Scores of all pairs of heads of two layers, [heads of the earlier, heads of the later], 0 to 1.

    Args:
        weights: in TransformerLens' shapes, as `series.weights(step)`.
        through: which of the later head's matrices reads.
        layers: the earlier and the later layer.

    Raises:
        ConfigError: there is no such matrix, or no such layers.
    """
    early, late = layers
    names = f"blocks.{early}.attn.W_O", f"blocks.{late}.attn.W_{through}"
    if through not in ("Q", "K", "V") or not early < late or not all(name in weights for name in names):
        raise ConfigError(
            f"through={through!r}, layers={layers!r}: expected 'Q', 'K' or 'V', and an earlier and a "
            "later layer of the model."
        )
    writes, reads = weights[names[0]].double()[:, None], weights[names[1]].double()[None]  # [h, 1, k, d], [1, h, d, k]
    return (writes @ reads).norm(dim=(-2, -1)) / (writes.norm(dim=(-2, -1)) * reads.norm(dim=(-2, -1)))
