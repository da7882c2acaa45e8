"""Files of other libraries: every dtype of the format is read as it is meant, or refused by name, at every door."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from altered_runs import rewritten

from mechicl.config import Config
from mechicl.errors import ConfigError, SeriesError
from mechicl.models.dtypes import FLOATS, NUMBERS, ForeignDtype, load
from mechicl.series.storage import LATEST, load_latest
from mechicl.tasks.exemplar_label.banks.tokens import read_table
from mechicl.training.graft import INITIAL, initial_params
from mechicl.training_interventions import TrainingIntervention

# Bytes of a number of each dtype of the format.
FORMAT = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "C64": 8,
}


def file(dtype: str, shape: tuple[int, ...] = (3, 4), name: str = "table", pad: int = 0) -> bytes:
    """A file of zeros written by hand, in any dtype of the format, with a header of any length."""
    size = int(np.prod(shape)) * FORMAT[dtype]
    header = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode() + b" " * pad
    return len(header).to_bytes(8, "little") + header + bytes(size)


# Each of FLOATS has all of these.
VALUES = torch.tensor([[0.0, -0.5, 1.0, 448.0], [2.0**-6, 1.5, -3.0, 0.25], [8.0, 0.75, -1.0, 2.0]])


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_are_read_to_the_last_bit(dtype):
    data = safetensors.torch.save({"x": VALUES.to(getattr(torch, FLOATS[dtype]))})
    found = load(data)["x"]
    assert found.dtype == torch.float32
    assert torch.equal(found, VALUES)


@pytest.mark.parametrize("dtype", FORMAT)
def test_a_table_of_tokens(dtype, tmp_path):
    path = tmp_path / "table.safetensors"
    path.write_bytes(file(dtype))
    if dtype in NUMBERS:
        table, names = read_table(path)
        assert (table.shape, table.dtype, len(names)) == ((3, 4), np.float64, 3)
        return
    with pytest.raises(ConfigError) as error:
        read_table(path)
    assert f"tensor 'table' has dtype {dtype}" in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_the_numbers_of_a_table_are_kept(dtype, tmp_path):
    values = VALUES if dtype in FLOATS or dtype == "F64" else torch.tensor([[0, 1], [100, 3]])
    given = values.to(getattr(torch, NUMBERS[dtype]))
    (tmp_path / "t.safetensors").write_bytes(safetensors.torch.save({"t": given}))
    assert (read_table(tmp_path / "t.safetensors")[0] == values.double().numpy()).all()


def test_a_table_that_is_not_finite(tmp_path):
    broken = VALUES.clone()
    broken[1, 2] = torch.nan
    (tmp_path / "t.safetensors").write_bytes(safetensors.torch.save({"t": broken}))
    with pytest.raises(ConfigError, match="1 of 3 tokens have numbers that are not finite"):
        read_table(tmp_path / "t.safetensors")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F16"])
def test_weights_one_by_one_and_in_bulk(tiny_copy, dtype):
    given = {name: w.to(getattr(torch, FLOATS[dtype])) for name, w in tiny_copy.weights(20).items()}
    series = rewritten(tiny_copy, 20, safetensors.torch.save(given))
    one, stacked = series.weights(20), series.params([10, 20, 30])
    assert one.keys() == given.keys()
    for name, w in one.items():
        assert w.dtype == torch.float32
        assert torch.equal(w, given[name].float()), name
    assert torch.equal(stacked["embed.W_E"][1], one["embed.W_E"])
    assert torch.equal(series.params([20])["unembed.W_U"][0], one["unembed.W_U"])
    assert np.isfinite(series.evaluate([20], ["icl"]).value).all()


@pytest.mark.parametrize("dtype", sorted(FORMAT.keys() - FLOATS.keys()))
def test_weights_of_other_numbers_are_refused_by_name(tiny_copy, dtype):
    shape = tuple(tiny_copy.weights(20)["embed.W_E"].shape)
    series = rewritten(tiny_copy, 20, file(dtype, shape, "embed.W_E"))
    for read in (lambda: series.weights(20), lambda: series.params([20]), lambda: series.params([10, 20])):
        with pytest.raises(SeriesError) as error:
            read()
        assert "step_00000020.safetensors is not a file of weights" in str(error.value)
        assert f"tensor 'embed.W_E' has dtype {dtype}" in str(error.value)


def test_a_header_of_any_length_is_read(tiny_copy):
    plain = safetensors.torch.save(tiny_copy.weights(20))
    n = int.from_bytes(plain[:8], "little")
    for pad in (1, 2, 5):
        padded = (n + pad).to_bytes(8, "little") + plain[8 : 8 + n] + b" " * pad + plain[8 + n :]
        series = rewritten(tiny_copy, 30, padded)
        assert torch.equal(series.params([10, 30])["embed.W_E"][1], tiny_copy.weights(20)["embed.W_E"])
        assert torch.equal(series.weights(30)["embed.W_E"], tiny_copy.weights(20)["embed.W_E"])


def test_states_and_initial_weights(tmp_path, tiny_config: Config):
    (tmp_path / LATEST).write_bytes(file("C64", name="weights/embed.W_E"))
    assert load_latest(tmp_path) is None
    half = {"weights/x": VALUES.bfloat16(), "step": torch.tensor(7)}
    (tmp_path / LATEST).write_bytes(safetensors.torch.save(half))
    found = load_latest(tmp_path)
    assert found is not None
    assert (found["weights/x"].dtype, int(found["step"])) == (torch.float32, 7)
    graft = TrainingIntervention(kind="graft", groups=("mlp",), source="x", step=1)
    config = tiny_config.__class__(
        **{
            **vars(tiny_config),
            "model": tiny_config.model.__class__(**{**vars(tiny_config.model), "mlp_ratio": 1}),
            "training_interventions": (graft,),
        }
    )
    (tmp_path / INITIAL).write_bytes(file("F64", name="embed.W_E"))
    with pytest.raises(SeriesError, match=r"'embed\.W_E' has dtype F64"):
        initial_params(config, tmp_path)


def test_what_a_step_may_be_no_weight_may():
    counted = safetensors.torch.save({"step": torch.tensor(3), "n": torch.tensor(3)})
    with pytest.raises(ForeignDtype, match="tensor 'n' has dtype I64"):
        load(counted, counts=("step",))
    with pytest.raises(ForeignDtype):
        load(safetensors.torch.save({"step": torch.tensor(3)}))


@pytest.mark.parametrize(
    "data", [b"", b"short", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}", b"\x04" + b"\0" * 7 + b"[12]"]
)
def test_what_is_no_such_file(data):
    with pytest.raises(safetensors.SafetensorError):
        load(data)


def test_tensors_come_in_the_files_order():
    names = [f"t{i}" for i in (3, 1, 4, 15, 9, 2, 6, 5, 35, 8)]
    data = safetensors.torch.save({name: torch.zeros(1) for name in names})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(load(data)) == [name for name in header if name != "__metadata__"]
