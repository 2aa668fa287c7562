"""A run's configuration: presets, refused values, what a continued run may change."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from train.config import (
    CHANGEABLE_ON_RESUME,
    FREE_ON_RESUME,
    DataConfig,
    OptimConfig,
    RunConfig,
    differences,
    from_json,
    to_json,
)
from train.core.errors import UserError
from train.data.dataset_spec import DATASETS
from train.engine.command_line import parse
from train.methods.affinity import AffinityConfig
from train.methods.feature import FeatureConfig
from train.methods.kd import KDConfig
from train.methods.registry import METHODS, method_class
from train.methods.rkd import RelationalKDConfig
from train.methods.topology_gradient import TopologyGradientConfig
from train.presets import preset


@pytest.mark.parametrize("model", ["paper", "tiny"])
@pytest.mark.parametrize("dataset", sorted(DATASETS))
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_preset_comes_back_from_json(dataset, model, method):
    config = preset(dataset, model, method)
    plain = to_json(config)
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["dataset"], plain["model"], plain["method"]) == (dataset, model, method)
    # The start gives the types and no value: every one of them is another here.
    other = {"cache_dir": Path("cache"), "clip_range_m": (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)}
    moved = dataclasses.replace(
        config, output=Path("here"), seed=7, data=dataclasses.replace(config.data, **other)
    )
    assert from_json(to_json(moved), config) == moved
    assert from_json(plain, moved) == config


def test_an_option_of_another_version_is_named():
    config = preset("waymo", "tiny")
    for changes, name in (
        ({"loss": {}}, "loss"),
        ({"data": {**to_json(config)["data"], "frames": 1}}, "frames"),
    ):
        with pytest.raises(UserError, match=f"option {name} is unknown to this version"):
            from_json(to_json(config) | changes, config)


def test_the_papers_values_are_the_defaults():
    config = preset("semantickitti", "paper")
    method = config.options
    assert config.method == "topology-gradient"
    assert (method.topology, method.saliency, method.distillation) == (8.0, 1.0, 1.0)
    assert (config.data.batch_size, config.data.grid_size_m) == (12, 0.05)
    assert (config.optim.student_epochs, config.optim.lr, config.optim.weight_decay) == (
        50,
        2e-3,
        5e-3,
    )
    assert method.num_samples == 1024


@pytest.mark.parametrize("method", ["kd", "topology-gradient", "rkd", "affinity", "feature"])
def test_logits_alone_are_softened_as_tuned_and_beside_a_term_as_recorded(method):
    assert preset("waymo", "tiny", method).options.temperature == (4.0 if method == "kd" else 1.0)


def test_an_unknown_dataset_lists_the_known_ones():
    with pytest.raises(UserError, match=r"'kitty'; known: .*semantickitti"):
        preset("kitty", "tiny")


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (lambda: topology(topology=-1.0), "--method.topology is -1.0"),
        (lambda: topology(saliency=float("nan")), "--method.saliency is nan"),
        (lambda: KDConfig(distillation=float("inf")), "--method.distillation is inf"),
        (lambda: topology(num_samples=1), "--method.num-samples is 1"),
        (lambda: KDConfig(temperature=0.0), "--method.temperature is 0.0"),
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
        (lambda: topology(sinkhorn_eps=0.0), "--method.sinkhorn-eps is 0.0"),
        (lambda: topology(cost_scale=0.0), "--method.cost-scale is 0.0"),
        (lambda: topology(eps=float("inf")), "--method.eps is inf"),
        (lambda: topology(dim_weights=(1.0, -1.0)), "--method.dim-weights is "),
        (lambda: topology(min_persistence=-1.0), "--method.min-persistence is -1.0"),
        (lambda: topology(saliency_stages=()), "--method.saliency-stages is empty"),
        (lambda: topology(topology_balance=-0.5), "--method.topology-balance is -0.5"),
        (lambda: topology(topology_balance=float("inf")), "--method.topology-balance is inf"),
        (lambda: topology(topology_balance=0.2, topology=4.0), "--method.topology is 4.0"),
        (lambda: topology(diagram_distance="wasserstein"), "--method.dim-weights is (1.0, 1.0)"),
        (lambda: RelationalKDConfig(distance=-1.0), "--method.distance is -1.0"),
        (lambda: RelationalKDConfig(angle=float("nan")), "--method.angle is nan"),
        (lambda: RelationalKDConfig(angle_samples=2), "--method.angle-samples is 2"),
        (lambda: RelationalKDConfig(num_samples=1), "--method.num-samples is 1"),
        (lambda: RelationalKDConfig(balance=-1.0), "--method.balance is -1.0"),
        (lambda: RelationalKDConfig(balance=0.2, distance=0, angle=0), "--method.balance is 0.2"),
        (lambda: AffinityConfig(affinity=-1.0), "--method.affinity is -1.0"),
        (lambda: AffinityConfig(affinity=2.0, balance=0.2), "--method.affinity is 2.0"),
        (lambda: FeatureConfig(feature=-1.0), "--method.feature is -1.0"),
        (lambda: FeatureConfig(feature=2.0, balance=0.2), "--method.feature is 2.0"),
        (lambda: OptimConfig(accumulate=0), "--optim.accumulate is 0"),
        (lambda: data(max_batch_voxels=5), "--data.max-batch-voxels is 5"),
        (lambda: data(simulated_seed=-1), "--data.simulated-seed is -1"),
        (lambda: run(evaluate_every=-1), "--evaluate-every is -1"),
        (lambda: run(log_gradient_norms_every=-1), "--log-gradient-norms-every is -1"),
        (lambda: data(simulated_frames=0), "--data.simulated-frames is 0"),
        (lambda: data(simulated_validation_frames=0), "--data.simulated-validation-frames is 0"),
        (lambda: data(simulated_azimuth_steps=3), "--data.simulated-azimuth-steps is 3"),
        (lambda: run(seed=-1), "--seed is -1"),
        (lambda: run(checkpoint_minutes=0.0), "--checkpoint-minutes is 0.0"),
        (lambda: run(stage="evaluate"), "add --resume"),
    ],
)
def test_a_refused_value_names_the_flag_and_the_value(build, option):
    with pytest.raises(UserError, match=re.escape(option)):
        build()


def topology(**changes):
    return TopologyGradientConfig(**changes)


def data(**changes):
    return DataConfig(**{"train_sequences": ("00",), "validation_sequences": ("08",), **changes})


def run(**changes):
    return RunConfig(dataset="semantickitti", data=data(), **changes)


def test_a_continued_run_may_move_but_not_change():
    before = run()
    moved = dataclasses.replace(before, device="cuda", stage="student", resume=True)
    assert differences(to_json(before), to_json(moved)) == {}
    changed = dataclasses.replace(moved, optim=OptimConfig(lr=1e-3), seed=3)
    assert differences(to_json(before), to_json(changed)) == {
        "optim.lr": (2e-3, 1e-3),
        "seed": (0, 3),
    }


def test_fields_with_a_rule_for_continued_runs_are_there():
    known = set()
    for config, prefix in ((RunConfig, ""), (DataConfig, "data."), (OptimConfig, "optim.")):
        known |= {prefix + field.name for field in dataclasses.fields(config)}
    assert known >= FREE_ON_RESUME | CHANGEABLE_ON_RESUME
    assert not FREE_ON_RESUME & CHANGEABLE_ON_RESUME


def test_simulated_and_real_data_have_folders_of_their_own():
    assert run().resolved_data_root.as_posix() == "data/semantickitti"
    assert run(simulate=True).resolved_data_root.as_posix() == (
        "data/semantickitti-simulated-16-16-600-0"
    )
    more = dataclasses.replace(data(), simulated_frames=32, simulated_seed=7)
    other = RunConfig(dataset="semantickitti", simulate=True, data=more)
    assert other.resolved_data_root.name.endswith("-32-16-600-7")


def test_a_run_that_goes_on_takes_the_dataset_from_its_folder(tmp_path):
    started = parse(["--dataset", "waymo", "--model", "tiny", "--output", str(tmp_path)])
    (tmp_path / "config.json").write_text(json.dumps({"config": to_json(started)}))
    again = parse(["--resume", "--output", str(tmp_path)])
    assert again == dataclasses.replace(started, resume=True)
    with pytest.raises(UserError, match="--dataset is missing"):
        parse(["--resume", "--output", str(tmp_path / "other")])


def test_help_shows_what_this_machine_takes_and_not_what_was_typed(capsys):
    words = ["--dataset", "waymo", "--model", "paper", "--method", "kd", "--device", "cpu"]
    with pytest.raises(SystemExit):
        parse([*words, "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert re.search(r"--model \{auto,paper,tiny\} [^(]*\(default: tiny\)", text)
    assert "(default: topology-gradient)" in text
    assert "(default: kd)" not in text
    assert re.search(r"--dataset STR [^(]*\(required\)", text)
    assert "--method.temperature" in text


def test_there_are_few_options():
    # A flag is a promise to keep; a new one needs a preset that uses it and a place in this count.
    configs = (RunConfig, DataConfig, OptimConfig)
    assert sum(len(dataclasses.fields(config)) for config in configs) - 3 <= 61
    assert len(dataclasses.fields(method_class("topology-gradient").Config)) <= 23
