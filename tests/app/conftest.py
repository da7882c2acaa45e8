"""What the app's tests share: runs to look at and the answers of their pages."""

from __future__ import annotations

import pytest

from mechicl.app.callbacks import Answers
from mechicl.app.runs import Library, Run
from mechicl.app.state import View
from mechicl.app.view import Workbench
from mechicl.series import Series


@pytest.fixture
def library(tiny_series: Series) -> Library:
    return Library(tiny_series.root.parent)


@pytest.fixture
def run(library: Library) -> Run:
    return library.run("tiny")


@pytest.fixture
def bench() -> Workbench:
    return Workbench()


@pytest.fixture
def answers(library: Library, bench: Workbench) -> Answers:
    return Answers(library, bench, "tiny")


@pytest.fixture
def settle(library: Library):
    """A settled view of the tiny run from a query."""

    def call(query: str = "") -> View:
        return library.settled(View.from_query(query, "tiny"))

    return call
