"""Frames through the datasets' own sources: own files, simulated ones, and what is refused."""

import dataclasses

import pytest

from tests.train.dataset_distillation.lidar.toy_streets import CLASSES, TAKE, write_streets
from train.core.errors import UserError
from train.data.registry import DATASETS
from train.dataset_distillation.lidar.frames import FrameOptions
from train.dataset_distillation.lidar.read import FrameData, read_frame_data


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = write_streets(tmp_path_factory.mktemp("own") / "streets")
    return FrameData(
        dataset="kitti-layout",
        root=folder / "data",
        layout={"class_map": folder / "classes.yaml"},
        take=TAKE,
    )


def test_frames_of_ones_own_are_read_by_their_class_map(own):
    train, test = read_frame_data(own)
    assert train.names == ("hill/000000", "hill/000001", "hill/000002")
    assert test.names == ("lake/000000", "lake/000001")
    assert train.class_names == CLASSES
    assert train.class_counts()[0] > 100
    assert read_frame_data(dataclasses.replace(own, test_most=0))[1] is None
    assert len(read_frame_data(dataclasses.replace(own, test_most=1))[1]) == 1


@pytest.mark.parametrize("dataset", sorted(set(DATASETS) - {"kitti-layout"}))  # own frames: above
def test_every_dataset_is_simulated_and_read_by_its_own_source(dataset, tmp_path):
    wanted = FrameData(
        dataset=dataset,
        root=tmp_path / "data",
        take=FrameOptions(points=64, range_m=30.0, most=1),
        test_most=1,
        simulate=True,
        simulated_frames=1,
        simulated_test_frames=1,
        azimuth_steps=60,
    )
    train, test = read_frame_data(wanted, needs_test=True)
    assert (len(train), len(test)) == (1, 1)
    assert train.class_names == test.class_names
    assert train.names != test.names
    assert train.class_counts().sum() > 30


def test_data_without_held_out_frames_is_told_of(own, capsys):
    alone = dataclasses.replace(
        own, train_sequences=("hill",), layout={"class_map": own.root.parent / "no_split.yaml"}
    )
    text = (own.root.parent / "classes.yaml").read_text().replace(", valid: [lake]", "")
    (own.root.parent / "no_split.yaml").write_text(text)
    assert read_frame_data(alone)[1] is None
    assert "no held-out frames" in capsys.readouterr().err
    with pytest.raises(UserError, match="does not say which sequences are for validation"):
        read_frame_data(alone, needs_test=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "kitty"}, "unknown dataset 'kitty'"),
        ({"validation_sequences": ("hill",)}, "are both trained on and held out"),
        ({"train_sequences": ("dale",)}, "missing dale"),
        ({"take": dataclasses.replace(TAKE, points=5000)}, "fewer than the 5000 asked for"),
        ({"test_most": -1}, "--test-frames -1"),
    ],
)
def test_mistakes_are_named(own, change, words):
    with pytest.raises(UserError, match=words):
        read_frame_data(dataclasses.replace(own, **change))


def test_scores_need_held_out_frames(own):
    with pytest.raises(UserError, match="--test-frames 0"):
        read_frame_data(dataclasses.replace(own, test_most=0), needs_test=True)
