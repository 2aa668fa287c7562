"""What every dataset does alike: how it is opened, what it refuses, what it leaves out."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.damage import refused, refused_at
from train.core.errors import UserError
from train.data.dataset_spec import DATASETS, OpenOptions, dataset_spec
from train.data.semantickitti import CLASS_NAMES
from train.data.terms import DATA_TERMS, SIMULATED_NOTE, data_license

FRAMES = 8
SIMULATED = sorted(name for name in DATASETS if dataset_spec(name).simulator)  # need not be


@pytest.fixture(scope="module", params=SIMULATED)
def simulated(request, tmp_path_factory):
    spec = dataset_spec(request.param)
    root = tmp_path_factory.mktemp(request.param) / "data"
    made = spec.simulate(root, num_frames=FRAMES, num_validation_frames=1, seed=0, azimuth_steps=40)
    return spec, root, made.training_sequences


@pytest.fixture
def dataset(simulated, tmp_path: Path):
    """Return a dataset, a copy of simulated data for this test alone, and its sequences."""
    spec, root, sequences = simulated
    shutil.copytree(root, tmp_path / "copy/data")
    return spec, tmp_path / "copy/data", sequences


def test_a_known_name_gives_its_dataset():
    assert dataset_spec("semantickitti").class_names == CLASS_NAMES
    assert all(dataset_spec(name).name == name for name in DATASETS)
    refused(lambda: dataset_spec("kitti"), "unknown dataset 'kitti'; known: ", "semantickitti")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "train"}, "split must be one of training, validation, test, not train"),
        ({"split": ""}, "split must be one of"),
        ({"sequences": "seg_a"}, "sequences must be a list of names, not 'seg_a'"),
        ({"sequences": ["seg_a", "seg_b", "seg_a"]}, "named twice in ['seg_a', 'seg_b', 'seg_a']"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said: str, tmp_path: Path):
    refused(lambda: OpenOptions(**options), said)
    refused(lambda: dataset_spec("waymo").open(tmp_path, **options), said)


def test_simulated_data_opens_under_the_sequences_it_reports(dataset):
    spec, root, sequences = dataset
    source = spec.open(root, "training", sequences=sequences)
    assert len(source) == len(set(source.names)) == FRAMES
    assert set(sequences) <= set(spec.list_sequences(root))
    assert all(path.is_file() for index in range(FRAMES) for path in source.files(index))
    assert source[1].path == source.files(1)[0]


def test_a_source_goes_to_another_process_and_back(dataset):
    spec, root, sequences = dataset
    source = spec.open(root, "training", sequences=sequences)
    frame = source[2]
    twin = pickle.loads(pickle.dumps(source))
    assert twin.names == source.names
    for name in ("coord", "strength", "segment", "pose"):
        np.testing.assert_array_equal(getattr(twin[2], name), getattr(frame, name))


WANTED = {
    "kitti-layout": "the folder that holds SS/velodyne/",
    "nuscenes": "samples/LIDAR_TOP/",
    "semantickitti": "sequences/SS/velodyne",
    "waymo": "training/lidar/CONTEXT.parquet (v2) or training/*.tfrecord",
}


@pytest.mark.parametrize("name", WANTED)
def test_a_root_that_is_none_is_described(name: str, tmp_path: Path):
    tmp_path /= "three/levels/down"  # what lies so far above is looked at too
    tmp_path.mkdir(parents=True)
    spec, wanted = dataset_spec(name), WANTED[name]
    gone, file = tmp_path / "gone", tmp_path / "file"
    refused_at(gone, lambda: spec.open(gone), "no such folder", wanted)
    refused_at(tmp_path, lambda: spec.open(tmp_path), "the folder is empty", wanted)
    file.write_text("")
    refused_at(file, lambda: spec.open(file), "is a file", wanted)
    for number in range(9):
        (tmp_path / f"f{number}").mkdir()
    refused_at(
        tmp_path, lambda: spec.open(tmp_path), "not laid out as", "f0, f1, f2", "f5 and 4 more"
    )


LEVELS = {
    "kitti-layout": [".."],
    "nuscenes": ["..", "v1.0-trainval", "samples", "samples/LIDAR_TOP", "lidarseg/v1.0-trainval"],
    "semantickitti": [
        "..", "sequences", "sequences/00", "sequences/00/velodyne", "sequences/00/labels",
    ],
    "waymo": ["..", "../..", "training", "training/lidar"],
}  # fmt: skip


def test_the_wrong_level_is_answered_with_the_right_one(dataset):
    spec, root, sequences = dataset
    for level in LEVELS.get(spec.name, ()):
        given = root / level
        message = refused_at(given, lambda given=given: spec.open(given, sequences=sequences))
        proposed = Path(re.search(r"give (\S+) instead", message)[1])
        assert proposed.resolve() == root.resolve()
        assert len(spec.open(proposed, sequences=sequences)) == FRAMES


def test_a_damaged_file_is_refused_or_left_out_and_named(dataset):
    spec, root, sequences = dataset
    whole = spec.open(root, sequences=sequences)
    assert whole.unreadable == {}
    path = whole.files(0)[0]
    path.write_bytes(path.read_bytes()[:-1001])
    refused_at(path, lambda: spec.open(root, sequences=sequences))
    rest = spec.open(root, sequences=sequences, strict=False)
    ((left_out, message),) = rest.unreadable.items()
    assert message.startswith(str(path))
    gone = [name for name in whole.names if name not in rest.names]
    assert gone
    assert all(name.startswith(left_out) for name in gone)
    for index, name in enumerate(rest.names):
        same = whole[whole.names.index(name)]
        np.testing.assert_array_equal(rest[index].coord, same.coord)


def test_nothing_left_is_refused_either_way(dataset):
    spec, root, sequences = dataset
    source = spec.open(root, sequences=sequences)
    for index in range(len(source)):
        source.files(index)[0].write_bytes(b"")
    with pytest.raises(UserError, match=r"empty \(0 bytes\)|0 bytes"):
        spec.open(root, sequences=sequences, strict=False)


def test_every_dataset_of_the_package_has_its_terms():
    assert set(DATA_TERMS) <= set(DATASETS)  # for the others --data-license is demanded, see below
    for dataset in DATA_TERMS:
        assert data_license(dataset, simulated=False) == DATA_TERMS[dataset]
        assert data_license(dataset, simulated=True) == SIMULATED_NOTE


def test_the_users_words_come_first():
    assert data_license("own", simulated=False, given=" CC BY 4.0. ") == "CC BY 4.0."
    assert data_license("waymo", simulated=True, given="Ours.") == "Ours."


@pytest.mark.parametrize(("given", "message"), [(None, "frames of own"), ("  ", "is empty")])
def test_terms_that_nobody_said_are_demanded_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as raised:
        data_license("own", simulated=False, given=given)
    assert "--data-license" in str(raised.value)
    assert "\n" not in str(raised.value)
