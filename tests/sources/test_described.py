"""mechicl.sources.described: mistakes in the file that describes a HookedTransformer."""

import pytest

from mechicl.errors import ConfigError
from mechicl.sources.described import checked

WHOLE = {
    "n_layers": 2,
    "d_model": 16,
    "n_heads": 2,
    "d_head": 8,
    "d_mlp": 24,
    "d_vocab": 30,
    "n_ctx": 20,
    "act_fn": "relu",
    "normalization_type": "LN",
    "positional_embedding_type": "standard",
}
WRONG = {
    "misspelt": ({"n_layer": 2}, "'n_layer', which is no field of a HookedTransformerConfig. Did you mean 'n_layers'?"),
    "unknown": ({"foo": 1}, "'foo', which is no field .* Leave out"),
    "unknown table": ({"foo": {}}, "'foo', which is no field"),
    "activation": ({"act_fn": "swishh"}, "act_fn='swishh': expected one of solu, .*, relu, gelu, "),
    "norm": ({"normalization_type": "Layer"}, "expected one of LN, LNPre, RMS, RMSPre, null"),
    "positions": ({"positional_embedding_type": "alibi"}, "expected one of standard, rotary"),
    "text for a number": ({"n_ctx": "20"}, "n_ctx='20': expected a whole number"),
    "truth for a number": ({"n_ctx": True}, "n_ctx=True: expected a whole number"),
    "number for truth": ({"gated_mlp": 1}, "gated_mlp=1: expected true or false"),
    "text for a rate": ({"eps": "1e-5"}, "eps='1e-5': expected a number"),
    "parts that do not fit": ({"use_local_attn": True}, "of no HookedTransformer: window_size must be"),
}


@pytest.mark.parametrize(("more", "said"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_said_by_its_field(more, said):
    with pytest.raises(ConfigError, match=rf"^the description of the model \(config.json, or --model FILE\) .*{said}"):
        checked(WHOLE | more)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"normalization_type": None},
        {"attn_only": True, "act_fn": None},
        {"n_key_value_heads": None, "eps": 1, "rotary_base": 10000, "attn_types": None},
        {"dtype": "torch.float32", "device": "cuda", "tokenizer_name": "x", "seed": 3},
    ],
)
def test_what_can_be_built_is_taken(more):
    assert checked(WHOLE | more) == {
        k: v for k, v in (WHOLE | more).items() if k not in ("dtype", "device", "tokenizer_name", "seed")
    }
