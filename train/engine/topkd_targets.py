"""The command that draws a teacher's clouds and makes their exact images, apart from a run.

topodistill topkd-targets --dataset waymo --simulate --output targets.safetensors
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import torch
from tyro.conf import arg

from train.config import RunConfig
from train.core.command import Command
from train.core.console import logger
from train.core.device import describe_device, resolve_device
from train.core.distributed import current_world
from train.core.errors import UserError
from train.data.batch import SkippedFrames
from train.data.dataset_spec import dataset_spec
from train.engine.command_line import parse
from train.engine.loop import plain_batches
from train.engine.pair import Pair
from train.engine.run_data import open_data
from train.methods.topkd.artifacts import check_output, save_targets
from train.methods.topkd.clouds import warn_of_few_points
from train.methods.topkd.options import TopKDConfig
from train.methods.topkd.targets import make_targets
from train.networks.pretrained import pretrained_path
from train.networks.protocol import Network

EPILOG = """\
Further flags are those of a run, as topodistill run --method topkd --help lists them:
--dataset, --data-root, --simulate, --model, --teacher-checkpoint, --device, --data.grid-size-m and
other --data flags; and of the method --method.stage, --method.num-points, --method.region,
--method.sampling, --method.normalization, --method.dims, --method.birth-margin,
--method.num-clouds and --method.clouds-per-frame.

example, and the two steps that follow:
  topodistill topkd-targets --dataset waymo --simulate --output targets.safetensors
  topodistill topkd-fit --targets targets.safetensors --output topkd.safetensors
  topodistill run --dataset waymo --simulate --method topkd --method.artifacts topkd.safetensors
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where the clouds go; all else is said by the flags of a run."""

    output: Annotated[Path, arg(metavar="FILE")]
    """NAME.safetensors; is replaced"""


def _run(options: Options, rest: Sequence[str]) -> None:
    if current_world().size > 1:
        raise UserError("topkd-targets runs on one process; start it without torchrun")
    if any(word.split("=")[0] in ("--method", "--preset", "--resume", "--stage") for word in rest):
        raise UserError(
            "topkd-targets takes neither --method nor --preset, --resume or --stage; leave it out"
        )
    output = options.output
    config = parse(["--method", "topkd", *rest])
    assert isinstance(config.options, TopKDConfig)
    check_output(output)
    warn_of_few_points(config.options.num_points)
    device = resolve_device(config.device)
    teacher = _teacher(config, device)
    data = open_data(config, dataset_spec(config.dataset, vars(config.data)))
    logger.info(
        f"{config.dataset}: {len(data.training)} frames, {config.options.clouds_per_frame} clouds "
        f"from each, {config.options.num_clouds} at most; on {describe_device(device)}"
    )
    skipped = SkippedFrames()
    targets = make_targets(
        teacher,
        plain_batches(data.training, config, device, skipped),
        config.options.choice(teacher),
        dims=config.options.dims,
        birth_margin=config.options.birth_margin,
        per_frame=config.options.clouds_per_frame,
        at_most=config.options.num_clouds,
    )
    save_targets(targets, output)
    for line in skipped.lines():
        logger.info(line)
    logger.info(f"done: {output}")


def _teacher(config: RunConfig, device: torch.device) -> Network:
    """Return the teacher that is given, or the one that comes with the package."""
    spec = dataset_spec(config.dataset, vars(config.data))
    pair = Pair(config, device, tuple(spec.class_names), None)
    path = config.teacher_checkpoint or pretrained_path(
        config.dataset, pair.names["teacher"], simulated=config.simulate
    )
    if path is None:
        raise UserError("--teacher-checkpoint is missing: no trained teacher comes for this data")
    teacher, metadata = pair.load_teacher(path)
    own = (config.data.grid_size_m, config.data.clip_range_m)
    if config.teacher_checkpoint is None and own != (metadata.grid_size_m, metadata.clip_range_m):
        raise UserError(
            f"--teacher-checkpoint is missing: the package's teacher has voxels of "
            f"{metadata.grid_size_m} m in the box {metadata.clip_range_m}, these are {own[0]} m in "
            f"{own[1]}"
        )
    return teacher


COMMAND: Final = Command(
    "topodistill topkd-targets",
    Options,
    _run,
    "Draw clouds of a teacher's features and make their exact persistence images.",
    epilog=EPILOG,
    passes_on=True,
)
main: Final = COMMAND.main
