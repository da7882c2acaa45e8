"""The only module that imports transformer_lens. It has what mechicl uses of it, and the configuration of a run's
model. transformer_lens is loaded when this module is imported.
"""

from __future__ import annotations

import warnings

import torch

from mechicl.config import Config, ModelConfig
from mechicl.protocol.known import task_of

with warnings.catch_warnings():
    # HookedTransformer is deprecated in favour of a bridge whose pattern edits do nothing
    # in 3.9 (docs/architecture.md): the warning is expected here, and only here.
    warnings.simplefilter("ignore")
    from transformer_lens import HookedTransformer as HookedTransformer
    from transformer_lens import HookedTransformerConfig as HookedTransformerConfig
    from transformer_lens import loading_from_pretrained as loading_from_pretrained
    from transformer_lens.components.layer_norm_pre import LayerNormPre as LayerNormPre
    from transformer_lens.components.transformer_block import TransformerBlock as TransformerBlock
    from transformer_lens.hook_points import HookPoint as HookPoint
    from transformer_lens.pretrained.weight_conversions.nanogpt import (
        convert_nanogpt_weights as convert_nanogpt_weights,
    )
    from transformer_lens.utilities.activation_functions import SUPPORTED_ACTIVATIONS as SUPPORTED_ACTIVATIONS
    from transformer_lens.weight_processing import ProcessWeights as ProcessWeights


def hooked_config(model: ModelConfig) -> HookedTransformerConfig:
    """The configuration of a model from elsewhere."""
    fixed = {
        "init_weights": False,
        "seed": None,
        "device": "cpu",
        "dtype": torch.float32,
        "default_prepend_bos": False,
        "ungroup_grouped_query_attention": True,
    }
    return HookedTransformerConfig(**(dict(model.hooked) | fixed))


def hooked_transformer(model: ModelConfig) -> HookedTransformer:
    """A model from elsewhere, without its weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HookedTransformer(hooked_config(model))


def own_config(config: Config) -> HookedTransformerConfig:
    """The configuration of a run's model."""
    m, task = config.model, task_of(config)
    if m.hooked:
        return hooked_config(m)
    inputs = task.input_shapes(m)
    rotary = m.positions == "rotary"
    return HookedTransformerConfig(
        n_layers=m.n_layers,
        d_model=m.d_model,
        n_ctx=task.n_tokens,
        d_head=m.d_head,
        n_heads=m.n_heads,
        d_mlp=(m.mlp_ratio or 4) * m.d_model,
        act_fn={"gelu": "gelu", "gelu_tanh": "gelu_new"}[m.activation],
        d_vocab=inputs.get("embed.W_E", (1,))[0],
        d_vocab_out=task.n_outputs,
        attn_only=not m.mlp_ratio,
        normalization_type="LN" if m.layer_norm else None,
        positional_embedding_type="rotary" if rotary else "standard",
        rotary_dim=m.d_head if rotary else None,
        rotary_base=int(m.position_time) if rotary else 10000,
        init_weights=False,  # ours, stated and tested in models/params.py
        seed=None,
        device="cpu",
        default_prepend_bos=False,
    )
