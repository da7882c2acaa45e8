"""What somebody wrote of a HookedTransformer, as a table of the fields of its config: is it one that can be built?

TransformerLens would answer a misspelt field with a traceback, and some misspelt values with another model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from mechicl.errors import ConfigError, did_you_mean

# What a HookedTransformer's tensors do not show, with usual values: examples, which are never assumed.
_USUAL = {"n_ctx": 128, "normalization_type": "LN", "positional_embedding_type": "standard", "act_fn": "gelu"}
_OF_THE_MACHINE = ("device", "dtype", "seed", "tokenizer_name", "init_weights")  # say nothing of the model
_PLAIN = (int, float, str, bool, list, type(None))
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
}
_WHERE = "the description of the model (config.json, or --model FILE)"


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that describe the model.

    Raises:
        ConfigError: one is lacking, unknown, or has a value that it cannot have.
    """
    needed = ["n_ctx", "normalization_type", "positional_embedding_type"]
    needed += [] if settings.get("attn_only") else ["act_fn"]
    lacking = [key for key in needed if key not in settings]
    if lacking:
        values = json.dumps({key: _USUAL[key] for key in lacking})
        raise ConfigError(
            f"{', '.join(lacking)} of the HookedTransformer cannot be read from the tensors: give its config as a JSON "
            f"file with --model FILE, with the model's own values of {values}."
        )
    from mechicl.models.lens import SUPPORTED_ACTIVATIONS, HookedTransformerConfig

    types = {field.name: str(field.type) for field in dataclasses.fields(HookedTransformerConfig)}
    types |= {"act_fn": "Optional[str]"} if settings.get("attn_only") else {}
    fields = {key: value for key, value in settings.items() if key not in _OF_THE_MACHINE}
    for key, value in fields.items():
        if key not in types:
            raise ConfigError(
                f"{_WHERE} has {key!r}, which is no field of a HookedTransformerConfig.{did_you_mean(key, types)} "
                "Leave out what it does not have."
            )
        if (expected := _expected(value, types[key])) is not None:
            raise ConfigError(f"{_WHERE} has {key}={value!r}: expected {expected}.")
    known = {
        "normalization_type": ("LN", "LNPre", "RMS", "RMSPre", None),
        "positional_embedding_type": ("standard", "rotary"),
        **({} if settings.get("attn_only") else {"act_fn": tuple(SUPPORTED_ACTIVATIONS)}),
    }
    for key, values in known.items():
        if settings[key] not in values:
            listed = ", ".join("null" if each is None else each for each in values)
            raise ConfigError(f"{_WHERE} has {key}={settings[key]!r}: expected one of {listed}.")
    plain: dict[str, Any] = {key: value for key, value in fields.items() if isinstance(value, _PLAIN)}
    try:
        HookedTransformerConfig(**plain, device="cpu", init_weights=False)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"{_WHERE} is of no HookedTransformer: {error or type(error).__name__}.") from None
    return plain


def _expected(value: object, written: str) -> str | None:
    """In words, what a field of this type takes, where the value is none; None where it may be one."""
    inner = written.removeprefix("Optional[").removesuffix("]")
    if inner not in _TYPES or (value is None and inner != written):
        return None
    kinds, words = _TYPES[inner]
    return None if isinstance(value, kinds) and (inner == "bool") == isinstance(value, bool) else words
