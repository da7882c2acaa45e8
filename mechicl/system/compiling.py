"""numba's compiler, with a cache on the disk that is optional.

numba's own `cache=True` fails if neither the package's folder nor the home folder can be written to, if the cache's
disk is full, or if a file of the cache is incomplete. Here each of these only means that numba compiles again.

What was compiled is found again by code. numba pickles what a closure holds, and a compiled function pickles to other
bytes in every process, so a kernel that is built around one was never found. It also looks at one file's date alone,
though a kernel has the code of what it calls in it, of other files too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

_PACKAGE = Path(__file__).parents[1]


Decorator = Callable[[Callable[..., Any]], Any]  # the result is numba's, with attributes of its own


def compiled(**options: Any) -> Decorator:
    """Decorator: `numba.njit(**options)`. If possible, the compiled code is kept for the next process."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        with suppress(RuntimeError, OSError):  # no folder for a cache
            dispatcher._cache = _Optional(function)  # pyright: ignore  (as `enable_caching` does)
        return dispatcher

    return decorate


class _Optional(FunctionCache):
    """numba's cache of one function. Its failures are not errors."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """What an entry is found by: types, processor, the function's code, and that of all kernels."""
        return sig, codegen.magic_tuple(), (_code(self._py_func), _kernels())

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


def _code(function: Callable[..., Any]) -> str:
    """A digest of a function's code and of what its closure holds: of compiled functions, their code."""
    digest = hashlib.sha256(function.__code__.co_code)
    for cell in function.__closure__ or ():
        held = cell.cell_contents
        inner = held.py_func if isinstance(held, Dispatcher) else held
        digest.update((_code(inner) if hasattr(inner, "__code__") else repr(inner)).encode())
    return digest.hexdigest()


@cache
def _kernels() -> str:
    """A digest of all sources that a kernel may call into. (Of its own file numba knows the date.)"""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.glob("**/fast/*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
