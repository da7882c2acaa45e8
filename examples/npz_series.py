"""A source of one's own: a folder of numpy files, step-100.npz and so on, and a config.json of the model."""

import json
from pathlib import Path

import numpy as np
import torch

from mechicl.sources.base import Found, Source, by_step, register, step_in


@register
class NumpyFolder(Source):
    kind = "npz"
    says = "a folder of .npz files whose names have the step in them, and config.json"

    def claims(self, place):
        return any(Path(place).glob("*.npz"))

    def find(self, place, asked):
        named = [(step_in(path.name), (path.name,)) for path in Path(place).glob("*.npz")]
        settings = json.loads((Path(place) / "config.json").read_text())  # fields of a HookedTransformerConfig
        return Found(
            place=str(Path(place).absolute()),
            layout="transformer_lens",
            settings=settings,
            files=by_step(named, place, "Name each file by its step.", asked),
        )

    def tensors(self, paths, pickles):
        with np.load(paths[0]) as file:  # arrays alone: numpy reads no pickle unless it is asked to
            return {name: torch.from_numpy(file[name]) for name in file.files}
