from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from training.engine.compressors import int8_dynamic
from training.engine.exporters import EXPORTERS, Rows
from training.engine.exporters.onnx_graph import FILE, Onnx
from training.engine.exporters.onnx_graph import Options as Graph
from training.engine.networks import Network


@dataclass(frozen=True)
class Options(Graph, int8_dynamic.Options):
    """Those of the graph, and those of its rounding."""


@EXPORTERS.register
class OnnxInt8(Onnx):
    key = "onnx-int8"
    label = "ONNX int8"
    summary = (
        "The graph with matrices and word tables in 8 bits: a quarter of the size, and for "
        "transformers two to three times as fast. Convolutions stay as they are."
    )
    paper = int8_dynamic.PAPER
    quantises = "int8-dynamic"
    Options: ClassVar[type] = Options

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        super().write(network, rows, folder)
        int8_dynamic.quantise(folder / FILE, per_channel=self.options.per_channel)
