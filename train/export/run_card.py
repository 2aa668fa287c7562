"""What a run's folder says about its networks, for the model cards of those who get them."""

from pathlib import Path
from typing import Any, Final

from train.core.bounded import read_json
from train.core.console import logger
from train.core.errors import UserError
from train.core.provenance import without_folders
from train.data.terms import data_license
from train.networks.pretrained_folder import save_pretrained
from train.networks.weights import load_model

ROLES: Final = ("teacher", "student", "baseline")
_SCORES: Final = ("frames", "labeled_points", "miou", "benchmark_miou", "accuracy", "iou")
_RECORDED: Final = ("commit", "dirty", "versions", "device", "processes", "teacher")


def card_of_run(checkpoint: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return how a network was made and what it scored, from the files beside its own.

    Parameters
    ----------
    checkpoint
        ``student.pt`` or another network's file in a run's folder, or anywhere else.

    Returns
    -------
    made_by : dict
        As `save_pretrained` takes it; empty where the file lies in no run's folder. Folders of the
        machine are left out of the command line.
    scores : dict
        The same; empty where this network was not scored.

    Raises
    ------
    UserError
        If a file of the run is damaged.
    """
    folder = checkpoint.parent
    config = _read(folder / "config.json")
    if config is None or not {"config", "command"} <= config.keys():
        return {}, {}
    try:
        run = config["config"]
        made_by = {
            "command": without_folders(config["command"], run),
            "method": run["method"],
            **{name: config[name] for name in _RECORDED if config.get(name) is not None},
            "seed": run["seed"],
        }
        if "file" in made_by.get("teacher", {}):
            origin = made_by["teacher"]
            made_by["teacher"] = {**origin, "file": Path(origin["file"]).name}
        metrics = _read(folder / "metrics.json") or {}
        found = metrics.get(checkpoint.stem) if checkpoint.stem in ROLES else None
        if found is None:
            return made_by, {}
        named = " ".join(run["data"]["validation_sequences"])
        name = (
            f"the {'simulated ' if metrics['simulated'] else ''}validation frames of "
            f"{metrics['dataset']}" + (f", sequences {named}" if named else "")
        )
        return made_by, {name: {field: found[field] for field in _SCORES if field in found}}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: its config.json or metrics.json is damaged ({error}); copy the checkpoint "
            "to a folder of its own"
        ) from error


def write_network_folder(checkpoint: Path, given: str | None = None) -> Path | None:
    """Write the folder of a run's network beside its file: ``student/`` beside ``student.pt``.

    Parameters
    ----------
    checkpoint
        The network's file.
    given
        The user's own words on the training data's terms, in place of those that are known.

    Returns
    -------
    Path or None
        The folder; None, after a line that says so, where the terms of the training data, which a
        model card needs, are not known.
    """
    network, metadata = load_model(checkpoint)
    folder = checkpoint.with_suffix("")
    try:
        terms = data_license(
            metadata.dataset, simulated=metadata.simulated_seed is not None, given=given
        )
    except UserError as error:
        logger.warning(
            f"{folder}: no model card is written: {error}, and give topodistill export "
            f"--checkpoint {checkpoint} --output DIR"
        )
        return None
    made_by, scores = card_of_run(checkpoint)
    save_pretrained(
        network,
        folder,
        metadata=metadata,
        data_license=terms,
        made_by=made_by,
        scores=scores,
        weights_name=f"{checkpoint.stem}.safetensors",
    )
    return folder


def _read(path: Path) -> dict[str, Any] | None:
    """Return a JSON object; None where there is no file or it is none."""
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy it again") from error
    return content if isinstance(content, dict) else None
