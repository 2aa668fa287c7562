"""How the CPU's kernels use numba: their decorators, a word when they compile, and bit tricks.

What is compiled is kept on disk. To compile little: no slices are assigned (numba's own code for
that, with the text of its errors, takes two seconds), every call of a function passes the same
types (`np.int64(0)`, not the literal 0), and what is called by kernels alone is a `helper`, which
gets no entry of its own from Python.
"""

import gc
import sys

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import event
from numba.core.event import register
from numba.extending import intrinsic, register_jitable

compiled = njit(cache=True, nogil=True, no_cfunc_wrapper=True)
"""Decorator of a kernel: compiled at its first call, or loaded from what was compiled before."""

helper = register_jitable(nogil=True, no_cfunc_wrapper=True)
"""Decorator of what kernels alone call: compiled as part of them. In Python it is Python."""


class _OurCompilations(event.Listener):
    """Says once in a process, on stderr, that a kernel of ours is compiled and not loaded.

    Python's garbage collector waits meanwhile: it would look ever again at the compiler's data, of
    which nearly all is in use, for a seventh of the time.
    """

    def __init__(self):
        self._said = False
        self._depth = 0  # functions that are being compiled: one within the other, in one thread
        self._collects = False

    def on_start(self, event):
        """Compiling begins."""
        dispatcher = event.data["dispatcher"]
        ours = dispatcher.py_func.__module__.partition(".")[0] in ("fast", "train")
        if ours and not self._said:
            self._said = True
            folder = config.CACHE_DIR or dispatcher.stats.cache_path
            sys.stderr.write(f"topodistill: compiling kernels, once; kept in {folder}\n")
        if self._depth == 0:
            self._collects = gc.isenabled()
            gc.disable()
        self._depth += 1

    def on_end(self, event):
        """Compiling ends, in success or not."""
        self._depth -= 1
        if self._depth == 0 and self._collects:
            gc.enable()


register("numba:compile", _OurCompilations())


@helper
def longer(items, room):
    """Return a copy (room,) of items (K,); what is beyond them is undefined."""
    grown = np.empty(room, items.dtype)
    for k in range(items.shape[0]):
        grown[k] = items[k]
    return grown


@helper
def taller(rows, room):
    """Return a copy (room, C) of rows (K, C); what is beyond them is undefined."""
    grown = np.empty((room, rows.shape[1]), rows.dtype)
    for r in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            grown[r, c] = rows[r, c]
    return grown


@intrinsic
def lowest_bit(typingctx, word):
    """Position of the lowest set bit of a non-zero uint64 word."""

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@intrinsic
def highest_bit(typingctx, word):
    """Position of the highest set bit of a non-zero uint64 word."""

    def codegen(context, builder, signature, arguments):
        leading = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), leading)

    return types.int64(types.uint64), codegen


@intrinsic
def num_bits(typingctx, word):
    """How many bits of a uint64 word are set."""

    def codegen(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), codegen


@intrinsic
def bits_of(typingctx, length):
    """Bits of a float, read as a signed integer of its size."""
    integer = types.int32 if length == types.float32 else types.int64

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return integer(length), codegen


@intrinsic
def length_of(typingctx, key):
    """Return the float whose bits are a signed integer of its size: the inverse of `bits_of`."""
    length = types.float32 if key == types.int32 else types.float64

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return length(key), codegen
