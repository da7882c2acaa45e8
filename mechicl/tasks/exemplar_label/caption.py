"""What a picture must state of a bank: its kind and size, its scale and centring.

They decide how large an exemplar's embedding is when training starts, and with that whether ICL forms at all
(docs/features.md), so that a curve without them cannot be compared.
"""

from __future__ import annotations

from typing import Any

from mechicl.tasks.exemplar_label.settings import BankConfig


def caption(bank: BankConfig, measured: dict[str, Any] | None) -> str:
    """One line: '12,800 classes x 20 exemplars of 1,280 encoder features, raw: norm 45.4, common mean 34.4'.

    Norm and mean are those measured when the run was made; runs from before they were recorded say what is asked for.
    """
    said = f"norm {measured['norm']:.3g}, common mean {measured['mean_norm']:.2g}" if measured else ""
    numbers = f"{bank.dim:,} {bank.made.numbers}, {how(bank)}" + (f": {said}" if said else "")
    return f"{bank.n_classes:,} classes x {bank.n_exemplars} exemplars of {numbers}"


def how(bank: BankConfig) -> str:
    """What is done to the exemplars: 'raw', 'centred', 'scaled to norm 1, spread x 1.3', ..."""
    done = [f"spread x {bank.spread:g}"] if bank.spread != 1 else []
    if bank.centre or bank.made.centred:
        done.append("centred")
    if bank.scale is not None:
        done.append(f"scaled to norm {bank.scale:g}")
    elif bank.made.unit_norm:
        done.append("of norm 1 as made")
    return ", ".join(done) or "raw"
