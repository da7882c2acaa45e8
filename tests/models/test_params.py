"""Parameters: initial statistics as documented, exact packing, groups, and errors by name."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import kstest, truncnorm

from mechicl.config import BankConfig, Config, ModelConfig, SequenceConfig
from mechicl.errors import ConfigError
from mechicl.models.params import check_weights, group, init, pack, rotary_tables, shapes, sinusoidal_positions, unpack

LARGE = Config(
    name="large",
    steps=1,
    bank=BankConfig(n_classes=500, dim=40),
    sequences=SequenceConfig(n_pairs=8),
    model=ModelConfig(n_layers=2, d_model=128, n_heads=4, mlp_ratio=2),
)


def small(**model) -> Config:
    return Config(
        name="small",
        steps=1,
        bank=BankConfig(n_classes=7, dim=5),
        model=ModelConfig(**({"d_model": 12, "n_heads": 3} | model)),
    )


CONV = {"encoder": "conv", "channels": (32, 48)}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """The linear model's, and the convolutions of one with an encoder."""
    pictures = dataclasses.replace(
        LARGE, bank=BankConfig(n_classes=500, dim=49), model=dataclasses.replace(LARGE.model, **CONV)
    )
    return {name: w for name, w in init(pictures).items() if name.startswith("encoder.")} | init(LARGE)


STD = {  # lecun-normal: 1/sqrt(fan_in)
    "exemplar_embed.W": 40**-0.5,
    "blocks.0.attn.W_Q": 128**-0.5,
    "blocks.0.attn.W_K": 128**-0.5,
    "blocks.1.attn.W_V": 128**-0.5,
    "blocks.1.attn.W_O": 128**-0.5,  # reads all heads: fan_in = heads * d_head
    "blocks.0.mlp.W_in": 128**-0.5,
    "blocks.1.mlp.W_out": 256**-0.5,
    "unembed.W_U": 128**-0.5,
    "encoder.0.W": (2 / 9) ** 0.5,  # ReLU: sqrt(2/fan_in)
    "encoder.1.W": (2 / (32 * 9)) ** 0.5,
    "embed.W_E": 0.02 * truncnorm(-2, 2).std(),
    "pos_embed.W_pos": (1 / 32 / 3) ** 0.5,  # uniform(+-1/sqrt(32))
}


@pytest.mark.parametrize("name", STD)
def test_initial_std_and_mean(weights, name):
    w = weights[name].double()
    # A standard deviation from n draws is off by about 1/sqrt(2n).
    assert w.std().item() == pytest.approx(STD[name], rel=4 / (2 * w.numel()) ** 0.5)
    assert abs(w.mean().item()) < 4 * STD[name] / w.numel() ** 0.5


@pytest.mark.parametrize("name", [n for n in STD if n not in ("embed.W_E", "pos_embed.W_pos")])
def test_matrices_are_normal(weights, name):
    assert kstest(weights[name].flatten().numpy() / STD[name], "norm").pvalue > 1e-3


@pytest.mark.parametrize("name", [n for n in STD if n not in ("embed.W_E", "pos_embed.W_pos") and "encoder" not in n])
def test_truncated_matrices_are_cut_at_2_sigma_and_as_wide(name):
    truncated = dataclasses.replace(LARGE, model=dataclasses.replace(LARGE.model, init="truncated"))
    w = init(truncated)[name].flatten().double().numpy() / STD[name]
    cut = 1 / truncnorm(-2, 2).std()
    assert w.std() == pytest.approx(1, rel=4 / (2 * len(w)) ** 0.5)
    assert 2 * cut * 0.98 < np.abs(w).max() <= 2 * cut + 1e-6  # 2.27
    assert kstest(w / cut, truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_truncation_leaves_all_else_as_it_was():
    plain, cut = init(LARGE), init(dataclasses.replace(LARGE, model=dataclasses.replace(LARGE.model, init="truncated")))
    for name in ("embed.W_E", "pos_embed.W_pos", "ln_final.w", "exemplar_embed.b"):
        assert torch.equal(plain[name], cut[name])


def test_label_embedding_is_a_truncated_normal(weights):
    w = weights["embed.W_E"].flatten().numpy() / 0.02
    assert np.abs(w).max() <= 2
    assert np.abs(w).max() > 1.99
    assert kstest(w, truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_positions_are_uniform(weights):
    w = weights["pos_embed.W_pos"].flatten().numpy() * 32**0.5
    assert np.abs(w).max() <= 1
    assert kstest((w + 1) / 2, "uniform").pvalue > 1e-3


def test_biases_are_zero_and_layer_norms_one(weights):
    for name, w in weights.items():
        leaf = name.rsplit(".", 1)[1]
        if leaf == "w":
            assert (w == 1).all(), name
        elif leaf[0] == "b":
            assert (w == 0).all(), name
        else:
            assert w.abs().sum() > 0, name
        assert w.dtype == torch.float32


def test_init_follows_the_init_seed_alone():
    one, same = init(small()), init(small())
    seeds = dataclasses.replace(small().seeds, data=9, eval=9)
    other_data = init(dataclasses.replace(small(), seeds=seeds))
    other = init(small().with_seed(1))
    for name, w in one.items():
        assert torch.equal(w, same[name])
        assert torch.equal(w, other_data[name])
        constant = name.rsplit(".", 1)[1][0] in "bw"
        assert torch.equal(w, other[name]) == constant, name


def test_a_deeper_model_keeps_the_shallow_ones_weights():
    shallow, deep = init(small(n_layers=1)), init(small(n_layers=3))
    assert all(torch.equal(w, deep[name]) for name, w in shallow.items())
    assert not torch.equal(deep["blocks.0.attn.W_Q"], deep["blocks.1.attn.W_Q"])
    assert not torch.equal(deep["blocks.0.attn.W_Q"], deep["blocks.0.attn.W_K"])


def test_init_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    init(small())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # docs/references.md#model: 2-layer attention-only blocks and the final LayerNorm, 33,152
        ({"n_layers": 2, "d_model": 64, "n_heads": 8}, 33_152),
        ({"n_layers": 12, "d_model": 64, "n_heads": 8, "mlp_ratio": 4}, 596_864),
    ],
)
def test_parameter_counts_are_the_published_ones(model, count):
    sizes = shapes(dataclasses.replace(LARGE, model=ModelConfig(**model)))
    inside = {n: s for n, s in sizes.items() if n.startswith(("blocks.", "ln_final"))}
    assert sum(np.prod(s) for s in inside.values()) == count


def test_shapes_follow_the_model():
    plain = shapes(small())
    assert plain["blocks.0.attn.W_Q"] == (3, 12, 4)
    assert plain["blocks.0.attn.W_O"] == (3, 4, 12)
    assert plain["embed.W_E"] == (7, 12)
    assert plain["unembed.W_U"] == (12, 7)
    assert plain["pos_embed.W_pos"] == (5, 12)
    assert plain["exemplar_embed.W"] == (5, 12)
    assert not any(".mlp." in n or ".ln2." in n for n in plain)
    for positions in ("rotary", "sinusoidal"):
        assert plain.keys() - shapes(small(positions=positions)).keys() == {"pos_embed.W_pos"}
    assert not any(".ln" in n or n.startswith("ln_") for n in shapes(small(layer_norm=False, mlp_ratio=4)))
    last = shapes(small(mlp_ratio=4, mlp_layers=(1,))).keys() - plain.keys()
    own = ("ln2.w", "ln2.b", "mlp.W_in", "mlp.b_in", "mlp.W_out", "mlp.b_out")
    assert last == {f"blocks.1.{name}" for name in own}
    pictures = shapes(dataclasses.replace(small(), bank=BankConfig(n_classes=7, dim=49), model=ModelConfig(**CONV)))
    assert pictures["exemplar_embed.W"] == (48 * 2 * 2, 64)  # 7 x 7 pixels, 4 x 4, 2 x 2
    assert {n: s for n, s in pictures.items() if n.startswith("encoder.")} == {
        "encoder.0.W": (32, 1, 3, 3),
        "encoder.0.b": (32,),
        "encoder.1.W": (48, 32, 3, 3),
        "encoder.1.b": (48,),
    }


@pytest.mark.parametrize("model", [{}, {"mlp_ratio": 4}, {"positions": "rotary"}, {"layer_norm": False}])
def test_pack_and_unpack_are_exact_inverses(model):
    config = small(**model)
    weights = {name: torch.randn(shape) for name, shape in shapes(config).items()}
    packed = pack(weights)
    again = unpack(packed, 3)
    assert again.keys() == weights.keys()
    for name, w in weights.items():
        assert torch.equal(again[name], w), name
        assert again[name].is_contiguous()
    repacked = pack(again)
    assert all(torch.equal(repacked[name], w) for name, w in packed.items())


def test_pack_keeps_leading_axes_and_copies():
    config = small()
    listed = [init(config.with_seed(s)) for s in range(2)]
    stacked = {name: torch.stack([w[name] for w in listed]) for name in listed[0]}
    packed = pack(stacked)
    for i, weights in enumerate(listed):
        one = pack(weights)
        assert all(torch.equal(packed[name][i], one[name]) for name in one)
    assert packed["blocks.0.attn.W_QKV"].shape == (2, 12, 36)
    for name, w in pack(listed[0]).items():
        w.zero_()
        unpacked = unpack({name: w}, 3)
        assert all(x.data_ptr() != w.data_ptr() for x in unpacked.values())
    assert listed[0]["embed.W_E"].abs().sum() > 0


def test_without_copy_only_the_joined_weights_have_memory_of_their_own():
    weights = init(small())
    shared, copied = pack(weights, copy=False), pack(weights)
    for name, w in shared.items():
        assert torch.equal(w, copied[name]), name
        source = weights.get(name)
        assert (source is not None and w.data_ptr() == source.data_ptr()) == (not name.endswith("W_QKV")), name


def test_packed_qkv_multiplies_as_the_heads_do():
    weights = {name: torch.randn(shape) for name, shape in shapes(small()).items()}
    packed = pack(weights)
    x = torch.randn(6, 12)
    q, k, v = (x @ packed["blocks.1.attn.W_QKV"]).chunk(3, dim=-1)
    for part, got in zip("QKV", (q, k, v), strict=True):
        want = torch.einsum("td,hdk->thk", x, weights[f"blocks.1.attn.W_{part}"])
        torch.testing.assert_close(got.unflatten(-1, (3, 4)), want)


def test_groups():
    config = small(mlp_ratio=4)
    groups = {name: group(name) for name in shapes(config)}
    assert groups == {name: group(name) for name in unpack(pack(init(config)), 3)}
    assert {g for n, g in groups.items() if ".attn." in n or ".ln1." in n} == {"attention"}
    assert {g for n, g in groups.items() if ".mlp." in n or ".ln2." in n} == {"mlp"}
    assert {n for n, g in groups.items() if g == "embeddings"} == {
        "exemplar_embed.W",
        "exemplar_embed.b",
        "embed.W_E",
        "pos_embed.W_pos",
        "ln_final.w",
        "ln_final.b",
        "unembed.W_U",
        "unembed.b_U",
    }
    assert group("blocks.0.attn.W_QKV") == "attention"
    assert group("encoder.0.W") == group("encoder.0.b") == "embeddings"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop("unembed.b_U"), "parameter unembed.b_U has shape None, but this run's config needs (7,)"),
        (
            lambda w: w.update(extra=torch.zeros(2)),
            "parameter extra has shape (2,), but this run's config needs None",
        ),
        (
            lambda w: w.update({"embed.W_E": torch.zeros(12, 7)}),
            "parameter embed.W_E has shape (12, 7), but this run's config needs (7, 12)",
        ),
    ],
)
def test_check_weights_names_the_parameter(damage, message):
    weights = init(small())
    check_weights(weights, small(), "here")
    damage(weights)
    with pytest.raises(ConfigError) as error:
        check_weights(weights, small(), "here")
    assert str(error.value).startswith("here: ")
    assert message in str(error.value)


def test_sinusoidal_positions():
    table = sinusoidal_positions(9, 8, 100.0).double()
    assert table.shape == (9, 8)
    for p in range(9):
        for i in range(4):
            angle = p / 100.0 ** (i / 4)
            assert table[p, i].item() == pytest.approx(np.sin(angle), abs=1e-6)
            assert table[p, 4 + i].item() == pytest.approx(np.cos(angle), abs=1e-6)


def test_rotary_scores_depend_on_distance_only():
    model = ModelConfig(d_model=16, n_heads=2, positions="rotary", position_time=50.0)
    cos, sin = rotary_tables(model, 12)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))

    def turned(x, p):
        low, high = x.chunk(2)
        return x * cos[p] + torch.cat([-high, low]) * sin[p]

    scores = torch.stack([torch.stack([turned(q, i) @ turned(k, j) for j in range(12)]) for i in range(12)])
    for distance in range(1, 12):
        along = scores.diagonal(-distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.diagonal(), (q @ k).expand(12), rtol=1e-4, atol=1e-5)
    assert scores.std() > 0.1
