"""SemanticKITTI's submission: what is read back is what was predicted, and nothing half done."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from train.core.errors import UserError
from train.data.semantickitti import SPEC, SemanticKitti, SemanticKittiSubmission, read_submission


@pytest.fixture
def source(write_tree) -> SemanticKitti:
    root = write_tree(
        {"11": {"000000": (30, False), "000007": (40, False)}, "12": {"000000": (20, False)}}
    )
    return SPEC.open(root, sequences=["11", "12"], require_labels=False)


def predictions(source: SemanticKitti) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 19, len(sweep.coord)) for sweep in source]


def test_a_submission_reads_back_as_what_was_predicted(source, tmp_path: Path):
    submission = SemanticKittiSubmission(tmp_path / "out" / "s.zip", source)
    wanted = predictions(source)
    for sweep, prediction in zip(source, wanted, strict=True):
        submission.add(sweep, prediction)
    path = submission.finish()
    assert path == tmp_path / "out" / "s.zip"
    back = read_submission(path)
    assert list(back) == ["11/000000", "11/000007", "12/000000"]
    for name, prediction in zip(source.names, wanted, strict=True):
        np.testing.assert_array_equal(back[name], prediction)


def test_files_hold_the_servers_names_and_raw_ids(source, tmp_path: Path):
    submission = SemanticKittiSubmission(tmp_path / "s.zip", source)
    for sweep in source:
        submission.add(sweep, np.arange(len(sweep.coord)) % 19)
    with zipfile.ZipFile(submission.finish()) as archive:
        content = archive.read("sequences/11/predictions/000000.label")
    # The official learning_map_inv, copied by hand.
    inverse = [10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
    assert len(content) == 4 * 30
    assert np.frombuffer(content, "<u4").tolist() == (inverse + inverse)[:30]


def test_the_same_predictions_give_the_same_bytes(source, tmp_path: Path):
    made = []
    for name in ("a.zip", "b.zip"):
        submission = SemanticKittiSubmission(tmp_path / name, source)
        for sweep in source:
            submission.add(sweep, np.zeros(len(sweep.coord), np.int64))
        made.append(submission.finish().read_bytes())
    assert made[0] == made[1]


def test_an_incomplete_submission_is_refused_and_leaves_nothing(source, tmp_path: Path):
    submission = SemanticKittiSubmission(tmp_path / "out" / "s.zip", source)
    submission.add(source[0], np.zeros(30, np.int64))
    with pytest.raises(UserError, match=r"2 sweeps have no prediction, 11/000007 for example"):
        submission.finish()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (np.zeros(29, np.int64), r"shape \(29,\).* 30 points"),
        (np.full(30, 19), "outside 0 to 18"),
        (np.full(30, -1), "outside 0 to 18"),
    ],
    ids=["length", "too-large", "ignored"],
)
def test_a_prediction_that_does_not_fit_is_refused(source, tmp_path: Path, prediction, message):
    submission = SemanticKittiSubmission(tmp_path / "s.zip", source)
    with pytest.raises(UserError, match=message):
        submission.add(source[0], prediction)


def test_a_sweep_cannot_be_added_twice(source, tmp_path: Path):
    submission = SemanticKittiSubmission(tmp_path / "s.zip", source)
    submission.add(source[0], np.zeros(30, np.int64))
    with pytest.raises(UserError, match="added before"):
        submission.add(source[0], np.zeros(30, np.int64))


def test_a_file_that_is_there_is_not_replaced(source, tmp_path: Path):
    (tmp_path / "s.zip").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        SemanticKittiSubmission(tmp_path / "s.zip", source)


def test_what_is_no_submission_is_named(tmp_path: Path):
    (tmp_path / "s.zip").write_text("mine")
    with pytest.raises(UserError, match="is no zip"):
        read_submission(tmp_path / "s.zip")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("000000.label", b"")
    with pytest.raises(UserError, match="expected sequences/SS"):
        read_submission(tmp_path / "t.zip")
    with zipfile.ZipFile(tmp_path / "u.zip", "w") as archive:
        archive.writestr("sequences/11/predictions/000000.label", np.array([1], "<u4").tobytes())
    with pytest.raises(UserError, match="has id 1, which is not predicted"):
        read_submission(tmp_path / "u.zip")
