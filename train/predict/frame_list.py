"""Which clouds a command is to predict, and where what belongs to them lies or goes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.files import listed, reading
from train.predict.cloud_files import INPUT_ENDINGS, LABEL_ENDINGS, LABELED_ENDINGS

_POINTS: Final = "velodyne"
_LABELS: Final = "labels"


@dataclass(frozen=True)
class CloudToPredict:
    """A cloud, and the files that belong to it.

    Attributes
    ----------
    points
        The cloud's file.
    output
        Where its labels go.
    truth
        The file of its true labels; None if there is none.
    """

    points: Path
    output: Path
    truth: Path | None = None


def single_cloud(path: Path, output: Path) -> CloudToPredict:
    """Return one cloud; its labels lie in `labels` beside a folder `velodyne`, if anywhere.

    Raises
    ------
    UserError
        If the output's ending is neither one of labels nor that of the cloud, where it can hold
        them.
    """
    ending, own = output.suffix.lower(), path.suffix.lower()
    packed = {".las", ".laz"}
    if ending not in LABEL_ENDINGS and not (ending in LABELED_ENDINGS and ending == own):
        also = f" or {own}" if own in LABELED_ENDINGS else ""
        hint = "; .las and .laz do not become each other" if {ending, own} == packed else ""
        raise UserError(
            f"--output {output}: end the name in {' or '.join(LABEL_ENDINGS)}{also}{hint}"
        )
    return CloudToPredict(path, output, _truth(path))


def clouds_of_folder(folder: Path, output: Path, *, raw_ids: bool) -> list[CloudToPredict]:
    """Return the clouds of a sequence (a folder with `velodyne`), or of a folder of files, by name.

    Parameters
    ----------
    folder
        The sequence or folder.
    output
        The folder for labels. A `.pcd`, `.ply`, `.las` or `.laz` file comes back under its name,
        others as `.label`.
    raw_ids
        Whether ids of label files are known; otherwise `.npy` files take the place of `.label`.

    Raises
    ------
    UserError
        If there is no cloud, two would have one file of labels, or a file would replace its input.
    """
    with reading(folder):
        points = folder / _POINTS if (folder / _POINTS).is_dir() else folder
        paths = sorted(
            path
            for path in points.iterdir()
            if path.suffix.lower() in INPUT_ENDINGS and not path.name.startswith(".")
        )
        names = sorted(path.name for path in points.iterdir())
    if not paths:
        raise UserError(
            f"--input {folder}: holds no clouds ({', '.join(INPUT_ENDINGS)}), but {listed(names)}; "
            f"give a folder of clouds, or a sequence, which has a folder {_POINTS}"
        )
    if output.resolve() == points.resolve():
        raise UserError(f"--output {output}: is the folder of the clouds; give another")
    alone = ".label" if raw_ids else ".npy"
    found: dict[Path, CloudToPredict] = {}
    for path in paths:
        own = path.suffix.lower()
        ending = path.suffix if own in LABELED_ENDINGS else ".npy" if own == ".npy" else alone
        target = output / f"{path.stem}{ending}"
        if target in found:
            raise UserError(
                f"--input {folder}: labels of {found[target].points.name} and {path.name} would "
                f"both go to {target.name}; rename one of them"
            )
        found[target] = CloudToPredict(path, target, _truth(path))
    return list(found.values())


def _truth(points: Path) -> Path | None:
    """Return the label file of a cloud in a sequence."""
    if points.parent.name != _POINTS:
        return None
    folder = points.parent.parent / _LABELS
    candidates = [folder / f"{points.stem}{ending}" for ending in LABEL_ENDINGS]
    return next((path for path in candidates if path.is_file()), None)
