"""An evaluator of one's own: as IWL, but the query is of the first half of the training classes."""

from dataclasses import replace

from mechicl.registry import EVALUATORS, register

iwl = EVALUATORS["iwl"]
register(
    replace(
        iwl,
        name="iwl_first",
        label="IWL, first half",
        meaning="queries of the first half of the classes",
        draw=replace(iwl.draw, part=lambda bank: bank.train().first(bank.n_classes // 2, bank.n_exemplars)),
        colour="#7A3E9D",
        symbol="cross",
    )
)
