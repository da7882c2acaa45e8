"""A series that is larger than the budget is measured within the budget and one checkpoint."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mechicl.config import ModelConfig, ScheduleConfig, to_dict
from mechicl.models.params import init, pack
from mechicl.schedule import checkpoint_steps
from mechicl.series.storage import Writer
from mechicl.sources.opening import Settings, open_source
from mechicl.system.files import append_line, write_json
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.training.loop import saved_weights
from mechicl.training.open_run import manifest_of

HOME = str(Path(__file__).parents[2])
CHECKPOINTS, BUDGET = 12, 2**27
SCRIPT = """
import json, resource, sys
import mechicl
from mechicl.measures import tables
from mechicl.measures.ablation import evaluate
from mechicl.interventions import AblateHeads

tables.BUDGET = int(sys.argv[2])
series = mechicl.open_series(sys.argv[1])
heads = [AblateHeads(heads=((0, h),)) for h in range(3)]
names = sys.argv[3].split(",")

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

evaluate(series, series.steps[:1], names, heads, 2, progress=False)  # what is imported and compiled, and one checkpoint
first = peak()
evaluate(series, None, names, heads, 32, progress=False)
print(json.dumps([first, peak()]))
"""


def grows_by(root: Path, names: str) -> int:
    """Bytes by which the peak is higher for all checkpoints and more sequences than for one checkpoint and two."""
    line = [sys.executable, "-c", SCRIPT, str(root), str(BUDGET), names]
    env = os.environ | {"PYTHONPATH": HOME, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(line, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, most = json.loads(done.stdout)
    return most - first


@pytest.mark.slow
def test_our_own(tiny_config, tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    model = ModelConfig(n_layers=6, d_model=512, n_heads=8)
    schedule = ScheduleConfig(linear_every=1)
    config = replace(tiny_config, model=model, steps=CHECKPOINTS - 1, checkpoint_steps=schedule)
    write_json(root / "config.json", to_dict(config))
    write_json(root / "manifest.json", manifest_of(config, checkpoint_steps(config), build_bank(config), None, []))
    writer, tensors = Writer(root), saved_weights(pack(init(config)), config)
    for step in range(CHECKPOINTS):
        writer.save("weights", step, step * config.batch_size, tensors)
    append_line(root / "metrics.jsonl", {"step": 0, "sequences": 0, "training_loss": None, "evaluators": []})
    sizes = [path.stat().st_size for path in (root / "weights").iterdir()]
    assert sum(sizes) > 2 * BUDGET
    grown = grows_by(root, "icl")
    print(f"own: {sum(sizes) / 2**20:.0f} MiB of checkpoints, peak {grown / 2**20:+.0f} MiB beside one")
    assert grown < BUDGET + sizes[0]


@pytest.mark.slow
def test_somebody_elses(tmp_path):
    """A folder of the Trainer's form: one checkpoint, linked under every step."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    source = tmp_path / "trainer"
    shape = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8}
    config = GPTNeoXConfig(vocab_size=2000, max_position_embeddings=64, **shape)
    GPTNeoXForCausalLM(config).save_pretrained(source / "checkpoint-0")
    for step in range(1, 8):
        folder = source / f"checkpoint-{step}"
        folder.mkdir()
        for path in (source / "checkpoint-0").iterdir():
            os.link(path, folder / path.name)
    size = (source / "checkpoint-0" / "model.safetensors").stat().st_size
    assert 8 * size > 2 * BUDGET
    series = open_source(source, tmp_path / "run", settings=Settings(length=32, n=4), progress=False)
    grown = grows_by(series.root, "repeat")
    print(f"foreign: {8 * size / 2**20:.0f} MiB of checkpoints, peak {grown / 2**20:+.0f} MiB beside one")
    assert grown < BUDGET + size
