"""Many files at once: the same numbers as one by one, and the same care."""

from __future__ import annotations

import os

import pytest
import safetensors.torch
import torch
from altered_runs import rewritten

from mechicl.errors import SeriesError
from mechicl.series import Series
from mechicl.series.bulk import stack_tensors


def stacked(series: Series, steps: list[int]) -> dict[str, torch.Tensor]:
    return stack_tensors(series.root, [series.entry(step) for step in steps], lambda weights, entry: None)


def same(series: Series, steps: list[int]) -> None:
    found = stacked(series, steps)
    for i, step in enumerate(steps):
        alone = safetensors.torch.load_file(series.root / series.entry(step).file)
        assert found.keys() == alone.keys()
        for name, w in alone.items():
            assert found[name].dtype == torch.float32
            assert torch.equal(found[name][i], w.float()), name


def test_the_same_numbers_as_the_library_reads_one_by_one(tiny_series):
    same(tiny_series, tiny_series.steps)
    same(tiny_series, [*tiny_series.steps[::-1], tiny_series.steps[0]])


def test_files_of_different_headers_and_dtypes(tiny_copy):
    """As from two versions of a library, or of a run whose dtype was changed by hand."""
    first, second, third = tiny_copy.steps[1:4]
    half = {name: w.half() for name, w in tiny_copy.weights(first).items()}
    series = rewritten(tiny_copy, first, safetensors.torch.save(half))
    noted = safetensors.torch.save(series.weights(second), metadata={"by": "another"})
    series = rewritten(series, second, noted)
    same(series, [first, second, third, first, second])


def test_nothing_asked_for_is_nothing():
    assert stack_tensors(None, [], None) == {}


def test_each_kind_of_file_is_checked_once(tiny_copy):
    noted = safetensors.torch.save(tiny_copy.weights(20), metadata={"by": "another"})
    series, seen = rewritten(tiny_copy, 20, noted), []
    stack_tensors(series.root, [series.entry(step) for step in (10, 20, 30)], lambda w, entry: seen.append(entry.step))
    assert seen == [10, 20]


def test_weights_of_another_model_are_refused_among_sound_ones(tiny_copy):
    weights = tiny_copy.weights(20)
    weights["embed.W_E"] = weights["embed.W_E"].T.contiguous()
    series = rewritten(tiny_copy, 20, safetensors.torch.save(weights))
    with pytest.raises(SeriesError, match=r"step 20: parameter embed\.W_E has shape \(16, 8\)"):
        series.params([10, 20])


@pytest.mark.parametrize("data", [b"", b"short", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}"])
def test_what_is_no_file_of_weights_is_named(tiny_copy, data):
    series = rewritten(tiny_copy, 20, data)
    with pytest.raises(SeriesError, match=r"step_00000020\.safetensors is not a file of weights"):
        stacked(series, [10, 20])


def test_numbers_that_no_run_stores_are_named(tiny_copy):
    counts = {name: w.to(torch.int32) for name, w in tiny_copy.weights(20).items()}
    with pytest.raises(SeriesError, match=r"not a file of weights .*I32"):
        stacked(rewritten(tiny_copy, 20, safetensors.torch.save(counts)), [20])


def test_a_torn_a_missing_and_an_altered_file_are_named(tiny_copy):
    def path(step):
        return tiny_copy.root / tiny_copy.entry(step).file

    path(10).write_bytes(path(10).read_bytes()[:-4])
    path(20).unlink()
    data = bytearray(path(30).read_bytes())
    data[-1] ^= 1
    path(30).write_bytes(bytes(data))
    for step, problem in ((10, "torn or truncated"), (20, "missing"), (30, "altered")):
        with pytest.raises(SeriesError, match=rf"step_{step:08d}\.safetensors: .*{problem}"):
            stacked(tiny_copy, [0, step, 40])


def test_a_pipe_in_a_files_place_does_not_hang(tiny_copy):
    path = tiny_copy.root / tiny_copy.entry(20).file
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SeriesError, match="missing"):
        stacked(tiny_copy, [10, 20])


def test_links_to_what_was_recorded_are_read_and_others_named(tiny_copy, tmp_path):
    """As hub caches lay files out."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for entry in tiny_copy.entries:
        path = tiny_copy.root / entry.file
        path.rename(blobs / entry.sha256)
        path.symlink_to(blobs / entry.sha256)
    same(tiny_copy, tiny_copy.steps)
    (blobs / tiny_copy.entry(20).sha256).write_bytes(bytes(tiny_copy.entry(20).bytes))
    with pytest.raises(SeriesError, match=r"step_00000020\.safetensors: a link to a file that is not the recorded one"):
        stacked(tiny_copy, [10, 20, 30])
