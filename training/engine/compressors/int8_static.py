from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from training.engine.compressors import COMPRESSORS, Compressor
from training.engine.errors import ModelError
from training.engine.exporters import Rows
from training.engine.exporters.onnx_graph import first_line, onnx_quiet, values
from training.engine.options import option

PAPER = "Jacob et al.: Quantization and Training of Neural Networks, 1712.05877, section 2"
AT_ONCE = 8  # rows


@dataclass(frozen=True)  # without slots: the int8 forms join two of these
class Options:
    calibration_rows: int = option(
        256,
        minimum=8,
        maximum=10_000,
        help="Training rows on which the ranges of all activations are measured.",
    )
    per_channel: bool = option(
        True, help="A scale for each filter or column instead of one for a whole layer."
    )
    reduce_range: bool = option(
        False,
        help="7 bits for weights: for processors without VNNI, whose 8-bit sums may overflow.",
    )


@COMPRESSORS.register
class Int8Static(Compressor):
    key = "int8-static"
    label = "int8, calibrated"
    summary = (
        "Weights and activations in 8 bits, with ranges that training rows showed: the one for "
        "convolutions."
    )
    formula = "x ≈ scale · (q − zero), q of 8 bits"
    paper = PAPER
    formats = ("onnx",)
    Options: ClassVar[type] = Options

    def finish(self, graph: Path, rows: Rows) -> str:
        used = quantise(graph, rows, self.options)
        return f"Ranges measured on {used} training rows."


def quantise(path: Path, rows: Rows, options: Any) -> int:
    """Round an ONNX file in place; the number of rows it was calibrated on. Raises ModelError."""
    import onnx  # noqa: PLC0415
    from onnxruntime.quantization import (  # noqa: PLC0415
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model = onnx.load(str(path))
    wanted = [one.name for one in model.graph.input]
    chosen = spread(rows.training, options.calibration_rows)
    batches = _batches(rows, chosen, wanted)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(batches, None)

    part = path.with_suffix(".part")
    try:
        with onnx_quiet():
            quantize_static(
                model,
                str(part),
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_rounded(model),
                per_channel=options.per_channel,
                reduce_range=options.reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(f"The graph cannot be rounded: {first_line(error)}") from error
    part.replace(path)
    return len(chosen)


def _rounded(model: Any) -> list[str] | None:
    """The operators to round. A graph of convolutions is rounded throughout, so that whole numbers
    flow from one to the next. Elsewhere only matrices and tables are: the masks of attention hold
    numbers such as -3e38, with which nothing can share 8 bits."""
    kinds = [node.op_type for node in model.graph.node]
    if kinds.count("Conv") > kinds.count("MatMul"):
        return None
    return ["MatMul", "Gemm", "Gather", "Conv"]


def spread(rows: "NDArray[np.int64]", most: int) -> "NDArray[np.int64]":
    """At most so many of these rows, evenly apart."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _batches(
    rows: Rows, chosen: "NDArray[np.int64]", wanted: list[str]
) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, len(chosen), AT_ONCE):
        batch = values(rows.inputs.batch(chosen[start : start + AT_ONCE]))
        yield {name: batch[name] for name in wanted}
