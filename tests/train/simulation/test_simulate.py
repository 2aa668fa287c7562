"""Simulated data on disk: the same every time, read by the real loader, never half there."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.train.simulation.exact_sensor import returns_of
from tests.train.simulation.test_datasets import digest
from train.core.errors import UserError
from train.data.dataset_spec import RECORD
from train.data.semantickitti import CLASS_NAMES, SPEC
from train.simulation.semantickitti import semantickitti_bytes, simulate_semantickitti
from train.simulation.simulator.sensor import SpinningLidar
from train.simulation.simulator.surfaces import THINGS, Kind

SMALL = {"num_frames": 2, "num_validation_frames": 1, "azimuth_steps": 100}


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a somewhat longer simulation that several tests look at."""
    root = tmp_path_factory.mktemp("drive") / "data"
    simulate_semantickitti(root, num_frames=10, num_validation_frames=4, azimuth_steps=500)
    return root


def labels_of(root: Path) -> np.ndarray:
    paths = sorted(root.glob("sequences/*/labels/*.label"))
    return np.concatenate([np.fromfile(path, "<u4") for path in paths])


def test_the_layout_is_semantickitti_s(tmp_path: Path):
    made = simulate_semantickitti(tmp_path / "data", **SMALL)
    assert set(digest(tmp_path / "data")) == {
        RECORD,
        *(
            f"sequences/{frame}"
            for name in ("00/{}/000000", "00/{}/000001", "08/{}/000000")
            for frame in (f"{name}.label".format("labels"), f"{name}.bin".format("velodyne"))
        ),
    }
    assert (made.training_sequences, made.validation_sequences) == (("00",), ("08",))
    assert not made.reused
    assert len(SPEC.open(made.root, sequences=made.training_sequences)) == 2
    assert len(SPEC.open(made.root, sequences=made.validation_sequences)) == 1


def test_every_frame_has_chance_and_every_sequence_and_seed_a_street_of_its_own(
    tmp_path: Path, monkeypatch
):
    scan = SpinningLidar.scan
    states, worlds = [], []

    def record(self, scene, motion, rng):
        states.append(str(rng.bit_generator.state))
        worlds.append(scene.center.tobytes())
        return scan(self, scene, motion, rng)

    monkeypatch.setattr(SpinningLidar, "scan", record)
    for seed in (0, 1):
        simulate_semantickitti(tmp_path / str(seed), seed=seed, **SMALL)
    assert len(states) == len(set(states)) == 6
    # What moves has moved from one frame to the next, so no two worlds are equal.
    assert len(set(worlds)) == 6
    parked = [np.frombuffer(world).reshape(-1, 3)[:20] for world in worlds]
    np.testing.assert_array_equal(parked[0], parked[1])
    for first, second in ((0, 2), (0, 3), (2, 5)):
        assert not np.array_equal(parked[first], parked[second])


def test_more_frames_begin_with_other_streets_but_stay_sound(drive: Path):
    frames = [*SPEC.open(drive, sequences=["00"]), *SPEC.open(drive, sequences=["08"])]
    assert len(frames) == 14
    for frame in frames:
        ranges = np.linalg.norm(frame.coord, axis=1)
        assert 20_000 <= len(frame.coord) <= 32_000
        assert ranges.min() > 0.9
        # 80 m from where a ray was fired: within 0.4 m of the way, and 0.2 m above the origin.
        assert ranges.max() < 80.6
        assert frame.strength.min() >= 0.0
        assert frame.strength.max() <= np.float32(0.99)
        steps = frame.strength * 100
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    names = [frame.name for frame in frames]
    assert len({frame.coord.tobytes() for frame in frames}) == len(names) == len(set(names))


def test_at_least_ten_classes_are_there_and_none_is_everything(drive: Path):
    for sequence, least in (("00", 12), ("08", 10)):
        total = np.zeros(20, dtype=np.int64)
        for frame in SPEC.open(drive, sequences=[sequence]):
            assert frame.segment is not None
            total += np.bincount(frame.segment + 1, minlength=20)
        assert (total[1:] > 0).sum() >= least, dict(zip(CLASS_NAMES, total[1:], strict=True))
        assert total.max() < 0.5 * total.sum()
        assert total[0] < 0.1 * total.sum()


def test_things_are_counted_one_by_one_and_stuff_is_not(drive: Path):
    labels = labels_of(drive)
    raw, instance = labels & 0xFFFF, labels >> 16
    things = {kind.semantickitti for kind in THINGS}
    is_thing = np.isin(raw, sorted(things))
    assert is_thing.sum() > 1000
    assert (instance[is_thing] > 0).all()
    assert (instance[~is_thing] == 0).all()
    assert len(np.unique(instance[np.isin(raw, [10, 252])])) > 10


def test_labels_hold_the_class_below_and_the_instance_above():
    returns = returns_of(
        [[5, 0, 0], [30, 40, 0.5], [3, 4, 0], [-29, -40, 0]],
        [0.1, 0.2, 0.3, 0.4],
        [Kind.CAR, Kind.CAR, Kind.MOVING_PERSON, Kind.ROAD],
        column=[0, 1, 2, 3],
        instance=[3, 4, 500, 0],
    )
    points, labels = semantickitti_bytes(returns)
    # The second lies beyond 50 m, where nothing is labeled.
    assert np.frombuffer(labels, "<u4").tolist() == [10 + 3 * 65536, 0, 254 + 500 * 65536, 40]
    table = np.frombuffer(points, "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(table[:, :3], returns.coord)
    np.testing.assert_array_equal(table[:, 3], returns.intensity)


def test_a_parked_car_keeps_its_number_from_frame_to_frame(drive: Path):
    paths = sorted(drive.glob("sequences/00/labels/*.label"))[:2]
    first, second = (np.fromfile(path, "<u4") for path in paths)
    parked = [set(part[(part & 0xFFFF) == 10].tolist()) for part in (first, second)]
    assert len(parked[0] & parked[1]) >= 3


def test_the_road_lies_below_the_sensor_and_the_beams_are_an_hdl_64e_s(drive: Path):
    frame = SPEC.open(drive, sequences=["00"])[0]
    road = frame.coord[frame.segment == CLASS_NAMES.index("road")]
    near = road[np.hypot(road[:, 0], road[:, 1]) < 10.0]
    assert np.median(near[:, 2]) == pytest.approx(-1.73, abs=0.12)
    ranges = np.linalg.norm(frame.coord, axis=1)
    elevation = np.degrees(np.arcsin(frame.coord[:, 2] / ranges))
    assert elevation[ranges > 4.0].max() < 5.0
    assert elevation[ranges > 4.0].min() > -26.0
    # One beam after the other, each a turn from straight ahead to the left.
    azimuth = np.degrees(np.arctan2(frame.coord[:, 1], frame.coord[:, 0])) % 360
    turns = np.flatnonzero(np.diff(azimuth) < -180)
    assert 55 <= len(turns) + 1 <= 64
    medians = [np.median(part) for part in np.split(elevation, turns + 1)]
    assert (np.diff(medians) < 0.05).all()


# ------------------------------------------------------------------ what is there already


def test_the_same_simulation_is_reused_untouched_and_another_is_told_apart(tmp_path: Path):
    root = tmp_path / "some/where/data"
    simulate_semantickitti(root, **SMALL)
    assert [path.name for path in root.parent.iterdir()] == ["data"]
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert simulate_semantickitti(root, **SMALL).reused
    with pytest.raises(UserError) as error:
        simulate_semantickitti(root, **{**SMALL, "seed": 9})
    assert "seed 0 instead of 9" in str(error.value)
    assert str(root) in str(error.value)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == stamps
    # Nor is a record believed that promises more than there is.
    for path in root.glob("sequences/00/*/000001.*"):
        path.unlink()
    with pytest.raises(UserError, match="has 1 frames"):
        simulate_semantickitti(root, **SMALL)


@pytest.mark.parametrize(
    ("name", "content", "place", "said"),
    [
        ("data/sequences", "not ours", "data", "did not write"),
        ("data", "mine", "data", "is a file"),
        (f"data/{RECORD}", "{", "data", "cannot be read"),
        (f"data/{RECORD}", "[]", "data", "no record of ours"),
        (f"data/{RECORD}", '"x"', "data", "no record of ours"),
        ("file", "mine", "file/data", "cannot be written"),
    ],
)
def test_what_is_no_simulation_is_refused_and_left_alone(
    tmp_path: Path, name: str, content: str, place: str, said: str
):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    before = digest(tmp_path), sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=said) as error:
        simulate_semantickitti(tmp_path / place, **SMALL)
    assert str(tmp_path / place) in str(error.value)
    assert "\n" not in str(error.value)
    assert (digest(tmp_path), sorted(tmp_path.rglob("*"))) == before


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch):
    write = Path.write_bytes

    def fail_at_labels(self: Path, data: bytes) -> int:
        if self.suffix == ".label":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail_at_labels)
    with pytest.raises(UserError, match="No space left"):
        simulate_semantickitti(tmp_path / "data", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_may_make_the_same_data(tmp_path: Path, monkeypatch):
    simulate_semantickitti(tmp_path / "other", **SMALL)
    rename = Path.rename

    def be_late(self: Path, target: Path) -> Path:
        # Just before this process is done, the other one puts its own result there.
        rename(tmp_path / "other", target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", be_late)
    made = simulate_semantickitti(tmp_path / "data", **SMALL)
    assert made.reused
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert len(SPEC.open(made.root, sequences=made.training_sequences)) == 2


def test_an_empty_folder_is_filled_and_has_usual_rights(tmp_path: Path):
    root = tmp_path / "some/where/data"
    root.mkdir(parents=True)
    assert not simulate_semantickitti(root, **SMALL).reused
    assert json.loads((root / RECORD).read_text())["seed"] == 0
    (tmp_path / "plain").mkdir()
    assert root.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_simulation_leaves_nothing(tmp_path: Path, monkeypatch, interruption):
    scan = SpinningLidar.scan
    calls = []

    def fail_at_the_third(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise interruption
        return scan(self, *arguments)

    monkeypatch.setattr(SpinningLidar, "scan", fail_at_the_third)
    with pytest.raises(interruption):
        simulate_semantickitti(tmp_path / "data", **SMALL)
    assert len(calls) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_says_sweeps_is_understood_and_other_numbers_are_told_in_short(
    tmp_path: Path,
):
    simulate_semantickitti(tmp_path, **SMALL)
    record = tmp_path / RECORD
    content = json.loads(record.read_text())
    content["sweeps"] = content.pop("frames")
    record.write_text(json.dumps(content))
    points = next(tmp_path.rglob("*.bin"))
    before = points.stat().st_mtime_ns
    simulate_semantickitti(tmp_path, **SMALL)
    assert points.stat().st_mtime_ns == before
    with pytest.raises(UserError, match="frames 3 in 2 sequences instead of 5 in 2 sequences"):
        simulate_semantickitti(tmp_path, **{**SMALL, "num_frames": 4})
