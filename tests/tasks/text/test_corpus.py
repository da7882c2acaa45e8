"""Documents of tokens, the split between them, and what a run keeps."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_text import TASK

from mechicl.errors import ConfigError, SeriesError
from mechicl.tasks.text import corpus, token_files
from mechicl.tasks.text.corpus import Corpus, Entry, held_out
from mechicl.tasks.text.gathered import gathered


@pytest.fixture(scope="module")
def gathered_words(folder):
    return gathered(folder, TASK, seed=0)


def test_documents_follow_one_another_and_have_their_words(gathered_words, folder):
    found = gathered_words
    assert found.ids.dtype == np.int32
    assert found.starts.dtype == np.int64
    assert found.starts[0] == 0
    assert found.starts[-1] == len(found.ids)
    for i, name in enumerate(sorted(folder.glob("*.txt"))):
        words = found._tokenizer.decode(found.ids[found.starts[i] : found.starts[i + 1]].tolist())
        assert words == name.read_text(encoding="utf-8")
    assert found.word(int(found.ids[0])) == "0"


def test_words_show_blanks(gathered_words):
    ids = {gathered_words._tokenizer.decode([i]): i for i in range(280)}
    assert gathered_words.word(ids["\n"]) == "⏎"
    assert gathered_words.word(ids[" "]) == "·"
    assert gathered_words.word(ids["a"]) == "a"


def test_parts_are_all_documents_and_none_twice(gathered_words):
    parts = [gathered_words.part(name) for name in ("train", "held_out")]
    names = [[each.file for each in part.documents] for part in parts]
    assert sorted(names[0] + names[1]) == [each.file for each in gathered_words.documents]
    for part in parts:
        assert part.starts[-1] == len(part.ids)
        for i, each in enumerate(part.documents):
            at = gathered_words.documents.index(each)
            whole = gathered_words.ids[gathered_words.starts[at] : gathered_words.starts[at + 1]]
            assert np.array_equal(part.ids[part.starts[i] : part.starts[i + 1]], whole)
    with pytest.raises(ConfigError, match="'train' or 'held_out'"):
        gathered_words.part("test")


def test_another_file_moves_no_other(gathered_words, folder, tmp_path):
    more = shutil.copytree(folder, tmp_path / "more")
    (more / "00a.txt").write_text("a new one, near the old tree, and then another", encoding="utf-8")
    (more / "01.txt").rename(more / "zz.txt")  # nor does a name

    def out(found):
        return {each.sha256 for each in found.part("held_out").documents}

    bigger = gathered(more, TASK, seed=0)
    new = {each.sha256 for each in bigger.documents} - {each.sha256 for each in gathered_words.documents}
    assert len(new) == 1
    assert out(bigger) - new == out(gathered_words)
    assert out(gathered(folder, TASK, seed=1)) != out(gathered_words)


@given(st.integers(0, 5), st.floats(0.02, 0.98))
def test_about_the_share_that_was_asked_for_is_held_out(seed, share):
    found = np.mean([held_out(f"{i:064x}", seed, share) for i in range(2000)])
    assert abs(found - share) < 5 * (share * (1 - share) / 2000) ** 0.5


def test_a_split_with_nothing_on_one_side_is_refused(folder, tmp_path):
    (tmp_path / "one.txt").write_text("one document alone " * 30, encoding="utf-8")
    with pytest.raises(ConfigError, match="one file is one document"):
        gathered(tmp_path / "one.txt", replace(TASK, vocabulary=265), 0).part("train")


def test_tokens_without_documents_are_one_and_no_split_is_known():
    found = Corpus(np.arange(10, dtype=np.int32), None)
    assert found.starts.tolist() == [0, 10]
    assert found.part("train") is found.part("held_out") is found


def test_what_is_kept_opens_again_as_it_was(gathered_words, tmp_path):
    corpus.keep(tmp_path, gathered_words.ids, gathered_words.names, gathered_words.documents)
    again = Corpus.with_documents(tmp_path)
    assert again.fingerprint == gathered_words.fingerprint
    assert again.documents == gathered_words.documents
    assert np.array_equal(again.ids, gathered_words.ids)
    assert again.ids.dtype == np.int32
    lines = (tmp_path / corpus.DOCUMENTS).read_text().splitlines()
    (tmp_path / corpus.DOCUMENTS).write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(SeriesError, match="not of one text"):
        Corpus.with_documents(tmp_path)
    (tmp_path / corpus.TOKENIZER).unlink()
    with pytest.raises(SeriesError, match=r"tokenizer\.json.*missing"):
        Corpus.with_documents(tmp_path)


def test_the_fingerprint_says_where_documents_end_and_which_they_are():
    ids = np.arange(6, dtype=np.int32)

    def of(*documents):
        return Corpus(ids, None, tuple(Entry("x", sha, 1, n) for sha, n in documents)).fingerprint

    assert len({of(("a", 2), ("b", 4)), of(("a", 3), ("b", 3)), of(("b", 2), ("a", 4)), of(("a", 6))}) == 4


def test_tokens_are_made_once_and_torn_ones_again(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, calls = gathered(folder, TASK, 0), []
    real = token_files.tokenizer_of
    monkeypatch.setattr("mechicl.tasks.text.tokenizing.trained", lambda *_: calls.append(1) or real(first.names, ""))
    assert gathered(folder, TASK, 1).fingerprint == first.fingerprint
    assert not calls
    (tokens,) = tmp_path.rglob(corpus.TOKENS)
    tokens.write_bytes(tokens.read_bytes()[:-4])
    assert gathered(folder, TASK, 0).fingerprint == first.fingerprint
    assert calls
    (folder / "new.txt").write_text("a b", encoding="utf-8")
    try:
        assert len(gathered(folder, TASK, 0).documents) == 15
    finally:
        (folder / "new.txt").unlink()


def test_a_folder_s_own_tokenizer_is_used_and_must_be_of_the_task_s_size(gathered_words, folder, tmp_path):
    mine = shutil.copytree(folder, tmp_path / "mine")
    (mine / corpus.TOKENIZER).write_bytes(gathered_words.names)
    assert np.array_equal(gathered(mine, TASK, 0).ids, gathered_words.ids)
    with pytest.raises(ConfigError, match=r"--set task\.vocabulary=280"):
        gathered(mine, replace(TASK, vocabulary=300), 0)


def test_a_read_only_cache_is_no_hindrance(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(gathered(folder, TASK, 0).documents) == 14
