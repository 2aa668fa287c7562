"""Figures 3 and 5 show the frame and the crops that their rules say, with the right counts."""

import dataclasses

import numpy as np
import pytest

from benchmarks.studies.figures.panels import (
    cells,
    make_cells,
    make_frame,
    summary_of_cells,
    summary_of_frame,
)
from tests.studies.figures.scenes import shown, trained, wrong_where
from train.core.errors import UserError


def test_the_frame_shown_is_the_students_median():
    scenes = [shown(name) for name in ("a", "b", "c")]
    for scene, share in zip(scenes, (0.5, 0.1, 0.3), strict=True):
        wrong_where(scene, "student", np.arange(1000) < 20 + 980 * share)
    numbers = make_frame(trained(), scenes).numbers
    assert numbers["frame"] == "c"
    assert numbers["right"]["student"] == pytest.approx(0.7)
    assert numbers["right"]["teacher"] == 1.0  # points without a label do not count
    assert "student's median of 3; points right: teacher 100.0%, student 70.0%" in (
        summary_of_frame(numbers)
    )


def test_a_frame_is_shown_without_a_student_alone():
    numbers = make_frame(trained(), [shown(roles=("teacher", "student"))]).numbers
    assert list(numbers["right"]) == ["teacher", "student"]


def test_crops_are_where_the_student_gained_and_lost_most():
    one, other = shown("a", points=6000), shown("b", points=6000)
    inside = [
        (scene.coord[:, :2] >= low).all(axis=1)
        & (scene.coord[:, :2] < np.array(low) + 16).all(axis=1)
        for scene, low in ((one, [-16, 0]), (other, [0, -16]))
    ]
    gained = wrong_where(one, "student alone", inside[0])
    lost = wrong_where(other, "student", inside[1] & (other.coord[:, 0] > 5))
    numbers = make_cells(trained(), [one, other]).numbers
    best, worst = numbers["shown"]
    assert (best["frame"], best["corner_m"], best["gain"]) == ("a", [-16.0, 0.0], gained)
    assert (worst["frame"], worst["corner_m"], worst["gain"]) == ("b", [0.0, -16.0], -lost)
    assert best["points"] == (inside[0] & (one.truth >= 0)).sum()
    assert numbers["gained_in_all"] == gained - lost
    assert f"{gained:+,} points" in summary_of_cells(numbers)


def test_a_crop_has_enough_labeled_points():
    scene = shown(points=1000)  # 9 whole squares of about 111 points
    assert cells(scene) == []
    with pytest.raises(UserError, match="no square of 16 m has 200 labeled points"):
        make_cells(trained(), [scene])
    unlabeled = shown(points=6000)
    unlabeled.truth[:] = -1
    assert cells(unlabeled) == []
    assert sum(cell.points for cell in cells(shown(points=6000))) <= 5980


def test_crops_without_the_student_alone_are_refused():
    with pytest.raises(UserError, match="figure5 compares with the student alone: give --baseline"):
        cells(shown(roles=("teacher", "student")))
    scene = shown(points=6000)
    alone = {role: labels for role, labels in scene.predictions.items() if role != "teacher"}
    assert make_cells(trained(), [dataclasses.replace(scene, predictions=alone)]).numbers["cells"]
