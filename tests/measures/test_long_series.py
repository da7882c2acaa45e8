"""A sweep's memory does not grow with the length of the series: 2,000 checkpoints in a process of its own."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from known_models import induction_model

from mechicl.config import ScheduleConfig, to_dict
from mechicl.models.params import pack
from mechicl.schedule import checkpoint_steps
from mechicl.series.storage import Writer
from mechicl.system.files import append_line, write_json
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.training.loop import saved_weights
from mechicl.training.open_run import manifest_of

CHECKPOINTS = 2000
BUDGET = 150 * 2**20  # bytes above what 50 checkpoints need
SWEEP = """
import json, resource, sys
import mechicl
from mechicl.interventions import every_head
from mechicl.measures.ablation import evaluate

series = mechicl.open_series(sys.argv[1])
heads = every_head(series.config.model)
def peak(steps):
    table = evaluate(series, steps, None, heads, 20, progress=False)
    return len(table), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([peak(series.steps[:50]), peak(series.steps)]))
"""


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """The hand-built circuit, 2,000 times over."""
    root = tmp_path_factory.mktemp("long") / "run"
    root.mkdir()
    config, circuit = induction_model()
    config = replace(config, steps=CHECKPOINTS - 1, checkpoint_steps=ScheduleConfig(linear_every=1))
    write_json(root / "config.json", to_dict(config))
    write_json(root / "manifest.json", manifest_of(config, checkpoint_steps(config), build_bank(config), None, []))
    writer, tensors = Writer(root), saved_weights(pack(circuit), config)
    for step in range(CHECKPOINTS):
        writer.save("weights", step, step * config.batch_size, tensors)
    append_line(root / "metrics.jsonl", {"step": 0, "sequences": 0, "training_loss": None, "evaluators": []})
    return root


@pytest.mark.slow
def test_2000_checkpoints_need_no_more_memory_than_50_but_for_the_table(long_run):
    done = subprocess.run([sys.executable, "-c", SWEEP, str(long_run)], capture_output=True, text=True, check=True)
    (few_rows, few), (rows, peak) = json.loads(done.stdout)
    assert rows == few_rows * CHECKPOINTS / 50
    assert peak - few < BUDGET, f"{(peak - few) / 2**20:.0f} MiB more for {CHECKPOINTS} checkpoints"
    weights = sum(path.stat().st_size for path in (long_run / "weights").iterdir())
    print(f"{rows} rows, {(peak - few) / 2**20:.0f} MiB more than 50 checkpoints; weights {weights / 2**20:.0f} MiB")
