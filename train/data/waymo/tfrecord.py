"""TFRecord files: records one after the other, each with its length and two checksums.

A record is: uint64 length, uint32 masked CRC-32C of those eight bytes, the payload, uint32 masked
CRC-32C of the payload; all little-endian. There is no file header and no compression.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from train.core.atomic_write import atomic_write
from train.core.errors import UserError

_LENGTH: Final = struct.Struct("<Q")
_CRC: Final = struct.Struct("<I")
HEAD_BYTES: Final = _LENGTH.size + _CRC.size
_MASK_DELTA: Final = 0xA282EAD8
_COPY_AGAIN: Final = "copy the file again or remove it"


def walk(path: Path, file: BinaryIO, num_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield where each payload starts and how long it is, reading the lengths alone.

    Parameters
    ----------
    path
        The file's name, for messages.
    file
        The open file.
    num_bytes
        Its size.

    Raises
    ------
    UserError
        If the file is empty or cut short, or a length does not match its checksum.
    """
    if num_bytes == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); {_COPY_AGAIN}")
    at, number = 0, 0
    while at < num_bytes:
        file.seek(at)
        length = _check_head(path, file.read(HEAD_BYTES), number, at)
        end = at + HEAD_BYTES + length + _CRC.size
        if end > num_bytes:
            raise UserError(
                f"{path}: record {number} at byte {at} needs {end - num_bytes} bytes more than "
                f"the file has; it is cut short, {_COPY_AGAIN}"
            )
        yield at + HEAD_BYTES, length
        at, number = end, number + 1


def read_record(path: Path, file: BinaryIO, start: int, length: int) -> memoryview:
    """Return a payload after looking at both checksums.

    Parameters
    ----------
    path
        The file's name, for messages.
    file
        The open file.
    start, length
        As `walk` gave them.

    Raises
    ------
    UserError
        If the record is not there any more or a checksum does not match.
    """
    at = start - HEAD_BYTES
    file.seek(at)
    where = f"the record at byte {at}"
    # Length and file size were compared when the file was walked: these are bounded reads.
    head, payload, checksum = (file.read(size) for size in (HEAD_BYTES, length, _CRC.size))
    if len(checksum) != _CRC.size:
        raise UserError(f"{path}: {where} is cut short; {_COPY_AGAIN}")
    if _check_head(path, head, None, at) != length:
        raise UserError(f"{path}: {where} has another length than before; {_COPY_AGAIN}")
    if _CRC.unpack(checksum)[0] != masked_crc32c(payload):
        raise UserError(f"{path}: {where} does not match its checksum; {_COPY_AGAIN}")
    return memoryview(payload)


def write_records(path: Path, payloads: Iterable[bytes]) -> None:
    """Write a file of records, whole or not at all."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        for payload in payloads:
            head = _LENGTH.pack(len(payload))
            file.write(head + _CRC.pack(masked_crc32c(head)))
            file.write(payload)
            file.write(_CRC.pack(masked_crc32c(payload)))


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes as TFRecord has it: turned right by 15, plus a constant."""
    import google_crc32c  # for these files alone; networks and other datasets do without

    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _check_head(path: Path, head: bytes, number: int | None, at: int) -> int:
    """Return the length in a record's head; refuse one that does not match its checksum."""
    record = "the record" if number is None else f"record {number}"
    if len(head) < HEAD_BYTES:
        raise UserError(
            f"{path}: {record} at byte {at} is cut short after {len(head)} bytes; {_COPY_AGAIN}"
        )
    length: int = _LENGTH.unpack_from(head)[0]
    if _CRC.unpack_from(head, _LENGTH.size)[0] != masked_crc32c(head[: _LENGTH.size]):
        raise UserError(
            f"{path}: the length of {record} at byte {at} does not match its checksum; the file "
            f"is damaged or no TFRecord, {_COPY_AGAIN}"
        )
    return length
