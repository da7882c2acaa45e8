"""Whose turn it is: numbers first, the others in the order in which they came, never more at once than there are
places."""

from __future__ import annotations

import threading
import time

import pytest

from mechicl.page.turns import Turns


class People:
    """Threads that ask for a turn one after the other, and keep it until they are let go."""

    def __init__(self, turns: Turns):
        self.turns, self.inside, self.done = turns, [], []
        self._threads: list[threading.Thread] = []
        self._let: dict[str, threading.Event] = {}

    def come(self, name: str, urgent: bool = False) -> None:
        self._let[name] = threading.Event()
        lines = self.turns._lines[urgent], self.turns._inside
        before = len(lines[0]) + lines[1][urgent]
        self._threads.append(threading.Thread(target=self._stay, args=(name, urgent)))
        self._threads[-1].start()
        self.until(lambda: len(lines[0]) + lines[1][urgent] > before)

    def _stay(self, name: str, urgent: bool) -> None:
        with self.turns.turn(urgent):
            self.inside.append(name)
            assert self._let[name].wait(10)
            self.inside.remove(name)
            self.done.append(name)

    def go(self, name: str) -> None:
        self._let[name].set()
        self.until(lambda: name in self.done)

    def until(self, true) -> None:
        late = time.monotonic() + 10
        while not true():
            assert time.monotonic() < late
            time.sleep(0.001)

    def see(self, *names: str) -> None:
        self.until(lambda: sorted(self.inside) == sorted(names))
        time.sleep(0.01)  # nobody else comes in
        assert sorted(self.inside) == sorted(names)

    def end(self) -> None:
        for let in self._let.values():
            let.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def people():
    found = People(Turns(places=2))
    yield found
    found.end()
    assert (found.turns.awaited, found.turns.crowded, found.inside) == (False, False, [])


def test_the_others_come_in_order_and_not_all_at_once(people):
    for name in ("a", "b", "c", "d"):
        people.come(name)
    people.see("a", "b")
    assert people.turns.crowded
    assert not people.turns.awaited
    people.go("b")
    people.see("a", "c")
    people.go("a")
    people.see("c", "d")


def test_who_waits_for_numbers_is_before_all_others(people):
    people.come("curve")
    people.come("numbers", urgent=True)
    people.see("curve", "numbers")  # at once
    assert people.turns.awaited
    people.come("grid")
    people.see("curve", "numbers")  # though there is a place
    people.come("more numbers", urgent=True)
    people.come("yet more", urgent=True)
    people.see("curve", "numbers", "more numbers")
    people.go("numbers")
    people.see("curve", "more numbers", "yet more")
    people.go("more numbers")
    people.go("yet more")
    people.see("curve", "grid")


def test_a_place_is_given_back_where_something_goes_wrong():
    turns = Turns(places=1)
    for urgent in (True, False):
        with pytest.raises(ZeroDivisionError), turns.turn(urgent):
            raise ZeroDivisionError
        with turns.turn(urgent):
            assert not turns.crowded


def test_who_waits_outside_the_lines_is_awaited_too():
    turns = Turns(1)
    with turns.hurried():
        assert turns.awaited
        assert not turns.crowded
    assert not turns.awaited
