"""What the tests of several studies share, with each other and with those of training."""

from dataclasses import replace

from tests.train.conftest import toy_frames, toys_registered
from train.ablation.records import add_records, read_records

__all__ = ["toy_frames", "toys_registered"]


def assert_a_lost_run_comes_back(file, variant, start):
    """A run that is lost is made again the same, and no other run is."""
    before = read_records([file]).runs
    lost = next(each for each in before if (each.variant, each.seed) == (variant, 1))
    file.unlink()
    # Of the others something is changed that another run would bring back.
    kept = [replace(each, device="kept") for each in before if each is not lost]
    add_records(file, kept)
    start()
    after = read_records([file]).runs
    assert [each for each in after if each.device == "kept"] == kept
    (again,) = [each for each in after if each.device != "kept"]
    assert (again.key, again.scores, again.scenes) == (lost.key, lost.scores, lost.scenes)
    assert (again.options, again.steps) == (lost.options, lost.steps)
