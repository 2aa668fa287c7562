"""A run gives its method the entries of a batch that it asks for, and nobody else pays for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from train.config import MethodConfig
from train.core.errors import UserError
from train.data.cameras import CAMERA_FIELDS
from train.data.dataset_spec import dataset_spec
from train.engine.command_line import parse
from train.engine.run_data import open_data
from train.engine.stages import run
from train.methods.none import CrossEntropy
from train.methods.registry import METHODS
from train.methods.terms import LossTerm


class LooksAtImages(CrossEntropy):
    """Trains as usual, and notes what the batches hold."""

    batch_fields: ClassVar[frozenset[str]] = CAMERA_FIELDS
    Config = MethodConfig
    seen: ClassVar[list[dict[str, tuple[int, ...]]]] = []

    def forward(self, student, teacher, batch: Mapping[str, Any]) -> dict[str, LossTerm]:
        names = ("images", "view_cloud", "point_pixel", "offset")
        self.seen.append({name: tuple(batch[name].shape) for name in names})
        pairs = batch["point_pixel"]
        assert int(pairs[:, 3].max()) < len(batch["coord"])
        assert int(pairs[:, 0].max()) < len(batch["images"])
        return super().forward(student, teacher, batch)


@pytest.fixture
def looks(monkeypatch):
    monkeypatch.setitem(METHODS, "looks", f"{__name__}:LooksAtImages")
    monkeypatch.setattr(LooksAtImages, "seen", [])


def flags(root: Path, output: Path, *more: str) -> list[str]:
    return [
        "--simulate", "--data-root", str(root), "--output", str(output), "--device", "cpu",
        "--method", "looks", "--data.simulated-frames", "2", "--no-baseline",
        "--data.simulated-validation-frames", "1", "--data.simulated-azimuth-steps", "60",
        "--data.batch-size", "2", "--data.num-workers", "0", "--optim.student-epochs", "1",
        "--data.grid-size-m", "0.3", *more,
    ]  # fmt: skip


def test_a_run_with_images_from_nothing(looks, tmp_path, monkeypatch):
    root = tmp_path / "data"
    run(parse(["--dataset", "nuscenes", *flags(root, tmp_path / "run"), "--optim.accumulate", "2"]))
    # One step in two parts, each with its cloud's six views.
    assert [each["images"] for each in LooksAtImages.seen] == [(6, 3, 160, 320)] * 2
    assert [each["view_cloud"] for each in LooksAtImages.seen] == [(6,)] * 2
    assert min(each["point_pixel"][0] for each in LooksAtImages.seen) > 300
    assert (tmp_path / "run/metrics.json").is_file()
    config = parse(["--dataset", "nuscenes", *flags(root, tmp_path / "other")])
    spec = dataset_spec("nuscenes")
    data = open_data(config, spec, fields=CAMERA_FIELDS)
    assert len(data.training[0].images) == 6
    # Evaluation pays for none, unless told.
    assert data.validation[0].images == ()
    both = open_data(config, spec, fields=CAMERA_FIELDS, evaluation_fields=CAMERA_FIELDS)
    assert len(both.validation[0].images) == 6
    # A run without such a method takes the same frames, and opens no image.
    bare = open_data(config, spec)
    assert bare.training[0].images == ()
    assert bare.training.names == data.training.names
    # A damaged image is found before the start, or left out and said.
    data.training.images(0)[3].encoded.write_bytes(b"nothing")
    with pytest.raises(UserError, match="no JPEG and no PNG"):
        open_data(config, spec, fields=CAMERA_FIELDS)
    lenient = parse(
        ["--dataset", "nuscenes", *flags(root, tmp_path / "x"), "--on-bad-frame", "skip"]
    )
    bad = open_data(lenient, spec, fields=CAMERA_FIELDS).bad
    assert [each.name for each in bad] == [data.training.names[0]]
    assert open_data(config, spec).bad == []


@pytest.mark.parametrize("name", ["nuscenes", "semantickitti", "waymo"])
@pytest.mark.parametrize("more", [(), ("--on-bad-frame", "skip"), ("--simulate",)])
def test_frames_simulated_without_images_are_refused_before_anything_is_written(
    looks, tmp_path, name, more
):
    root, output = tmp_path / "data", tmp_path / "run"
    sizes = {"num_frames": 2, "num_validation_frames": 1, "azimuth_steps": 60, "seed": 0}
    dataset_spec(name).simulate(root, **sizes)
    words = [word for word in flags(root, output, *more) if word != "--simulate" or more == (word,)]
    with pytest.raises(UserError, match=r"holds simulated frames without camera images.*; remove "):
        run(parse(["--dataset", name, *words]))
    assert not output.exists()


def test_a_dataset_without_cameras_is_refused_before_anything_is_written(looks, tmp_path):
    config = parse(["--dataset", "kitti-layout", *flags(tmp_path / "data", tmp_path / "run")])
    with pytest.raises(UserError, match="needs images, point_pixel, which the frames of kitti"):
        run(config)
    assert not list(tmp_path.iterdir())
