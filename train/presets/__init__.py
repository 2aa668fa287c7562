"""One preset function a dataset: what a run is unless flags say otherwise."""

from train.config import RunConfig
from train.errors import UserError
from train.presets import semantickitti

PRESETS = {"semantickitti": semantickitti.preset}


def preset(dataset: str, model: str) -> RunConfig:
    """Return the run that is the default for a dataset and a pair of models.

    Parameters
    ----------
    dataset
        A key of `PRESETS`.
    model
        "paper" or "tiny".

    Raises
    ------
    UserError
        If there is no such dataset.
    """
    if dataset not in PRESETS:
        raise UserError(
            f"--dataset {dataset!r} is not known: choose one of {', '.join(sorted(PRESETS))}"
        )
    return PRESETS[dataset](model)
