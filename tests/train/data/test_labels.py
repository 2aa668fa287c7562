"""Frames without labels: which keep theirs, and what a batch has of the others."""

import pytest
import torch

from train.core.errors import UserError
from train.data.batch import Batch
from train.data.frame import IGNORE_INDEX
from train.data.labels import check_labels, hide_labels, labeled_frames

NAMES = [f"{sequence:02d}/{frame:06d}" for sequence in range(10) for frame in range(4)]


def sequences(names):
    return {name.partition("/")[0] for name in names}


@pytest.mark.parametrize(
    ("labels", "frames", "touched"),
    [("all", 40, 10), ("none", 0, 0), ("8", 8, 2), ("0.2", 8, 2), ("9", 9, 3), ("0.03", 1, 1)],
)
def test_whole_sequences_are_drawn_first(labels, frames, touched):
    found = labeled_frames(NAMES, labels, seed=3)
    assert len(found) == frames
    assert found <= set(NAMES)
    assert len(sequences(found)) == touched


def test_a_sequence_that_is_too_long_is_not_cut_while_others_fit():
    names = [f"long/{frame}" for frame in range(30)] + [f"short{k}/0" for k in range(5)]
    for seed in range(10):
        assert sequences(labeled_frames(names, "5", seed)) == {f"short{k}" for k in range(5)}


def test_the_seed_draws_and_a_larger_number_is_no_other_draw():
    draws = [labeled_frames(NAMES, "8", seed) for seed in range(20)]
    assert len(set(draws)) > 10
    assert draws[4] == labeled_frames(NAMES, "8", 4)
    assert labeled_frames(NAMES, "8", 4) < labeled_frames(NAMES, "16", 4)


def test_names_without_a_slash_are_sequences_of_their_own():
    assert len(labeled_frames([f"{k:032x}" for k in range(10)], "3", 0)) == 3


@pytest.mark.parametrize("labels", ["some", "1.5", "0", "-3", "0.0", "", "nan"])
def test_what_is_no_choice_is_refused(labels):
    with pytest.raises(UserError, match=r"--data.labels .*: give all, none"):
        check_labels(labels)


@pytest.mark.parametrize(("labels", "wanted"), [("41", "41 of 40"), ("0.01", "0 of 40")])
def test_more_than_there_are_and_less_than_one_are_refused(labels, wanted):
    with pytest.raises(UserError, match=f"--data.labels {labels}: that is {wanted}"):
        labeled_frames(NAMES, labels, 0)


def batch(**more):
    grid = torch.arange(18).view(6, 3)
    return Batch(
        {"grid_coord": grid, "offset": torch.tensor([2, 3, 6]), **more}, names=tuple("abc")
    )


def test_labels_of_other_frames_are_hidden_and_the_batch_is_left_as_it_was():
    before = batch(segment=torch.arange(6))
    found = hide_labels(before, {"b"})
    assert found["segment"].tolist() == [IGNORE_INDEX] * 2 + [2] + [IGNORE_INDEX] * 3
    assert before["segment"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.names == before.names


def test_frames_that_never_had_labels_get_a_column_without_any():
    assert hide_labels(batch(), {"b"})["segment"].tolist() == [IGNORE_INDEX] * 6


def test_a_batch_in_which_no_frame_could_be_read_stays_empty():
    assert "segment" not in hide_labels(Batch(), {"b"})
