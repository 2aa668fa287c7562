"""PCD files against bytes made by hand here, and LZF against a compressor of the test's own."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.data.damage import refused_at
from train.data.readers import open_cloud
from train.data.readers.pcd import decompress, store

# Four fields of one number, padding, and one of three numbers.
FIELDS = [
    ("x", "F", 4, 1), ("y", "F", 4, 1), ("z", "F", 8, 1), ("_", "U", 1, 3),
    ("intensity", "U", 2, 1), ("normal", "F", 4, 3),
]  # fmt: skip
KINDS = {"F4": "<f4", "F8": "<f8", "U1": "u1", "U2": "<u2", "U4": "<u4", "I4": "<i4"}
NUM = 4


def columns():
    rng = np.random.default_rng(0)
    made = []
    for name, kind, size, count in FIELDS:
        if kind == "F":
            values = rng.normal(size=(NUM, count))
        else:
            values = rng.integers(0, 200, (NUM, count))
        made.append(values.astype(KINDS[f"{kind}{size}"]))
        if name in "xyz":
            made[-1][2] = np.nan  # a ray without a return
    return made


def pcd(form, fields, made, *, comment="# made by hand\n", compress=None):
    """Return a file's bytes."""
    shape = "WIDTH 2\nHEIGHT 2\n" if NUM == 4 else f"WIDTH {NUM}\nHEIGHT 1\n"
    entries = {
        "VERSION": ["0.7"],
        "FIELDS": [name for name, *_ in fields],
        "SIZE": [size for _, _, size, _ in fields],
        "TYPE": [kind for _, kind, _, _ in fields],
        "COUNT": [count for *_, count in fields],
    }
    header = comment + "".join(
        f"{name} {' '.join(map(str, values))}\n" for name, values in entries.items()
    )
    header += f"{shape}VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {NUM}\nDATA {form}\n"
    if form == "ascii":
        rows = [
            " ".join(repr(number) for column in made for number in column[at].tolist())
            for at in range(NUM)
        ]
        body = ("\n".join(rows) + "\n").encode()
    elif form == "binary":
        body = b"".join(column[at].tobytes() for at in range(NUM) for column in made)
    else:
        whole = b"".join(column.tobytes() for column in made)
        packed = (compress or greedy)(whole)
        body = np.array([len(packed), len(whole)], "<u4").tobytes() + packed
    return header.encode() + body


def greedy(data):
    """Compress by LZF: the longest earlier match of at least 3 bytes, looked for one by one."""
    out, literals, at = bytearray(), bytearray(), 0

    def flush():
        for start in range(0, len(literals), 32):
            piece = literals[start : start + 32]
            out.append(len(piece) - 1)
            out.extend(piece)
        literals.clear()

    while at < len(data):
        best, best_from = 0, 0
        for start in range(max(0, at - 8192), at):
            length = 0
            while (
                length < 264
                and at + length < len(data)
                and (data[start + length] == data[at + length])
            ):
                length += 1
            if length > best:
                best, best_from = length, start
        if best < 3:
            literals.append(data[at])
            at += 1
            continue
        flush()
        back, code = at - best_from - 1, best - 2
        if code < 7:
            out.append(code << 5 | back >> 8)
        else:
            out += bytes([7 << 5 | back >> 8, code - 7])
        out.append(back & 255)
        at += best
    flush()
    return bytes(out)


FORMS = ["ascii", "binary", "binary_compressed"]


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def write(folder: Path, data: bytes) -> Path:
    path = folder / "cloud.pcd"
    path.write_bytes(data)
    return path


def test_points_and_rays_without_a_return(tmp_path: Path, form: str):
    made = columns()
    cloud = open_cloud(write(tmp_path, pcd(form, FIELDS, made)))
    assert list(cloud.columns) == ["x", "y", "z", "intensity"]
    values, there = cloud.values()
    assert there.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(values[:, 2], made[2][:, 0])
    np.testing.assert_array_equal(values[:, 3], made[4][:, 0])
    assert cloud.strength_from() == "field intensity"
    np.testing.assert_array_equal(cloud.values(255.0)[0][:, 3], made[4][:, 0] / 255.0)
    assert cloud.strength_from(255.0) == "field intensity / 255"


@pytest.mark.parametrize(("labels", "kind"), [([3, 0, 7, 259], "U"), ([3, 0, -1, 2], "I")])
def test_it_comes_back_with_labels_and_is_otherwise_the_same(tmp_path, form, labels, kind):
    made = columns()
    cloud = open_cloud(write(tmp_path, pcd(form, FIELDS, made)))
    found = cloud.labeled(np.array(labels))
    field = ("label", kind, 4, 1)
    column = np.array(labels, KINDS[f"{kind}4"])[:, None]
    assert found == pcd(form, [*FIELDS, field], [*made, column], compress=store)


def test_a_label_that_is_there_is_replaced(tmp_path: Path, form: str):
    made = columns()
    old = np.array([[9.0], [8.0], [7.0], [6.0]], "<f8")
    fields = [FIELDS[0], ("label", "F", 8, 1), *FIELDS[1:]]
    cloud = open_cloud(write(tmp_path, pcd(form, fields, [made[0], old, *made[1:]])))
    assert cloud.columns["label"].tolist() == [9.0, 8.0, 7.0, 6.0]
    new = np.array([[1], [2], [3], [4]], "<u4")
    want = pcd(
        form, [FIELDS[0], ("label", "U", 4, 1), *FIELDS[1:]], [made[0], new, *made[1:]],
        compress=store,
    )  # fmt: skip
    assert cloud.labeled(new[:, 0].astype(np.int64)) == want
    again = open_cloud(write(tmp_path, want))
    assert again.columns["label"].tolist() == [1, 2, 3, 4]


def test_without_count_and_with_line_ends_of_windows(tmp_path: Path):
    text = (
        "VERSION .7\r\nFIELDS x y z\r\nSIZE 4 4 4\r\nTYPE F F F\r\nWIDTH 2\r\nHEIGHT 1\r\n"
        "DATA ascii\r\n1 2 3\r\n4 5 nan\r\n"
    )
    cloud = open_cloud(write(tmp_path, text.encode()))
    assert cloud.values()[0][0].tolist() == [1, 2, 3, 0]
    assert cloud.values()[1].tolist() == [True, False]
    lines = cloud.labeled(np.array([5, 0])).decode().splitlines()
    assert lines[1:4] == ["FIELDS x y z label", "SIZE 4 4 4 4", "TYPE F F F U"]
    assert lines[-2:] == ["1 2 3 5", "4 5 nan 0"]


GOOD = {form: pcd(form, FIELDS, columns()) for form in FORMS}
BAD = [
    (b"", "no PCD file"),
    (b"plain text\n", "no PCD file"),
    (GOOD["binary"][:60], "no PCD file"),
    (GOOD["ascii"].replace(b"FIELDS", b"FEELDS"), "has no FIELDS"),
    (GOOD["ascii"].replace(b"SIZE 4 ", b"SIZE "), "6 FIELDS and 5 of SIZE"),
    (GOOD["ascii"].replace(b"SIZE 4 ", b"SIZE 3 "), "field x of the PCD header has TYPE F, SIZE 3"),
    (GOOD["ascii"].replace(b"COUNT 1 ", b"COUNT 0 "), "COUNT 0, which is not known"),
    (GOOD["ascii"].replace(b"FIELDS x y", b"FIELDS x x"), "two fields of one name"),
    (GOOD["ascii"].replace(b"FIELDS x y", b"FIELDS x u"), "the points have no field y"),
    (GOOD["ascii"].replace(b"WIDTH 2", b"WIDTH 3"), "POINTS 4, but WIDTH times HEIGHT is 6"),
    (GOOD["ascii"].replace(b"WIDTH 2", b"WIDTH -2"), "says WIDTH -2, no number"),
    (GOOD["ascii"].replace(b"DATA ascii", b"DATA utf8"), "DATA utf8; known: ascii"),
    (GOOD["ascii"] + b"1 2 3\n", "4 points, and 5 lines"),
    (GOOD["ascii"].rstrip().rsplit(b" ", 1)[0], "point 3 has 9 numbers instead of 10"),
    (GOOD["ascii"].replace(b"nan nan", b"nan none"), "is no number"),
    (GOOD["binary"][:-1], "cut short, 4 points need 132 bytes and 131 are there"),
    (GOOD["binary_compressed"][:-1], "cut short"),
    (GOOD["binary_compressed"].partition(b"compressed\n")[0] + b"compressed\n\x00", "has no sizes"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BAD)
def test_what_is_no_cloud_is_refused_in_one_line(tmp_path: Path, data: bytes, message: str):
    path = write(tmp_path, data)
    refused_at(path, lambda: open_cloud(path).values(), message)


def test_compressed_data_of_another_size(tmp_path: Path):
    head, _, body = GOOD["binary_compressed"].partition(b"compressed\n")
    packed, whole = np.frombuffer(body[:8], "<u4").tolist()
    for sizes, message in (
        ((packed, whole + 1), f"of {whole + 1} bytes, the header's points need {whole}"),
        ((packed - 1, whole), "the compressed data"),
        ((packed + 1, whole), "announced"),
    ):
        data = head + b"compressed\n" + np.array(sizes, "<u4").tobytes() + body[8:]
        path = write(tmp_path, data)
        refused_at(path, partial(open_cloud, path), message)


@given(st.binary(max_size=300), st.integers(1, 12))
def test_lzf_gives_back_what_was_compressed(piece: bytes, times: int):
    data = (piece * times)[:2000]
    assert decompress(greedy(data), len(data)) == data
    stored = store(data)
    assert decompress(stored, len(data)) == data
    assert len(stored) == len(data) + -(-len(data) // 32)


@pytest.mark.parametrize(
    ("packed", "data"),
    [
        (b"\x02abc", b"abc"),
        (b"\x00a\x20\x00", b"aaaa"),  # a copy that overlaps itself, length 3
        (b"\x02abc\x40\x02", b"abcabca"),  # length 4, distance 3
        (b"\x00z\xe0\x00\x00", b"z" * 10),  # the shortest with a further byte of length
        (b"\x00z\xe0\xff\x00", b"z" * 265),  # the longest
    ],
)
def test_lzf_by_hand(packed: bytes, data: bytes):
    assert decompress(packed, len(data)) == data


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        (b"\x02ab", 3), (b"\x00a\x20", 4), (b"\x00a\xe0", 10), (b"\x00a\xe0\x00", 10),
        (b"\x00a\x20\x01", 4), (b"\x02abc", 2), (b"\x02abc", 4), (b"\x20\x00", 3),
    ],
)  # fmt: skip
def test_lzf_that_is_damaged(packed: bytes, size: int):
    with pytest.raises(ValueError, match="the compressed data"):
        decompress(packed, size)


@given(st.binary(max_size=80), st.integers(0, 100))
def test_no_bytes_break_lzf(packed: bytes, size: int):
    try:
        found = decompress(packed, size)
    except ValueError:
        return
    assert len(found) == size
