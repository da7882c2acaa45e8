"""`mechicl open` of what mechicl trained: refused, with the command that shows it."""

import shutil

import pytest

from mechicl.errors import ConfigError, SeriesError
from mechicl.sources.opening import open_source


@pytest.mark.parametrize(
    ("inside", "says"), [("", "tiny is a mechicl run already"), ("weights", "weights belongs to a mechicl run already")]
)
def test_a_run_needs_no_open(tiny_copy, tmp_path, inside, says):
    with pytest.raises(ConfigError, match=f"{says}, which needs no `open`: `mechicl show [^`]*tiny`"):
        open_source(tiny_copy.root / inside, tmp_path / "made", progress=False)
    assert not (tmp_path / "made").exists()


def test_nor_does_a_folder_of_runs(tiny_copy, tmp_path):
    shutil.copytree(tiny_copy.root, tmp_path / "small" / "dim-12")
    with pytest.raises(SeriesError, match="small is a folder of one run"):
        open_source(tmp_path / "small", tmp_path / "made", progress=False)


def test_weights_that_read_exemplars_are_no_model_of_tokens(tiny_copy, tmp_path):
    """A copy of a run's weights, without what says that they are mechicl's."""
    shutil.copytree(tiny_copy.root / "weights", tmp_path / "copied")
    with pytest.raises(ConfigError, match=r"has exemplar_embed\.W, which a HookedTransformer of tokens does not have"):
        open_source(tmp_path / "copied", tmp_path / "made", progress=False)
