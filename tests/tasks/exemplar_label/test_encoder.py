"""The image encoder against convolutions written as loops; chunks; the gradient; what it tells apart."""

import itertools

import numpy as np
import pytest
import torch

from mechicl.config import ModelConfig
from mechicl.tasks.exemplar_label import encoder
from mechicl.tasks.exemplar_label.banks.omniglot import TRANSFORMS, transform
from mechicl.tasks.exemplar_label.encoder import encode, encode_with_pullback, n_features, shapes

MODEL = ModelConfig(encoder="conv", channels=(3, 4))


def some_params(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng, dtype=torch.float64) for name, shape in shapes(MODEL).items()}


def stacked(listed: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([each[name] for each in listed]) for name in listed[0]}


def by_loops(params: dict[str, torch.Tensor], picture: np.ndarray) -> np.ndarray:
    """Every output pixel: the 3 x 3 pixels around every second place, nothing beyond the edge."""
    maps = picture[None]
    for layer in range(len(params) // 2):
        w, bias = (params[f"encoder.{layer}.{leaf}"].numpy() for leaf in "Wb")
        side = maps.shape[-1]
        out = np.zeros((len(w), -(-side // 2), -(-side // 2)))
        for o, y, x in itertools.product(*map(range, out.shape)):
            total = bias[o]
            for c, dy, dx in itertools.product(range(len(maps)), range(3), range(3)):
                row, column = 2 * y + dy - 1, 2 * x + dx - 1
                if 0 <= row < side and 0 <= column < side:
                    total += w[o, c, dy, dx] * maps[c, row, column]
            out[o, y, x] = total
        maps = np.maximum(out, 0)
    return out.ravel()


@pytest.mark.parametrize("side", [4, 7])
def test_it_is_the_convolution_of_its_definition(side):
    params, pictures = some_params(), np.random.default_rng(0).random((2, 3, side * side))
    got = encode(params, torch.from_numpy(pictures), MODEL)
    assert got.shape == (2, 3, n_features(MODEL, side * side))
    for i, j in itertools.product(range(2), range(3)):
        want = by_loops(params, pictures[i, j].reshape(side, side))
        np.testing.assert_allclose(got[i, j].numpy(), want, rtol=1e-12)


def test_sizes():
    published = ModelConfig(encoder="conv")
    assert n_features(published, 28 * 28) == 32 * 4 * 4
    assert n_features(published, 20 * 20) == 32 * 3 * 3
    assert n_features(ModelConfig(), 12) == 12
    assert shapes(ModelConfig()) == {}
    assert shapes(published) == {
        "encoder.0.W": (16, 1, 3, 3),
        "encoder.0.b": (16,),
        "encoder.1.W": (32, 16, 3, 3),
        "encoder.1.b": (32,),
        "encoder.2.W": (32, 32, 3, 3),
        "encoder.2.b": (32,),
    }


def test_stacked_models_encode_each_its_own_pictures():
    each = [some_params(s) for s in range(3)]
    x = torch.rand(3, 1, 2, 4, 36, dtype=torch.float64)
    got = encode(stacked(each), x, MODEL)
    for s, params in enumerate(each):
        assert torch.equal(got[s], encode(params, x[s], MODEL))


def test_no_more_than_a_chunk_of_pictures_is_in_memory_at_once(monkeypatch):
    seen, conv2d = [], torch.nn.functional.conv2d

    def counting(maps, *rest):
        seen.append(len(maps))
        return conv2d(maps, *rest)

    monkeypatch.setattr(encoder.F, "conv2d", counting)
    params, x = some_params(), torch.rand(50, 6, 784, dtype=torch.float64)
    whole = encode(params, x, MODEL)
    assert max(seen) == 125
    assert sum(seen) == 2 * 300
    for pixels, chunk in ((7 * 784, 7), (1, 1)):
        seen.clear()
        monkeypatch.setattr(encoder, "_PIXELS", pixels)
        torch.testing.assert_close(encode(params, x, MODEL), whole, rtol=1e-12, atol=1e-12)
        assert max(seen) == chunk


def test_the_pullback_is_autograds(monkeypatch):
    monkeypatch.setattr(encoder, "_PIXELS", 5 * 36)
    params, x = stacked([some_params(s) for s in range(2)]), torch.rand(2, 4, 3, 36, dtype=torch.float64)
    grads = {name: np.full(p.shape, np.nan) for name, p in params.items()}
    out, back = encode_with_pullback({name: p.numpy() for name, p in params.items()}, x.numpy(), MODEL, grads)
    weight = torch.rand(out.shape, dtype=torch.float64)
    back(weight.numpy())
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    (encode(leaves, x, MODEL) * weight).sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0
        np.testing.assert_allclose(grads[name], leaf.grad.numpy(), rtol=1e-12, err_msg=name)


def test_a_picture_turned_or_flipped_has_other_features():
    picture = np.random.default_rng(0).random((8, 8))
    turned = np.stack([transform(picture, *t).reshape(-1) for t in TRANSFORMS[8]])
    features = encode(some_params(), torch.from_numpy(turned), MODEL)
    assert torch.pdist(features).min() > 0.1 * features.norm(dim=1).mean()
