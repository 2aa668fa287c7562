"""What the export command reads: the network of --checkpoint, and frames of its dataset."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from train.core.console import logger
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.data.kitti_layout import kitti_layout_spec
from train.data.loader import EvaluationFrames
from train.evaluation.load_network import open_checkpoint, refuse_of_others
from train.export.onnx_quantize import Frame
from train.export.options import Options
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata


def open_network_to_export(options: Options) -> tuple[Network, ModelMetadata]:
    """Return the network of --checkpoint, in evaluation mode, and what it is.

    Raises
    ------
    UserError
        If flags and file do not belong together, or the file is no network.
    """
    opened = open_checkpoint(
        options.checkpoint,
        form=options.form,
        classes=options.classes,
        dataset=options.dataset,
    )
    if opened.is_ours:
        refuse_of_others(options.checkpoint, {"--dataset": options.dataset})
    else:
        logger.info(opened.note)
        if not opened.metadata.class_names:
            raise UserError(
                f"{options.checkpoint}: its classes are not known; name them with --classes or "
                "--dataset"
            )
    layout = kitti_layout_spec(options.data.over(opened.metadata.layout)).layout
    return opened.model.eval(), replace(opened.metadata, layout=dict(layout))


def open_frames(
    options: Options, metadata: ModelMetadata, split: str, *, labels: bool
) -> EvaluationFrames:
    """Return the frames of the network's dataset that the flags choose, as the network takes them.

    Parameters
    ----------
    options
        Of the command.
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
    spec = dataset_spec(metadata.dataset, metadata.layout)
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
