"""A decorator for functions that numba compiles: numba is loaded at the first call.

Commands that only print their help, or read no such data, then do without it.
"""

import functools
from collections.abc import Callable
from typing import Any


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator: the function is compiled when first called, and kept on disk.

    Parameters
    ----------
    options
        Of `numba.njit`, beside ``cache=True``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.cache
        def kernel() -> Callable[..., Any]:
            from numba import njit

            from fast.compiler import say_when_compiling

            say_when_compiling()
            found: Callable[..., Any] = njit(cache=True, **options)(function)
            return found

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            return kernel()(*arguments)

        return call

    return decorate
