"""Damaged files: what mutation `number` makes of a file that is sound, the same every time."""

import io
import random
import re
import zipfile

import numpy as np

_OF_WORDS = np.array([re.match(rb"[\w.+#!&*-]", bytes([byte])) is not None for byte in range(256)])
_WORDS = (
    b"9" * 5000, b"0x" + b"f" * 5000, b"99999999999999999999", b"4294967295", b"3000000000", b"-1",
    b"0", b"1e999", b"1_0", "\u0663".encode(), b"\xff", b"", b"NaN", b"Infinity", b"-Infinity",
    b"true", b"null", b"[]", b"{}", b"[" * 3000, b"{" * 3000, b"(" * 3000, b"!!int ''", b"!!map 1",
    b"!!timestamp 1-1-1", b"!!set {a}", b"&a [*a, *a]", b'"' * 3, b"x" * 140_000, b"\n", b" ",
)  # fmt: skip
_NUMBERS = (b"\xff", b"\x7f", b"\x00", b"\x80")


def mutant(data: bytes, number: int) -> bytes:
    """Return the bytes with one to three changes; of half of the zip archives, a member with them.

    Changes are flipped bits, cuts, pieces that are doubled, dropped or put elsewhere, integers that
    become very large, small or 0, and words that become others.
    """
    rng = random.Random(number)
    if zipfile.is_zipfile(io.BytesIO(data)) and rng.random() < 0.7:
        return _archive(data, rng)
    return _changed(data, rng)


def _changed(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        # Headers are where files break: half of the changes are made in the first 400 bytes.
        end = min(len(data), 400) if rng.random() < 0.5 else len(data)
        at = rng.randrange(end + 1)
        match rng.randrange(8):
            case 0:
                bit = bytes([data[at] ^ 1 << rng.randrange(8)]) if at < len(data) else b""
                data = data[:at] + bit + data[at + 1 :]
            case 1:
                data = data[:at]
            case 2:
                piece = data[at : at + rng.choice((1, 8, 100))]
                where = rng.randrange(len(data) + 1)
                data = data[:where] + piece + data[where:]
            case 3:
                data = data[:at] + data[at + rng.choice((1, 4, 100)) :]
            case 4:
                new = rng.choice(_NUMBERS) * rng.choice((1, 2, 4, 8))
                data = data[:at] + new + data[at + len(new) :]
            case _:
                spans = _words(data[: max(end, 1)])
                if len(spans):
                    places = [rng.randrange(len(spans)) for _ in range(2)]
                    (start, stop), (first, last) = spans[places]
                    word = data[first:last] if rng.random() < 0.3 else rng.choice(_WORDS)
                    data = data[:start] + word + data[stop:]
    return data


def _words(data: bytes) -> np.ndarray:
    """Return where words begin and end, (words, 2); a large file has a million."""
    inside = np.zeros(len(data) + 2, dtype=bool)
    inside[1:-1] = _OF_WORDS[np.frombuffer(data, dtype=np.uint8)]
    return np.flatnonzero(inside[1:] != inside[:-1]).reshape(-1, 2)


def _archive(data: bytes, rng: random.Random) -> bytes:
    """Return a zip archive whose checksums are right, with a damaged member."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        # The plain values, which stand in the first member, are what can be wrong in many ways.
        chosen = names[0] if rng.random() < 0.6 else rng.choice(names)
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = _changed(content, rng)
            new.writestr(name, content, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return made.getvalue()
