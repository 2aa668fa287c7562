"""The frames of a run, and what its stages say before they begin."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from train.config import DataConfig, RunConfig
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.data.frame import LidarFrame
from train.engine.run_data import open_data
from train.engine.stages import Run
from train.networks.weights import ModelMetadata


def frame(name, *, strength=0.5, label=0, size=10.0):
    coord = np.linspace([0, 0, 0], [size, size, size / 9], 20).astype(np.float32)
    segment = np.full(20, label)
    return LidarFrame(coord, np.full((20, 1), strength, np.float32), segment, name, Path(name))


class Source(list):
    """Some frames, and five that were left out."""

    def __init__(self, frames, warnings=(), skipped=5):
        super().__init__(frames)
        self.unreadable, self.warnings, self.skipped_unlabeled = {}, list(warnings), skipped

    @property
    def names(self):
        return [each.name for each in self]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "sequences s0: 5 frames without labels left out"),
        (3, "sequences s0, s1, s2: 5 frames without labels left out"),
        (40, "sequences s0, s1, s2 and 37 more: 5 frames without labels left out"),
    ],
)
def test_a_long_list_of_sequences_is_not_written_out(tmp_path, capsys, count, said):
    spec = dataclasses.replace(
        dataset_spec("semantickitti"), reader=lambda *_: Source([frame("s0/0"), frame("s0/1")])
    )
    names = tuple(f"s{number}" for number in range(count))
    data = DataConfig(train_sequences=names, validation_sequences=names)
    open_data(RunConfig(dataset="semantickitti", data_root=tmp_path, data=data), spec)
    assert capsys.readouterr().err == f"{tmp_path}, {said}\n"


def opened(tmp_path, training, validation, **config):
    """Open two parts of the data that are what is given."""
    parts = {"training": training, "validation": validation}
    spec = dataclasses.replace(
        dataset_spec("semantickitti"), reader=lambda _, options: parts[options.split]
    )
    return open_data(RunConfig(dataset="semantickitti", data_root=tmp_path, **config), spec)


def test_what_looks_wrong_is_said_before_the_start(tmp_path, capsys):
    training = Source([frame("a/0"), frame("a/1", strength=200)], ["a/9.label: alone"], skipped=0)
    opened(tmp_path, training, Source([frame("b/0", size=0.0)], skipped=0))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "warning: a/9.label: alone"
    assert said[1].startswith("warning: a/1: strengths (remission, intensity) run from 200 to 200")
    # Points in one voxel can be scored, not trained on.
    assert said[2].startswith("warning: b/0: all 20 points lie in one voxel")
    assert len(said) == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"label": -1},
            "none of the 1 labeled frames that were looked at has a point with a class",
        ),
        ({"size": 0.001}, "a/0: all 20 points lie in one voxel of 5 cm"),
    ],
)
def test_what_cannot_work_is_refused_before_the_start(tmp_path, capsys, wrong, said):
    sound = Source([frame("b/0")], skipped=0)
    training = Source([frame("a/0", **wrong)], skipped=0)
    with pytest.raises(UserError, match=said):
        opened(tmp_path, training, sound)
    opened(tmp_path, training, sound, on_bad_frame="skip")
    assert said in capsys.readouterr().err


BOX = (-50.0, -50.0, -5.0, 50.0, 50.0, 3.0)


def given(**trained):
    return ModelMetadata(
        size="tiny-teacher",
        num_classes=1,
        in_channels=4,
        overrides={},
        dataset="waymo",
        class_names=("car",),
        **trained,
    )


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        ({"grid_size_m": 0.05}, "--data.grid-size-m 0.05, and this run has 0.1:"),
        (
            {"grid_size_m": 0.1, "clip_range_m": BOX},
            "--data.clip-range-m -50.0 -50.0 -5.0 50.0 50.0 3.0, and this run has None:",
        ),
        ({"grid_size_m": 0.1}, None),
    ],
)
def test_a_teacher_that_knows_other_voxels_is_a_warning(capsys, trained, said):
    config = RunConfig(dataset="waymo", data=DataConfig(grid_size_m=0.1))
    Run._warn_of_other_voxels(SimpleNamespace(config=config), given(**trained))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (said is not None)
    if said is not None:
        assert lines[0].startswith(f"warning: the teacher was trained with {said}")
