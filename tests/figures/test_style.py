"""The figures' style: where axes begin and end."""

import plotly.graph_objects as go
import pytest

from mechicl import recipes
from mechicl.figures.style import heights
from mechicl.registry import LOWEST_SHOWN


def test_an_axis_of_gains_goes_no_lower_than_the_curves_where_no_more_will_come():
    config = recipes.text_small()
    fig = go.Figure(go.Scatter(y=[0.0, -0.1, 0.4]))
    assert heights(config, fig) == [LOWEST_SHOWN, 1.01]
    assert heights(config, fig, whole=True) == pytest.approx([-0.105, 1.01])
    assert heights(recipes.demo(), go.Figure(go.Scatter(y=[0.2, 0.4])), whole=True)[0] == 0
