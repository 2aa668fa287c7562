"""Protocol buffers as bytes: a bounded reader of fields, and a writer.

Only the wire format: what a field means is said where it is used. The reader copies nothing and
never believes a length before it has seen that so many bytes are there. It is our own, as Google's
parses whole messages: an index of frames skips their images, which are nearly all of a file.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.compiled import compiled

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

MAX_WANTED_FIELDS: Final = 4096
"""More fields of interest than any message of ours has; a file that claims more is damaged."""

_MAX_FIELD_NUMBER = (1 << 29) - 1
_MASK_64 = (1 << 64) - 1

Value = int | memoryview
"""A varint's 64 bits as a number of at least 0, or a field's bytes."""


class WireError(ValueError):
    """The bytes are no message, or not the message that was expected."""


def varint_at(data: memoryview, at: int) -> tuple[int, int]:
    """Return the varint that starts at a byte, and where the next thing starts.

    Raises
    ------
    WireError
        If it runs past the end or has more than 64 bits.
    """
    value = 0
    for number in range(10):
        if at + number >= len(data):
            raise WireError(f"a number at byte {at} runs past the end")
        byte = data[at + number]
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            if value > _MASK_64:
                break
            return value, at + number + 1
    raise WireError(f"a number at byte {at} has more than 64 bits")


def field_at(data: memoryview, at: int) -> tuple[int, int, int, int]:
    """Return a field's number, wire type, where its value starts, and how many bytes that has.

    A varint's length is not known yet and given as 0. The value may lie past the end of `data`:
    the caller knows how much there is.

    Raises
    ------
    WireError
        If this is no field's head, or the wire type is a group's or unknown.
    """
    key, at = varint_at(data, at)
    number, wire = key >> 3, key & 7
    if not 1 <= number <= _MAX_FIELD_NUMBER:
        raise WireError(f"field number {number} at byte {at} does not exist")
    if wire == VARINT:
        return number, wire, at, 0
    if wire == BYTES:
        length, at = varint_at(data, at)
        return number, wire, at, length
    if wire in (FIXED64, FIXED32):
        return number, wire, at, 8 if wire == FIXED64 else 4
    raise WireError(f"wire type {wire} at byte {at} is not used by this format")


def fields(data: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Yield number, wire type and value of each field of a message, in order.

    Raises
    ------
    WireError
        If the bytes are no message.
    """
    at = 0
    while at < len(data):
        number, wire, start, length = field_at(data, at)
        if wire == VARINT:
            value, at = varint_at(data, start)
            yield number, wire, value
            continue
        if length > len(data) - start:
            raise WireError(
                f"field {number} at byte {at} claims {length} bytes, {len(data) - start} are left"
            )
        at = start + length
        yield number, wire, data[start:at]


class Message:
    """The wanted fields of a message; all others are walked over and forgotten.

    Parameters
    ----------
    data
        The message's bytes.
    wanted
        Numbers of the fields to keep.

    Raises
    ------
    WireError
        If the bytes are no message, or hold more than `MAX_WANTED_FIELDS` wanted fields.
    """

    def __init__(self, data: bytes | memoryview, wanted: Collection[int]) -> None:
        self._fields: dict[int, list[tuple[int, Value]]] = {}
        kept = 0
        for number, wire, value in fields(memoryview(data)):
            if number in wanted:
                kept += 1
                if kept > MAX_WANTED_FIELDS:
                    raise WireError(f"the message has more than {MAX_WANTED_FIELDS} fields of use")
                self._fields.setdefault(number, []).append((wire, value))

    def integer(self, number: int, default: int = 0) -> int:
        """Return a signed 64-bit integer; of several the last, as the format wants it."""
        wire, value = self._last(number, (VARINT, default & _MASK_64))
        if wire != VARINT or not isinstance(value, int):
            raise WireError(f"field {number} should be an integer, but has wire type {wire}")
        return value - (1 << 64) if value >> 63 else value

    def double(self, number: int, default: float = 0.0) -> float:
        """Return a float64; of several the last."""
        if number not in self._fields:
            return default
        return float(self.doubles(number)[-1])

    def doubles(self, number: int) -> NDArray[np.float64]:
        """Return repeated float64s, packed or not."""
        return np.frombuffer(self._repeated(number, FIXED64), dtype="<f8")

    def floats(self, number: int) -> NDArray[np.float32]:
        """Return repeated float32s, packed or not."""
        return np.frombuffer(self._repeated(number, FIXED32), dtype="<f4")

    def integers(self, number: int) -> NDArray[np.int64]:
        """Return repeated integers, packed or not."""
        parts = []
        for wire, value in self._fields.get(number, []):
            if wire == VARINT and isinstance(value, int):
                parts.append(np.array([value], dtype=np.uint64).view(np.int64))
            elif wire == BYTES and isinstance(value, memoryview):
                parts.append(unpack_varints(value))
            else:
                raise WireError(f"field {number} should be integers, but has wire type {wire}")
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def content(self, number: int) -> memoryview:
        """Return a string's, byte field's or message's bytes; of several the last, of none b""."""
        wire, value = self._last(number, (BYTES, memoryview(b"")))
        if wire != BYTES or not isinstance(value, memoryview):
            raise WireError(f"field {number} should be bytes, but has wire type {wire}")
        return value

    def contents(self, number: int) -> list[memoryview]:
        """Return the bytes of each message of a repeated field."""
        found = []
        for wire, value in self._fields.get(number, []):
            if wire != BYTES or not isinstance(value, memoryview):
                raise WireError(f"field {number} should be messages, but has wire type {wire}")
            found.append(value)
        return found

    def text(self, number: int) -> str:
        """Return a string.

        Raises
        ------
        WireError
            If it is no UTF-8.
        """
        return decode_text(self.content(number))

    def _last(self, number: int, default: tuple[int, Value]) -> tuple[int, Value]:
        """Return the last wire type and value of a field."""
        return self._fields[number][-1] if number in self._fields else default

    def _repeated(self, number: int, unpacked: int) -> bytes | memoryview:
        """Return the joined bytes of repeated numbers of fixed size."""
        size = 8 if unpacked == FIXED64 else 4
        parts = []
        for wire, value in self._fields.get(number, []):
            if wire not in (unpacked, BYTES) or not isinstance(value, memoryview):
                raise WireError(f"field {number} should be numbers, but has wire type {wire}")
            if len(value) % size:
                raise WireError(f"field {number} has {len(value)} bytes, no multiple of {size}")
            parts.append(value)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def decode_text(data: memoryview) -> str:
    """Return a string field's text.

    Raises
    ------
    WireError
        If it is no UTF-8, or has a character that no name has (it would break messages).
    """
    try:
        text = bytes(data).decode()
    except UnicodeDecodeError as error:
        raise WireError(f"a name is no UTF-8 text (byte {error.start})") from error
    if not text.isprintable():
        raise WireError(f"a name has unprintable characters: {text[:80]!a}")
    return text


def unpack_varints(data: bytes | memoryview) -> NDArray[np.int64]:
    """Return packed varints as signed integers.

    Raises
    ------
    WireError
        If the last one is cut short, or one has more than 64 bits.
    """
    source = np.frombuffer(data, dtype=np.uint8)
    # Every number ends with a byte below 128, so these bytes say how many there are.
    values = np.empty(int(np.count_nonzero(source < 0x80)), dtype=np.int64)
    bad = _unpack_varints(source, values)
    if bad >= 0:
        raise WireError(f"a packed number at byte {bad} is cut short or has more than 64 bits")
    return values


@compiled()
def _unpack_varints(source: NDArray[np.uint8], values: NDArray[np.int64]) -> int:
    """Fill in the values; return -1, or the byte at which a number is broken."""
    at, count, size = 0, 0, len(source)
    while at < size:
        start = at
        byte = source[at]
        value = np.uint64(byte & 0x7F)
        shift = np.uint64(7)
        at += 1
        while byte >= 0x80:
            if at >= size or at - start >= 10:
                return start
            byte = source[at]
            if at - start == 9 and byte > 1:
                return start
            value |= np.uint64(byte & 0x7F) << shift
            shift += np.uint64(7)
            at += 1
        values[count] = np.int64(value)
        count += 1
    return -1


def varint(value: int) -> bytes:
    """Return an integer as a varint; a negative one takes ten bytes."""
    if not -(1 << 63) <= value <= _MASK_64:
        raise ValueError(f"varint: {value} does not fit into 64 bits")
    rest = value & _MASK_64
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def write_integer(number: int, value: int) -> bytes:
    """Return an integer field."""
    return varint(number << 3 | VARINT) + varint(value)


def write_double(number: int, value: float) -> bytes:
    """Return a float64 field."""
    return varint(number << 3 | FIXED64) + np.array(value, dtype="<f8").tobytes()


def write_doubles(number: int, values: Iterable[float]) -> bytes:
    """Return repeated float64s, each its own field: proto2 does not pack them."""
    return b"".join(write_double(number, value) for value in values)


def write_content(number: int, data: bytes) -> bytes:
    """Return a byte field or an embedded message."""
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def write_text(number: int, text: str) -> bytes:
    """Return a string field."""
    return write_content(number, text.encode())


def pack_varints(values: Sequence[int] | NDArray[np.integer]) -> bytes:
    """Return integers packed as varints."""
    signed = np.asarray(values, dtype=np.int64).reshape(-1)
    target = np.empty(10 * len(signed), dtype=np.uint8)
    return target[: _pack_varints(signed, target)].tobytes()


@compiled()
def _pack_varints(values: NDArray[np.int64], target: NDArray[np.uint8]) -> int:
    """Fill in the bytes; return how many there are."""
    at = 0
    for index in range(len(values)):
        rest = np.uint64(values[index])
        while rest >= np.uint64(0x80):
            target[at] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
            rest >>= np.uint64(7)
            at += 1
        target[at] = np.uint8(rest)
        at += 1
    return at
