"""What opening shows to be damaged: refused, or left out and named, the same for every dataset."""

from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.registry import DATASETS, dataset_spec

SMALL = {"num_sweeps": 8, "num_validation_sweeps": 1, "seed": 0, "azimuth_steps": 40}


@pytest.fixture(params=sorted(DATASETS))
def dataset(request, tmp_path: Path):
    spec = dataset_spec(request.param)
    made = spec.simulate(tmp_path / "data", **SMALL)
    return spec, made


def damage_one(made, spec) -> Path:
    """Cut a file of the first training sweep short, and return it."""
    source = spec.open(made.root, "training", sequences=made.training_sequences)
    path = source.files(0)[0]
    path.write_bytes(path.read_bytes()[:-1001])
    return path


def open_training(made, spec, **more):
    return spec.open(made.root, "training", sequences=made.training_sequences, **more)


def test_a_damaged_file_is_refused_or_left_out_and_named(dataset):
    spec, made = dataset
    whole = open_training(made, spec)
    assert len(whole) == SMALL["num_sweeps"]
    assert whole.unreadable == {}
    path = damage_one(made, spec)
    with pytest.raises(UserError) as error:
        open_training(made, spec)
    assert str(error.value).startswith(str(path))
    rest = open_training(made, spec, strict=False)
    assert len(rest.unreadable) == 1
    ((left_out, message),) = rest.unreadable.items()
    assert message.startswith(str(path))
    gone = [name for name in whole.names if name not in rest.names]
    assert gone
    assert all(name.startswith(left_out) for name in gone)
    for index, name in enumerate(rest.names):
        same = whole[whole.names.index(name)]
        np.testing.assert_array_equal(rest[index].coord, same.coord)


def test_nothing_left_is_refused_either_way(dataset):
    spec, made = dataset
    source = open_training(made, spec)
    for index in range(len(source)):
        path = source.files(index)[0]
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"empty \(0 bytes\)|0 bytes"):
        open_training(made, spec, strict=False)
