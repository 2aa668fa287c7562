"""Bit tricks that numba lacks: set bits of a 64-bit word, and the bits of a float."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


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
