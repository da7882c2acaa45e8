"""Models of Hugging Face's `transformers` as HookedTransformers, without the hub.

`HookedTransformer.from_pretrained` asks the hub even where it is given a model (TransformerLens#846). So the
configuration is made here, for the families of `_FAMILIES`, and TransformerLens' own converters take the weights from a
`transformers` model that is built from the checkpoint's tensors. Opening a series compares both models' logits
(`opening.py`): another family, whose configuration TransformerLens makes, is taken only where they agree.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.errors import ConfigError
from mechicl.sources.layouts import Fields, Layout, add, check_numbers, whole

if TYPE_CHECKING:
    from torch import Tensor

    from mechicl.models.params import Params


@add
class Transformers(Layout):
    """Any of `transformers`' causal models. settings: its config.json."""

    name = "transformers"

    def fields(self, settings: Mapping[str, Any]) -> Fields:
        hf = _config(settings)
        name, family = _class_of(hf).__name__, _FAMILIES.get(hf.model_type)
        found = _by_transformer_lens(dict(settings) | {"architectures": [name]}) if family is None else family(hf)
        return found | {"original_architecture": name}

    def weights(self, tensors: dict[str, Tensor], settings: Mapping[str, Any], fields: Fields) -> Params:
        from mechicl.models.lens import HookedTransformerConfig, loading_from_pretrained

        model = _model(tensors, settings)
        cfg = HookedTransformerConfig(**fields, device="cpu", from_checkpoint=False, init_weights=False)
        here = str(Path(tempfile.gettempdir()))  # any place that is there: it is not read where a model is given
        with _quiet():
            return whole(loading_from_pretrained.get_pretrained_state_dict(here, cfg, hf_model=model), fields)

    def answers(self, tensors: dict[str, Tensor], settings: Mapping[str, Any], ids: Tensor) -> Tensor:
        import torch

        with torch.inference_mode():
            return _model(tensors, settings)(input_ids=ids, use_cache=False).logits


def _config(settings: Mapping[str, Any]) -> Any:
    """The `transformers` config of a config.json.

    Raises:
        ConfigError: this transformers knows no model of that type.
    """
    from transformers import CONFIG_MAPPING

    kind = str(settings.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise ConfigError(
            f"config.json has model_type={kind!r}, which the installed transformers does not know. mechicl never "
            "runs code from a checkpoint's folder."
        )
    with _quiet():
        return CONFIG_MAPPING[kind].from_dict(dict(settings))


def _class_of(hf: Any) -> Any:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(hf) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(f"model_type={hf.model_type!r} is not a causal language model.")
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(hf)]


def _model(tensors: dict[str, Tensor], settings: Mapping[str, Any]) -> Any:
    """The `transformers` model with these tensors, in float32.

    Raises:
        ConfigError: tensors are missing, or no weights.
    """
    import torch

    hf = _config(settings)
    with _quiet():
        model, found = _class_of(hf).from_pretrained(
            None, config=hf, state_dict=dict(tensors), dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(found["missing_keys"]) or sorted(map(str, found["mismatched_keys"])):
        raise ConfigError(f"its tensors lack {missing[0]} ({len(missing)} in all), which config.json requires.")
    for name, p in model.named_parameters():
        for each in (name, name.removeprefix(f"{model.base_model_prefix}.")):
            if each in tensors and p.is_floating_point():
                check_numbers(each, tensors[each])
    return model.eval().requires_grad_(False)


def _gpt2(hf: Any) -> Fields:
    return _sizes(hf, n_ctx=hf.n_positions, d_mlp=hf.n_inner or 4 * hf.n_embd) | {
        "eps": hf.layer_norm_epsilon,
        "act_fn": hf.activation_function,
        "normalization_type": "LN",
        "positional_embedding_type": "standard",
        "use_attn_scale": hf.scale_attn_weights,
        "scale_attn_by_inverse_layer_idx": hf.scale_attn_by_inverse_layer_idx,
    }


def _gpt_neox(hf: Any) -> Fields:
    sizes = _sizes(hf)
    rope = _rope(hf)
    share = rope.get("partial_rotary_factor", getattr(hf, "rotary_pct", 1.0))
    return sizes | {
        "eps": hf.layer_norm_eps,
        "act_fn": hf.hidden_act,
        "normalization_type": "LN",
        "parallel_attn_mlp": hf.use_parallel_residual,
        "positional_embedding_type": "rotary",
        "rotary_adjacent_pairs": False,
        "rotary_dim": int(share * sizes["d_head"]),
        "rotary_base": rope.get("rope_theta", 10000.0),
    }


def _llama(hf: Any, grouped: bool = False) -> Fields:
    """Llama's family: RMSNorm, gated MLPs, rotary positions. grouped: keys and values are named as of grouped queries
    even where each head has its own."""
    from mechicl.models.lens import loading_from_pretrained

    sizes, rope, kv = _sizes(hf), _rope(hf), hf.num_key_value_heads
    found = sizes | {
        "eps": hf.rms_norm_eps,
        "act_fn": hf.hidden_act,
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
        "positional_embedding_type": "rotary",
        "rotary_adjacent_pairs": False,
        "rotary_dim": sizes["d_head"],
        "rotary_base": rope.get("rope_theta", 10000.0),
        "n_key_value_heads": kv if grouped or kv != sizes["n_heads"] else None,
    }
    window = getattr(hf, "sliding_window", None) if getattr(hf, "use_sliding_window", True) else None
    if window is not None and window < sizes["n_ctx"]:
        found |= {"window_size": window, "use_local_attn": True, "attn_types": ["local"] * sizes["n_layers"]}
    if rope.get("rope_type", "default") == "llama3":
        loading_from_pretrained._apply_llama3_rope_scaling(found, _Scaled(rope, sizes["n_ctx"]))
    return found


def _grouped(hf: Any) -> Fields:
    return _llama(hf, grouped=True)


_FAMILIES: dict[str, Callable[[Any], Fields]] = {
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
    "mistral": _grouped,
    "qwen2": _grouped,
}


class _Scaled:
    """What TransformerLens reads the scaling of rotary positions from."""

    def __init__(self, rope: dict[str, Any], n_ctx: int):
        self.rope_scaling, self.max_position_embeddings = rope, n_ctx


def _sizes(hf: Any, **given: int) -> Fields:
    heads = hf.num_attention_heads
    sizes = {
        "n_layers": hf.num_hidden_layers,
        "d_model": hf.hidden_size,
        "n_heads": heads,
        "d_head": getattr(hf, "head_dim", None) or hf.hidden_size // heads,
        "d_vocab": hf.vocab_size,
    }
    more = given or {"n_ctx": hf.max_position_embeddings, "d_mlp": hf.intermediate_size}
    return sizes | more


def _rope(hf: Any) -> dict[str, Any]:
    """How positions rotate, by any of the names that versions of transformers gave it."""
    old = {"rope_theta": getattr(hf, "rope_theta", None)} | (getattr(hf, "rope_scaling", None) or {})
    found = old | (getattr(hf, "rope_parameters", None) or {})
    return {key: value for key, value in found.items() if value is not None}


def _by_transformer_lens(settings: Mapping[str, Any]) -> Fields:
    """The configuration of any other family, as TransformerLens makes it.

    Raises:
        ConfigError: it has none.
    """
    from mechicl.models.lens import loading_from_pretrained

    with tempfile.TemporaryDirectory() as folder, _quiet():
        (Path(folder) / "config.json").write_text(json.dumps(dict(settings)), encoding="utf-8")
        try:
            found = loading_from_pretrained.convert_hf_model_config(folder)
        except Exception as error:  # of another library's making, of whatever kind
            raise ConfigError(
                f"TransformerLens has no model_type={settings.get('model_type')!r} ({error}); mechicl "
                f"itself knows {', '.join(_FAMILIES)}."
            ) from None
    plain = (int, float, str, bool, list, type(None))
    return {
        key: value
        for key, value in found.items()
        if isinstance(value, plain) and key not in ("tokenizer_name", "quantization_method", "trust_remote_code")
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and remarks of transformers: mechicl has a bar of its own."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    root, before = logging.getLogger(), logging.getLogger().level
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
