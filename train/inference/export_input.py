"""What the export command reads: the network of --checkpoint, and frames of its dataset."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from train.core.console import logger
from train.core.errors import UserError
from train.data.loader import EvaluationFrames
from train.data.registry import dataset_spec
from train.inference.load_network import open_network
from train.inference.onnx_quantize import Frame
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata, load_model


def open_checkpoint(options: argparse.Namespace) -> tuple[Network, ModelMetadata]:
    """Return the network of --checkpoint, in evaluation mode, and what it is.

    Raises
    ------
    UserError
        If flags and file do not belong together, or the file is no network.
    """
    if options.pointcept_size is None:
        for flag in ("cpe_input", "dataset"):
            if getattr(options, flag) is not None:
                raise UserError(
                    f"--{flag.replace('_', '-')} is for files of Pointcept (--pointcept-size); our "
                    "own say it themselves"
                )
        network, metadata = load_model(options.checkpoint)
        return network.eval(), metadata
    if options.dataset is None:
        raise UserError("--pointcept-size needs --dataset: whose classes the file has")
    loaded = open_network(
        options.checkpoint,
        pointcept_size=options.pointcept_size,
        cpe_input=options.cpe_input,
        dataset=options.dataset,
    )
    logger.info(loaded.note)
    spec = loaded.model.spec()
    metadata = ModelMetadata(
        network=spec.network,
        size=spec.size,
        num_classes=spec.num_classes,
        in_channels=spec.in_channels,
        overrides=dict(spec.overrides),
        dataset=options.dataset,
        class_names=dataset_spec(options.dataset).class_names,
        grid_size_m=loaded.grid_size_m,
        clip_range_m=loaded.clip_range_m,
    )
    return loaded.model.eval(), metadata


def open_frames(
    options: argparse.Namespace, metadata: ModelMetadata, split: str, *, labels: bool
) -> EvaluationFrames:
    """Return the frames of the network's dataset that the flags choose, as the network takes them.

    Parameters
    ----------
    options
        `data_root`, `split`, `sequences`.
    metadata
        Of the network.
    split
        The split if the flags say nothing.
    labels
        Leave out frames without labels.

    Raises
    ------
    UserError
        If there are none, or the data cannot be read.
    """
    spec = dataset_spec(metadata.dataset)
    root = options.data_root or Path("data") / spec.name
    source = spec.open(
        root, options.split or split, sequences=tuple(options.sequences), require_labels=labels
    )
    if len(source) == 0:
        raise UserError(f"--data-root {root}: has no such frames")
    return EvaluationFrames(source, metadata.grid_size_m, clip_range_m=metadata.clip_range_m)


def clouds(frames: EvaluationFrames) -> Iterator[Frame]:
    """Yield each frame's features and voxels."""
    for index in range(len(frames)):
        voxels = frames[index]
        yield np.concatenate([voxels.coord, voxels.strength], axis=1), voxels.grid_coord
