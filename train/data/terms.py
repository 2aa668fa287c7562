"""What the terms of a dataset say about networks that were trained on it."""

from typing import Final

from train.core.errors import UserError
from train.core.user_file import short_name

DATA_TERMS: Final = {
    "nuscenes": (
        "Trained on nuScenes (CC BY-NC-SA 4.0 and the nuScenes terms of use): no commercial use; "
        "read those terms before you share or use these weights."
    ),
    "semantickitti": (
        "Trained on SemanticKITTI (labels CC BY-NC-SA 4.0, KITTI's scans CC BY-NC-SA 3.0): no "
        "commercial use; read those terms before you share or use these weights."
    ),
    "waymo": (
        "Trained on the Waymo Open Dataset, whose license forbids commercial use and the "
        "publication of trained weights: do not share this folder before you have read it."
    ),
}
"""The note that a network needs which learned from recorded frames of a dataset."""

SIMULATED_NOTE: Final = (
    "Trained on simulated scenes alone: no recorded data, so no dataset's terms bind these "
    "weights. A teacher that learned from recorded data would bring its own."
)


def data_license(dataset: str, *, simulated: bool, given: str | None = None) -> str:
    """Return the note on the training data's terms that a model card needs.

    Parameters
    ----------
    dataset
        What was trained on.
    simulated
        Whether its frames were simulated.
    given
        The user's own words, which come before the ones that are known here.

    Raises
    ------
    UserError
        If the user gave none and the terms of this dataset are not known here.
    """
    if given is not None and given.strip():
        return given.strip()
    if given is not None:
        raise UserError("--data-license is empty: say in a sentence which terms the data has")
    if simulated:
        return SIMULATED_NOTE
    if dataset not in DATA_TERMS:
        raise UserError(
            f"the network learned from frames of {short_name(dataset)}, whose terms are not known "
            "here, and a model card has to name them: add --data-license \"THE DATA'S TERMS IN A "
            'SENTENCE"'
        )
    return DATA_TERMS[dataset]
