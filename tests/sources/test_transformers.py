"""Models of `transformers`, tiny and random, as HookedTransformers: the same logits, from their own files."""

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from trained_models import SIZES
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo3Config,
    Qwen2Config,
)

from mechicl.engine.foreign import forward
from mechicl.engine.forward import logits
from mechicl.errors import ConfigError
from mechicl.models.params import pack
from mechicl.sources.layouts import LAYOUTS, model_of
from mechicl.tasks.text.batch import repeated

V, T = 50, 24
_SIZES = SIZES | {"vocab_size": V, "intermediate_size": 48, "max_position_embeddings": 40}
_GPT2: dict[str, Any] = {
    "vocab_size": V,
    "n_positions": 40,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_LLAMA3: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FAMILIES = {
    "gpt2": GPT2Config(**_GPT2),
    "gpt2, wide MLP, by layer": GPT2Config(**_GPT2, n_inner=80, scale_attn_by_inverse_layer_idx=True),
    "neox": GPTNeoXConfig(**_SIZES),
    "neox, in sequence, other base": GPTNeoXConfig(
        **_SIZES,
        use_parallel_residual=False,
        rope_parameters={"rope_type": "default", "rope_theta": 300.0, "partial_rotary_factor": 0.5},
    ),
    "llama": LlamaConfig(**_SIZES, num_key_value_heads=2),
    "llama, a key for each head": LlamaConfig(**_SIZES),
    "llama, wide heads": LlamaConfig(**_SIZES, num_key_value_heads=2, head_dim=16),
    "llama 3": LlamaConfig(**_SIZES, num_key_value_heads=2, rope_parameters=_LLAMA3),
    "llama, tied": LlamaConfig(**_SIZES, num_key_value_heads=2, tie_word_embeddings=True),
    "mistral": MistralConfig(**_SIZES, num_key_value_heads=2),
    "mistral, short window": MistralConfig(**_SIZES, num_key_value_heads=2, sliding_window=7),
    "qwen2": Qwen2Config(**_SIZES, num_key_value_heads=2),
    "olmo 3, by TransformerLens": Olmo3Config(**_SIZES),
}


def saved(config, folder, seed=0):
    """A model with all parameters far from their initial values, saved by transformers; and it."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_((0.3 if p.dim() > 1 else 0.1) * torch.randn_like(p))
    model.save_pretrained(folder)
    return model


def through_hooks(layout, settings, tensors, batch):
    fields = layout.fields(settings)
    model, params = model_of(fields), pack(layout.weights(tensors, settings, fields))
    return logits(params, forward(params, batch, model).final)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_original(family, tmp_path):
    model = saved(FAMILIES[family], tmp_path)
    layout, settings = LAYOUTS["transformers"], model.config.to_dict()
    tensors = load_file(tmp_path / "model.safetensors")
    batch = repeated(V, 3, T, np.random.default_rng(0))
    with torch.inference_mode():
        want = model(input_ids=batch.ids).logits
        got = through_hooks(layout, settings, tensors, batch)
        torch.testing.assert_close(layout.answers(tensors, settings, batch.ids), want)
    assert want.std() > 0.5
    torch.testing.assert_close(got, want, rtol=0, atol=1e-4)


def test_a_type_that_transformers_does_not_know_is_refused():
    with pytest.raises(ConfigError, match="model_type='mine'"):
        LAYOUTS["transformers"].fields({"model_type": "mine"})


def test_no_causal_model_is_refused():
    with pytest.raises(ConfigError, match="not a causal language model"):
        LAYOUTS["transformers"].fields({"model_type": "t5"})


def test_codes_of_a_quantised_model_are_no_weights(tmp_path):
    config = FAMILIES["gpt2"]
    saved(config, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if name.endswith("h.0.mlp.c_fc.weight"))
    coded = tensors | {name: (100 * tensors[name]).to(torch.int8)}
    layout, settings = LAYOUTS["transformers"], config.to_dict()
    with pytest.raises(ConfigError, match=r"h.0.mlp.c_fc.weight is of type int8: expected float64"):
        layout.weights(coded, settings, layout.fields(settings))


def test_missing_tensors_are_named(tmp_path):
    model = saved(FAMILIES["llama"], tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    layout, settings = LAYOUTS["transformers"], model.config.to_dict()
    with pytest.raises(ConfigError, match="up_proj"):
        layout.weights(tensors, settings, layout.fields(settings))
