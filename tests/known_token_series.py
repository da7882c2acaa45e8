"""A series of language models on disk whose every curve is known: weights by hand, as `known_series` has them."""

from __future__ import annotations

from pathlib import Path

from known_models import without_head
from known_token_models import INDUCTION, bigram_model, both_model, induction_model, text, token_config

from mechicl.config import to_dict
from mechicl.evaluators import evaluate_params, evaluation_sets
from mechicl.models.params import pack
from mechicl.series import Series, open_series
from mechicl.series.storage import Writer
from mechicl.system.files import append_line, write_json
from mechicl.tasks.text.corpus import keep
from mechicl.training.loop import saved_weights
from mechicl.training.open_run import manifest_of


def bump(root: Path) -> Series:
    """Step 0: the circuit without its induction head, which says nothing. Step 10: the bigram table with the circuit,
    its induction head out: the weights win. Step 20: with that head: the context wins."""
    source = text()
    config = token_config(source)
    both = both_model(source)
    weights = {0: without_head(induction_model(source), *INDUCTION), 10: without_head(both, *INDUCTION), 20: both}
    assert weights[10]["unembed.W_U"][:24].equal(bigram_model(source)["unembed.W_U"][:24])
    root.mkdir(parents=True)
    keep(root, source.ids, None)
    write_json(root / "config.json", to_dict(config))
    write_json(root / "manifest.json", manifest_of(config, sorted(weights), source, None, []))
    sets, writer = evaluation_sets(config, source), Writer(root)
    for step, w in weights.items():
        params, sequences = pack(w), step * config.batch_size
        writer.save("weights", step, sequences, saved_weights(params, config))
        rows = evaluate_params(params, sets, config)
        line = {"step": step, "sequences": sequences, "training_loss": 1 / step if step else None, "evaluators": rows}
        append_line(root / "metrics.jsonl", line)
    return open_series(root)
