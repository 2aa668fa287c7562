"""Heads of pages and runs of numbers against bytes worked out by hand from the specification."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.waymo.page_heads import DATA_PAGE, DICTIONARY_PAGE, Page, Unsupported, walk_pages
from train.data.waymo.run_lengths import unpack_runs

# Fields 1 to 3 (kind 0, 10 and 8 bytes), then field 5: 3 numbers, plain, levels as runs twice.
DATA_HEAD = bytes.fromhex("15 00 15 14 15 10 2c 15 06 15 00 15 06 15 06 00 00")
# Kind 2, 4 and 4 bytes, field 4 a checksum of -1, field 7: 1 number, plain, a flag that is true.
DICTIONARY_HEAD = bytes.fromhex("15 04 15 08 15 08 15 01 3c 15 02 15 00 11 00 00")


def test_pages_lie_one_after_the_other(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"PAR1" + DICTIONARY_HEAD + b"abcd" + DATA_HEAD + b"12345678")
    end = path.stat().st_size
    pages = walk_pages(path, 4, end)
    assert pages == [
        Page(20, 4, 4, -1, DICTIONARY_PAGE, 1, 0, 0, 0, True),
        Page(41, 8, 10, None, DATA_PAGE, 3, 0, 0, 0, True),
    ]
    assert pages[-1].start + pages[-1].packed == end


@pytest.mark.parametrize(
    "head",
    [
        "",
        "15",
        "15 00",
        "15 00 15 14 15 10 00",  # no head of its kind
        "15 02 15 14 15 10 2c 15 06 15 00 15 06 15 06 00 00",  # an index page
        "15 00 15 14 15 10 2c 15 06 15 00 15 08 15 06 00 00",  # levels as packed bits
        "15 00 15 14 15 0f 2c 15 06 15 00 15 06 15 06 00 00",  # -8 bytes
        "15 00 15 14 15 12 2c 15 06 15 00 15 06 15 06 00 00",  # 9 bytes of 8
        "15 00 15 14 15 80 80 80 80 20 2c 15 06 15 00 15 06 15 06 00 00",  # 4 GB
        "15 00 19 14",  # a list
        "15 00 15 14 15 10" + " 1c" * 20,  # structs in structs
        "15 00 18 ff ff ff ff 0f 00",  # a text of 4 GB
    ],
)
def test_other_heads_are_left_to_pyarrow(tmp_path: Path, head: str):
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex(head) + b"12345678")
    with pytest.raises(Unsupported):
        walk_pages(path, 0, path.stat().st_size)


@pytest.mark.parametrize(
    ("data", "width", "numbers"),
    [
        # The specification's own example: 0 to 7 in three bits each, one group.
        ("03 88 c6 fa", 3, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("03 88 c6 fa", 3, [0, 1, 2]),
        ("10 04", 3, [4] * 8),
        ("06 01 04 00 03 05", 1, [1, 1, 1, 0, 0, 1, 0, 1, 0, 0]),
        ("04 2c 01", 9, [300, 300]),
        ("03" + "00 01" * 8, 16, [256] * 8),
        ("03" + "ff ff ff 7f" * 8, 32 - 1, None),
        ("80 02 05", 3, [5] * 128),
        ("08", 0, [0] * 4),
        ("", 3, []),
    ],
)
def test_runs_and_packed_bits_are_those_of_the_specification(data: str, width: int, numbers):
    if numbers is None:
        rng = np.random.default_rng(0)
        numbers = rng.integers(0, 1 << 31, 8).tolist()
        packed = sum(number << (31 * place) for place, number in enumerate(numbers))
        data = "03" + packed.to_bytes(31, "little").hex()
    found = unpack_runs(memoryview(bytes.fromhex(data)), width, len(numbers), np.int32)
    assert found.tolist() == numbers


@pytest.mark.parametrize(
    ("data", "width", "count"),
    [
        ("", 1, 1),
        ("03 88 c6", 3, 8),
        ("03 88 c6 fa", 3, 9),
        ("10", 3, 8),
        ("10 08", 3, 8),  # 8 has four bits
        ("00 01", 1, 1),  # a run of nothing, for ever
        ("01", 1, 1),
        ("80 80 80 80 80 80", 1, 1),
        ("04 2c", 9, 2),
        ("08", 32, 4),
    ],
)
def test_too_few_numbers_are_left_to_pyarrow(data: str, width: int, count: int):
    with pytest.raises(Unsupported):
        unpack_runs(memoryview(bytes.fromhex(data)), width, count, np.int32)


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 100))
def test_any_bytes_give_numbers_of_the_width_or_are_left(data: bytes, width: int, count: int):
    for dtype in (np.uint8, np.int32):
        try:
            found = unpack_runs(memoryview(data), width, count, dtype)
        except Unsupported:
            continue
        assert len(found) == count
        assert (found >= 0).all()
        assert (found.astype(np.int64) < 1 << width).all()
