"""A bank of one's own: classes are arcs of circles, exemplars are points on them."""

import numpy as np

from mechicl.tasks.exemplar_label import bank


@bank("moons", numbers="coordinates of moons")
def moons(config, seed, data, *, length: float = 1.0, noise: float = 0.05):
    """[class, exemplar, dim]: `length` of an arc in radians, around a random centre, in a random plane."""
    rng = np.random.default_rng([seed, 0])
    classes = config.n_classes + config.n_holdout_classes
    each = config.n_exemplars + config.n_holdout_exemplars
    centres = rng.standard_normal((classes, 1, config.dim))
    planes = rng.standard_normal((classes, 2, config.dim)) / np.sqrt(config.dim)
    angle = rng.uniform(0, length, (classes, each, 1))
    arc = np.cos(angle) * planes[:, :1] + np.sin(angle) * planes[:, 1:]
    x = centres + arc + noise * rng.standard_normal((classes, each, config.dim))
    return x / np.sqrt(np.square(x).sum(-1).mean())
