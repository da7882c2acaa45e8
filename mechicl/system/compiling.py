"""numba's compiler, with a cache on the disk that is optional.

numba's own `cache=True` fails if neither the package's folder nor the home folder can be written to, if the cache's
disk is full, or if a file of the cache is incomplete. Here each of these only means that numba compiles again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """Decorator: `numba.njit(**options)`. If possible, the compiled code is kept for the next process."""

    def decorate(function: Callable) -> Any:
        dispatcher = njit(**options)(function)
        with suppress(RuntimeError, OSError):  # no folder for a cache
            dispatcher._cache = _Optional(function)  # pyright: ignore  (as `enable_caching` does)
        return dispatcher

    return decorate


class _Optional(FunctionCache):
    """numba's cache of one function. Its failures are not errors."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # torn or unreadable: a pickle that is damaged raises anything
            self._begin_again()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # full, or read-only by now
            super().save_overload(sig, data)

    def _begin_again(self) -> None:
        try:
            self.flush()
        except OSError:
            self.disable()  # saving would read the same damaged file
