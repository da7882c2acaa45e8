"""Files of features: what is written is read, mapped; damage is named."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mechicl.errors import ConfigError
from mechicl.tasks.exemplar_label.features import file

X = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float16)
MADE = file.Features(X, ("a", "b", "c", "d"), 2, (X[..., :1, None] > 0).astype(np.uint8), {"encoder": "mine"})


@pytest.fixture
def path(tmp_path):
    file.write(tmp_path / "f.safetensors", MADE)
    return tmp_path / "f.safetensors"


def test_what_is_written_is_read(path):
    found = file.read(path)
    np.testing.assert_array_equal(found.exemplars, X)
    np.testing.assert_array_equal(found.pictures, MADE.pictures)
    assert (found.names, found.group, found.provenance) == (MADE.names, 2, {"encoder": "mine"})
    assert isinstance(found.exemplars, np.memmap)  # mapped: processes share it
    file.check(path, found)
    assert [p.name for p in path.parent.iterdir()] == ["f.safetensors"]  # nothing is left beside it


def test_any_reader_of_safetensors_reads_it(path):
    np.testing.assert_array_equal(load_file(path)["exemplars"], X)


def test_altered_bytes_are_noticed(path):
    data = bytearray(path.read_bytes())
    data[bytes(data).index(X.tobytes())] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ConfigError, match="sha256"):
        file.check(path, file.read(path))


@pytest.mark.parametrize("cut", [3, 40, 400])
def test_a_torn_file_is_refused(path, cut):
    path.write_bytes(path.read_bytes()[:-cut] if cut < 100 else path.read_bytes()[:cut])
    with pytest.raises(ConfigError, match=r"torn|not a file of features"):
        file.read(path)


def test_other_files_are_refused(tmp_path):
    save_file({"x": X}, tmp_path / "other.safetensors")
    (tmp_path / "text").write_text("hello there, no features here")
    for name in ("other.safetensors", "text"):
        with pytest.raises(ConfigError, match="not a file of features"):
            file.read(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be read"):
        file.read(tmp_path / "missing")


def test_a_failed_write_leaves_what_was_there(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        file.write(path, MADE)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["f.safetensors"]
