"""The page's section on LiDAR frames says what the record says, and whether it was enough."""

import json

import pytest

from benchmarks.studies.topkd_digits.lidar import read_record, section
from train.core.errors import UserError


def fit(region, dims, gain, intervals=True):
    def part(constant):
        errors = {"constant": constant, "ripsnet": constant / gain, "distances": constant / 6.0}
        return {"errors": errors, "gains": {"ripsnet": gain, "distances": 6.0}}

    found = {
        "choice": {"num_points": 64, "region": region},
        "dims": dims,
        "fitted_to": 2000,
        "validation": part(0.012),
        "teacher": part(0.01),
        "students": {
            "student": {
                "teacher_error": 0.0031,
                "student_error": 0.0072,
                "image_distance": 0.0123,
                "bottleneck": 2.5,
                "own_other": {"ripsnet": 0.25, "exact": None},
            }
        },
    }
    if intervals:
        found["teacher"]["intervals"] = {"ripsnet": [2.5, 4.5], "distances": [5.0, 7.0]}
    return found


def record(*fits):
    return {"frames": 16, "scenes": 4, "fits": list(fits)}


def test_the_numbers_are_those_of_the_record():
    page = section(record(fit(0, [0], 2.0), fit(512, [0, 1], 3.25, intervals=False)))
    assert "16 frames of 4 simulated scenes" in page
    whole = "| 64 of a whole frame | H0 | 2,000 | 2.00 | 6.00 | 10 | 5 | 2.00 [2.50, 4.50] | 6.00 "
    assert whole in page
    near = "| 64 of 512 voxels around one | H0 and H1 | 2,000 | 3.25 | 6.00 | 10 | 3.08 | 3.25 | "
    assert near in page
    assert "| H0 | student | 3.1 | 7.2 | 12.3 | 2.5 | 0.25 | – |" in page


@pytest.mark.parametrize(("gain", "told"), [(2.999, "is **not** 3 times"), (3.0, "is 3 times")])
def test_it_says_whether_three_times_is_reached(gain, told):
    assert f"of a whole frame, H0: RipsNet {told} better" in section(record(fit(0, [0], gain)))


def test_a_record_is_read_or_refused(tmp_path):
    path = tmp_path / "topkd_fidelity.json"
    assert read_record(path) is None
    want = record(fit(0, [0], 2.0))
    path.write_text(json.dumps(want))
    assert read_record(path) == want
    assert "times less" in section(want)
    del want["fits"][0]["teacher"], want["fits"][0]["validation"]  # as without --targets
    path.write_text(json.dumps(want))
    assert "times less" not in section(read_record(path))
    assert "| H0 | student | 3.1 | 7.2 |" in section(want)
    del want["fits"][0]["students"]
    for content in (json.dumps(want), "{", "[]"):
        path.write_text(content)
        with pytest.raises(UserError, match="is not what topkd-fidelity writes"):
            read_record(path)
