"""Files appear whole or not at all, append-only files lose at most a torn last line, and what was
damaged is named."""

import dataclasses
import errno
import hashlib
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from faults import Fault
from hypothesis import given
from hypothesis import strategies as st

from mechicl.config import to_dict
from mechicl.errors import SeriesError
from mechicl.series.storage import Entry, Writer, file_problem, load_tensors, locked, read_index
from mechicl.system.files import append_line, read_json, read_jsonl, write_atomic, write_json

TENSORS = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor([1.0, 2.0])}


@contextmanager
def files_limited_to(size: int):
    """No file of this process grows beyond `size` bytes: a real write that fails half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_write_atomic_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    write_atomic(path, b"second")
    assert listing(tmp_path) == {"a/b/file": b"second"}


@pytest.mark.parametrize("at", range(4))  # the write, its flush, the rename, the folder's flush
def test_a_full_disk_leaves_the_old_file_or_the_new_one(tmp_path, at):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with Fault(at), pytest.raises(SeriesError) as error:
        write_atomic(path, b"new and longer")
    assert str(error.value).startswith(f"the disk is full: {path} was not written.")
    assert "mechicl train --resume" in str(error.value)
    assert listing(tmp_path) == {"file": b"new and longer" if at == 3 else b"old"}
    write_atomic(path, b"again")
    assert path.read_bytes() == b"again"


def test_the_count_of_moments_is_what_the_tests_assume(tmp_path):
    with Fault() as fault:
        write_atomic(tmp_path / "file", b"x")
    assert fault.seen == 4
    with Fault() as fault:
        append_line(tmp_path / "lines", {})
    assert fault.seen == 2


def test_a_real_limit_stops_a_file_half_way(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with files_limited_to(1000), pytest.raises(SeriesError, match="the disk is full"):
        write_atomic(path, b"x" * 5000)
    assert listing(tmp_path) == {"file": b"old"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EROFS])
def test_other_errors_are_not_called_a_full_disk(tmp_path, monkeypatch, number):
    def fail(handle):
        raise OSError(number, os.strerror(number))

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SeriesError, match=os.strerror(number)) as error:
        write_atomic(tmp_path / "file", b"new")
    assert "full" not in str(error.value)
    assert str(tmp_path / "file") in str(error.value)
    assert listing(tmp_path) == {"file": b"old"}


@given(st.lists(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=3), max_size=6))
def test_appended_lines_come_back(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    for record in records:
        append_line(path, record)
    assert read_jsonl(path) == records


def test_a_torn_last_line_does_not_count_and_is_cut_off(tmp_path):
    path = tmp_path / "x.jsonl"
    append_line(path, {"step": 1})
    append_line(path, {"step": 2, "text": "ends in a newline"})
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):  # every place where a kill can tear the second line
        path.write_bytes(whole[:cut])
        assert read_jsonl(path) == [{"step": 1}], cut
        append_line(path, {"step": 3})
        assert read_jsonl(path) == [{"step": 1}, {"step": 3}], cut
        assert path.read_bytes() == whole[:first] + b'{"step": 3}\n'


def test_a_torn_first_line_is_cut_off(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"ste')
    assert read_jsonl(path) == []
    append_line(path, {"step": 1})
    assert path.read_bytes() == b'{"step": 1}\n'


@pytest.mark.parametrize("at", [0, 1])
def test_a_full_disk_leaves_an_append_only_file_as_it_was(tmp_path, at):
    path = tmp_path / "x.jsonl"
    append_line(path, {"step": 1})
    before = path.read_bytes()
    with Fault(at), pytest.raises(SeriesError, match="the disk is full"):
        append_line(path, {"step": 2})
    assert path.read_bytes() == before


@pytest.mark.parametrize("room", [0, 1, 700, 4000])
def test_a_real_limit_leaves_an_append_only_file_as_it_was(tmp_path, room):
    # A buffered file writes the rest of a failed line once more when it is closed.
    path = tmp_path / "x.jsonl"
    append_line(path, {"text": "x" * 1000})
    before = path.read_bytes()
    with files_limited_to(len(before) + room), pytest.raises(SeriesError, match="the disk is full"):
        append_line(path, {"text": "y" * 4200})
    assert path.read_bytes() == before
    append_line(path, {"step": 2})
    assert [*read_jsonl(path)[1:]] == [{"step": 2}]


@pytest.mark.parametrize("line", [b"{torn", b"[1]", b"7", b"null", b"", b'"text"', b"\xff"])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(SeriesError, match=r"x\.jsonl, line 2, is not a JSON object: the file was changed"):
        read_jsonl(path)


def test_a_missing_file_has_no_lines(tmp_path):
    assert read_jsonl(tmp_path / "none.jsonl") == []
    assert read_index(tmp_path) == []


def test_json_round_trip_and_refusals(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2], "b": None})
    assert read_json(path) == {"a": [1, 2], "b": None}
    assert path.read_bytes().endswith(b"}\n")
    for data in (b"", b'{"a": [1', b"\xff\xfe\x00"):
        path.write_bytes(data)
        with pytest.raises(SeriesError, match=r"x\.json cannot be read"):
            read_json(path)
    path.write_bytes(b"[]")
    with pytest.raises(SeriesError, match=r"x\.json is not a JSON object"):
        read_json(path)
    with pytest.raises(SeriesError, match=r"none\.json cannot be read"):
        read_json(tmp_path / "none.json")


def test_writer_saves_a_file_and_its_line(tmp_path):
    Writer(tmp_path).save("weights", 3, 48, TENSORS)
    (entry,) = read_index(tmp_path)
    data = (tmp_path / "weights" / "step_00000003.safetensors").read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    assert entry == Entry("weights", 3, 48, "weights/step_00000003.safetensors", len(data), sha)
    loaded = load_tensors(tmp_path, entry)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[k], TENSORS[k]) and loaded[k].dtype == TENSORS[k].dtype for k in loaded)
    assert file_problem(tmp_path, entry) is None


def test_the_bytes_do_not_depend_on_order_or_strides(tmp_path):
    for folder, tensors in (
        ("a", TENSORS),
        ("b", {"a": TENSORS["a"], "b": TENSORS["b"].T.contiguous().T}),
    ):
        (tmp_path / folder).mkdir()
        Writer(tmp_path / folder).save("weights", 0, 0, tensors)
    assert listing(tmp_path / "a") == listing(tmp_path / "b")


def test_saving_the_same_again_changes_nothing(tmp_path):
    for _ in range(2):  # the second writer reads the index
        writer = Writer(tmp_path)
        for _ in range(2):
            writer.save("weights", 3, 48, TENSORS)
            before = listing(tmp_path)
    assert listing(tmp_path) == before
    assert len(read_jsonl(tmp_path / "index.jsonl")) == 1


def test_a_replay_that_differs_overwrites_nothing(tmp_path):
    Writer(tmp_path).save("weights", 3, 48, TENSORS)
    before = listing(tmp_path)
    with pytest.raises(SeriesError, match="the replay gives different weights at step 3 from the saved ones"):
        Writer(tmp_path).save("weights", 3, 48, TENSORS | {"a": torch.tensor([1, 3])})
    assert listing(tmp_path) == before


def test_a_replay_mends_a_damaged_or_missing_file(tmp_path):
    Writer(tmp_path).save("weights", 3, 48, TENSORS)
    before = listing(tmp_path)
    path = tmp_path / "weights" / "step_00000003.safetensors"
    path.write_bytes(b"torn")
    Writer(tmp_path).save("weights", 3, 48, TENSORS)
    assert listing(tmp_path) == before
    path.unlink()
    Writer(tmp_path).save("weights", 3, 48, TENSORS)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("at", range(6))
def test_a_full_disk_while_saving_can_be_mended(tmp_path, at):
    writer = Writer(tmp_path)
    writer.save("weights", 0, 0, TENSORS)
    with Fault(at), pytest.raises(SeriesError, match="the disk is full"):
        writer.save("weights", 3, 48, TENSORS)
    assert [e.step for e in read_index(tmp_path)] == [0]
    for again in (writer, Writer(tmp_path)):  # the same process, or another
        again.save("weights", 3, 48, TENSORS)
    assert [e.step for e in read_index(tmp_path)] == [0, 3]
    assert all(file_problem(tmp_path, e) is None for e in read_index(tmp_path))
    assert not [name for name in listing(tmp_path) if "tmp" in name]


def damaged(tmp_path: Path, **changes) -> Entry:
    Writer(tmp_path).save("weights", 3, 48, TENSORS)
    return dataclasses.replace(read_index(tmp_path)[0], **changes)


def problem(root: Path, entry: Entry) -> str:
    found = file_problem(root, entry)
    assert found is not None
    with pytest.raises(SeriesError) as error:
        load_tensors(root, entry)
    assert str(error.value) == f"{root}: {found} `mechicl verify {root}` checks the whole run."
    return found


def test_missing_torn_and_altered_files_are_named(tmp_path):
    entry = damaged(tmp_path)
    path = tmp_path / entry.file
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert problem(tmp_path, entry) == (
        f"weights/step_00000003.safetensors: {len(data) - 1} bytes, but {len(data)} were written (torn or truncated)."
    )
    for i in (0, len(data) // 2, len(data) - 1):  # one bit, anywhere
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        assert problem(tmp_path, entry).endswith("its sha256 is not the recorded one (altered).")
    path.unlink()
    assert problem(tmp_path, entry) == "weights/step_00000003.safetensors: missing."


@pytest.mark.parametrize(
    "file",
    [
        "../secret",
        "weights/../../secret",
        "weights/sub/../../state/x",
        "/etc/hostname",
        "index.jsonl",
        "state/x",
        "weights/sub/x",
    ],
)
def test_paths_outside_their_folder_are_refused(tmp_path, file):
    root = tmp_path / "run"
    (tmp_path / "secret").write_bytes(b"x")
    for folder in ("weights/sub", "state"):
        (root / folder).mkdir(parents=True)
        (root / folder / "x").write_bytes(b"x")
    entry = damaged(root, file=file)
    assert problem(root, entry) == f"{file}: lies outside the run."


@pytest.fixture
def linked(tmp_path) -> tuple[Path, Entry, Path]:
    """A run whose one file is a link to another folder, as hub caches lay them out: run, entry, what it leads to."""
    root, blob = tmp_path / "run", tmp_path / "blobs" / "0123"
    root.mkdir()
    blob.parent.mkdir()
    entry = damaged(root)
    path = root / entry.file
    path.rename(blob)
    path.symlink_to(os.path.relpath(blob, path.parent))
    return root, entry, blob


def test_a_link_to_what_was_recorded_is_read(linked):
    root, entry, _ = linked
    assert file_problem(root, entry) is None
    loaded = load_tensors(root, entry)
    assert all(torch.equal(loaded[k], TENSORS[k]) for k in TENSORS)


def test_a_link_to_anything_else_is_refused_and_nothing_of_it_is_told(linked):
    root, entry, blob = linked
    for secret in (b"secret" * 50, bytes(entry.bytes)):  # of another size, of the same
        blob.write_bytes(secret)
        found = problem(root, entry)
        assert found == f"{entry.file}: a link to a file that is not the recorded one."
    blob.unlink()
    os.mkfifo(blob)  # does not hang
    assert problem(root, entry) == f"{entry.file}: missing."
    blob.unlink()
    assert problem(root, entry) == f"{entry.file}: missing."


def test_writing_replaces_a_link_and_leaves_what_it_leads_to(linked):
    root, entry, blob = linked
    blob.write_bytes(b"precious")
    Writer(root).save("weights", 3, 48, TENSORS)  # a replay mends what is not as recorded
    assert file_problem(root, entry) is None
    assert not (root / entry.file).is_symlink()
    assert blob.read_bytes() == b"precious"


def test_nothing_is_written_through_a_linked_folder(linked, tmp_path):
    root, entry, _ = linked
    (root / entry.file).unlink()
    (root / "weights").rmdir()
    (root / "weights").symlink_to(tmp_path / "blobs")
    before = listing(tmp_path / "blobs")
    with pytest.raises(SeriesError, match="weights is a link to another folder"):
        Writer(root).save("weights", 3, 48, TENSORS)
    assert listing(tmp_path / "blobs") == before


def test_lines_are_appended_to_the_runs_own_file(tmp_path):
    append_line(tmp_path / "blob", {"step": 1})
    before = (tmp_path / "blob").read_bytes()
    path = tmp_path / "metrics.jsonl"
    path.symlink_to(tmp_path / "blob")
    append_line(path, {"step": 2})
    assert read_jsonl(path) == [{"step": 1}, {"step": 2}]
    assert (tmp_path / "blob").read_bytes() == before
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    append_line(path, {"step": 1})
    assert read_jsonl(path) == [{"step": 1}]
    assert not (tmp_path / "nowhere").exists()


def test_a_link_in_the_temporary_files_place_is_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / ".file.tmp").symlink_to(tmp_path / "precious")
    write_atomic(tmp_path / "file", b"new")
    assert listing(tmp_path) == {"file": b"new", "precious": b"precious"}


def test_files_that_may_not_be_read_are_named_with_the_reason(tmp_path, monkeypatch):
    import mechicl.series.storage as storage

    entry = damaged(tmp_path)

    def forbidden(path, *args):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(storage, "open", forbidden, raising=False)
    assert problem(tmp_path, entry) == f"{entry.file}: cannot be read: Permission denied."
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(SeriesError, match=r"index\.jsonl cannot be read: Permission denied"):
        read_jsonl(tmp_path / "index.jsonl")


def write_index(root: Path, *entries: dict) -> None:
    (root / "index.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))


GOOD = {"kind": "weights", "step": 1, "sequences": 16, "file": "weights/x", "bytes": 3, "sha256": "00"}


def test_the_index_is_sorted_and_the_last_line_of_a_step_counts(tmp_path):
    write_index(tmp_path, GOOD | {"step": 9}, GOOD | {"kind": "state"}, GOOD, GOOD | {"sha256": "11"})
    assert [(e.kind, e.step, e.sha256) for e in read_index(tmp_path)] == [
        ("state", 1, "00"),
        ("weights", 1, "11"),
        ("weights", 9, "00"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"step": "1"},
        {"step": True},
        {"step": 1.0},
        {"bytes": None},
        {"file": None},
        {"sha256": 7},
        {"kind": "../.."},
        {"kind": "other"},
        {"kind": 3},
    ],
)
def test_lines_that_are_no_entries_are_refused(tmp_path, change):
    write_index(tmp_path, GOOD, GOOD | change)
    with pytest.raises(SeriesError, match=r"index\.jsonl, line 2, is not an index entry"):
        read_index(tmp_path)


def test_an_entry_with_a_key_missing_is_refused(tmp_path):
    write_index(tmp_path, {k: v for k, v in GOOD.items() if k != "sha256"})
    with pytest.raises(SeriesError, match=r"line 1, is not an index entry \(.*sha256"):
        read_index(tmp_path)


def test_a_lock_keeps_others_out_until_it_is_let_go(tmp_path):
    refused = pytest.raises(SeriesError, match="is being written by another process")
    with locked(tmp_path), refused, locked(tmp_path):
        raise AssertionError("held twice")
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_killed_process_lets_its_lock_go(tmp_path, tiny_config, workers):
    assert workers.run("train", tmp_path, 9, config=to_dict(tiny_config)) == -9
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        pass
