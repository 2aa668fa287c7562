"""Framing of records: what is written, what is found, and every way in which it can be damaged."""

from pathlib import Path

import pytest

from tests.train.data.damage import refused_at
from train.core.errors import UserError
from train.data.waymo.tfrecord import masked_crc32c, read_record, walk, write_records

PAYLOADS = [b"first", b"", b"123456789" * 1000]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of three records."""
    path = tmp_path / "x.tfrecord"
    write_records(path, PAYLOADS)
    return path


def read_all(path: Path) -> list[bytes]:
    """Return all payloads."""
    with path.open("rb") as file:
        places = list(walk(path, file, path.stat().st_size))
        return [bytes(read_record(path, file, start, length)) for start, length in places]


def test_what_is_written_is_read(path: Path):
    assert read_all(path) == PAYLOADS


def test_the_bytes_are_those_of_the_format(path: Path):
    write_records(path, [b"123456789"])
    data = path.read_bytes()
    assert data[:8] == b"\x09" + bytes(7)
    assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
    assert data[12:21] == b"123456789"
    assert int.from_bytes(data[21:], "little") == (0x2507C60D + 0xA282EAD8) % 2**32


def refused(path: Path, *said: str) -> None:
    """Check that reading ends in one line that names the file."""
    refused_at(path, lambda: read_all(path), *said)


def test_an_empty_file_is_named(path: Path):
    path.write_bytes(b"")
    refused(path, "empty (0 bytes)")


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (5, "record 0 at byte 0 is cut short after 5 bytes"),
        (14, "record 0 at byte 0 needs 7 bytes more"),
        (20, "record 0 at byte 0 needs 1 bytes more"),
        (25, "record 1 at byte 21 is cut short after 4 bytes"),
    ],
)
def test_a_file_that_is_cut_short_is_named(path: Path, size: int, said: str):
    path.write_bytes(path.read_bytes()[:size])
    refused(path, said)


@pytest.mark.parametrize("byte", [0, 7, 8, 11])
def test_a_flipped_bit_in_a_length_is_found_before_anything_is_allocated(path: Path, byte: int):
    data = bytearray(path.read_bytes())
    data[byte] ^= 0x40
    path.write_bytes(data)
    refused(path, "the length of record 0 at byte 0 does not match its checksum")


@pytest.mark.parametrize("byte", [12, 16, 17, 20])
def test_a_flipped_bit_in_a_payload_or_its_checksum_is_found(path: Path, byte: int):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
    refused(path, "the record at byte 0 does not match its checksum")


def test_a_file_that_changed_since_it_was_walked_is_named(path: Path):
    with path.open("rb") as file:
        places = list(walk(path, file, path.stat().st_size))
    write_records(path, [b"other", b"", b"short"])
    with path.open("rb") as file:
        for start, length in places[:2]:
            read_record(path, file, start, length)
        with pytest.raises(UserError, match="is cut short"):
            read_record(path, file, *places[2])
    write_records(path, [b"a longer one", b"xxxxxxxxxxxxxxxxxxxxxxxxx"])
    with path.open("rb") as file, pytest.raises(UserError, match="another length than before"):
        read_record(path, file, *places[0])


def test_other_data_are_no_records(path: Path):
    path.write_bytes(b"PAR1" + bytes(100))
    refused(path, "no TFRecord")


def test_the_checksum_is_crc_32c_turned_by_15_bits_plus_a_constant():
    # The check value of the CRC catalogues is 0xE3069283.
    assert masked_crc32c(b"123456789") == (0x2507C60D + 0xA282EAD8) % 2**32
    assert masked_crc32c(b"") == 0xA282EAD8
