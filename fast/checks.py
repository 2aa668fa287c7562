"""Refuse bad tensors once, at the public boundary, naming function, argument, value and remedy."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LOW_PRECISION = (torch.float16, torch.bfloat16)
_PRECISE = (torch.float32, torch.float64)


# Coordinates of diagrams whose differences can be squared and added up, as in the reference.
_LARGEST_COORDINATE = {torch.float32: 1e18, torch.float64: 1e150}


def as_precise(function: str, argument: str, value: Any, *, has_kernel: bool = True) -> Tensor:
    """Return a float32 or float64 tensor; float16 and bfloat16 become float32, arrays tensors.

    `has_kernel`: the function calls a compiled kernel, which `torch.func` cannot look into.
    """
    is_array = isinstance(value, np.ndarray)
    tensor = as_tensor(function, argument, value)
    refuse_sparse(function, argument, tensor)
    if has_kernel:
        refuse_transforms(function, argument, tensor)
    if tensor.dtype in _LOW_PRECISION:
        return tensor.float()
    if tensor.dtype not in _PRECISE:
        raise ValueError(
            f"{function}: {argument} has dtype {tensor.dtype}; pass a floating point tensor, "
            f"e.g. {argument}.{'astype(float)' if is_array else 'float()'}"
        )
    return tensor


def as_tensor(function: str, argument: str, value: Any) -> Tensor:
    """Return a tensor, or an array of numbers as one that shares its memory where it can."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fciub":
        array = value.astype(value.dtype.newbyteorder("="), copy=False)
        if not array.flags.writeable or min(array.strides, default=0) < 0:  # torch takes neither
            array = array.copy()
        return torch.from_numpy(array)
    if not isinstance(value, Tensor):
        kind = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
        raise TypeError(
            f"{function}: {argument} is a {type(value).__name__}{kind}; pass a torch.Tensor or a "
            "numpy array of floats"
        )
    tensor: Tensor = value
    return tensor


def as_list(function: str, argument: str, value: Any, cure: str) -> list[Any]:
    """Return the entries of what has some; text, None and a number have none."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"{function}: {argument} is a {type(value).__name__}; pass {cure}")
    return list(value)


def as_points(
    function: str, argument: str, value: Any, *, least: int = 0, has_kernel: bool = True
) -> Tensor:
    """Return finite float32 or float64 rows (..., N, C), one per point, N at least `least`."""
    points = as_precise(function, argument, value, has_kernel=has_kernel)
    if points.ndim < 2:
        raise ValueError(
            f"{function}: {argument} has shape {tuple(points.shape)}; "
            "pass one row per point, (..., N, C)"
        )
    if points.shape[-2] < least:
        raise ValueError(
            f"{function}: {argument} has shape {tuple(points.shape)}; "
            f"pass at least {least} point(s)"
        )
    refuse_non_finite(function, argument, points)
    return points


def as_clouds(points: Tensor) -> Tensor:
    """Return (..., N, C) as (B, N, C); works where reshape(-1, N, C) cannot guess, for C = 0."""
    return points[None] if points.ndim == 2 else points.flatten(0, -3)


def as_pairs(function: str, argument: str, value: Any) -> Tensor:
    """Return (birth, death) rows (..., K, 2), finite and (on the CPU) small enough to square."""
    pairs = as_points(function, argument, value)
    if pairs.shape[-1] != 2:
        raise ValueError(
            f"{function}: {argument} has shape {tuple(pairs.shape)}; "
            "pass (birth, death) rows, (..., K, 2)"
        )
    if pairs.device.type == "cpu" and pairs.numel():
        largest, limit = float(pairs.detach().abs().max()), _LARGEST_COORDINATE[pairs.dtype]
        if largest > limit:
            raise ValueError(
                f"{function}: {argument} has an entry of size {largest:.1e}, whose square is out "
                f"of range; pass at most {limit:.0e}: diagrams in a larger unit, or of normalized "
                "points"
            )
    return pairs


def as_mask(function: str, argument: str, mask: Any, pairs: Tensor) -> Tensor:
    """Return a bool mask over the rows of `pairs` (..., K, 2); None is all of them."""
    if mask is None:
        return torch.ones(pairs.shape[:-1], dtype=torch.bool, device=pairs.device)
    given = as_tensor(function, argument, mask)
    refuse_sparse(function, argument, given)
    refuse_two_devices(function, pairs=pairs, **{argument: given})
    if given.dtype != torch.bool or given.shape != pairs.shape[:-1]:
        raise ValueError(
            f"{function}: {argument} is {given.dtype} of shape {tuple(given.shape)}; "
            f"pass bool of shape {tuple(pairs.shape[:-1])}"
        )
    return given


def refuse_sparse(function: str, argument: str, value: Tensor) -> None:
    """Raise if a tensor is not stored as a plain array."""
    if value.layout != torch.strided:
        raise ValueError(
            f"{function}: {argument} has layout {value.layout}; pass {argument}.to_dense()"
        )


def refuse_transforms(function: str, argument: str, value: Tensor) -> None:
    """Raise if a tensor is one of `torch.func`'s, which have no memory that a kernel could read."""
    if torch.compiler.is_compiling():
        return
    if torch._C._functorch.is_functorch_wrapped_tensor(value):
        raise RuntimeError(
            f"{function}: {argument} is inside torch.vmap or a torch.func transform, which cannot "
            "look into compiled kernels; in place of vmap pass leading batch dimensions, in place "
            "of torch.func.grad call torch.autograd.grad"
        )


def refuse_non_finite(function: str, argument: str, value: Tensor) -> None:
    """Raise if an entry is NaN or infinite; a CUDA tensor is not read, that would wait for it."""
    if not torch.compiler.is_compiling() and torch._C._functorch.is_batchedtensor(value):
        return  # no entry of it can be read either
    if value.device.type == "cpu":
        detached = value.detach()
        # One pass for the usual case: NaN and infinities survive in a sum, which may also overflow.
        if math.isfinite(detached.sum().item()):
            return
        finite = detached.isfinite()
        if not bool(finite.all()):
            refused = detached[~finite][0].item()
            raise ValueError(
                f"{function}: {argument} has the entry {refused}; pass finite values "
                "(look for the layer that first produces NaN or infinity)"
            )


def refuse_two_devices(function: str, **tensors: Tensor | None) -> None:
    """Raise if the given tensors are not all on one device."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    (first, reference), *others = given.items()
    for name, tensor in others:
        if tensor.device != reference.device:
            raise ValueError(
                f"{function}: {name} is on {tensor.device} but {first} on {reference.device}; "
                f"move one, e.g. {name}.to({first}.device)"
            )


def as_integer(
    function: str, argument: str, value: object, *, least: int, most: int | None = None
) -> int:
    """Return `value` as an int from `least` to `most`."""
    try:
        integer = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{function}: {argument} is {value!r}; pass an integer") from None
    if integer < least:
        raise ValueError(f"{function}: {argument} is {integer}; pass at least {least}")
    if most is not None and integer > most:
        raise ValueError(f"{function}: {argument} is {integer}; pass at most {most}")
    return integer


def as_number(function: str, argument: str, value: Any) -> float:
    """Return `value` as a float, of any size, inf and NaN too."""
    try:
        return float(value + 0)  # text is no number, not even of digits
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{function}: {argument} is {value!r}; pass a number") from None


def as_positive(function: str, argument: str, value: float) -> float:
    """Return `value` as a finite float above 0."""
    if not 0 < as_number(function, argument, value) < math.inf:
        raise ValueError(f"{function}: {argument} is {value}; pass a finite number above 0")
    return float(value)


def as_nonnegative(function: str, argument: str, value: float) -> float:
    """Return `value` as a finite float of at least 0."""
    if not 0 <= as_number(function, argument, value) < math.inf:
        raise ValueError(f"{function}: {argument} is {value}; pass a finite number of at least 0")
    return float(value)


def as_choice(function: str, argument: str, value: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"{function}: {argument} is {value!r}; pass one of {', '.join(map(repr, choices))}"
        )
    return value


def as_weights(function: str, argument: str, value: Any, count: int | None) -> list[float]:
    """Return `count` finite non-negative floats; None: one or two."""
    if not isinstance(value, (Sequence, np.ndarray, Tensor)) or isinstance(value, str):
        raise ValueError(f"{function}: {argument} is {value!r}; pass one number per dimension")
    weights = [as_number(function, argument, weight) for weight in value]
    if count is None and len(weights) not in (1, 2):
        raise ValueError(
            f"{function}: {argument} has {len(weights)} entries; pass 1 (H0) or 2 (H0, H1)"
        )
    count = len(weights) if count is None else count
    if len(weights) != count:
        raise ValueError(
            f"{function}: {argument} has {len(weights)} entries; pass {count}, one per dimension"
        )
    return [as_nonnegative(function, argument, weight) for weight in weights]


def as_order(function: str, argument: str, value: float) -> float:
    """Return `value` as a finite exponent of at least 1."""
    if not 1 <= as_number(function, argument, value) < math.inf:
        raise ValueError(f"{function}: {argument} is {value}; pass a finite number of at least 1")
    return float(value)


def as_counted_pairs(
    function: str,
    argument: str,
    value: Any,
    mask: Any,
    *,
    mask_argument: str = "mask",
    no_death_before_birth: bool = False,
    double: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return (birth, death) rows (..., K, 2), 0 where they do not count, and the mask.

    In float64, or unless `double` in their own dtype.

    Rows that do not count may hold anything before: they become (0, 0), of persistence 0. A CUDA
    tensor is not read.
    """
    pairs = as_precise(function, argument, value)
    pairs = pairs.double() if double else pairs
    if pairs.ndim < 2 or pairs.shape[-1] != 2:
        raise ValueError(
            f"{function}: {argument} has shape {tuple(pairs.shape)}; "
            "pass (birth, death) rows, (..., K, 2)"
        )
    counted = as_mask(function, mask_argument, mask, pairs)
    if mask is not None:
        pairs = pairs.where(counted[..., None], 0.0)
    if pairs.device.type == "cpu" and pairs.numel():
        births, deaths = pairs.detach().unbind(dim=-1)
        if bool((deaths == math.inf).any()):
            raise ValueError(
                f"{function}: {argument} has the death inf; leave out classes that never die, "
                f"e.g. {mask_argument}={argument}.isfinite().all(dim=-1)"
            )
        pairs = as_pairs(function, argument, pairs)
        if no_death_before_birth and bool((deaths < births).any()):
            refused = tuple(pairs[deaths < births][0].tolist())
            raise ValueError(
                f"{function}: {argument} has the pair {refused}; "
                "pass (birth, death) rows, no death before its birth"
            )
    return pairs, counted


def as_grid(function: str, argument: str, value: Any, pairs: Tensor) -> Tensor:
    """Return float64 increasing filtration values (G,), on the device of `pairs`."""
    grid = as_precise(function, argument, value).detach().double()
    if grid.ndim != 1 or not len(grid):
        raise ValueError(
            f"{function}: {argument} has shape {tuple(grid.shape)}; pass increasing filtration "
            "values, (G,), at least one"
        )
    refuse_non_finite(function, argument, grid)
    refuse_two_devices(function, pairs=pairs, **{argument: grid})
    if grid.device.type == "cpu":
        falls = (grid.diff() <= 0).nonzero()
        if len(falls):
            first = int(falls[0])
            raise ValueError(
                f"{function}: {argument} has {float(grid[first + 1])} after {float(grid[first])}; "
                "pass increasing filtration values"
            )
    return grid
