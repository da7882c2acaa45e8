"""Groups of parameters, by name: what training interventions freeze, reset and graft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechicl.errors import ConfigError

if TYPE_CHECKING:
    from mechicl.config import ModelConfig

GROUPS = ("all", "attention", "mlp", "embeddings", "unembedding", "attention.L", "mlp.L", "layer.L")
# of the layer L, with the LayerNorm that each reads through. Unlike in OptimConfig.l2_group, 'embeddings' are the
# tables into the residual stream and what encodes pictures; 'unembedding' is the final LayerNorm and what reads it.


def in_groups(name: str, groups: tuple[str, ...]) -> bool:
    """Whether a parameter, by its packed or its TransformerLens name, belongs to one of the groups."""
    return any(_in_group(name, group) for group in groups)


def _in_group(name: str, group: str) -> bool:
    kind, _, layer = group.partition(".")
    if layer and not name.startswith(f"blocks.{layer}."):
        return False
    if kind in ("all", "layer"):
        return True
    if kind == "attention":
        return ".attn." in name or ".ln1." in name
    if kind == "mlp":
        return ".mlp." in name or ".ln2." in name
    last = name.startswith(("unembed.", "ln_final."))
    return last if kind == "unembedding" else not last and not name.startswith("blocks.")


def check_group(group: str, model: ModelConfig) -> None:
    """Raise unless the model has parameters of this group.

    Raises:
        ConfigError: there is no such group, or none of it in this model.
    """
    kind, dot, layer = group.partition(".")
    known = group in GROUPS[:5] or (kind in ("attention", "mlp", "layer") and dot and layer.isdigit())
    if not known or group.endswith(".L"):
        raise ConfigError(f"there is no group {group!r}: expected one of {', '.join(GROUPS)}, with L a layer, from 0.")
    if layer and int(layer) >= model.n_layers:
        raise ConfigError(f"group {group!r}: this model has layers 0..{model.n_layers - 1}.")
    with_mlp = [la for la in range(model.n_layers) if model.has_mlp(la)]
    if kind == "mlp" and not ([la for la in with_mlp if la == int(layer)] if layer else with_mlp):
        raise ConfigError(f"group {group!r}: this layer has no MLP.")
