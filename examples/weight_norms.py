"""A measure of one's own: the norm of each layer's attention weights over training."""

from mechicl.measures import measure, tidy


@measure("weight_norms", rows="step, layer", value="norm of the attention's weights", against="step 0")
def weight_norms(series, steps=None):
    rows = []
    for step in steps or series.steps:
        weights = series.weights(step)
        for layer in range(series.config.model.n_layers):
            part = [w for name, w in weights.items() if name.startswith(f"blocks.{layer}.attn.")]
            norm = sum(float(w.square().sum()) for w in part) ** 0.5
            rows.append({"step": step, "layer": layer, "metric": "norm", "value": norm, "n": len(part)})
    return tidy(series, rows)
