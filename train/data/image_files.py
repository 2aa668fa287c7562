"""Images on disk: JPEG and PNG to arrays and back, by Pillow, and one clear line for a bad one.

Pillow is the extra `cameras`; it is imported where the first image is read or written.
"""

import io
import struct
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import reading

JPEG_QUALITY: Final = 92

MAX_PIXELS: Final = 1 << 25
"""Of an image; a real one has 2.5 million. What claims more is damaged."""

_FORMATS: Final = ("JPEG", "PNG")
# What Pillow raises for damaged files: each of these was met with cut or altered bytes.
_DAMAGE: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


def decode_image(
    data: bytes, where: str, size: tuple[int, int], wanted: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Return an encoded image as (H, W, 3) uint8, red, green, blue.

    Parameters
    ----------
    data
        A JPEG or PNG file's bytes.
    where
        What the image is called in an error.
    size
        (width, height) that it must have.
    wanted
        (H, W) to bring it to, each new pixel a weighted mean of those that it covers; None leaves
        it as it is. A JPEG is then decoded no finer than needed, which is several times faster.

    Raises
    ------
    UserError
        If Pillow is not there, or the bytes are no such image, cut short, or of another size.
    """
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.size != size:
                raise UserError(
                    f"{where}: the image has {image.size[0]} x {image.size[1]} pixels, its "
                    f"calibration is for {size[0]} x {size[1]}; copy the image or the calibration "
                    "again"
                )
            if wanted is not None:
                image.draft("RGB", (wanted[1], wanted[0]))
            colored: Any = image.convert("RGB")
            if wanted is not None and colored.size != (wanted[1], wanted[0]):
                bilinear = image_module.Resampling.BILINEAR
                colored = colored.resize((wanted[1], wanted[0]), bilinear)
            return np.array(colored, dtype=np.uint8)
    except (*_DAMAGE, image_module.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        # Pillow names the object that it reads from, an address in memory.
        if "cannot identify" in reason:
            reason = "it is no JPEG and no PNG"
        raise UserError(
            f"{where}: the image cannot be decoded ({reason}); copy it again, or leave such frames "
            "out with --on-bad-frame skip"
        ) from error


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Return (H, W, 3) red, green, blue as a JPEG file's bytes."""
    return _encoded(pixels, "JPEG", quality=JPEG_QUALITY)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return (H, W) numbers, or (H, W, 3) colors, as a PNG file's bytes, each as it is."""
    return _encoded(pixels, "PNG")


def image_size(path: Path) -> tuple[int, int]:
    """Return an image file's width and height, which its first bytes say.

    Raises
    ------
    UserError
        If Pillow is not there, or the file cannot be read or is no JPEG and no PNG.
    """
    image_module = _pillow()
    with reading(path):
        file = path.open("rb")
    try:
        with file, image_module.open(file, formats=_FORMATS) as image:
            width, height = image.size
    except (*_DAMAGE, image_module.DecompressionBombError) as error:
        raise UserError(f"{path}: is no JPEG and no PNG; copy the image again") from error
    return width, height


def decode_labels(data: bytes, where: str) -> NDArray[np.uint8]:
    """Return the numbers (H, W) uint8 in a PNG of one channel.

    Raises
    ------
    UserError
        If Pillow is not there, or the bytes are no such image.
    """
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in ("L", "P"):
                raise UserError(
                    f"{where}: the label image has mode {image.mode}; one channel of 8 bits is "
                    "needed, a class number for each pixel"
                )
            return np.array(image, dtype=np.uint8)
    except (*_DAMAGE, image_module.DecompressionBombError) as error:
        raise UserError(
            f"{where}: the label image cannot be decoded ({type(error).__name__}); write it again"
        ) from error


def _encoded(pixels: NDArray[np.uint8], kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    _pillow().fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def _pillow() -> ModuleType:
    """Return `PIL.Image`.

    Raises
    ------
    UserError
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError("camera images need Pillow: pip install 'topodistill[cameras]'") from error
    return Image
