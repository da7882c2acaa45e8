"""A small run on text, and the documents that it is trained on."""

import random
from pathlib import Path

from mechicl.config import Config, ModelConfig, OptimConfig, ScheduleConfig
from mechicl.tasks.text import Text

WORDS = (
    "the",
    "a",
    "red",
    "old",
    "new",
    "cat",
    "dog",
    "house",
    "tree",
    "sees",
    "finds",
    "likes",
    "and",
    "near",
    "then",
)
TASK = Text(vocabulary=280, length=16, documents="given", held_out=0.3)
CONFIG = Config(
    name="words",
    steps=40,
    batch_size=8,
    task=TASK,
    n_eval=16,
    states=2,
    model=ModelConfig(d_model=16, n_heads=2),
    optim=OptimConfig(lr=3e-3),
    checkpoint_steps=ScheduleConfig(linear_every=20),
)


def write_documents(folder: Path, count: int = 14) -> Path:
    """Documents of 8 to 200 words, the same in every call."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        rng = random.Random(i)
        text = " ".join(rng.choice(WORDS) for _ in range(8 if i == 3 else 30 + 13 * i))
        (folder / f"{i:02}.txt").write_text(f"{i}: {text}.\n", encoding="utf-8")
    return folder
