"""The run of 12 steps that tests of training share."""

import shutil
from pathlib import Path

import pytest
from small_run import WINDOW, small

from mechicl.series import Series
from mechicl.training.loop import train
from mechicl.training.replay import densify


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory) -> Series:
    return train(small(), tmp_path_factory.mktemp("unbroken") / "small", progress=False)


@pytest.fixture(scope="session")
def dense(unbroken, tmp_path_factory) -> Series:
    """The unbroken run, densified without a fault."""
    root = tmp_path_factory.mktemp("dense") / "small"
    shutil.copytree(unbroken.root, root)
    return densify(root, *WINDOW, progress=False)


@pytest.fixture
def copy(unbroken, tmp_path) -> Path:
    shutil.copytree(unbroken.root, tmp_path / "small")
    return tmp_path / "small"
