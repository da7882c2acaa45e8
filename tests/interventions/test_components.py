"""Which paths a model has, and how they are written."""

import pytest
from random_models import make

from mechicl.config import ModelConfig
from mechicl.errors import ConfigError
from mechicl.interventions.components import Component, Path, check_paths, every_path, parse


def test_every_path_of_demo_s_model():
    paths = every_path(ModelConfig())
    into = [str(parse(path).receiver) for path in paths]
    assert len(paths) == len(set(paths)) == 24 + 24 * 9 + 17
    assert into.count("L0H3.k") == 1
    assert into.count("L1H3.v") == 9
    assert into.count("out") == 17


def test_mlps_read_the_heads_of_their_layer_and_what_is_before():
    model = make("three-layers-mlp").model
    into = {receiver: [] for receiver in ("mlp.0", "mlp.2", "L1H0.q", "out")}
    for path in every_path(model):
        sender, receiver = path.split("->")
        if receiver in into:
            into[receiver].append(sender)
    assert into["mlp.0"] == ["embed", *(f"L0H{h}" for h in range(4))]
    assert into["L1H0.q"] == [*into["mlp.0"], "mlp.0"]
    assert "mlp.0" in into["mlp.2"]
    assert "L2H3" in into["mlp.2"]
    assert "mlp.2" not in into["mlp.2"]
    assert len(into["out"]) == 1 + 12 + 2
    parallel = ModelConfig(
        mlp_ratio=4, hooked={"n_layers": 2, "d_model": 64, "n_heads": 8, "d_head": 8, "parallel_attn_mlp": True}
    )
    assert [path for path in every_path(parallel) if path.endswith("->mlp.0")] == ["embed->mlp.0"]


def test_reading_and_writing_are_inverse():
    for path in every_path(make("three-layers-mlp").model):
        assert str(parse(path)) == path
    key = Component("head", 1, 3, "k")
    assert parse(" l0h5 -> L1H3.K ") == Path(Component("head", 0, 5), key)
    assert parse("mlp.0->out") == Path(Component("mlp", 0), Component("out"))


@pytest.mark.parametrize("text", ["L0H5", "L0H5->L1H3", "out->L1H3.k", "L0H5.q->L1H3.k", "L0H5->embed", "", "a->b->c"])
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ConfigError, match=r"as L0H5->L1H3\.k"):
        parse(text)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("L0H9->L1H0.q", "no L0H9"),
        ("mlp.1->out", r"no mlp\.1.*MLPs in layers 0, 2"),
        ("L0H0->L5H0.q", r"no L5H0\.q"),
        ("L1H0->L1H1.v", r"embed->L1H1\.v"),
        ("mlp.2->mlp.0", "before mlp.2 writes"),
    ],
)
def test_what_the_model_has_not_is_refused(path, said):
    with pytest.raises(ConfigError, match=said):
        check_paths([path], make("three-layers-mlp").model)
