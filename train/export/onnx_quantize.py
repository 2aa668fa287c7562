"""Int8 of an exported network's linear layers, ranges from calibration frames.

Ranges run from the smallest to the largest value that occurs. Entropy calibration, which cuts the
tails off, is known to ruin LiDAR networks (LiDAR-PTQ, Zhou et al., ICLR 2024).
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from train.core.errors import UserError
from train.export.onnx_geometry import Plan, build_tables

Frame = tuple[np.ndarray, np.ndarray]
"""Features [V, channels] float32 and voxel indices [V, 3] of a cloud."""


@contextmanager
def errors_only(name: str) -> Iterator[None]:
    """Keep back what a package's logger says below an error; "" is the root logger."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def int8_quantizer(frames: Iterable[Frame], plan: Plan) -> Callable[[Path, Path], None]:
    """Return what writes an int8 copy of an exported network, for `export_onnx`.

    Parameters
    ----------
    frames
        Calibration clouds, at least one; read once.
    plan
        Of the network.

    Notes
    -----
    Products with a constant matrix get int8 weights, one scale per column, and int8 inputs, one
    scale per tensor, all symmetric, as TensorRT takes them. The stem reads meters, which a step of
    half a meter would ruin, and the head, which decides between classes, stay float32.

    Raises
    ------
    UserError
        When the quantizer is called and there are no frames.
    """

    def quantize(source: Path, target: Path) -> None:
        import onnx
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        remaining = iter(frames)
        first = next(remaining, None)
        if first is None:
            raise UserError("--calibration-frames: there is no frame to calibrate with")
        names = quantized_nodes(onnx.load(source))
        inputs = (
            {"feat": feat, **build_tables(grid_coord, plan)}
            for feat, grid_coord in itertools.chain([first], remaining)
        )

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            """Gives one cloud after the other, and None after the last."""

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(inputs, None)

        with errors_only(""):  # it advises a preparation that this graph does not need
            quantize_static(
                str(source),
                str(target),
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul"],
                nodes_to_quantize=names,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
            )

    return quantize


def quantized_nodes(model: Any) -> list[str]:
    """Return the names of the products with constant weights, but for the first and the last.

    Parameters
    ----------
    model
        An ONNX model.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    products = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and constants & set(node.input)
    ]
    return products[1:-1]
