"""What the system refuses is one line that names the file, in every reader and command."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.train.data.damage import refused
from train.data.dataset_spec import DATASETS, dataset_spec
from train.data.files import RootLayout, listed, read_bytes, reading
from train.inspection.inspect import main

LAYOUT = RootLayout("Mine", "the folder that holds it", "it holds it")


@contextmanager
def denied(folder: Path) -> Iterator[None]:
    """Take away everybody's rights to look at a folder; tests may run as one who has all rights."""

    def guarded(original):
        def call(path, *arguments, **options):
            if isinstance(path, str | bytes | os.PathLike):
                asked = Path(os.fsdecode(path))
                if asked == folder or folder in asked.parents:
                    raise PermissionError(13, "Permission denied", str(path))
            return original(path, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (os, "stat"), (os, "scandir"), (os, "listdir"), (Path, "stat"), (Path, "iterdir"),
            (Path, "open"),
        ):  # fmt: skip
            patch.setattr(owner, name, guarded(getattr(owner, name)))
        yield


def test_the_file_that_the_system_names_is_named(tmp_path: Path):
    def look(path: Path) -> None:
        with reading(tmp_path, "buy another"):
            os.stat(path)  # noqa: PTH116

    for path in (tmp_path / "x", os.fsencode(tmp_path / "x")):
        message = refused(lambda path=path: look(path))
        assert message == (
            f"{tmp_path / 'x'}: cannot be read (No such file or directory); buy another"
        )

    def fail(error: OSError) -> None:
        with reading(tmp_path):
            raise error

    for error in (OSError(5, "Input/output error"), OSError("Input/output error")):
        message = refused(lambda error=error: fail(error))
        assert message.startswith(f"{tmp_path}: cannot be read (Input/output error); check")


def test_a_file_is_read_whole_unless_its_size_is_refused(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    sizes = []
    assert read_bytes(path) == read_bytes(path, sizes.append) == b"abc"
    assert sizes == [3]
    refused(lambda: read_bytes(tmp_path / "y"), f"{tmp_path / 'y'}: cannot be read (No such file")
    refused(lambda: read_bytes(tmp_path), f"{tmp_path}: cannot be read (Is a directory)")


def test_a_list_of_names_is_cut():
    assert listed([]) == "none"
    assert listed([], "no scene") == "no scene"
    assert listed(list("abcdef")) == "a, b, c, d, e, f"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def test_a_suggestion_that_cannot_be_looked_for_is_left_out(tmp_path: Path):
    (tmp_path / "x").mkdir()

    def fail(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    message = str(LAYOUT.refusal(tmp_path, fail))
    assert message == f"{tmp_path}: not laid out as Mine; found x; give the folder that holds it"
    assert str(LAYOUT.refusal(tmp_path, lambda folder: folder.name == "x")) == (
        f"{tmp_path}: is not the data root; give {tmp_path / 'x'} instead (it holds it)"
    )


@pytest.fixture(params=sorted(name for name in DATASETS if dataset_spec(name).simulator))
def dataset(request, tmp_path: Path):
    spec = dataset_spec(request.param)
    return spec, spec.simulate(
        tmp_path / "data", num_frames=2, num_validation_frames=1, seed=0, azimuth_steps=40
    )


INNER = {
    "kitti-layout": ["sequences", "sequences/00", "sequences/00/velodyne", "sequences/00/labels"],
    "semantickitti": ["sequences", "sequences/00", "sequences/00/velodyne", "sequences/00/labels"],
    "nuscenes": ["v1.0-trainval", "samples", "lidarseg"],
    "waymo": ["training", "training/lidar", "training/lidar_pose"],
}


def test_a_root_or_folder_below_it_that_may_not_be_read_is_named(dataset):
    spec, made = dataset

    def use() -> None:
        spec.open(made.root, sequences=made.training_sequences)[0]

    use()
    for name in (".", *INNER[spec.name]):
        assert (made.root / name).is_dir()
        with denied(made.root / name):
            message = refused(use)
        # nuScenes' tables name files, and whatever cannot be looked at is a missing part.
        reason = "cannot be read" if name in ("samples", "lidarseg") else "(Permission denied)"
        assert message.startswith(str(made.root / name))
        assert reason in message
    with denied(made.root):
        message = refused(lambda: spec.list_sequences(made.root), "Permission denied")
    assert message.startswith(f"{made.root}: ")


def test_a_file_that_vanishes_is_named(dataset):
    spec, made = dataset
    for number in range(2):
        source = spec.open(made.root, sequences=made.training_sequences)
        path = source.files(0)[number]
        content = path.read_bytes()
        path.unlink()
        message = refused(functools.partial(source.__getitem__, 0), "No such file or directory")
        assert message.startswith(f"{path}: ")
        path.write_bytes(content)


@pytest.mark.parametrize("what", ["the folder", "the report", "a picture"])
def test_an_output_that_cannot_be_written_is_named(
    dataset, tmp_path: Path, monkeypatch, capsys, what: str
):
    spec, made = dataset
    output = tmp_path / "out"
    options = ["--dataset", spec.name, "--data-root", str(made.root), "--output", str(output)]
    pictures = "1" if what == "a picture" else "0"
    failing = PermissionError(13, "Permission denied")

    def fail(*arguments: object, **more: object) -> None:
        raise failing

    target = {
        "the folder": "train.inspection.inspect.tempfile.TemporaryFile",
        "the report": "pathlib.Path.write_text",
        "a picture": "train.inspection.picture.draw",
    }[what]
    monkeypatch.setattr(target, fail)
    reads = []
    monkeypatch.setattr(
        "train.inspection.inspect._Tally.add",
        lambda self, frame: reads.append(self.sizes.append(1)),
    )
    assert main([*options, "--pictures", pictures, "--sequences", made.training_sequences[0]]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith(f"error: {output}")
    assert "cannot be written (Permission denied); choose another --output" in error
    assert bool(reads) == (what != "the folder")
