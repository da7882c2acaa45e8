"""Series on disk whose every curve is known: checkpoints written from given weights."""

from __future__ import annotations

from pathlib import Path

from known_models import INDUCTION_HEAD, induction_model, lookup_model, with_recall, without_head, without_mlps

from mechicl.config import Config, to_dict
from mechicl.evaluators import evaluate_params, evaluation_sets
from mechicl.models.params import Params, pack
from mechicl.schedule import checkpoint_steps
from mechicl.series import Series, open_series
from mechicl.series.storage import Writer
from mechicl.system.files import append_line, write_json
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.training.loop import saved_weights
from mechicl.training.open_run import manifest_of


def write_series(
    root: Path, config: Config, weights: dict[int, Params], loss: dict[int, float] | None = None
) -> Series:
    """A run directory as `train` writes it, with these weights (TransformerLens shapes) at
    these steps. `loss`: the training loss to record at a step (default 1 / step)."""
    bank = build_bank(config)
    sets, loss = evaluation_sets(config, bank), loss or {}
    root.mkdir(parents=True)
    write_json(root / "config.json", to_dict(config))
    write_json(root / "manifest.json", manifest_of(config, checkpoint_steps(config), bank, None, []))
    writer = Writer(root)
    for step, w in sorted(weights.items()):
        params, sequences = pack(w), step * config.batch_size
        writer.save("weights", step, sequences, saved_weights(params, config))
        recorded = loss.get(step, 1 / step) if step else None
        append_line(
            root / "metrics.jsonl",
            {
                "step": step,
                "sequences": sequences,
                "training_loss": recorded,
                "evaluators": evaluate_params(params, sets, config),
            },
        )
    return open_series(root)


def rise_and_fall(root: Path) -> Series:
    """ICL out of nothing and back into the weights, by hand:

    step 0   (0 sequences)    the induction circuit without its induction head
    step 5   (40 sequences)   the induction circuit: icl and flip 1, iwl 0
    step 10  (80 sequences)   the lookup table: icl chance, flip 0, ciwl and iwl 1
    """
    config, circuit = induction_model()
    weights = {0: without_head(circuit, *INDUCTION_HEAD), 5: circuit, 10: lookup_model()[1]}
    return write_series(root, config, weights, loss={5: 0.5, 10: 0.01})


def behind_recall(root: Path) -> Series:
    """ICL that an MLP's recall covers, by hand: as `rise_and_fall`, but at step 10 the circuit of step 5 is still
    there, behind an MLP that knows all labels. At steps 0 and 5 the MLP writes nothing."""
    config, both = with_recall(*induction_model())
    circuit = without_mlps(both)
    return write_series(root, config, {0: without_head(circuit, *INDUCTION_HEAD), 5: circuit, 10: both})
