"""PLY files come back with labels and otherwise as they were, against bytes made by hand here.

Reading, and what is refused, is tested in tests/train/predict/test_cloud_files.py.
"""

from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.readers import open_cloud

VERTEX = [("float", "x", "f4"), ("double", "y", "f8"), ("uchar", "red", "u1"), ("float", "z", "f4")]
VALUES = {"x": [1.5, -2.0, 3.25], "y": [4, 5, 6], "red": [1, 2, 255], "z": [0.5, 0.25, 8]}


def ply(form, vertex, values, *, newline="\n"):
    """Return a file with an element before the vertices and faces behind them."""
    order = ">" if form.endswith("big_endian") else "<"
    lines = ["ply", f"format {form} 1.0", "comment kept", "element camera 1", "property int id"]
    lines += ["element vertex 3", *(f"property {kind} {name}" for kind, name, _ in vertex)]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    header = newline.join(lines).encode()
    if form == "ascii":
        rows = [" ".join(str(values[name][at]) for _, name, _ in vertex) for at in range(3)]
        return header + newline.join(["42", *rows, "3 0 1 2", ""]).encode()
    table = np.zeros(3, np.dtype([(name, order + kind) for _, name, kind in vertex]))
    for name, column in values.items():
        table[name] = column
    face = b"\x03" + np.array([0, 1, 2], order + "i4").tobytes()
    return header + np.array([42], order + "i4").tobytes() + table.tobytes() + face


FORMS = ["ascii", "binary_little_endian", "binary_big_endian"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("labels", "kind"), [([3, 0, 259], "uint"), ([3, -1, 2], "int")])
@pytest.mark.parametrize("form", FORMS)
def test_a_label_is_put_behind_the_last_property(tmp_path: Path, form, labels, kind, newline):
    path = tmp_path / "cloud.ply"
    path.write_bytes(ply(form, VERTEX, VALUES, newline=newline))
    want = ply(
        form, [*VERTEX, (kind, "label", f"{kind[0]}4")], VALUES | {"label": labels}, newline=newline
    )
    assert open_cloud(path).labeled(np.array(labels)) == want


@pytest.mark.parametrize("form", FORMS)
def test_a_label_that_is_there_is_replaced(tmp_path: Path, form: str):
    path = tmp_path / "cloud.ply"
    old = [VERTEX[0], ("uchar", "label", "u1"), *VERTEX[1:]]
    new = [VERTEX[0], ("uint", "label", "u4"), *VERTEX[1:]]
    path.write_bytes(ply(form, old, VALUES | {"label": [7, 7, 7]}))
    want = ply(form, new, VALUES | {"label": [1, 2, 300]})
    assert open_cloud(path).labeled(np.array([1, 2, 300])) == want


def test_vertices_that_share_a_line_cannot_be_labeled(tmp_path: Path):
    path = tmp_path / "cloud.ply"
    text = ply("ascii", VERTEX, VALUES).replace(b"255 8\n", b"255\n8\n")
    path.write_bytes(text)
    cloud = open_cloud(path)
    assert cloud.columns["z"].tolist() == [0.5, 0.25, 8.0]
    with pytest.raises(UserError, match="do not stand one on a line"):
        cloud.labeled(np.array([1, 2, 3]))
