"""Datasets by name."""

from pathlib import Path

import pytest

from train.core.errors import UserError
from train.data.registry import DATASETS, dataset_spec
from train.data.semantickitti import CLASS_NAMES


def test_a_known_name_gives_its_dataset():
    spec = dataset_spec("semantickitti")
    assert spec.class_names == CLASS_NAMES


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_dataset_is_filed_under_its_own_name(name: str):
    assert dataset_spec(name).name == name


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"unknown dataset 'kitti'; known: .*semantickitti"):
        dataset_spec("kitti")


def test_simulated_data_opens_under_the_sequences_it_reports(tmp_path: Path):
    spec = dataset_spec("semantickitti")
    made = spec.simulate(
        tmp_path / "data", num_sweeps=2, num_validation_sweeps=1, seed=0, azimuth_steps=64
    )
    training = spec.open(made.root, "training", sequences=made.training_sequences)
    assert training.names == ("00/000000", "00/000001")
    validation = spec.open(made.root, "validation", sequences=made.validation_sequences)
    assert validation.names == ("08/000000",)
    # Without a choice it is the official split, and most of that is not there.
    assert len(spec.open(made.root, "validation")) == 1
    with pytest.raises(UserError, match="present: 00, 08"):
        spec.open(made.root, "training")
