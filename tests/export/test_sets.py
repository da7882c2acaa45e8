"""The shipped sequences are those of the run, and what is said of them is what the page of mechicl says."""

import base64
import json

import numpy as np

from mechicl.export.sets import LOOKED_AT, evaluators, moments, shipped_sets, shown_sets
from mechicl.measures.phases import series_phases


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_every_evaluator_of_the_page_with_its_sequences(known_series):
    sets = shown_sets(known_series, None)
    found = evaluators(known_series, sets, shipped_sets(known_series, sets))
    json.dumps(found)  # plain data
    assert [e["name"] for e in found] == ["icl", "flip", "ciwl", "iwl", "train"]
    for e in found:
        batch, arrays = sets[e["name"]], e["set"]
        n, c = batch.labels.shape
        tokens, shown = (numbers(arrays[key], "<i4").reshape(n, 2 * c + 1) for key in ("tokens", "shown"))
        inputs = numbers(arrays["inputs"], "<f4").reshape(-1, batch.exemplars.shape[-1])
        np.testing.assert_array_equal(tokens[:, 1::2], batch.labels)
        np.testing.assert_array_equal(inputs[shown[:, ::2]], batch.exemplars)
        assert arrays["n"] == n == e["curve"]["n"][0]
        assert (arrays["how"]["among"] is None) == (e["metric"] == "acc")
        assert arrays["how"]["yes_or_no"]
        rows = known_series.metrics.query(f"evaluator == '{e['name']}' and metric == '{e['metric']}'")
        np.testing.assert_allclose(e["curve"]["value"], rows.value, atol=1e-5)
        look = e["look"]
        assert len(look["sequences"]) == min(n, LOOKED_AT)
        marked = known_series.task.marked(batch, 3)
        assert look["answers"][3] == marked
        token = look["tokens"][look["sequences"][3][-1]]
        assert token["name"] == "query"
        assert numbers(look["aligned"], "<i4").tolist() == sorted(known_series.task.aligned(batch)[0])


def test_moments_are_those_of_icl(known_series):
    peak = series_phases(known_series)["icl"].peak
    assert [m["at"] for m in moments(known_series) if m["label"] == "peak"] == [peak]
