"""Read the points of a LAS or LAZ file, and write them again with classifications: by laspy.

Shape letters: N points.
"""

import importlib.util
import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.core.bounded import first_line
from train.core.errors import UserError
from train.data.files import read_bytes
from train.data.readers.cloud_file import CloudFile

_LARGEST_OLD: Final = 31
_LARGEST: Final = 255
_HEADER_BYTES: Final = 227
_HEADER_BYTES_OF_1_4: Final = 375
_COMPRESSED: Final = 64  # added to the number of the point format
_MOST_EXPANSION: Final = 1000  # of points by LAZ
_LARGEST_CHUNK: Final = 1 << 20  # points that the last one has room for; LASzip's has 50,000
_LAYERED: Final = 3  # of LAZ's compressors
_LAYERS: Final = {10: 9, 11: 1, 12: 2, 13: 1}  # of the items of a point; extra bytes: one each
_FIRST_NEW_FORMAT: Final = 6  # of points: from here on a classification has 8 bits instead of 5


@dataclass(frozen=True)
class LasFile(CloudFile):
    """The points, and laspy's object for the whole file.

    Attributes
    ----------
    las
        A `laspy.LasData`.
    """

    las: Any

    kind: ClassVar[str] = "LAS points"
    may_lack_returns: ClassVar[bool] = False  # whole numbers in the file
    own_scale: ClassVar[float] = 65535.0  # the format wants intensities to use their 16 bits

    def labeled(self, labels: NDArray[np.int64]) -> bytes:
        """Return the file with other classifications."""
        number = self.las.header.point_format.id
        largest = _LARGEST if number >= _FIRST_NEW_FORMAT else _LARGEST_OLD
        if len(labels) and (labels.min() < 0 or labels.max() > largest):
            wrong = int(labels.max() if labels.max() > largest else labels.min())
            raise UserError(
                f"{self.path}: classifications of its point format {number} are 0 to {largest}, "
                f"and a label is {wrong}; give --label-ids train, or an --output that ends in .npy"
            )
        import laspy

        las, stream = self.las, io.BytesIO()
        las.classification = labels.astype(np.uint8)
        compress = self.path.suffix.lower() == ".laz"
        try:
            # Texts that are not ASCII, which the format wants them to be, stay as they are.
            with laspy.LasWriter(
                stream, las.header, compress, closefd=False, encoding_errors="ignore"
            ) as writer:
                writer.write_points(las.points)
                if las.header.version.minor >= 4 and las.evlrs is not None:
                    writer.write_evlrs(las.evlrs)
        except Exception as error:  # see read_las
            raise UserError(
                f"{self.path}: cannot be written again as LAS ({first_line(error)}); give an "
                "--output that ends in .npy"
            ) from error
        return stream.getvalue()


def read_las(path: Path) -> LasFile:
    """Read a `.las` or `.laz` file.

    Raises
    ------
    UserError
        If laspy is not installed, or the file cannot be read or is damaged.
    """
    needed = ("laspy", "lazrs") if path.suffix.lower() == ".laz" else ("laspy",)
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"{path}: {path.suffix} files are read by {' and '.join(missing)}, which is not "
            "installed: pip install 'topodistill[las]'"
        )
    import laspy

    data = read_bytes(path)
    try:
        _check_counts(data)
        with laspy.open(io.BytesIO(data)) as reader:
            _check_chunks(data, reader.header)
            las = reader.read()
        columns = {axis: np.asarray(las[axis], dtype=np.float64) for axis in "xyz"}
        columns["intensity"] = np.asarray(las["intensity"], dtype=np.float64)
    # What laspy and its decoder in Rust raise for damaged bytes is of no common class.
    except Exception as error:
        raise UserError(
            f"{path}: cannot be read as LAS ({first_line(error)}); copy it again"
        ) from error
    return LasFile(path, columns, las)


def _check_counts(data: bytes) -> None:
    """Refuse counts of records and points that the file has no room for; laspy believes them."""
    is_new = data[25:26] >= b"\x04"
    if len(data) < (_HEADER_BYTES_OF_1_4 if is_new else _HEADER_BYTES):
        raise ValueError("cut short, its header is not whole")
    start, num_vlrs = struct.unpack_from("<II", data, 96)
    kind, size, count = struct.unpack_from("<BHI", data, 104)
    evlrs, num_evlrs = len(data), 0
    if is_new:
        evlrs, num_evlrs, count = struct.unpack_from("<QIQ", data, 235)
    room = len(data) - start
    if kind >= _COMPRESSED:
        room *= _MOST_EXPANSION
    for what, needed, there in (
        ("records", num_vlrs * 54, len(data)),
        ("extended records", num_evlrs * 60, len(data) - evlrs),
        ("points", count * size, room),
    ):
        if needed and needed > there:
            raise ValueError(f"cut short, its {what} need {needed} bytes and {there} are there")


def _check_chunks(data: bytes, header: Any) -> None:
    """Refuse a table of compressed chunks that the file has no room for; its decoder would abort.

    A `ValueError` says what is wrong with it.
    """
    if not header.are_points_compressed:
        return
    import lazrs

    start = header.offset_to_point_data
    record = header.vlrs.get("LasZipVlr")[0].record_data
    vlr = lazrs.LazVlr(record)
    if vlr.item_size() != header.point_format.size:
        raise ValueError(f"its compressed points have {vlr.item_size()} bytes")
    (table,) = struct.unpack_from("<q", data, start)
    if table == -1:
        (table,) = struct.unpack_from("<q", data, len(data) - 8)
    if not start + 8 <= table <= len(data) - 8:
        raise ValueError("its table of chunks is not in the file")
    version, num_chunks = struct.unpack_from("<II", data, table)
    if version or num_chunks > table - start:
        raise ValueError(f"its table has {num_chunks} chunks of version {version}")
    stream = io.BytesIO(data)
    stream.seek(start)
    chunks = lazrs.read_chunk_table(stream, vlr)
    if sum(size for _, size in chunks) > table - start - 8:
        raise ValueError("its chunks are larger than their place")
    _check_layers(data, start + 8, record, [size for _, size in chunks])
    counts = [count for count, _ in chunks]
    if header.point_count > sum(counts):
        raise ValueError(f"its {len(chunks)} chunks have fewer points than its header")
    if max(counts, default=0) > max(header.point_count, _LARGEST_CHUNK):
        raise ValueError(f"a chunk has {max(counts)} points, its header {header.point_count}")


def _check_layers(data: bytes, at: int, record: bytes, sizes: list[int]) -> None:
    """Refuse layers that are larger than their chunk; the decoder takes memory for each of them.

    A chunk of the formats from 6 on is one point as it is, a count, the size of each layer, and the
    layers.
    """
    compressor, num_items = struct.unpack_from("<H30xH", record)
    if compressor != _LAYERED:
        return
    items = [struct.unpack_from("<HH", record, 34 + 6 * item) for item in range(num_items)]
    num_layers = sum(_LAYERS.get(kind, num_bytes) for kind, num_bytes in items)
    first = sum(num_bytes for _, num_bytes in items) + 4
    for size in sizes:
        layers = struct.unpack_from(f"<{num_layers}I", data, at + first)
        if first + 4 * num_layers + sum(layers) > size:
            raise ValueError("its layers are larger than their chunk")
        at += size
