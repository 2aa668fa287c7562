"""One preset function a dataset: what a run is unless flags say otherwise."""

from train.config import RunConfig
from train.data.registry import dataset_spec
from train.presets import nuscenes, semantickitti, waymo

PRESETS = {
    "nuscenes": nuscenes.preset,
    "semantickitti": semantickitti.preset,
    "waymo": waymo.preset,
}


def preset(dataset: str, model: str) -> RunConfig:
    """Return the run that is the default for a dataset and a pair of models.

    Parameters
    ----------
    dataset
        A name that the registry knows.
    model
        "paper" or "tiny".

    Raises
    ------
    UserError
        If there is no such dataset.
    """
    dataset_spec(dataset)
    return PRESETS[dataset](model)
