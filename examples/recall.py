"""An analysis of one's own: how much of the in-weights answer there is at the end."""

import plotly.graph_objects as go

from analyses import Findings, analysis

QUESTION = "How often is the class's own label given where the context does not show it?"


@analysis("recall", question=QUESTION, needs=("iwl",))
def recall(series, progress=True):
    times, values = series.curve("iwl", "acc")
    table = series.metrics.query("evaluator == 'iwl' and metric == 'acc'")
    figure = go.Figure(go.Scatter(x=times, y=values), {"title": {"text": "IWL"}})
    text = [f"IWL ends at {values[-1]:.3f}, of {len(values)} evaluations; its highest is {values.max():.3f}."]
    return Findings("recall", QUESTION, text, table, {"curve": figure})
