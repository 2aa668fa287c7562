"""The picture of the page: real clouds of each class beside those that were made."""

from pathlib import Path

from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.objects.read import INDEX_NAME, read_objects
from train.dataset_distillation.pictures import draw_clouds


def draw_page_picture(path: Path, work: Path, points: int) -> bool:
    """Draw what the aligned runs have made so far; return whether there was anything of DD3D.

    Parameters
    ----------
    path
        The PNG to write.
    work
        Folder of the objects and the small sets of an experiment.
    points
        Of the real clouds.

    Raises
    ------
    UserError
        If a set is damaged, or the picture cannot be written.
    """
    objects = work / "objects"
    made = {
        "DD3D, 1 per class": work / "aligned-1-dd3d-0",
        "DD3D, 10 per class": work / "aligned-10-dd3d-0",
        "gradient matching, 1": work / "aligned-1-gradient-matching-0",
    }
    found = {title: folder for title, folder in made.items() if (folder / INDEX_NAME).exists()}
    if not (objects / INDEX_NAME).exists() or "DD3D, 1 per class" not in found:
        return False
    real = read_objects(objects, "train", points)
    columns = {"real": real, "real, another": _second(real)}
    columns |= {title: read_objects(folder, "train", points) for title, folder in found.items()}
    draw_clouds(path, columns)
    return True


def _second(clouds: PointClouds) -> PointClouds:
    """Return the second cloud of each class, the first where there is one alone."""
    rows = [clouds.rows_of(label) for label in range(len(clouds.classes))]
    return clouds.take([int(own[min(1, len(own) - 1)]) for own in rows])
