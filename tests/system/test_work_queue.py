"""Pieces of work, of which a helper takes some: each is done once, and errors arrive."""

import threading

import numpy as np
import pytest
import torch

from mechicl.engine.fast.adam import PIECE, pieces
from mechicl.system import work_queue as module
from mechicl.system.work_queue import WORTH, Shared, share, share_each, thread, threads


@pytest.fixture(params=["alone", "helped"])
def helped(request, monkeypatch):
    """With a helper, and without; a helper even on a machine of one core or in a worker of pytest-xdist."""
    if request.param == "alone":
        monkeypatch.setattr(module, "_helper", lambda: None)
        yield False
        return
    with thread() as pool:
        monkeypatch.setattr(module, "_helper", lambda: pool)
        yield True


def test_every_piece_is_done_once(helped):
    done = []
    share([lambda i=i: done.append(i) for i in range(1000)], WORTH + 1)
    assert sorted(done) == list(range(1000))


def test_the_helper_takes_pieces_while_the_caller_is_at_work(monkeypatch):
    """Neither of two pieces ends before both have begun: one thread alone would wait for ever."""
    both = threading.Barrier(2, timeout=30)
    with thread() as pool:
        monkeypatch.setattr(module, "_helper", lambda: pool)
        share([both.wait, both.wait], WORTH + 1)


def test_nobody_waits_for_a_helper_that_has_not_begun(monkeypatch):
    held, done = threading.Event(), []
    with thread() as pool:
        pool.submit(held.wait)  # the other core is busy
        monkeypatch.setattr(module, "_helper", lambda: pool)
        share([lambda: done.append(1), lambda: done.append(2)], WORTH + 1)
        assert done == [1, 2]
        held.set()


def test_answers_come_in_the_order_of_what_was_asked(helped):
    assert share_each(lambda i: i * i, range(200), WORTH + 1) == [i * i for i in range(200)]
    assert share_each(len, [], WORTH + 1) == []


@pytest.mark.parametrize("mode", [False, True])
def test_pieces_run_in_the_callers_inference_mode(helped, mode):
    seen = []
    with torch.inference_mode(mode):
        share([lambda: seen.append(torch.is_inference_mode_enabled())] * 50, WORTH + 1)
    assert seen == [mode] * 50


def test_what_is_small_is_not_shared(monkeypatch):
    monkeypatch.setattr(module, "_helper", lambda: pytest.fail("asked for help"))
    done = []
    share([lambda: done.append(1)], WORTH)
    assert done == [1]


def test_with_several_blas_threads_all_is_done_by_the_caller(monkeypatch):
    monkeypatch.setattr(module, "_helper", lambda: pytest.fail("asked for help"))
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    done = []
    share([lambda: done.append(1)], WORTH + 1)
    assert done == [1]


def test_work_can_begin_before_all_of_it_is_known(helped):
    done, work = [], Shared(WORTH + 1)
    for i in range(50):
        work.add([lambda i=i: done.append(i)])
    work.finish()
    assert sorted(done) == list(range(50))


def test_an_error_of_a_piece_is_raised(helped):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        share([fail] * 3, WORTH + 1)


def test_adams_pieces_cover_every_number_of_an_array_once():
    sizes = (3, PIECE, PIECE + 1, 3 * PIECE)
    bounds, end = [], 0
    for size in sizes:
        bounds.append((end, end + size))
        end += size + 5  # between the arrays there may be gaps
    owner = np.full(end, -1)
    for segments in pieces(bounds):
        for k, start, stop in segments:
            assert (owner[start:stop] == -1).all()
            assert stop - start <= PIECE
            owner[start:stop] = k
    for k, (start, stop) in enumerate(bounds):
        assert (owner[start:stop] == k).all()
    assert (owner == -1).sum() == 5 * len(sizes)


def test_threads_flush_what_is_too_small_here_and_in_the_helper(monkeypatch):
    def flushed() -> bool:
        return float(torch.tensor(1e-38) * torch.tensor(0.1)) == 0

    before = flushed()
    with thread() as pool:
        monkeypatch.setattr(module, "_helper", lambda: pool)
        with threads(1):
            assert flushed()
            assert pool.submit(flushed).result()
    assert not flushed()
    assert not before
