"""Whose names and shapes a checkpoint's tensors have, and how they become a HookedTransformer's.

A layout says two things of the settings that describe a model: which HookedTransformer it is (`fields`, those of a
HookedTransformerConfig), and which weights its tensors are (`weights`). LayerNorms are not folded and nothing is
centred: the numbers are the checkpoint's own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mechicl.config import ModelConfig
from mechicl.doors import Door
from mechicl.errors import ConfigError, SeriesError
from mechicl.loading import Options
from mechicl.sources.described import checked

if TYPE_CHECKING:
    from torch import Tensor

    from mechicl.models.params import Params

Fields = dict[str, Any]


_BUFFERS = ("mask", "IGNORE", "rotary_sin", "rotary_cos", "alibi")  # of its attention: computed, not trained
_HOOKED = ("embed.", "pos_embed.", "blocks.", "ln_final.", "unembed.", "hook_")  # what its state dict begins with


class Layout(ABC):
    """One way to name tensors."""

    name: ClassVar[str]

    @abstractmethod
    def fields(self, settings: Mapping[str, Any]) -> Fields:
        """The HookedTransformerConfig, plain data.

        Raises:
            ConfigError: the settings describe no model that a HookedTransformer can be.
        """

    @abstractmethod
    def weights(self, tensors: dict[str, Tensor], settings: Mapping[str, Any], fields: Fields) -> Params:
        """Its parameters, float32; what a model without biases lacks is 0. fields: those of `settings`.

        Raises:
            KeyError, RuntimeError, ConfigError: tensors are missing, or of another model.
        """

    def answers(self, tensors: dict[str, Tensor], settings: Mapping[str, Any], ids: Tensor) -> Tensor | None:
        """Logits [b, t, v] of the original library's model, to compare with; None: there is none here."""
        return None


LAYOUTS: Door[Layout] = Door("layout")


def add(cls: type[Layout]) -> type[Layout]:
    """Class decorator: tensors of this layout can be read from now on."""
    LAYOUTS.add(cls.name, cls(), cls.__module__)
    return cls


def model_of(fields: Fields) -> ModelConfig:
    """The part of a run's config that describes such a model."""
    wide = fields.get("d_mlp") or 4 * fields["d_model"]
    return ModelConfig(
        n_layers=fields["n_layers"],
        d_model=fields["d_model"],
        n_heads=fields["n_heads"],
        mlp_ratio=0 if fields.get("attn_only") else max(1, round(wide / fields["d_model"])),
        positions="rotary" if fields.get("positional_embedding_type") == "rotary" else "learned",
        layer_norm=fields.get("normalization_type") is not None,
        hooked=Options(fields),
    )


def whole(tensors: Mapping[str, Tensor], fields: Fields) -> Params:
    """The parameters of a model, each there, in its shape; biases that no layer has are 0.

    Raises:
        ConfigError: one is missing, or has another shape or a type that no weights have.
    """
    import torch

    from mechicl.models.foreign import shapes

    out: Params = {}
    kinds = {_in_any_layer(name): name for name in tensors}
    for name, shape in shapes(model_of(fields)).items():
        if name in tensors:
            found = tensors[name].detach()
            check_numbers(name, found)
            if tuple(found.shape) != shape:
                raise ConfigError(f"{name} has shape {tuple(found.shape)}, not {shape}.")
            out[name] = found.to(torch.float32).contiguous().clone()
        elif (other := kinds.get(_in_any_layer(name))) is not None:
            raise ConfigError(f"it has no {name}, though it has {other}.")
        elif name.rsplit(".", 1)[1].lstrip("_").startswith("b"):
            out[name] = torch.zeros(shape)
        else:
            raise ConfigError(f"it has no {name}.")
    return out


def bare(tensors: Mapping[str, Tensor], where: object) -> dict[str, Tensor]:
    """Without what torch.compile and DistributedDataParallel put before the names of a model that they hold.

    Raises:
        SeriesError: two names become one.
    """
    out: dict[str, Tensor] = {}
    for name, x in tensors.items():
        own = re.sub(r"^(module\.)+", "", name.replace("_orig_mod.", ""))
        if own in out:
            raise SeriesError(f"{where} has {own} twice, once as {name}: expected the state dict of one model.")
        out[own] = x
    return out


def check_numbers(name: str, x: Tensor) -> None:
    """Raise ConfigError if a parameter holds codes: of a quantised model they are no weights without their scales."""
    if not x.is_floating_point() or x.element_size() == 1:
        raise ConfigError(
            f"{name} is of type {str(x.dtype).removeprefix('torch.')}: expected float64, float32, float16 or bfloat16. "
            "mechicl does not read quantised models: save this one in floating-point numbers."
        )


def check_depth(names: Iterable[str], layers: int) -> None:
    """See that no tensor is of a layer that the model has not: the first number in a name is its layer.

    Raises:
        ConfigError: one is.
    """
    for name in names:
        found = re.search(r"\.(\d+)\.", name)
        if found is not None and int(found[1]) >= layers:
            raise ConfigError(f"it has {name}, but the model of this series has {layers} layers.")


def _in_any_layer(name: str) -> str:
    return re.sub(r"^blocks\.\d+\.", "blocks.*.", name)


def layout_of(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], where: object) -> tuple[str, dict[str, Any]]:
    """(layout, settings) of a file whose names, as `bare` gives them, tell it.

    Raises:
        ConfigError: they do not, or the settings are missing.
    """
    names = set(tensors)
    if "embed.W_E" in names:
        others = sorted(name for name in names if not name.startswith(_HOOKED))
        if others:
            raise ConfigError(
                f"{where} has {others[0]}, which a HookedTransformer of tokens does not have: this model reads other "
                "inputs, and without them its numbers would be nonsense. If mechicl trained it, open the run's folder, "
                "the one with manifest.json."
            )
        return "transformer_lens", _told(tensors, dict(settings))
    if settings.get("model_type"):
        return "transformers", dict(settings)
    if "transformer.wte.weight" in names:
        return "nanogpt", dict(settings)
    some = ", ".join(sorted(names)[:3])
    raise ConfigError(
        f"{where} has tensors {some}, ...: expected names of TransformerLens (embed.W_E), nanoGPT "
        "(transformer.wte.weight), or any of transformers' models with its config.json beside them or "
        "given by --model FILE."
    )


def _told(tensors: Mapping[str, Tensor], settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a HookedTransformer, with what its tensors' shapes tell."""
    shape = {name: tuple(x.shape) for name, x in tensors.items()}
    layers = 1 + max((int(name.split(".")[1]) for name in shape if name.startswith("blocks.")), default=-1)
    heads, d_model, d_head = shape.get("blocks.0.attn.W_Q", (0, 0, 0))
    told: dict[str, Any] = {
        "n_layers": layers,
        "n_heads": heads,
        "d_model": d_model,
        "d_head": d_head,
        "d_vocab": shape["embed.W_E"][0],
        "attn_only": "blocks.0.mlp.W_in" not in shape,
    }
    if "blocks.0.mlp.W_in" in shape:
        told |= {"d_mlp": shape["blocks.0.mlp.W_in"][1], "gated_mlp": "blocks.0.mlp.W_gate" in shape}
    if "blocks.0.attn._W_K" in shape:
        told["n_key_value_heads"] = shape["blocks.0.attn._W_K"][0]
    if "pos_embed.W_pos" in shape:
        told |= {"n_ctx": shape["pos_embed.W_pos"][0], "positional_embedding_type": "standard"}
    if "blocks.0.ln1.w" in shape:
        told["normalization_type"] = "LN" if "blocks.0.ln1.b" in shape else "RMS"
    for key, value in told.items():
        if key in settings and settings[key] != value:
            raise ConfigError(
                f"the description of the model has {key}={settings[key]!r}, but its tensors have {value!r}."
            )
    return settings | told


@add
class TransformerLens(Layout):
    """State dicts of a HookedTransformer. settings: fields of its HookedTransformerConfig."""

    name = "transformer_lens"

    def fields(self, settings: Mapping[str, Any]) -> Fields:
        return checked(settings)

    def weights(self, tensors: dict[str, Tensor], settings: Mapping[str, Any], fields: Fields) -> Params:
        from mechicl.models.foreign import shapes

        known = shapes(model_of(fields))
        for name in tensors:
            if name not in known and name.rsplit(".", 1)[-1] not in _BUFFERS:
                raise ConfigError(f"it has {name}, which the model of this series does not have.")
        return whole(tensors, fields)


@add
class NanoGPT(Layout):
    """State dicts of nanoGPT. settings: its model_args (n_layer, n_head, n_embd, block_size, vocab_size, bias)."""

    name = "nanogpt"

    def fields(self, settings: Mapping[str, Any]) -> Fields:
        keys = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")
        lacking = [key for key in keys if type(settings.get(key)) is not int]
        if lacking:
            raise ConfigError(
                f"nanoGPT's model_args lack {', '.join(lacking)}: give them as a JSON file with --model "
                'FILE, such as {"n_layer": 6, "n_head": 6, ...}.'
            )
        layers, heads, width, length, vocabulary = (settings[key] for key in keys)
        return {
            "n_layers": layers,
            "n_heads": heads,
            "d_model": width,
            "d_head": width // heads,
            "d_mlp": 4 * width,
            "n_ctx": length,
            "d_vocab": vocabulary,
            "act_fn": "gelu",
            "eps": 1e-5,
            "normalization_type": "LN",
            "positional_embedding_type": "standard",
        }

    def weights(self, tensors: dict[str, Tensor], settings: Mapping[str, Any], fields: Fields) -> Params:
        from mechicl.models.lens import HookedTransformerConfig, convert_nanogpt_weights

        return whole(convert_nanogpt_weights(tensors, HookedTransformerConfig(**fields)), fields)


from mechicl.sources import transformers as transformers  # noqa: E402 (a layout, too)
