"""A memory for results: bounded in bytes, shared by everyone, changed by no one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from operator import itemgetter
from typing import Any

from cachetools import LRUCache


class Cache:
    """Least recently used goes first once `limit` bytes are held (cachetools.LRUCache).

    Values are results of pure functions of their key and must not be altered, so it does not
    matter who computed one: two users share it without disturbing one another.
    """

    def __init__(self, limit: int):
        self._items = LRUCache[Hashable, tuple[Any, int]](limit, getsizeof=itemgetter(1))
        self._begun: dict[Hashable, threading.Event] = {}  # what someone computes right now
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any | None:
        """The value, or None."""
        with self._lock:
            return self._items.get(key, (None, 0))[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of about `size` bytes; one larger than the whole limit is not kept."""
        with self._lock, suppress(ValueError):  # larger
            self._items[key] = value, size

    def remember(self, key: Hashable, compute: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """The value of `key`, computed if it is not there. Who asks while another computes it
        waits for that one; nobody waits for another key. If the other fails, the next one tries."""
        value = self.get(key)
        while value is None:
            with self._lock:
                other = self._begun.get(key)
                if other is None:
                    self._begun[key] = mine = threading.Event()
            if other is not None:
                other.wait()
                value = self.get(key)
                continue
            try:
                value = self.get(key)  # it may have come between the look and the turn
                if value is None:
                    value = compute()
                    self.put(key, value, size(value))
            finally:
                with self._lock:
                    del self._begun[key]
                mine.set()
        return value

    def __len__(self) -> int:
        return len(self._items)
