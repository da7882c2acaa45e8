"""What a message about an unknown name suggests."""

import pytest

from mechicl.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stpes", " Did you mean 'steps'?"),
        ("model.n_layer", " Did you mean 'model.n_layers'?"),  # alike as a whole
        ("n_layer", " Did you mean 'model.n_layers'?"),  # its part after the dot is alike
        ("optim.layers", " Did you mean 'model.n_layers'?"),
        ("zzz", ""),
    ],
)
def test_the_most_similar_name_is_suggested(name, said):
    assert did_you_mean(name, iter(["steps", "model.n_layers", "model.d_model"])) == said


def test_of_no_names_none_is_similar():
    assert did_you_mean("steps", []) == ""
