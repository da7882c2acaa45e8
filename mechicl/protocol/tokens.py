"""What sequences of tokens share: their embedding, which positions are related, and scores of attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mechicl.protocol.attention_scores import SCORES, Score

Params = dict[str, Tensor]


def embed_tokens(tokens: Tensor, params: Params) -> Tensor:
    """[*lead, b, t, d]: rows of the table `embed.W_E` for tokens [b, t], or, stacked, [s, b, t]."""
    table = params["embed.W_E"]
    if table.dim() == 2:
        return F.embedding(tokens, table)
    own = tokens if tokens.dim() > 2 else tokens.expand(len(table), *tokens.shape)
    return torch.stack([F.embedding(*each) for each in zip(own, table, strict=True)])[:, None]


def token_relations(ids: Tensor) -> dict[str, Tensor]:
    """Relation -> bool [b, i, j]: position i to position j, which is not after it. ids [b, t]."""
    t = ids.shape[-1]
    at = torch.arange(t, device=ids.device)
    back = (at[:, None] - at[None, :]).expand(len(ids), t, t)
    same = (ids[:, :, None] == ids[:, None, :]) & (back > 0)
    after = torch.zeros_like(same)
    after[:, :, 1:] = same[:, :, :-1]  # one further: what followed it
    return {
        "previous": back == 1,
        "self": back == 0,
        "first": (at == 0).expand(len(ids), t, t) & (back > 0),
        "same_token": same,
        "after_same_token": after & (back >= 0),
    }


def token_attention(pattern: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """Scores of attention that any sequence of tokens defines, averaged over the positions that have them.

    Many heads of language models put attention that they have no other use for on the first position, whatever stands
    there (an attention sink: docs/references.md#xiao-2023). So attention to the first position counts as that alone.
    The second position, whose previous one it is, does not count for the previous-token score, and the first position
    is no earlier same token.

    Args:
        pattern: [*lead, b, h, t, t]; ids: [b, t].
    """
    at, related = torch.arange(ids.shape[-1], device=ids.device), token_relations(ids)
    before, after = related["same_token"], related["after_same_token"]
    return {
        "prefix_matching": _over(pattern, after, before.any(-1)),
        "same_token": _over(pattern, beyond := before & (at > 0), beyond.any(-1)),
        "previous_token": pattern[..., at[2:], at[1:-1]].mean(-1),
        "to_self": pattern.diagonal(dim1=-2, dim2=-1)[..., 1:].mean(-1),
        "to_first": pattern[..., 2:, 0].mean(-1),
    }


def _over(pattern: Tensor, to: Tensor, has: Tensor) -> Tensor:
    """Attention to positions `to` [b, i, j], averaged over the positions i that have any, `has` [b, i]: [*lead, b, h],
    NaN for sequences that have none."""
    share = has[:, None] / has.sum(-1).clamp(min=1)[:, None, None]  # [b, 1, i]
    none = torch.where(has.any(-1), 0.0, torch.nan)[:, None]
    return (pattern * (to[:, None] * share[..., None]).to(pattern)).sum((-1, -2)) + none


_OF_TOKENS = {
    "previous_token": Score(
        "previous-token score",
        "Attention from each position to the one before it, averaged over all positions but the first two.",
    ),
    "prefix_matching": Score(
        "prefix-matching score",
        "Attention from each position to those that followed the same token before, averaged over the positions whose "
        "token was shown before.",
    ),
    "same_token": Score(
        "same-token score",
        "Attention from each position to the same token before, where it stood anywhere but at the first position.",
    ),
    "to_self": Score("self score", "Attention from each position but the first to itself."),
    "to_first": Score(
        "attention to the first position",
        "Attention to the first position from all but the first two: of an attention sink, nearly all.",
    ),
}
for _name, _score in _OF_TOKENS.items():
    SCORES.add(_name, _score, __name__)
