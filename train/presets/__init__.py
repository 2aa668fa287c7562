"""One preset function a dataset: what a run is unless flags say otherwise."""

import dataclasses
from typing import Literal

from train.config import RunConfig
from train.data.registry import dataset_spec
from train.methods.registry import method_class
from train.presets import kitti_layout, nuscenes, semantickitti, waymo
from train.presets.tiny import TINY_METHOD_OPTIONS

PRESETS = {
    "kitti-layout": kitti_layout.preset,
    "nuscenes": nuscenes.preset,
    "semantickitti": semantickitti.preset,
    "waymo": waymo.preset,
}


def preset(
    dataset: str, model: Literal["paper", "tiny"], method: str = "topology-gradient"
) -> RunConfig:
    """Return the run that is the default for a dataset, a pair of models and a method.

    Parameters
    ----------
    dataset
        A name that the registry knows.
    model
        "paper" or "tiny".
    method
        A name of `train.methods.METHODS`.

    Raises
    ------
    UserError
        If there is no such dataset or method.
    """
    spec = dataset_spec(dataset)
    config = method_class(method).Config
    changes = TINY_METHOD_OPTIONS.get(method, {}) if model == "tiny" else {}
    run = PRESETS[dataset](model)
    data = dataclasses.replace(run.data, cache_decoded=spec.slow_to_decode)
    return dataclasses.replace(
        run, method=method, model=model, data=data, options=config(**changes)
    )
