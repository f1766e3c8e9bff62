import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from training.engine.compressors import int8_dynamic
from training.engine.exporters import EXPORTERS, Rows
from training.engine.exporters.onnx_graph import FILE, Onnx
from training.engine.exporters.onnx_graph import Options as Graph
from training.engine.networks import Network
from training.engine.options import option

INT8 = "model-int8.onnx"


@dataclass(frozen=True)
class Options(Graph):
    int8: bool = option(
        False, help="A second graph with weights of 8 bits beside the first: predict.py --int8."
    )
    examples: int = option(
        5,
        minimum=0,
        maximum=50,
        help="Training rows that go with it, with the model's answers, so that it can check "
        "itself. 0 where rows must not leave.",
    )


@EXPORTERS.register
class Bundle(Onnx):
    key = "bundle"
    label = "Bundle"
    summary = (
        "Runs by itself: ONNX, labels, tokenizer or preprocessing and a predict.py, which needs "
        "ONNX Runtime and no PyTorch."
    )
    tasks = (
        *("text-classification", "image-classification", "audio-classification"),
        *("tabular-classification", "feature-extraction"),
    )
    usage = (
        "It runs by itself, in this folder:\n\n    pip install -r requirements.txt\n"
        "    python predict.py --check\n    python predict.py INPUT\n"
    )
    Options: ClassVar[type] = Options

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        from training.engine import bundling  # noqa: PLC0415 - it needs this package

        super().write(network, rows, folder)
        if self.options.int8:
            shutil.copy(folder / FILE, folder / INT8)
            int8_dynamic.quantise(folder / INT8, per_channel=True)
        bundling.write(network, rows, folder, examples=self.options.examples)
