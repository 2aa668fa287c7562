"""The parquet tables of v2: folders, columns, types. Every name of a column stands here alone."""

from dataclasses import dataclass
from typing import Final

CONTEXT: Final = "key.segment_context_name"
TIMESTAMP: Final = "key.frame_timestamp_micros"
LASER: Final = "key.laser_name"


@dataclass(frozen=True)
class Table:
    """One folder of parquet files, a file a segment.

    Attributes
    ----------
    tag
        The folder's name.
    keys
        Columns that say which frame, which lidar a row is about.
    values
        The other columns that we use, each with the official arrow type in words; other types of
        the same kind are read as well.
    """

    tag: str
    keys: tuple[str, ...]
    values: dict[str, str]


def _images(component: str, returns: tuple[int, ...], number: str) -> dict[str, str]:
    """Return the columns of range images: flat values and shapes."""
    columns = {}
    for index in returns:
        columns[f"[{component}].range_image_return{index}.values"] = f"list<{number}>"
        columns[f"[{component}].range_image_return{index}.shape"] = "int32[3]"
    return columns


_FRAME_AND_LASER: Final = (CONTEXT, TIMESTAMP, LASER)

LIDAR: Final = Table("lidar", _FRAME_AND_LASER, _images("LiDARComponent", (1, 2), "float"))
LIDAR_POSE: Final = Table(
    "lidar_pose", _FRAME_AND_LASER, _images("LiDARPoseComponent", (1,), "float")
)
SEGMENTATION: Final = Table(
    "lidar_segmentation",
    _FRAME_AND_LASER,
    _images("LiDARSegmentationLabelComponent", (1, 2), "int32"),
)
EXTRINSIC: Final = "[LiDARCalibrationComponent].extrinsic.transform"
INCLINATION_MIN: Final = "[LiDARCalibrationComponent].beam_inclination.min"
INCLINATION_MAX: Final = "[LiDARCalibrationComponent].beam_inclination.max"
INCLINATIONS: Final = "[LiDARCalibrationComponent].beam_inclination.values"
CALIBRATION: Final = Table(
    "lidar_calibration",
    (CONTEXT, LASER),
    {
        EXTRINSIC: "double[16]",
        INCLINATION_MIN: "double",
        INCLINATION_MAX: "double",
        INCLINATIONS: "list<double>",
    },
)
VEHICLE_TRANSFORM: Final = "[VehiclePoseComponent].world_from_vehicle.transform"
VEHICLE_POSE: Final = Table("vehicle_pose", (CONTEXT, TIMESTAMP), {VEHICLE_TRANSFORM: "double[16]"})

NEEDED: Final = (LIDAR, LIDAR_POSE, CALIBRATION, VEHICLE_POSE)
"""Tables without which there are no points."""

TABLES: Final = (*NEEDED, SEGMENTATION)


def image_columns(table: Table, index: int) -> tuple[str, str]:
    """Return the names of the values and the shape of a table's image, 0 the first return."""
    names = list(table.values)
    return names[2 * index], names[2 * index + 1]
