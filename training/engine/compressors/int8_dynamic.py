from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from training.engine.compressors import COMPRESSORS, Compressor
from training.engine.errors import ModelError
from training.engine.exporters import Rows
from training.engine.exporters.onnx_graph import onnx_quiet
from training.engine.options import option

PAPER = "Krishnamoorthi: Quantizing deep convolutional networks, 1806.08342, section 3"
LEAST = 0.1  # of the weights that it must reach


@dataclass(frozen=True)  # without slots: the int8 forms join two of these
class Options:
    per_channel: bool = option(
        True, help="A scale for each column of a matrix instead of one for all of it."
    )


@COMPRESSORS.register
class Int8Dynamic(Compressor):
    key = "int8-dynamic"
    label = "int8, dynamic"
    summary = (
        "Matrices and word tables in 8 bits; what flows between them is rounded as it comes. Needs "
        "no rows, and suits texts. Convolutions stay as they are: rounded so, they are slower."
    )
    formula = "x ≈ scale · (q − zero), q of 8 bits"
    paper = PAPER
    formats = ("onnx",)
    Options: ClassVar[type] = Options

    def finish(self, graph: Path, rows: Rows) -> str:
        share = quantise(graph, per_channel=self.options.per_channel)
        return f"{100 * share:.0f} % of the weights are in 8 bits."


def quantise(path: Path, *, per_channel: bool) -> float:
    """Round an ONNX file in place; the share of its weights that became 8 bits. Raises ModelError
    when it has next to none in matrices and tables."""
    import onnx  # noqa: PLC0415
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    model = onnx.load(str(path))
    share = reached(model)
    if share < LEAST:
        raise ModelError(
            f"Only {100 * share:.0f} % of its weights are in matrices and word tables; the others "
            "are in convolutions, which dynamic int8 makes slower. Export it as onnx-int8-static."
        )
    part = path.with_suffix(".part")
    with onnx_quiet():
        quantize_dynamic(
            model,
            str(part),
            op_types_to_quantize=["MatMul", "Gather", "LSTM"],
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )
    part.replace(path)
    return share


def reached(model: Any) -> float:
    """Of the float weights, the share that matrix products, look-ups and LSTMs hold."""
    floats = {
        one.name: int(np.prod(one.dims)) for one in model.graph.initializer if one.data_type == 1
    }
    held = {
        name
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm", "Gather", "LSTM")
        for name in node.input
        if name in floats
    }
    return sum(floats[name] for name in held) / max(1, sum(floats.values()))
