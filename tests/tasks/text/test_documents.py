"""Which files are documents, and what is left out and counted."""

import os

import pytest

from mechicl.errors import ConfigError
from mechicl.tasks.text import documents
from mechicl.tasks.text.documents import read


@pytest.fixture
def mixed(tmp_path):
    root = tmp_path / "mixed"
    (root / "inner" / ".git").mkdir(parents=True)
    (root / "b.txt").write_bytes(b"second")
    (root / "a.md").write_bytes("fürst".encode())
    (root / "inner" / "c.txt").write_bytes(b"third\r\n")
    (root / "inner" / "d.txt").write_bytes(b"second")
    (root / "inner" / ".git" / "e.txt").write_bytes(b"not read")
    (root / ".hidden.txt").write_bytes(b"not read")
    (root / "empty.txt").write_bytes(b" \n")
    (root / "latin.txt").write_bytes("fürst".encode("latin-1"))
    (root / "binary.txt").write_bytes(b"text\0text")
    return root


def test_a_folder_is_read_by_name_and_what_is_no_document_is_counted(mixed):
    found = read([mixed])
    assert [(each.file, each.text) for each in found.found] == [
        ("a.md", "fürst"),
        ("b.txt", "second"),
        ("inner/c.txt", "third\r\n"),
    ]
    assert found.left_out == {"empty": 1, "hidden": 2, "no text in UTF-8": 2, "the same again": 1}
    assert found.origin == "mixed"


def test_patterns_choose_by_name_or_by_path(mixed):
    assert [each.file for each in read([mixed], ["*.md"]).found] == ["a.md"]
    assert [each.file for each in read([mixed], ["inner/*"]).found] == ["inner/c.txt", "inner/d.txt"]
    assert [each.file for each in read([mixed], without=[mixed / "b.txt"]).found] == [
        "a.md",
        "inner/c.txt",
        "inner/d.txt",
    ]


def test_a_file_that_is_named_counts_whatever_it_is_called(mixed):
    found = read([mixed / ".hidden.txt", mixed / "inner", mixed / "inner" / "c.txt"])
    assert [each.file for each in found.found] == [".hidden.txt", "c.txt", "d.txt"]


def test_what_is_huge_is_left_out(mixed, monkeypatch):
    monkeypatch.setattr(documents, "LARGEST", 6)
    assert read([mixed], ["b.txt", "c.txt"]).left_out == {"hidden": 1, "larger than 0 MB": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(mixed):
    os.mkfifo(mixed / "pipe.txt")
    assert len(read([mixed]).found) == 3


def test_no_documents_are_an_error_that_says_why(mixed, tmp_path):
    with pytest.raises(ConfigError, match=r"found no documents.*1 no text in UTF-8"):
        read([mixed], ["latin.txt"])
    with pytest.raises(ConfigError, match="no such file"):
        read([tmp_path / "nowhere"])


def test_the_library_of_python_is_large_enough_and_has_no_tests_and_nothing_installed():
    found = documents.of_python()
    names = {each.file for each in found.found}
    assert {"argparse.py", "json/decoder.py"} <= names
    assert not any(name.startswith(("site-packages/", "test/", "encodings/")) for name in names)
    assert 8e6 < found.bytes < 30e6
    assert "Python 3." in found.origin
