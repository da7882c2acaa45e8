"""What can be done to a run's model by hand: kinds of interventions, and what each can be chosen from.

Everything is asked of the run: its task's roles, relations and counterfactuals, its layers and steps. What it has not
is not offered.
"""

from __future__ import annotations

from dataclasses import dataclass

from mechicl.errors import ConfigError
from mechicl.interventions.components import check_sums, reaches, receivers, senders
from mechicl.page.runs import Run
from mechicl.page.view import shown
from mechicl.protocol.batch import TaskBatch

PARTNERS = {  # counterfactual -> what it is, and in a few words
    "labels": ("the same sequence with the answer's label and another label exchanged", "labels exchanged"),
    "next": ("the next sequence of the evaluation set", "the next sequence"),
}


@dataclass(frozen=True)
class Choice:
    """Something that can be done. row: which choices it needs; verb: on the button; what: the verb's object."""

    title: str
    row: str
    verb: str
    what: str
    says: str


def choices(run: Run) -> dict[str, Choice]:
    """What can be done to this run's model, by name."""
    patch = "{} is taken from the counterfactual sequence" + (
        "." if len(partners(run)) > 1 else f": {partner(partners(run)[0])[0]}."
    )
    found = {
        "cut-edge": Choice(
            "Attention edge: cut",
            "edge",
            "Cut",
            "edge",
            "These heads cannot attend along the edge. Their attention goes to the other positions.",
        ),
        "patch-edge": Choice(
            "Attention edge: patch",
            "edge",
            "Patch",
            "edge",
            patch.format("Attention along the edge, before the softmax,"),
        ),
        "patch-position": Choice(
            "Residual position: patch", "position", "Patch", "position", patch.format("The layer's input there")
        ),
        "replace-position": Choice(
            "Residual position: replace",
            "position",
            "Replace",
            "position",
            "The layer's input there is replaced by the baseline of the kind above.",
        ),
        "patch-component": Choice("Head or MLP: patch", "component", "Patch", "component", patch.format("Its output")),
    }
    if reached(run):
        found["cut-path"] = Choice(
            "Path: cut",
            "path",
            "Cut",
            "path",
            "The receiver reads the residual stream without the sender's output; all others read it as before. "
            "The output is replaced by the baseline of the kind above.",
        )
    if run.series.task.variations(run.series.config):
        found["remove-directions"] = Choice(
            "Directions: remove",
            "directions",
            "Remove",
            "directions",
            "The last layer's heads cannot write along the directions that carry this answer. They are found at each "
            "checkpoint, on other sequences.",
        )
    if len(run.steps) > 1:
        found["graft"] = Choice(
            "Weights: graft", "weights", "Graft", "weights", "These weights are taken from another step."
        )
    found["hold"] = Choice(
        "Later layers: hold",
        "held",
        "Hold",
        "it",
        "Layers after the first ablated head keep their intact values.",
    )
    return found


def reached(run: Run) -> dict[str, int]:
    """Receiver of a path -> how many of the senders, in the order in which they write, it can read. Empty where what
    single heads write is not defined."""
    model = run.series.config.model
    try:
        check_sums(model)
    except ConfigError:
        return {}
    writing = senders(model)
    return {str(end): sum(reaches(sender, end, model) for sender in writing) for end in receivers(model)}


def partners(run: Run) -> tuple[str, ...]:
    """The counterfactuals that every shown evaluator has, the default first."""
    first, *others = [run.sets[name].counterfactuals for name in shown(run)]
    return tuple(name for name in first if all(name in each for each in others))


def partner(name: str) -> tuple[str, str]:
    """What a counterfactual is, and in a few words."""
    return PARTNERS.get(name, (name, name))


def known_edges(run: Run) -> dict[str, str]:
    """Edges that circuits of this task are made of -> in words."""
    return {edge: text for batch in _batches(run) for edge, text in batch.known_edges.items()}


def relations(run: Run) -> list[str]:
    """Whole edges, which have one name."""
    return list(dict.fromkeys(name for batch in _batches(run) for name in batch[:1].relations()))


def _batches(run: Run) -> list[TaskBatch]:
    """The sequences of what the page shows, those that one looks at first in front."""
    return [run.sets[name] for name in dict.fromkeys((run.leading, *shown(run)))]


def roles(run: Run) -> list[str]:
    """Roles that positions play in the sequences of some evaluator."""
    return list(dict.fromkeys(role for batch in _batches(run) for role in batch[:1].roles()))


def numbers(run: Run) -> list[str]:
    """Positions that every sequence has, by number; none where roles name those of all evaluators."""
    batches = _batches(run)
    if all(batch[:1].roles() for batch in batches):
        return []
    return [str(i) for i in range(min(batch.shape[-1] for batch in batches))]


def weights(run: Run) -> list[str]:
    """Parts of the weights that the model has, by the names that a graft takes."""
    names, model = ["embeddings", "unembedding", "all"], run.series.config.model
    for layer in range(model.n_layers):
        names += [f"qk.{layer}", f"ov.{layer}", f"attention.{layer}"]
        names += [f"mlp.{layer}"] * model.has_mlp(layer) + [f"layer.{layer}"]
    return names
