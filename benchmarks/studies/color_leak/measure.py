"""What the color of a pixel alone tells of its class in simulated camera images.

If colors encoded classes, a method that distills from images would learn from a giveaway that no
scene has. The best classifier that sees one pixel's color and nothing else is a table: the most
frequent class of each color. It is made on some scenes and scored on others.

Shape letters: B bins of colors, H x W pixels, C classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.errors import UserError
from train.core.iou import ClassCounts
from train.data.dataset_spec import DatasetSpec
from train.data.frame import CameraImage, FrameSource
from train.data.image_files import encode_jpeg
from train.inspection.views import class_colors
from train.networks.image import load_image_network, refuse_other_classes
from train.networks.image.fit import image_confusion
from train.simulation.camera_images import IGNORED, labeled_images

LEVELS: Final = 16
"""Of each of red, green and blue: finer ones are lost in the noise and the compression."""

NETWORK: Final = "network"
"""The name of the image network among the classifiers."""

_AZIMUTH_STEPS: Final = 16  # the points are not looked at
_SCENE_FRAMES: Final = 4
_SHOWN, _ACROSS = 6, 3


@dataclass(frozen=True)
class Leak:
    """What was found.

    Attributes
    ----------
    dataset, seed, scenes, test_scenes, images, test_images, pixels, test_pixels
        What was simulated; pixels without a class do not count.
    classes
        Names of the classes that the test images have.
    miou
        By classifier: mean over these classes of the intersection over union.
    accuracy
        By classifier: share of the pixels that are right.
    iou
        By classifier and class.
    network
        What the 2-D network is, in words; "" without one.
    """

    dataset: str
    seed: int
    scenes: int
    test_scenes: int
    images: int
    test_images: int
    pixels: int
    test_pixels: int
    classes: list[str]
    miou: dict[str, float]
    accuracy: dict[str, float]
    iou: dict[str, dict[str, float]]
    network: str = ""


class ColorTable:
    """How often each class has each color, and each row of the image.

    Parameters
    ----------
    num_classes
        C.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.by_color = np.zeros((LEVELS**3, num_classes), dtype=np.int64)
        self.by_row = np.zeros((0, num_classes), dtype=np.int64)

    def add(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Count an image (H, W, 3) and its label image (H, W)."""
        known = labels != IGNORED
        self.by_color += _counts(_bins(pixels)[known], labels[known], self.by_color.shape)
        rows = np.broadcast_to(np.arange(len(labels))[:, None], labels.shape)
        if len(self.by_row) < len(labels):
            more = len(labels) - len(self.by_row)
            self.by_row = np.pad(self.by_row, ((0, more), (0, 0)))
        self.by_row += _counts(rows[known], labels[known], self.by_row.shape)

    @property
    def total(self) -> NDArray[np.int64]:
        """How many pixels each class has, (C,)."""
        total: NDArray[np.int64] = self.by_color.sum(axis=0)
        return total

    def classes_of_colors(self, *, equal: bool) -> NDArray[np.int64]:
        """Return the likeliest class of each color (B,), with the classes' shares or equal ones."""
        return _likeliest(self.by_color, self.total, equal=equal)

    def classes_of_rows(self) -> NDArray[np.int64]:
        """Return the likeliest class of each row of the image, (H,)."""
        return _likeliest(self.by_row, self.total, equal=False)


def confusion(
    table: ColorTable, found: dict[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the confusion counts (C, C), truth by prediction, of classifiers on counted pixels.

    Parameters
    ----------
    table
        Of the test images.
    found
        "color", "color, classes alike" and "row" as `ColorTable` gives them, and "majority": ().
    """
    size = table.num_classes
    result = {}
    for name, predicted in found.items():
        counts = table.by_row if name == "row" else table.by_color
        matrix = np.zeros((size, size))
        for prediction in range(size):
            matrix[:, prediction] = counts[predicted[: len(counts)] == prediction].sum(axis=0)
        result[name] = matrix
    return result


class SeenByNetwork:
    """What an image network says of images, counted: `matrix` (C, C), truth by prediction.

    Parameters
    ----------
    path
        Its file.
    spec
        The dataset whose classes it must know.

    Raises
    ------
    UserError
        If the file is none, or its classes are others.
    """

    def __init__(self, path: Path, spec: DatasetSpec) -> None:
        self.network, card = load_image_network(path)
        refuse_other_classes(path, card, spec.class_names)
        self.size = card.image_size
        self.what = f"{card.backbone}, trained on {card.trained_on}"
        self.matrix = np.zeros((len(spec.class_names),) * 2)

    def add(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Count an image (H, W, 3) and its label image (H, W).

        Raises
        ------
        UserError
            If the image has another size than those that the network was trained on.
        """
        if pixels.shape[:2] != tuple(self.size):
            (h, w), (rows, columns) = self.size, pixels.shape[:2]
            raise UserError(
                f"--image-network: was trained on images of {h} x {w} pixels, these have {rows} x "
                f"{columns}; train one with --size {rows} {columns}"
            )
        image, ids = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(labels)
        self.matrix += image_confusion(self.network, image[None], ids[None]).numpy()


def scores(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return each class's intersection over union, NaN where the truth has none, and accuracy."""
    counts = ClassCounts.of_matrix(matrix)
    iou = [np.nan if value is None else value for value in counts.iou()]
    return np.array(iou), float(counts.right.sum() / max(matrix.sum(), 1.0))


def measure(
    spec: DatasetSpec,
    root: Path,
    *,
    scenes: int,
    test_scenes: int,
    seed: int,
    network: Path | None = None,
) -> Leak:
    """Simulate scenes and return what a pixel's color tells on those that were not learned from.

    Parameters
    ----------
    spec
        A dataset with cameras.
    root
        Where simulated data goes, or lies already.
    scenes, test_scenes
        How many to learn from and to score on; four frames are taken in each.
    seed
        Of the scenes.
    network
        File of an image network, trained on scenes of another seed, to be scored too.

    Raises
    ------
    UserError
        If the dataset has no cameras or no simulator, `root` holds other data, or the network is
        of other classes.
    """
    seen = None if network is None else SeenByNetwork(network, spec)
    made = spec.simulate(
        root,
        num_frames=scenes * _SCENE_FRAMES,
        num_validation_frames=test_scenes * _SCENE_FRAMES,
        azimuth_steps=_AZIMUTH_STEPS,
        seed=seed,
        cameras=True,
    )
    parts = {"learned": made.training_sequences, "test": made.validation_sequences}
    tables = {name: ColorTable(len(spec.class_names)) for name in ("learned", "test", "odd")}
    images = dict.fromkeys(tables, 0)
    even = ColorTable(len(spec.class_names))
    for part, sequences in parts.items():
        source = spec.open(root, "training", sequences=sequences, cameras=True)
        for frame, image, labels in _numbered(source, root):
            tables[part].add(image, labels)
            images[part] += 1
            if seen is not None and part == "test":
                seen.add(image, labels)
            if part == "learned":
                (even if frame % 2 == 0 else tables["odd"]).add(image, labels)
    learned, test = tables["learned"], tables["test"]
    majority = np.full(LEVELS**3, int(np.argmax(learned.total)))
    matrices = confusion(
        test,
        {
            "majority": majority,
            "color": learned.classes_of_colors(equal=False),
            "color, classes alike": learned.classes_of_colors(equal=True),
            "row": learned.classes_of_rows(),
        },
    )
    # Guessing each class as often as it is there: the mean confusion, without drawing any.
    shares = learned.total / learned.total.sum()
    matrices["chance"] = np.outer(test.total, shares)
    same = {"color, same scenes": even.classes_of_colors(equal=False)}
    matrices |= confusion(tables["odd"], same)
    if seen is not None:
        matrices[NETWORK] = seen.matrix
    leak = _leak(spec, matrices, (scenes, test_scenes, seed), tables, images)
    return leak if seen is None else replace(leak, network=seen.what)


def _leak(
    spec: DatasetSpec,
    matrices: dict[str, NDArray[np.float64]],
    asked: tuple[int, int, int],
    tables: dict[str, ColorTable],
    images: dict[str, int],
) -> Leak:
    scenes, test_scenes, seed = asked
    there = np.flatnonzero(tables["test"].total > 0)
    found = {name: scores(matrix) for name, matrix in matrices.items()}
    return Leak(
        dataset=spec.name,
        seed=seed,
        scenes=scenes,
        test_scenes=test_scenes,
        images=images["learned"],
        test_images=images["test"],
        pixels=int(tables["learned"].total.sum()),
        test_pixels=int(tables["test"].total.sum()),
        classes=[spec.class_names[each] for each in there],
        miou={name: float(np.nanmean(iou[there])) for name, (iou, _) in found.items()},
        accuracy={name: accuracy for name, (_, accuracy) in found.items()},
        iou={
            name: {spec.class_names[each]: float(np.nan_to_num(iou[each])) for each in there}
            for name, (iou, _) in found.items()
        },
    )


def _numbered(
    source: FrameSource, root: Path
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield the frame's number, and its images decoded, with their labels."""
    numbers: dict[str, int] = {}
    for name, image, labels in labeled_images(source, root):
        yield numbers.setdefault(name, len(numbers)), image.read(), labels


def _bins(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return each pixel's color (H, W) as a number below B."""
    level = pixels.astype(np.int64) * LEVELS // 256
    return (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]


def _counts(
    places: NDArray[np.int64], labels: NDArray[np.uint8], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return how often each pair of a place and a label is there."""
    keys = places * shape[1] + labels
    return np.bincount(keys, minlength=shape[0] * shape[1]).reshape(shape)


def _likeliest(
    counts: NDArray[np.int64], total: NDArray[np.int64], *, equal: bool
) -> NDArray[np.int64]:
    """Return the likeliest class of each row of counts; of one never seen, the most frequent."""
    shares = total / max(int(total.sum()), 1)
    # One pixel's weight of what is known without the color.
    weights = counts + shares
    if equal:
        weights = np.where(total > 0, weights / np.maximum(total, 1), 0.0)
    return np.asarray(np.argmax(weights, axis=1), dtype=np.int64)


def picture(source: FrameSource, root: Path, class_names: tuple[str, ...]) -> bytes:
    """Return a JPEG of some images, each with its label image below it."""
    colors = np.round(255 * class_colors(class_names)).astype(np.uint8)
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(class_names)] = colors[:-1]
    pairs: list[tuple[CameraImage, NDArray[np.uint8]]] = [
        (image, labels) for _, image, labels in labeled_images(source, root)
    ]
    chosen = [
        pairs[at] for at in np.linspace(0, len(pairs) - 1, min(_SHOWN, len(pairs))).astype(int)
    ]
    tiles = [np.concatenate([image.read(), palette[labels]]) for image, labels in chosen]
    rows = [
        np.concatenate(tiles[at : at + _ACROSS], axis=1) for at in range(0, len(tiles), _ACROSS)
    ]
    return encode_jpeg(np.concatenate(rows))
