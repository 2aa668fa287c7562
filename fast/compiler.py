"""Keep torch.compile out of functions it cannot trace, without loading it where nobody compiles."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")


def disable_compile(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return `function` as `torch.compiler.disable` does: a graph break, and no tracing inside.

    `torch.compiler.disable` itself loads torch._dynamo where it decorates, which takes as long as
    loading torch; here it is called when torch.compile first traces a call of the function.
    """
    disabled: Callable[_P, _R] | None = None

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        nonlocal disabled
        if torch.compiler.is_compiling():
            if disabled is None:
                disabled = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
            return disabled(*args, **kwargs)
        return function(*args, **kwargs)

    return call
