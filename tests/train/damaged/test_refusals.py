"""What is damaged is one line: what once gave more, and mutants of a sound file of each kind."""

import io
import itertools
import json
import math
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests.train.damaged.readers import REFUSALS, STDERR, Reader, readers
from train.data.readers import open_cloud
from train.predict.cloud_files import read_cloud

Change = Callable[[bytes], bytes]
DIGITS = b"9" * 5000
BOMB = b"a: &a [x, x]\n" + b"".join(
    b"%c: &%c [*%c, *%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 121)
)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("sound"))


def put(old: bytes, new: bytes) -> Change:
    """Return a change of the first such words, which must be there."""

    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


def at(place: int, form: str, value: int) -> Change:
    new = struct.pack(form, value)
    return lambda data: data[:place] + new + data[place + len(new) :]


def chunks(place: int, form: str, value: int) -> Change:
    """Change the table of chunks of a LAZ file."""

    def change(data: bytes) -> bytes:
        (start,) = struct.unpack_from("<I", data, 96)
        (table,) = struct.unpack_from("<q", data, start)
        return at(table + place, form, value)(data)

    return change


def plain(edit: Callable[[dict], object]) -> Change:
    """Change what a JSON file says."""

    def change(data: bytes) -> bytes:
        content = json.loads(data)
        edit(content)
        return json.dumps(content).encode()

    return change


def member(name: str, change: Change, kind: int = zipfile.ZIP_STORED) -> Change:
    """Change a member of an archive, whose checksum is right."""

    def changed(data: bytes) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
            for each in old.namelist():
                content = old.read(each)
                new.writestr(each, change(content) if each.endswith(name) else content, kind)
        return made.getvalue()

    return changed


def saved(edit: Callable[[dict], object]) -> Change:
    """Change what a file of torch's holds."""

    def change(data: bytes) -> bytes:
        content, made = torch.load(io.BytesIO(data), weights_only=False), io.BytesIO()
        content.pop("tensors_sha256", None)
        edit(content)
        torch.save(content, made)
        return made.getvalue()

    return change


def first_weight(make: Callable[[torch.Tensor], object]) -> Change:
    def edit(content: dict) -> None:
        weights = content["state_dict"]
        name = next(iter(weights))
        weights[name] = make(weights[name])

    return saved(edit)


ZEROS = bytes(400_000_000)

CASES = [
    ("6.las", at(100, "<I", 0xFFFFFFFF), "its records need"),
    ("6.las", at(243, "<I", 0xFFFFFFFF), "its extended records need"),
    ("6.las", at(247, "<Q", 1 << 40), "its points need"),
    ("6.laz", at(247, "<Q", 1 << 40), "its points need"),
    ("6.laz", chunks(4, "<I", 0xFFFFFFFF), "4294967295 chunks"),
    ("6.laz", at(576, "<I", 0xFFFFFFFF), "its layers are larger"),
    ("6.laz", at(499, "<I", 0x7FFFFFFF), "a chunk has 2147483647 points"),
    ("config.json", put(b"model.safetensors", b"9" * 5000), "names no weights; copy"),
    ("6.laz", chunks(8, "<Q", (1 << 64) - 1), "copy it again"),
    ("ascii.pcd", put(b"SIZE 4", b"SIZE " + DIGITS), "field x of the PCD header"),
    ("ascii.pcd", put(b"COUNT 1", b"COUNT " + DIGITS), "field x of the PCD header"),
    ("binary.pcd", put(b"COUNT 1 1 1 1", b"COUNT 1 1 1 3000000000"), "COUNT 3000000000"),
    ("ascii.pcd", put(b"WIDTH 60", b"WIDTH " + DIGITS), "says WIDTH 999"),
    ("ascii.pcd", put(b"WIDTH 60", "WIDTH \u0666\u0660".encode()), "says WIDTH"),
    ("ascii.pcd", put(b"DATA ascii\n", b"DATA ascii\n1_0"), "is no number"),
    ("ascii.ply", put(b"vertex 60", b"vertex " + DIGITS), "of the PLY header is not known"),
    ("ascii.ply", put(b"vertex 60", "vertex \u0666\u0660".encode()), "of the PLY header"),
    ("ascii.ply", put(b"end_header\n", b"end_header\n1_0"), "is no number"),
    ("ascii.ply", lambda data: re.sub(rb"property float .*\n", b"", data), "have no property"),
    ("ascii.ply", put(b"float y", b"float scalar_x"), "two properties of one name"),
    ("a.npy", put(b"}", b""), "its header is damaged"),
    ("a.npy", put(b"(60, 4)", b"(60, 99999999999)"), "has no room in"),
    ("modelnet/cup/train/a.off", put(b"3 0 1 2", b"3 0 1 " + b"9" * 20), "b'99999999999999999999'"),
    ("modelnet/cup/train/a.off", put(b"4 4 6", "\u0664 4 6".encode()), "no count and no index"),
    ("small.yaml", lambda data: BOMB + data, "has an alias"),
    ("small.yaml", lambda data: b"a: " + b"[" * 100_000 + data, "more than 20 levels"),
    ("small.yaml", lambda data: data + b"#" * (1 << 20), "is more than a class map has"),
    ("small.yaml", put(b"0: a", b"0: !!map a"), "has a tag (tag:yaml.org,2002:map)"),
    ("small.yaml", put(b"0: a", b"0: !!timestamp 1"), "has a tag"),
    ("small.yaml", put(b"0: a", b"0: !!int ''"), "has a tag"),
    ("small.yaml", put(b"0: a", b"1_0: a"), "labels has '1_0' for an id"),
    ("small.yaml", put(b"0: a", b"2001-99-99: a"), "for an id; ids are whole"),
    ("map.csv", put(b"cone,1", b"cone," + DIGITS), "line 3: label_key 999"),
    ("map.csv", put(b"cone,1", "cone,\u0661".encode()), "line 3: label_key"),
    ("map.csv", put(b"traffic_cone", b"x" * 140_000), "field larger than field limit"),
    ("map.csv", put(b"has_instance", b"label_key"), "has two columns label_key"),
    ("names.txt", put(b"0: car", DIGITS + b": car"), "where class 0 is expected"),
    ("names.txt", put(b"0: car", "\u0660: car".encode()), "where class 0 is expected"),
    ("ours/objects.json", plain(lambda all: all.update(part_names=math.inf)), "part_names is"),
    ("ours/train.npz", member("points.npy", lambda data: data[:-1]), "cut short"),
    ("ours/train.npz", member("points.npy", lambda data: data[:50]), "its header is damaged"),
    ("ours/train.npz", member("points.npy", lambda data: ZEROS, 8), "bytes would become 400"),
    ("m.pt", member("data.pkl", lambda data: data[:-9]), "not readable as a model checkpoint"),
    ("m.pt", member("data/0", lambda data: bytes(1 << 28), 8), "its members would become"),
    ("m.pt", first_weight(lambda weight: "a text"), "holds no state_dict of tensors"),
    ("m.pt", first_weight(lambda weight: weight.to_sparse()), "is sparse or quantized"),
    ("m.pt", first_weight(lambda weight: weight[:1].expand(1 << 34, *weight.shape[1:])), "few val"),
    ("m.pt", saved(lambda content: content["card"].update(network=True)), "network is True"),
    ("official.pth", first_weight(lambda weight: weight.to_sparse()), "is sparse or quantized"),
    ("official.pth", member("data.pkl", lambda data: data[:-9]), "not readable as a model"),
    ("official.pth", saved(lambda content: content.update(epoch="x")), "epoch or best_metric"),
    ("config.json", lambda data: b"[" * 100_000, "nested too deeply"),
    ("model.onnx", lambda data: data[:200], "is damaged"),
    ("model.onnx", put(b"export_id", b"export_di"), "is damaged (KeyError: 'export_id')"),
    *(
        ("export.json", plain(lambda content, key=key: content["metadata"].pop(key)), key)
        for key in ("export_id", "geometry", "class_names", "grid_size_m", "in_channels")
    ),
    *(
        ("export.json", plain(lambda all, key=key: all["metadata"]["geometry"].pop(key)), key)
        for key in ("patch_size", "orders", "curves", "num_stages", "depth_rule")
    ),
    ("export.json", put(b'"patch_size": 16', b'"patch_size": 0'), "no network has the geometry"),
    ("export.json", put(b'["z", "hilbert"]', b'["zigzag"]'), "no network has the geometry"),
    ("export.json", put(b'"grid_size_m": 0.5', b'"grid_size_m": NaN'), "no number of meters"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_what_is_damaged_is_refused_in_one_line(found, name: str, change: Change, said: str):
    reader = next(reader for key, reader in found.items() if key.endswith(f"/{name}"))
    whole = reader.path.read_bytes()
    reader.path.write_bytes(change(whole))
    try:
        with pytest.raises(REFUSALS) as refused:
            reader.use()
    finally:
        reader.path.write_bytes(whole)
    message = str(refused.value)
    assert said in message
    assert message.isprintable()
    assert len(message) < 3000


@pytest.mark.parametrize("ending", ["bin", "npy", "ply", "pcd", "las"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, ending: str):
    path = tmp_path / f"frame.{ending}"
    os.mkfifo(path)
    with pytest.raises(REFUSALS, match="is a pipe or a device; write it to a file"):
        read_cloud(path)


def test_a_letter_that_is_not_ascii_stays_in_a_las_file(found):
    reader = next(reader for key, reader in found.items() if key.endswith("/6.las"))
    whole = reader.path.read_bytes()
    reader.path.write_bytes(whole[:26] + b"\xe9" + whole[27:])
    try:
        cloud = open_cloud(reader.path)
    finally:
        reader.path.write_bytes(whole)
    assert cloud.labeled(np.zeros(60, dtype=np.int64))[26:27] == b"\xe9"


# ---- mutants -------------------------------------------------------------------------------------


MOST_WRONG = 25
"""So many answers are shown."""


@pytest.mark.slow
@pytest.mark.timeout(3600)  # of the 50,000
def test_mutants_are_read_or_refused_in_one_line(tmp_path: Path):
    thorough = settings().max_examples >= settings.get_profile("thorough").max_examples
    end = 50_000 if thorough else 2_000
    wrong: list[str] = []
    at = 0
    for attempt in itertools.count():
        # In a process of its own, which a reader may abort, and which has a bound on its memory.
        words = ["-m", "tests.train.damaged.readers", tmp_path / str(attempt), at, end]
        found = subprocess.run(
            [sys.executable, *map(str, words)], capture_output=True, text=True, check=False
        )
        lines = found.stdout.splitlines()
        numbers = [index for index, line in enumerate(lines) if line.split(" ")[0].isdecimal()]
        for index, after in itertools.pairwise([*numbers, len(lines)]):
            if after > index + 1:
                wrong.append("\n".join(lines[index:after]))
        if found.returncode == 0:
            break
        assert numbers, found.stderr
        last = lines[numbers[-1]]
        written = (tmp_path / str(attempt) / STDERR).read_text(errors="replace")
        wrong.append(f"{last}: ended with {found.returncode}\n{written[-500:]}")
        at = int(last.split()[0]) + 1
        if len(wrong) >= MOST_WRONG or at >= end:
            break
    assert not wrong, f"{len(wrong)} of {at or end}\n" + "\n".join(wrong[:MOST_WRONG])
