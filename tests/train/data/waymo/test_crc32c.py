"""The checksum against published values and a bit-by-bit computation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.waymo.crc32c import crc32c, masked_crc32c


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),  # the check value of the CRC catalogues
        (bytes(32), 0x8A9136AA),  # these three: RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data: bytes, value: int):
    assert crc32c(data) == value


@given(st.binary(max_size=70))
def test_any_length_agrees_with_one_bit_at_a_time(data: bytes):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(data) == crc ^ 0xFFFFFFFF


def test_the_mask_turns_and_adds():
    # 0xE3069283 turned right by 15 bits is 0x2507C60D.
    assert masked_crc32c(b"123456789") == (0x2507C60D + 0xA282EAD8) % 2**32


def test_a_view_into_other_bytes_is_taken_as_it_is():
    assert crc32c(memoryview(b"xx123456789yy")[2:-2]) == 0xE3069283
