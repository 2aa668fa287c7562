"""CRC-32C (Castagnoli), the checksum of TFRecord files; not the CRC-32 of zlib."""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_POLYNOMIAL: Final = 0x82F63B78
_MASK_DELTA: Final = 0xA282EAD8


def _tables() -> NDArray[np.uint32]:
    """Return for k = 0..7 what each byte contributes when k zero bytes follow it."""
    tables = np.empty((8, 256), dtype=np.uint32)
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(_POLYNOMIAL), crc >> 1).astype(np.uint32)
    tables[0] = crc
    for k in range(1, 8):
        tables[k] = (tables[k - 1] >> 8) ^ crc[tables[k - 1] & 0xFF]
    return tables


_TABLES = _tables()


def crc32c(data: bytes | memoryview) -> int:
    """Return the checksum of some bytes."""
    source = np.frombuffer(data, dtype=np.uint8)
    whole = len(source) // 8 * 8
    return int(_update(source[:whole].view("<u8"), source[whole:], _TABLES))


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the checksum as TFRecord stores it: rotated right by 15, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


@njit(cache=True)
def _update(
    words: NDArray[np.uint64], rest: NDArray[np.uint8], tables: NDArray[np.uint32]
) -> np.uint32:
    """Return the CRC of little-endian words and the bytes after them, eight bytes a step."""
    crc = np.uint64(0xFFFFFFFF)
    low = np.uint64(0xFF)
    for index in range(len(words)):
        word = words[index] ^ crc
        crc = np.uint64(
            tables[7, word & low]
            ^ tables[6, (word >> np.uint64(8)) & low]
            ^ tables[5, (word >> np.uint64(16)) & low]
            ^ tables[4, (word >> np.uint64(24)) & low]
            ^ tables[3, (word >> np.uint64(32)) & low]
            ^ tables[2, (word >> np.uint64(40)) & low]
            ^ tables[1, (word >> np.uint64(48)) & low]
            ^ tables[0, word >> np.uint64(56)]
        )
    for index in range(len(rest)):
        crc = np.uint64(tables[0, (crc ^ np.uint64(rest[index])) & low]) ^ (crc >> np.uint64(8))
    return np.uint32(crc ^ np.uint64(0xFFFFFFFF))
