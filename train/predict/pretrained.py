"""A trained network in Python, from its folder, its file or its name: points in, classes out.

Shape letters: R rows, N points.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import IN_CHANNELS
from train.data.kitti_layout import frame_files
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata, load_model
from train.predict.cloud import predict_frame
from train.predict.cloud_files import cloud_of_array, read_cloud


class Pretrained(NamedTuple):
    """A network and what it is: ``network, metadata = from_pretrained(...)`` takes them apart.

    Attributes
    ----------
    network
        In evaluation mode.
    metadata
        Its classes, its voxels, and how the files of its training lay.
    """

    network: Network
    metadata: ModelMetadata

    def predict(self, points: NDArray[np.number] | Path | str) -> NDArray[np.int64]:
        """Return the class of every point: as `topodistill predict` and an export's ``run.py`` do.

        Parameters
        ----------
        points
            A file that `topodistill predict` takes; or what lies in a ``.npy`` file: (R, 3) or
            (R, 4), x, y, z and strength in the units of the frames of training. Strengths are
            divided, and coordinates shifted, as in training.

        Returns
        -------
        ndarray
            (R,) int64 train ids, places in ``metadata.class_names``; -1 for rows without a point,
            whose coordinates are NaN.

        Raises
        ------
        UserError
            If the points are of another shape, none, not finite, or further out than any return;
            as `read_cloud`; or if the network takes other input than x, y, z and strength.
        """
        metadata = self.metadata
        if metadata.in_channels != IN_CHANNELS:
            raise UserError(
                f"predict: the network takes {metadata.in_channels} input channels, not "
                f"{IN_CHANNELS}: x, y, z and strength; prepare its input yourself and call it"
            )
        files = frame_files(metadata.layout)
        cloud = (
            read_cloud(Path(points), files=files)
            if isinstance(points, str | Path)
            else cloud_of_array(np.asarray(points), files)
        )
        labels, _ = predict_frame(
            self.network, cloud.frame, metadata.grid_size_m, clip_range_m=metadata.clip_range_m
        )
        return cloud.of_rows(labels)


def from_pretrained(source: Path | str, **options: Any) -> Pretrained:
    """Return a trained network, ready to predict.

    Parameters
    ----------
    source
        A folder of `save_pretrained`, the ``.safetensors`` file in it, ``student.pt`` of a run, or
        the name of a network that comes with the package, "waymo-simulated", or, where
        huggingface_hub is installed, of a folder of `save_pretrained` on the hub, "OWNER/NAME".
    **options
        How to compute, as `train.networks.registry.build_network` takes them.

    Returns
    -------
    Pretrained
        A pair of the network, in evaluation mode, in float32, on the CPU, and its `ModelMetadata`;
        its `predict` gives the class of every point.

    Raises
    ------
    UserError
        If a file is missing or damaged, or the files do not belong together.
    """
    network, metadata = load_model(Path(source), **options)
    return Pretrained(network.eval(), metadata)
