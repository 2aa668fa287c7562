"""What a run says of a teacher that it was given."""

from types import SimpleNamespace

import pytest

from train.config import DataConfig, RunConfig
from train.engine.stages import Run
from train.networks.weights import ModelMetadata

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
