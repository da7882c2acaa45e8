"""A tiny GPT-NeoX with random weights at several steps, as Pythia's revisions have it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from trained_models import config

NAME = "EleutherAI/pythia-14m"


def revision(step: int, folder: Path, **saving) -> dict[str, bytes]:
    """The files of one step: other weights at each."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step)
        model = AutoModelForCausalLM.from_config(config("neox"))
    model.save_pretrained(folder, **saving)
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    return found | {"config.json": json.dumps(model.config.to_dict()).encode()}


def put(hub, steps: Iterable[int], folder: Path, name: str = NAME) -> dict[int, str]:
    """Put them on a hub (hub_server.py) as branches step0, step1, ...; step -> sha256 of its weights."""
    repo, sums = hub.repo(name), {}
    for step in steps:
        files = revision(step, folder / f"step{step}")
        repo.commit(f"step{step}", files)
        sums[step] = repo.commits[repo.refs[f"step{step}"]]["model.safetensors"].sha256
    repo.commit("main", files)
    return sums
