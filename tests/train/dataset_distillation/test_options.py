"""Options: presets and flags, the authors' numbers, and what nothing can be made with."""

import functools
import math
from pathlib import Path

import pytest

from benchmarks.studies.dd3d_lidar.experiment import Settings
from train.core.errors import UserError
from train.dataset_distillation.command import COMMAND, distill_options, kind_of
from train.dataset_distillation.frames.read import FrameData
from train.dataset_distillation.generator import GeneratorSpec
from train.dataset_distillation.objects.simulated import SimulatedSet
from train.dataset_distillation.options import DistillOptions, RotatorOptions, paper_loops
from train.dataset_distillation.rotator import Rotator
from train.dataset_distillation.start import StartOptions
from train.dataset_distillation.training import FrameTraining


def spec(**changed):
    """Of a generator."""
    return GeneratorSpec(**{"classes": ("a", "b"), "clouds_per_class": 1, **changed})


frames = functools.partial(FrameData, root=Path())


@pytest.mark.parametrize(
    ("options", "changed", "words"),
    [
        (DistillOptions, {"method": "magic"}, "--method"),
        (DistillOptions, {"clouds_per_class": 0}, "--cpc"),
        (DistillOptions, {"points": 1}, "--distill-points"),
        (DistillOptions, {"iterations": 0}, "--iterations"),
        (DistillOptions, {"outer": 0}, "--outer"),
        (DistillOptions, {"lr": 0.0}, "--lr"),
        (DistillOptions, {"widths": (8,)}, "--pointnet-widths"),
        (DistillOptions, {"task": "magic"}, "--task"),
        (DistillOptions, {"task": "parts", "method": "distribution-matching"}, "--task parts"),
        (DistillOptions, {"seed": -1}, "--seed"),
        (DistillOptions, {"start": "magic"}, "choose one of noise"),
        (DistillOptions, {"task": "parts", "start": "random"}, "starts from noise"),
        (RotatorOptions, {"mode": "magic"}, "--rotator"),
        (StartOptions, {"steps": -1}, "--start-steps -1"),
        (StartOptions, {"frames": -1}, "--start-frames -1"),
        (StartOptions, {"share_power": 2.0}, "--share-power 2"),
        (StartOptions, {"lr": 0.0}, "both above 0"),
        (frames, {"points": 1}, "--points 1"),
        (frames, {"frames": 0}, "--frames 0"),
        (frames, {"range_m": 0.0}, "--range-m 0"),
        (frames, {"range_m": math.nan}, "--range-m nan"),
        (SimulatedSet, {"train_per_class": 0}, "--train-per-class 0"),
        (SimulatedSet, {"test_per_class": 0}, "--test-per-class 0"),
        (SimulatedSet, {"num_points": 1}, "at least 2"),
        (SimulatedSet, {"seed": -1}, "--seed -1"),
        (FrameTraining, {"epochs": 0}, "epochs 0"),
        (FrameTraining, {"turn_deg": 200}, "turn_deg 200"),
        (FrameTraining, {"share_power": -1}, "share_power -1"),
        (spec, {"clouds_per_class": 0}, "clouds_per_class"),
        (spec, {"width": 0}, "width"),
        (spec, {"layers": 0}, "layers"),
        (spec, {"w0": 0.0}, "w0"),
        (spec, {"classes": ()}, "classes"),
        (spec, {"intervals": ((),)}, "intervals"),
        (Rotator, {"mode": "odd"}, "mode"),
        (Rotator, {"mode": "straight-through", "periods": 0}, "periods"),
    ],
)
def test_options_that_nothing_can_be_made_with_are_refused(options, changed, words):
    with pytest.raises(ValueError if options in (spec, Rotator) else UserError, match=words):
        options(**changed)


def test_loops_of_the_authors_code():
    assert paper_loops(1, rotated=False) == (10, 1)
    assert paper_loops(10, rotated=False) == (20, 1)
    assert paper_loops(50, rotated=False) == (40, 5)
    assert paper_loops(1, rotated=True) == (5, 5)
    assert paper_loops(49, rotated=True) == (20, 10)
    assert DistillOptions().loops == (10, 1)


def test_the_authors_start_is_taken_where_none_is_named():
    assert DistillOptions().begins_as == "noise"
    assert DistillOptions(method="gradient-matching").begins_as == "random"


def test_presets_and_flags():
    """A flag wins over the preset; the quick one starts from real clouds."""

    def chosen(*given):
        return distill_options(COMMAND.parse(["--output", "x", *given]))

    assert (chosen().begins_as, chosen().lr, chosen().iterations) == ("herding", 2e-5, 15)
    assert chosen("--iterations", "7", "--lr", "0.5").lr == 0.5
    assert chosen("--pointnet-widths", "4", "5").widths == (4, 5)
    assert chosen("--preset", "paper").widths == (64, 128, 1024)
    for given in (["--preset", "paper"], ["--start", "noise"], ["--task", "parts"]):
        assert (chosen(*given).begins_as, chosen(*given).lr) == ("noise", 1e-3)
    assert (chosen("--preset", "paper").points, chosen("--preset", "paper").iterations) == (
        1024,
        400,
    )
    assert chosen("--method", "random").start is None


def test_frames_are_distilled_as_the_results_page_measured():
    """The quick preset starts from real points; from noise, so few steps lose to random points."""

    def chosen(*given):
        given = COMMAND.parse(["--output", "x", "--dataset", "waymo", *given])
        found = distill_options(given)
        return found, kind_of(given).start()

    measured = Settings()
    assert chosen() == (measured.options("dd3d-start", 1, 0), measured.start("dd3d-start"))
    for given in (["--preset", "paper"], ["--start", "noise"], ["--start-steps", "0"]):
        options, start = chosen(*given)
        assert (options.lr, options.w0, start) == (1e-3, 100.0, StartOptions())
    options, start = chosen("--lr", "0.5", "--w0", "7", "--outer", "3", "--inner", "2")
    assert (options.lr, options.w0, options.outer, options.inner) == (0.5, 7.0, 3, 2)
    _, start = chosen("--start-steps", "9", "--share-power", "0.3", "--start-frames", "2")
    assert (start.steps, start.share_power, start.frames) == (9, 0.3, 2)
    _, start = chosen("--start-steps", "9", "--preset", "paper")
    assert (start.steps, start.share_power) == (9, 1.0)
