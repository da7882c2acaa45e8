"""A small folder of documents, a cache of its own, and a run that is trained on them."""

import pytest
from small_text import CONFIG, write_documents

from mechicl.training.loop import train


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_documents(tmp_path_factory.mktemp("documents") / "words")


@pytest.fixture(scope="session")
def run(folder, tmp_path_factory):
    return train(CONFIG, tmp_path_factory.mktemp("runs") / "words", data=folder, progress=False)
