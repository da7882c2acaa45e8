"""Training a tokenizer, and the verb that does."""

import numpy as np
import pytest

from mechicl import cli
from mechicl.errors import ConfigError
from mechicl.tasks.text import documents
from mechicl.tasks.text.tokenizing import encoded, trained


@pytest.fixture(scope="module")
def texts(folder):
    return [each.text for each in documents.read([folder]).found]


def test_the_same_texts_give_the_same_tokenizer_of_the_size_asked_for(texts):
    made = trained(texts, 280)
    assert made.get_vocab_size() == 280
    assert made.to_str() == trained(texts, 280).to_str()


def test_any_text_is_written_and_read_back(texts):
    made = trained(texts, 280)
    for text in (*texts, "日本 \t and\r\n  Python\u00a0!", ""):
        (ids,) = encoded(made, [text])
        assert ids.dtype == np.int32
        assert made.decode(ids.tolist()) == text


def test_texts_are_encoded_in_order_in_groups(texts, monkeypatch):
    alone = [encoded(trained(texts, 280), [text])[0] for text in texts]
    monkeypatch.setattr("mechicl.tasks.text.tokenizing._AT_ONCE", 300)
    for got, want in zip(encoded(trained(texts, 280), texts), alone, strict=True):
        assert np.array_equal(got, want)


def test_too_few_and_too_many_tokens_are_refused_with_what_is_possible(texts):
    with pytest.raises(ConfigError, match="at least 256 tokens, one per byte"):
        trained(texts, 255)
    with pytest.raises(ConfigError, match="use 2"):
        trained(["abab"], 1000)


def test_the_verb_writes_the_same_file_twice_and_reads_not_its_own(folder, tmp_path, capsys):
    import shutil

    mine = shutil.copytree(folder, tmp_path / "mine")
    words = ["tokenizer", str(mine), "--vocabulary", "280", "--out", str(mine / "tokenizer.json"), "--quiet"]
    cli.main(words)
    first = (mine / "tokenizer.json").read_bytes()
    (mine / "latin.txt").write_bytes(b"\xff\xfe")
    cli.main(words)
    assert (mine / "tokenizer.json").read_bytes() == first
    assert "1 no text in UTF-8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--vocabulary", "12"), "at least 256 tokens, one per byte"),
        (("--out", "x.txt"), ".json"),
        (("--pattern", "*.rs"), "found no documents"),
    ],
)
def test_the_verb_says_what_is_wrong(folder, tmp_path, capsys, change, said):
    settings = {"--vocabulary": "280", "--out": str(tmp_path / "x.json"), **dict([change])}
    with pytest.raises(SystemExit):
        cli.main(["tokenizer", str(folder), *(word for pair in settings.items() for word in pair)])
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
