"""Kept batches give every variant of a seed the same voxels and the same teacher, to the last
bit."""

from dataclasses import replace

import pytest
import torch

from train.ablation.kept_batches import KeptBatches
from train.core.errors import UserError
from train.methods.targets import compute_targets
from train.methods.terms import TargetChoice
from train.methods.topology_gradient import TopologyGradient, TopologyGradientConfig

CPU = torch.device("cpu")
CHOICE = TargetChoice(features=("dec0",), saliency=("dec3", "dec2", "dec1", "dec0"))


@pytest.fixture
def kept(batch, teacher, student, tmp_path):
    """Two kept batches of a tiny pair."""
    made = KeptBatches(folder=tmp_path / "kept", number=2, seed=3, student=student, device=CPU)
    batches = [replace(batch, names=(name, "b")) for name in ("one", "two")]
    made.make(batches, teacher, CHOICE)
    return made


def test_a_kept_batch_is_the_batch_with_the_teachers_own_output(kept, batch, teacher):
    found = kept.read(1)
    for name in ("feat", "coord", "grid_coord", "offset", "segment"):
        assert torch.equal(found[name], batch[name]), name
    assert found.names == ("two", "b")
    inside = found.kept
    again = compute_targets(teacher, batch, inside.geometry, CHOICE)
    assert torch.equal(inside.targets.logits, again.logits)
    assert torch.equal(inside.targets.features["dec0"], again.features["dec0"])
    for stage in CHOICE.saliency:
        assert torch.equal(inside.targets.saliency[stage], again.saliency[stage]), stage


def test_curves_are_the_same_each_time_and_others_for_another_batch(kept):
    """Rows of a coarse stage are sorted along a curve that is drawn: it must be drawn alike."""

    def coarse(index):
        return kept.read(index).kept.geometry.levels[1].grid_coord

    torch.manual_seed(1)
    first = coarse(0)
    torch.manual_seed(2)
    assert torch.equal(first, coarse(0))
    levels = [kept.read(index).kept.geometry.levels for index in (0, 1)]
    assert any(not torch.equal(a.code, b.code) for a, b in zip(*levels, strict=True))


def test_reading_draws_nothing_from_the_global_generator(kept):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    kept.read(0)
    assert torch.equal(torch.rand(3), expected)


def test_the_loss_of_kept_targets_is_that_of_a_teacher_that_is_asked(kept, teacher, student):
    method = TopologyGradient(TopologyGradientConfig(num_samples=100), student, teacher)
    with_kept = kept.read(0)
    geometry = with_kept.kept.geometry
    student.eval()  # no drop path, so that both passes are one and the same
    terms = method(student, None, with_kept)

    class Prepared:
        """Both networks with the geometry of the kept batch."""

        def __init__(self, network):
            self.network, self.geometry_key = network, network.geometry_key
            self.known_classes = network.known_classes

        def __call__(self, *arguments, **options):
            return self.network(*arguments, **options)

        def prepare(self, _):
            return geometry

    plain = replace(with_kept, kept=None)
    live = method(Prepared(student), Prepared(teacher), plain)
    assert terms.keys() == live.keys() == {"segmentation", "topology", "saliency", "distillation"}
    for name, term in terms.items():
        assert torch.equal(term.value, live[name].value), name


def test_each_pass_has_every_batch_once_and_goes_on_in_the_middle(kept):
    ends = kept.ends(3)
    assert ends == [2, 4, 6]
    names = [batch.names[0] for batch in kept.batches(ends, 0)]
    assert [set(names[begin : begin + 2]) for begin in (0, 2, 4)] == 3 * [{"one", "two"}]
    assert [batch.names[0] for batch in kept.batches(ends, 3)] == names[3:]


def test_without_targets_for_a_method_that_has_no_teacher(kept, student):
    alone = KeptBatches(
        folder=kept.folder, number=2, seed=3, student=student, device=CPU, with_targets=False
    )
    assert alone.read(0).kept.targets is None


def test_batches_that_are_there_stay_and_missing_ones_are_made(kept, batch, teacher):
    before = kept.path(0).stat().st_mtime_ns
    kept.path(1).unlink()
    assert kept.missing() == [1]
    kept.make([batch, batch], teacher, CHOICE)
    assert kept.missing() == []
    assert kept.path(0).stat().st_mtime_ns == before


def test_a_damaged_file_is_named(kept):
    kept.path(0).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"batch-00000\.pt"):
        kept.read(0)


def test_networks_of_two_geometries_are_refused(kept, batch, teacher, monkeypatch):
    monkeypatch.setattr(type(teacher), "geometry_key", None)
    with pytest.raises(UserError, match="--keep 0"):
        kept.make([batch, batch], teacher, CHOICE)
