"""The parquet tables of v2: folders, columns, types. Every name of a column stands here alone."""

from dataclasses import dataclass
from typing import Final, Literal

CONTEXT: Final = "key.segment_context_name"
TIMESTAMP: Final = "key.frame_timestamp_micros"
LASER: Final = "key.laser_name"
CAMERA: Final = "key.camera_name"

VALUES: Final = ".values"
SHAPE: Final = ".shape"
"""How the two columns of an image end: its numbers one after the other, and its shape."""


@dataclass(frozen=True)
class Type:
    """What a column holds.

    Attributes
    ----------
    kind
        "string", "int", "float" or "binary"; the reader takes any width.
    arrow
        The official arrow type in pyarrow's words.
    length
        Of a list: its fixed length, 0 if any; None for a single value.
    """

    kind: Literal["string", "int", "float", "binary"]
    arrow: str
    length: int | None = None

    @property
    def is_list(self) -> bool:
        """Whether a cell holds a list."""
        return self.length is not None


KEYS: Final = {
    CONTEXT: Type("string", "string"),
    TIMESTAMP: Type("int", "int64"),
    LASER: Type("int", "int8"),
    CAMERA: Type("int", "int8"),
}


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
        The other columns that we use.
    """

    tag: str
    keys: tuple[str, ...]
    values: dict[str, Type]

    @property
    def columns(self) -> dict[str, Type]:
        """All columns that we use."""
        return {name: KEYS[name] for name in self.keys} | self.values


def _images(component: str, returns: tuple[int, ...], number: Type) -> dict[str, Type]:
    """Return the columns of range images: flat values and shapes."""
    columns = {}
    for index in returns:
        columns[f"[{component}].range_image_return{index}{VALUES}"] = number
        columns[f"[{component}].range_image_return{index}{SHAPE}"] = Type("int", "int32", 3)
    return columns


_FRAME_AND_LASER: Final = (CONTEXT, TIMESTAMP, LASER)
_FLOATS: Final = Type("float", "float32", 0)
_TRANSFORM: Final = Type("float", "float64", 16)

LIDAR: Final = Table("lidar", _FRAME_AND_LASER, _images("LiDARComponent", (1, 2), _FLOATS))
LIDAR_POSE: Final = Table(
    "lidar_pose", _FRAME_AND_LASER, _images("LiDARPoseComponent", (1,), _FLOATS)
)
SEGMENTATION: Final = Table(
    "lidar_segmentation",
    _FRAME_AND_LASER,
    _images("LiDARSegmentationLabelComponent", (1, 2), Type("int", "int32", 0)),
)
EXTRINSIC: Final = "[LiDARCalibrationComponent].extrinsic.transform"
INCLINATION_MIN: Final = "[LiDARCalibrationComponent].beam_inclination.min"
INCLINATION_MAX: Final = "[LiDARCalibrationComponent].beam_inclination.max"
INCLINATIONS: Final = "[LiDARCalibrationComponent].beam_inclination.values"
CALIBRATION: Final = Table(
    "lidar_calibration",
    (CONTEXT, LASER),
    {
        EXTRINSIC: _TRANSFORM,
        INCLINATION_MIN: Type("float", "float64"),
        INCLINATION_MAX: Type("float", "float64"),
        INCLINATIONS: Type("float", "float64", 0),
    },
)
VEHICLE_TRANSFORM: Final = "[VehiclePoseComponent].world_from_vehicle.transform"
VEHICLE_POSE: Final = Table("vehicle_pose", (CONTEXT, TIMESTAMP), {VEHICLE_TRANSFORM: _TRANSFORM})

IMAGE: Final = "[CameraImageComponent].image"
IMAGE_POSE: Final = "[CameraImageComponent].pose.transform"
IMAGE_TIME: Final = "[CameraImageComponent].pose_timestamp"
CAMERA_IMAGE: Final = Table(
    "camera_image",
    (CONTEXT, TIMESTAMP, CAMERA),
    {
        IMAGE: Type("binary", "binary"),
        IMAGE_POSE: _TRANSFORM,
        IMAGE_TIME: Type("float", "float64"),
    },
)
CAMERA_INTRINSICS: Final = tuple(
    f"[CameraCalibrationComponent].intrinsic.{name}"
    for name in ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
)
CAMERA_EXTRINSIC: Final = "[CameraCalibrationComponent].extrinsic.transform"
CAMERA_WIDTH: Final = "[CameraCalibrationComponent].width"
CAMERA_HEIGHT: Final = "[CameraCalibrationComponent].height"
CAMERA_CALIBRATION: Final = Table(
    "camera_calibration",
    (CONTEXT, CAMERA),
    {
        **{name: Type("float", "float64") for name in CAMERA_INTRINSICS},
        CAMERA_EXTRINSIC: _TRANSFORM,
        CAMERA_WIDTH: Type("int", "int32"),
        CAMERA_HEIGHT: Type("int", "int32"),
    },
)

CAMERAS: Final = (CAMERA_IMAGE, CAMERA_CALIBRATION)
"""Tables that are read where images are asked for."""

NEEDED: Final = (LIDAR, LIDAR_POSE, CALIBRATION, VEHICLE_POSE)
"""Tables without which there are no points."""

TABLES: Final = (*NEEDED, SEGMENTATION)


def image_columns(table: Table, index: int) -> tuple[str, str]:
    """Return the names of the values and the shape of a table's image, 0 the first return."""
    names = list(table.values)
    return names[2 * index], names[2 * index + 1]
