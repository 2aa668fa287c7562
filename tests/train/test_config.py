"""A run's configuration: presets, refused values, what a continued run may change."""

import dataclasses
import json

import pytest

from train.config import DataConfig, LossConfig, OptimConfig, RunConfig, differences, to_json
from train.core.errors import UserError
from train.presets import PRESETS, preset


@pytest.mark.parametrize("model", ["paper", "tiny"])
@pytest.mark.parametrize("dataset", sorted(PRESETS))
def test_a_preset_survives_json(dataset, model):
    plain = to_json(preset(dataset, model))
    assert json.loads(json.dumps(plain)) == plain
    assert plain["dataset"] == dataset


def test_the_papers_values_are_the_defaults():
    config = preset("semantickitti", "paper")
    assert (config.loss.topology, config.loss.saliency, config.loss.distillation) == (8.0, 1.0, 1.0)
    assert (config.data.batch_size, config.data.grid_size_m) == (12, 0.05)
    assert (config.optim.student_epochs, config.optim.lr, config.optim.weight_decay) == (
        50,
        2e-3,
        5e-3,
    )
    assert config.loss.num_samples == 1024


def test_an_unknown_dataset_lists_the_known_ones():
    with pytest.raises(UserError, match=r"'kitty'; known: .*semantickitti"):
        preset("kitty", "tiny")


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (lambda: LossConfig(topology=-1.0), "--loss.topology is -1.0"),
        (lambda: LossConfig(saliency=float("nan")), "--loss.saliency is nan"),
        (lambda: LossConfig(distillation=float("inf")), "--loss.distillation is inf"),
        (lambda: LossConfig(num_samples=1), "--loss.num-samples is 1"),
        (lambda: LossConfig(temperature=0.0), "--loss.temperature is 0.0"),
        (lambda: OptimConfig(lr=0.0), "--optim.lr is 0.0"),
        (lambda: OptimConfig(block_lr=-1.0), "--optim.block-lr is -1.0"),
        (lambda: OptimConfig(teacher_epochs=0), "--optim.teacher-epochs is 0"),
        (lambda: OptimConfig(student_epochs=0), "--optim.student-epochs is 0"),
        (lambda: OptimConfig(weight_decay=-1e-3), "--optim.weight-decay is -0.001"),
        (lambda: OptimConfig(warmup_fraction=1.0), "--optim.warmup-fraction is 1.0"),
        (lambda: OptimConfig(max_grad_norm=-1.0), "--optim.max-grad-norm is -1.0"),
        (lambda: data(grid_size_m=0.0), "--data.grid-size-m is 0.0"),
        (lambda: data(grid_size_m=1.5), "--data.grid-size-m is 1.5"),
        (lambda: data(grid_size_m=float("nan")), "--data.grid-size-m is nan"),
        (lambda: data(max_voxels=-1), "--data.max-voxels is -1"),
        (lambda: data(max_voxels=999), "--data.max-voxels is 999"),
        (lambda: data(batch_size=0), "--data.batch-size is 0"),
        (lambda: data(repeats=0), "--data.repeats is 0"),
        (lambda: data(num_workers=-1), "--data.num-workers is -1"),
        (lambda: data(clip_range_m=(1.0, 0.0, 0.0, 0.0, 1.0, 1.0)), "--data.clip-range-m is "),
        (lambda: LossConfig(sinkhorn_eps=0.0), "--loss.sinkhorn-eps is 0.0"),
        (lambda: data(simulated_sweeps=0), "--data.simulated-sweeps is 0"),
        (lambda: data(simulated_validation_sweeps=0), "--data.simulated-validation-sweeps is 0"),
        (lambda: data(simulated_azimuth_steps=3), "--data.simulated-azimuth-steps is 3"),
        (lambda: run(seed=-1), "--seed is -1"),
        (lambda: run(checkpoint_minutes=0.0), "--checkpoint-minutes is 0.0"),
        (lambda: run(stage="evaluate"), "add --resume"),
    ],
)
def test_a_refused_value_names_the_flag_and_the_value(build, option):
    with pytest.raises(UserError, match=option.replace(".", r"\.")):
        build()


def data(**changes):
    return DataConfig(**{"train_sequences": ("00",), "validation_sequences": ("08",), **changes})


def run(**changes):
    return RunConfig(dataset="semantickitti", data=data(), **changes)


def test_a_continued_run_may_move_but_not_change():
    before = run()
    moved = dataclasses.replace(before, device="cuda", stage="student", resume=True)
    assert differences(to_json(before), to_json(moved)) == []
    changed = dataclasses.replace(moved, loss=LossConfig(topology=4.0), seed=3)
    assert differences(to_json(before), to_json(changed)) == [
        "loss.topology: 8.0, now 4.0",
        "seed: 0, now 3",
    ]


def test_simulated_and_real_data_have_folders_of_their_own():
    assert run().resolved_data_root.as_posix() == "data/semantickitti"
    assert run(simulate=True).resolved_data_root.as_posix() == "data/semantickitti-simulated"


def test_there_are_few_options():
    # A flag is a promise to keep; a new one needs a preset that uses it and a place in this count.
    configs = (RunConfig, DataConfig, OptimConfig, LossConfig)
    assert sum(len(dataclasses.fields(config)) for config in configs) - 3 <= 51
