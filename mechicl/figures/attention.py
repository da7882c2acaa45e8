"""Attention pictures: plotly grids and animations, and a circuitsvis view. All offline.

When circuitsvis shows a figure itself, it loads its script from the network and probes the connection. So
mechicl takes the script from the installed package and puts it into the page once.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from mechicl.errors import ConfigError, SeriesError
from mechicl.figures.scales import colorscale
from mechicl.figures.style import FONT, finish, short
from mechicl.interventions import Intervention, apply, as_interventions, intact
from mechicl.registry import looked_at
from mechicl.series import Series
from mechicl.series.given import of_series
from mechicl.system.paths import given
from mechicl.system.surroundings import reading

SEPARATOR = "·"  # between the words of a token in circuitsvis


@dataclass(frozen=True)
class Patterns:
    """Attention of every head, over a set of sequences or on one.

    values [s, layer, h, t, t] for the steps; tokens [t]; what: which sequences; note: what an
    ablation does to patterns, where there is one.
    """

    values: torch.Tensor
    steps: list[int]
    tokens: list[str]
    what: str
    note: str = ""

    def __repr__(self) -> str:
        return f"Patterns(values {list(self.values.shape)}, at steps {self.steps}; {self.what})"


@reading()
def patterns(
    series: Series,
    steps: Sequence[int],
    evaluator: str | None = None,
    sequence: int | None = None,
    ablate: Intervention | None = None,
    n: int | None = None,
) -> Patterns:
    """Attention patterns at some steps.

    Args:
        evaluator: on whose sequences (default: the first that only the context answers, as icl).
        sequence: one sequence by number; default the mean over sequences whose positions mean the same in all of
            them (`Task.aligned`): of exemplars and labels, those that show the matching pairs first.
        ablate: an intervention made first, as heads taken out.
    """
    if len(as_interventions(ablate)) > 1:
        raise ConfigError("a figure shows one intervention: give one AblateHeads with all heads.")
    evaluator = looked_at(series.config) if evaluator is None else evaluator
    batch = series.evaluation_set(evaluator, n)
    if sequence is None:
        listed, tokens = series.task.aligned(batch)
        rows, what = torch.tensor(listed).to(batch.device), f"mean over {len(listed):,} {evaluator} sequences"
    else:
        if not 0 <= sequence < len(batch):
            raise SeriesError(f"sequence {sequence}: {evaluator} has sequences 0..{len(batch) - 1}.")
        rows = torch.tensor([sequence]).to(batch.device)
        tokens = series.task.tokens(series.source, evaluator, batch, sequence)
        what = f"{evaluator} sequence {sequence}"
    chosen, model = batch[rows], series.config.model
    hooks = [f"blocks.{la}.attn.hook_pattern" for la in range(model.n_layers)]
    out = []
    for step in steps:  # one step at a time, so that memory does not grow
        params = series.params([step])
        if ablate is None:
            acts = intact(params, chosen, model, capture=hooks, query_only=False).acts
            out.append(torch.stack([acts[h][0, 0].mean(0) for h in hooks]))
            continue
        # A baseline is the evaluation set's, not that of the sequences looked at: the mean over
        # one sequence would be the head itself.
        acts = apply(
            params,
            batch,
            model,
            [ablate.at_step(series, step)],
            capture=hooks,
            query_only=False,
            checkpoint=series.weights,
        ).acts
        out.append(torch.stack([acts[h][0, 0, rows].mean(0) for h in hooks]))
    if ablate is not None:
        what += f", {ablate}"
    return Patterns(torch.stack(out).cpu(), list(steps), tokens, what, ablate.note if ablate else "")


def attention_grid(shown: Patterns, series: Series, index: int = 0) -> go.Figure:
    """Small multiples: layers down, heads across, at one of the steps."""
    values = shown.values[index]
    n_layers, n_heads = values.shape[:2]
    titles = [f"L{la}H{h}" for la in range(n_layers) for h in range(n_heads)]
    fig = make_subplots(
        rows=n_layers,
        cols=n_heads,
        subplot_titles=titles,
        horizontal_spacing=0.012,
        vertical_spacing=0.12 / n_layers + 0.02,
        shared_xaxes=True,
        shared_yaxes=True,
    )
    for la in range(n_layers):
        for h in range(n_heads):
            fig.add_trace(_heatmap(values[la, h], shown.tokens), row=la + 1, col=h + 1)
    step = shown.steps[index]
    finish(
        fig,
        f"Attention at {short(series.sequences_seen(step))} sequences (step {step:,})",
        f"{shown.what}; rows attend to columns" + (f"<br>{shown.note}" if shown.note else ""),
        150 + 150 * n_layers,
    )
    fig.update_xaxes(showgrid=False, tickfont={"size": 9}, tickangle=-90, ticks="")
    fig.update_yaxes(showgrid=False, tickfont={"size": 9}, autorange="reversed", ticks="")
    fig.update_annotations(font={"size": 11})
    fig.update_layout(margin={"l": 84, "b": 84, "t": 96})
    fig.update_traces(showscale=False)
    return fig


def head_animation(shown: Patterns, series: Series, layer: int, head: int) -> go.Figure:
    """One head step by step, with a play button and a slider."""
    label = [f"{short(series.sequences_seen(step))} sequences" for step in shown.steps]
    frames = [
        go.Frame(data=[_heatmap(x[layer, head], shown.tokens)], name=name)
        for x, name in zip(shown.values, label, strict=True)
    ]
    fig = go.Figure(data=[_heatmap(shown.values[0, layer, head], shown.tokens)], frames=frames)
    play = {"frame": {"duration": 120, "redraw": True}, "transition": {"duration": 0}, "fromcurrent": True}
    stop = {"frame": {"duration": 0, "redraw": True}, "mode": "immediate", "transition": {"duration": 0}}
    finish(fig, f"Head L{layer}H{head} over training", shown.what, 520)
    fig.update_layout(
        width=620,
        margin={"b": 120},
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "x": 0,
                "y": -0.28,
                "xanchor": "left",
                "buttons": [
                    {"label": "Play", "method": "animate", "args": [None, play]},
                    {"label": "Pause", "method": "animate", "args": [[None], stop]},
                ],
            }
        ],
        sliders=[
            {
                "x": 0.28,
                "len": 0.72,
                "y": -0.22,
                "currentvalue": {"prefix": "at "},
                "steps": [{"label": name, "method": "animate", "args": [[name], stop]} for name in label],
            }
        ],
    )
    fig.update_xaxes(showgrid=False, title_text="attends to")
    fig.update_yaxes(showgrid=False, autorange="reversed", title_text="position")
    return fig


def _heatmap(z: torch.Tensor, tokens: list[str]) -> go.Heatmap:
    t = len(tokens)
    masked = z.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), torch.nan)  # no future
    return go.Heatmap(
        z=masked.numpy().round(4),
        x=tokens,
        y=tokens,
        zmin=0,
        zmax=1,
        colorscale=colorscale("attention"),
        hovertemplate="%{y} → %{x}: %{z:.3f}<extra></extra>",
        colorbar={"title": {"text": "attention", "side": "right"}, "thickness": 14},
    )


@dataclass(frozen=True)
class AttentionView:
    """A circuitsvis view. `save(path)` writes one page that opens offline; in a notebook it
    shows itself."""

    body: str
    height: int = 640  # px that it takes in a notebook

    def __repr__(self) -> str:
        return f"AttentionView({len(self.body):,} characters of HTML; .save(path) writes a page)"

    @property
    def html(self) -> str:
        """The whole page, self-contained."""
        return (
            f"<!doctype html><meta charset='utf-8'><title>attention</title><body style=\"font-family:{FONT}\">"
            f"<script>{circuitsvis_bundle()}</script>{self.body}</body>"
        )

    def save(self, path: str | Path) -> Path:
        """Write the page; returns where."""
        target = given(path)
        target.write_text(self.html, encoding="utf-8")
        return target

    def _repr_html_(self) -> str:
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:{self.height}px;border:0"></iframe>'


@of_series
def show_attention(
    series: Series,
    step: int,
    evaluator: str | None = None,
    sequence: int | None = None,
    layer: int | None = None,
    ablate: Intervention | None = None,
) -> AttentionView:
    """Attention heads at a step, in circuitsvis: click a head to enlarge it.

    Args:
        series: the run.
        step: which checkpoint.
        evaluator: the evaluator whose sequences are used (default: the first that needs the context, such as icl).
        sequence: one sequence by number (default: the mean over the sequences whose positions have the same roles).
        layer: one layer (default: all).
        ablate: an intervention on the model, such as ablated heads.

    Returns:
        A view that shows itself in a notebook; `save(path)` writes a page that opens offline.

    Raises:
        SeriesError: there is no such step, sequence or layer.
        ConfigError: there is no such evaluator or head.

    Examples:
        >>> view = mechicl.show_attention(series, 3000, "flip", layer=1)
        >>> view.save("attention.html").name
        'attention.html'
    """
    shown = patterns(series, [step], evaluator, sequence, ablate)
    layers = range(shown.values.shape[1]) if layer is None else [layer]
    if layer is not None and not 0 <= layer < shown.values.shape[1]:
        raise SeriesError(f"layer {layer}: {series.name} has layers 0..{shown.values.shape[1] - 1}.")
    note = f"<p>{html.escape(shown.note)}</p>" if shown.note else ""
    heads = len(layers) * shown.values.shape[2]
    # Titles, rows of twelve small pictures, and the large one.
    tall = 250 + 100 * -(-heads // 12) + 640 + (40 if note else 0)
    return AttentionView(note + circuitsvis_element(shown, 0, layers, f"attention-{step}"), tall)


def circuitsvis_element(shown: Patterns, index: int, layers: Sequence[int], element: str) -> str:
    """The part of a page that draws some layers at one step, once the bundle is loaded."""
    values = torch.cat([shown.values[index, la] for la in layers])
    heads = shown.values.shape[2]
    props = {
        "attention": [[[round(v, 4) for v in row] for row in head] for head in values.tolist()],
        "attentionHeadNames": [f"L{la}H{h}" for la in layers for h in range(heads)],
        # Circuitsvis takes blanks out of tokens: 'x1 class 7' would read 'x1class7'.
        "tokens": [SEPARATOR.join(token.split()) for token in shown.tokens],
    }
    # Circuitsvis leaves its large picture without a width: browsers draw it as a dot of 30 px.
    zoomed = f"#{element} h2+div>div>div{{width:min(100%,40em)!important;max-width:none!important}}"
    return (
        f'<style>{zoomed}</style><div id="{element}"></div><script>'
        f"CircuitsVis.render({json.dumps(element)}, CircuitsVis.AttentionHeads, {_safe_json(props)});</script>"
    )


def circuitsvis_bundle() -> str:
    """Circuitsvis' own script, from the installed package, safe inside a <script> element."""
    import circuitsvis

    path = Path(circuitsvis.__file__).parent / "dist" / "cdn" / "iife.js"
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


def _safe_json(value: object) -> str:
    """JSON that cannot end the <script> element around it, whatever the classes' names are."""
    return json.dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
