from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from training.engine.compressors import int8_static
from training.engine.exporters import EXPORTERS, Rows
from training.engine.exporters.onnx_graph import FILE, Onnx
from training.engine.exporters.onnx_graph import Options as Graph
from training.engine.networks import Network


@dataclass(frozen=True)
class Options(Graph, int8_static.Options):
    """Those of the graph, and those of its rounding."""


@EXPORTERS.register
class OnnxInt8Static(Onnx):
    key = "onnx-int8-static"
    label = "ONNX int8, calibrated"
    summary = (
        "Weights and activations in 8 bits, with ranges measured on training rows: the form for "
        "convolutions."
    )
    paper = int8_static.PAPER
    quantises = "int8-static"
    Options: ClassVar[type] = Options

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        super().write(network, rows, folder)
        int8_static.quantise(folder / FILE, rows, self.options)
