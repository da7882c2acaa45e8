"""An intervention of one's own: all values of one layer times a factor. And a measure that applies it."""

from dataclasses import dataclass

from mechicl.engine.edit import Edit
from mechicl.errors import ConfigError
from mechicl.interventions import Intervention, intervention
from mechicl.measures import measure


@intervention("scale_values")
@dataclass(frozen=True)
class ScaleValues(Intervention):
    """Every value of one layer times a factor."""

    layer: int
    factor: float

    def __str__(self):
        return f"values of L{self.layer} x {self.factor:g}"

    @property
    def baseline(self):
        return f"{self.factor:g} x its value"

    def check(self, model):
        if not 0 <= self.layer < model.n_layers:
            raise ConfigError(f"layer={self.layer}: expected 0 to {model.n_layers - 1}.")

    def edits(self, model, intact, batch):
        return {f"blocks.{self.layer}.attn.hook_v": Edit(self.factor)}


@measure("scaled_values", rows="step, evaluator, layer and factor", value="accuracy", against="the row 'intact'")
def scaled_values(series, steps=None, evaluators=None, n=None):
    layers = range(series.config.model.n_layers)
    return series.evaluate(
        steps, evaluators, [ScaleValues(la, x) for la in layers for x in (0.5, 2.0)], n=n, metrics=["in_context_acc"]
    )
