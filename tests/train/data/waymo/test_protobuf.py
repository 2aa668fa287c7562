"""The wire format against bytes worked out by hand, and what is refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.data.damage import refused_at
from train.data.waymo.protobuf import (
    MAX_WANTED_FIELDS,
    Message,
    WireError,
    fields,
    pack_varints,
    unpack_varints,
    varint,
    write_content,
    write_double,
    write_doubles,
    write_integer,
    write_text,
)
from train.data.waymo.tfrecord import masked_crc32c, read_record, walk, write_records

ONE = bytes.fromhex("000000000000f03f")
MINUS_ONE = b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "80 01"),
        (150, "96 01"),
        (300, "ac 02"),
        (86942, "9e a7 05"),
        (2**63 - 1, "ff ff ff ff ff ff ff ff 7f"),
        (-1, "ff ff ff ff ff ff ff ff ff 01"),
        (-(2**63), "80 80 80 80 80 80 80 80 80 01"),
    ],
)
def test_integers_have_the_bytes_of_the_specification(value: int, data: str):
    assert varint(value) == bytes.fromhex(data)
    assert pack_varints([value]) == bytes.fromhex(data)
    assert unpack_varints(bytes.fromhex(data)).tolist() == [value]
    assert Message(b"\x08" + bytes.fromhex(data), (1,)).integer(1) == value


def test_each_kind_of_field_is_written_as_the_specification_says():
    assert write_integer(1, 150) == bytes.fromhex("08 96 01")
    assert write_text(2, "testing") == bytes.fromhex("12 07 74 65 73 74 69 6e 67")
    assert write_double(3, 1.0) == b"\x19" + ONE
    # proto2 does not pack repeated numbers unless told to.
    assert write_doubles(1, [1.0, 1.0]) == b"\x09" + ONE + b"\x09" + ONE
    assert write_content(4, pack_varints([3, 270, 86942])) == bytes.fromhex("22 06 038e029ea705")
    # A field number above 15 takes a second byte.
    assert write_integer(16, 1) == bytes.fromhex("80 01 01")


def test_fields_come_in_order_with_number_and_type():
    data = bytes.fromhex("08 96 01") + b"\x12\x02hi" + b"\x19" + ONE + b"\x25\x01\x02\x03\x04"
    found = [(number, wire, value) for number, wire, value in fields(memoryview(data))]
    assert [(n, w) for n, w, _ in found] == [(1, 0), (2, 2), (3, 1), (4, 5)]
    assert [v if isinstance(v, int) else bytes(v) for *_, v in found] == [
        150, b"hi", ONE, b"\x01\x02\x03\x04",
    ]  # fmt: skip


def test_repeated_numbers_are_taken_packed_and_unpacked_and_both():
    two = struct.pack("<d", 2.0)
    packed = b"\x0a\x10" + ONE + two
    unpacked = b"\x09" + ONE + b"\x09" + two
    assert Message(packed, (1,)).doubles(1).tolist() == [1.0, 2.0]
    assert Message(unpacked, (1,)).doubles(1).tolist() == [1.0, 2.0]
    assert Message(unpacked + packed, (1,)).doubles(1).tolist() == [1.0, 2.0, 1.0, 2.0]
    floats = b"\x0a\x04" + struct.pack("<f", 0.5) + b"\x0d" + struct.pack("<f", 0.25)
    assert Message(floats, (1,)).floats(1).tolist() == [0.5, 0.25]
    integers = b"\x08\x05" + b"\x0a\x0b\x07" + MINUS_ONE + b"\x08" + MINUS_ONE
    assert Message(integers, (1,)).integers(1).tolist() == [5, 7, -1, -1]


def test_of_several_single_values_the_last_counts_and_a_missing_one_has_its_default():
    message = Message(b"\x08\x01\x08\x02\x12\x01a\x12\x01b", (1, 2, 3))
    assert (message.integer(1), message.text(2)) == (2, "b")
    assert (message.integer(3), bytes(message.content(3)), message.text(3)) == (0, b"", "")
    assert (message.double(3, 7.0), message.contents(3)) == (7.0, [])
    assert len(message.doubles(3)) == len(message.integers(3)) == 0


def test_unwanted_fields_are_walked_over():
    message = Message(b"\x12\x03abc\x08\x05", (1,))
    assert message.integer(1) == 5
    assert bytes(message.content(2)) == b""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("08", "runs past the end"),
        ("08 80", "runs past the end"),
        ("08" + "ff" * 10 + "01", "more than 64 bits"),
        ("08" + "ff" * 9 + "02", "more than 64 bits"),
        ("12 05 61", "claims 5 bytes, 1 are left"),
        ("12 ff ff ff ff ff ff ff ff 7f 61", "claims 9223372036854775807 bytes"),
        ("09 00 00", "claims 8 bytes, 2 are left"),
        ("0d 00", "claims 4 bytes, 1 are left"),
        ("00 00", "field number 0"),
        ("0b", "wire type 3"),
        ("0c", "wire type 4"),
        ("0e", "wire type 6"),
        ("f8 ff ff ff ff ff ff ff ff 01 00", "does not exist"),
    ],
)
def test_bytes_that_are_no_message_are_refused(data: str, said: str):
    with pytest.raises(WireError, match=said):
        Message(bytes.fromhex(data), (1, 2))


@pytest.mark.parametrize(
    ("data", "ask"),
    [
        (b"\x09" + ONE, "integer"),
        (b"\x08\x01", "doubles"),
        (b"\x08\x01", "floats"),
        (b"\x08\x01", "content"),
        (b"\x08\x01", "contents"),
        (b"\x08\x01", "text"),
        (b"\x09" + ONE, "integers"),
        (b"\x0a\x07" + bytes(7), "doubles"),
        (b"\x0a\x03" + bytes(3), "floats"),
        (b"\x0a\x01\x80", "integers"),
        (b"\x0a\x0b" + b"\xff" * 10 + b"\x01", "integers"),
        (b"\x0a\x0a" + b"\xff" * 9 + b"\x02", "integers"),
        (b"\x0a\x01\xff", "text"),
        (b"\x0a\x02a\n", "text"),
    ],
)
def test_a_field_of_another_kind_than_expected_is_refused(data: bytes, ask: str):
    message = Message(data, (1,))
    with pytest.raises(WireError):
        getattr(message, ask)(1)


def test_more_fields_than_any_message_has_are_refused():
    data = b"\x08\x01" * (MAX_WANTED_FIELDS + 1)
    with pytest.raises(WireError, match="more than 4096"):
        Message(data, (1,))
    assert Message(data, (2,)).integer(2) == 0


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_integers_come_back(values: list[int]):
    assert unpack_varints(pack_varints(values)).tolist() == values


@given(st.binary(max_size=60))
def test_any_bytes_give_fields_or_the_documented_error(data: bytes):
    try:
        message = Message(data, range(1, 8))
    except WireError:
        return
    for number in range(1, 8):
        for ask in ("integer", "double", "doubles", "floats", "integers", "content", "text"):
            try:
                getattr(message, ask)(number)
            except WireError:
                continue


def test_a_value_that_does_not_fit_cannot_be_written():
    with pytest.raises(ValueError, match="64 bits"):
        varint(2**64)


def message_class(messages: dict[str, list[tuple[str, int, str]]], name: str):
    """Return a class of Google's for one of some messages.

    A field is a name, a number and a kind: a scalar's name or a message's, with * behind it if it
    is repeated, with + if it is packed too.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="w.proto", package="w", syntax="proto2")
    for message_name, listed in messages.items():
        message = file.message_type.add(name=message_name)
        for field_name, number, kind in listed:
            label = kinds.LABEL_REPEATED if kind[-1] in "*+" else kinds.LABEL_OPTIONAL
            field = message.field.add(name=field_name, number=number, label=label)
            plain = kind.rstrip("*+")
            if plain in messages:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".w.{plain}"
            else:
                field.type = getattr(kinds, f"TYPE_{plain.upper()}")
            field.options.packed = kind[-1] == "+"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"w.{name}"))


@pytest.mark.oracle
def test_google_s_own_library_reads_what_is_written():
    kinds = [("text", 1, "string"), ("numbers", 2, "double*"), ("integer", 3, "int64"),
             ("packed", 4, "int32+")]  # fmt: skip
    theirs = message_class({"X": kinds}, "X")()
    values = np.random.default_rng(0).integers(-(2**31), 2**31, 50)
    ours = (
        write_text(1, "größer")
        + write_doubles(2, [0.1, -3e300])
        + write_integer(3, -(2**60))
        + write_content(4, pack_varints(values))
    )
    theirs.ParseFromString(ours)
    assert (theirs.text, list(theirs.numbers)) == ("größer", [0.1, -3e300])
    assert (theirs.integer, list(theirs.packed)) == (-(2**60), values.tolist())
    assert theirs.SerializeToString() == ours


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


def test_an_empty_file_and_other_data_are_named(path: Path):
    for data, said in ((b"", "empty (0 bytes)"), (b"PAR1" + bytes(100), "no TFRecord")):
        path.write_bytes(data)
        refused(path, said)


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


@pytest.mark.parametrize("byte", [0, 7, 8, 11, 12, 16, 17, 20])
@pytest.mark.parametrize("bit", [0x40, 1])
def test_a_flipped_bit_in_a_length_a_payload_or_a_checksum_is_found(path, byte: int, bit: int):
    data = bytearray(path.read_bytes())
    data[byte] ^= bit
    path.write_bytes(data)
    # That of a length before anything is allocated.
    what = "the length of record 0" if byte < 12 else "the record"
    refused(path, f"{what} at byte 0 does not match its checksum")


def test_a_file_that_changed_since_it_was_walked_is_named(path: Path):
    with path.open("rb") as file:
        places = list(walk(path, file, path.stat().st_size))
    write_records(path, [b"other", b"", b"short"])
    with path.open("rb") as file:
        for start, length in places[:2]:
            read_record(path, file, start, length)
        refused_at(path, lambda: read_record(path, file, *places[2]), "is cut short")
    write_records(path, [b"a longer one", b"xxxxxxxxxxxxxxxxxxxxxxxxx"])
    with path.open("rb") as file:
        refused_at(path, lambda: read_record(path, file, *places[0]), "another length than before")


def test_the_checksum_is_crc_32c_turned_by_15_bits_plus_a_constant():
    # The check value of the CRC catalogs is 0xE3069283.
    assert masked_crc32c(b"123456789") == (0x2507C60D + 0xA282EAD8) % 2**32
    assert masked_crc32c(b"") == 0xA282EAD8
