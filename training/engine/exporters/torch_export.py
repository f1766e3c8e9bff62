import json
from pathlib import Path

import torch
from torch import Tensor, nn

from training.engine.errors import ModelError
from training.engine.exporters import EXPORTERS, Exporter, Rows
from training.engine.exporters.feeding import Ordered, fed
from training.engine.exporters.onnx_graph import first_line, onnx_quiet
from training.engine.networks import Network

FILE = "model.pt2"


@EXPORTERS.register
class TorchExport(Exporter):
    key = "torch-export"
    label = "torch.export"
    summary = (
        "PyTorch's own graph: opens with torch.export.load, without this code, and is what "
        "ExecuTorch and AOTInductor compile."
    )
    paper = "Ansel et al.: PyTorch 2, ASPLOS 2024, 10.1145/3620665.3640366"
    weights = FILE

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        how = fed(network, rows)
        module = Ordered(network, how.names).eval()
        dynamic = torch.export.Dim.DYNAMIC
        axes = tuple(dict.fromkeys(one, dynamic) for one in how.axes.values())
        try:
            with onnx_quiet(), torch.no_grad():
                program = torch.export.export(
                    module, tuple(how.example.values()), dynamic_shapes=(axes,), strict=False
                )
                names = json.dumps(how.names)
                torch.export.save(program, folder / FILE, extra_files={"inputs.json": names})
        except Exception as error:  # whatever the network's authors did not think of
            raise ModelError(
                f"The {network.architecture} cannot be traced by torch.export: "
                f"{first_line(error)} Export it as safetensors."
            ) from error

    def open(self, network: Network, folder: Path, threads: int) -> nn.Module:
        with onnx_quiet():
            return Graph(folder / FILE)


class Graph(nn.Module):
    """A saved graph, fed by name; the order of its inputs is the tracer's."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        beside = {"inputs.json": ""}
        self.program = torch.export.load(path, extra_files=beside).module()
        self.names: list[str] = json.loads(beside["inputs.json"])

    def train(self, mode: bool = True) -> "Graph":
        """A graph is traced in evaluation mode, and knows no other."""
        return self

    def forward(self, **inputs: Tensor) -> Tensor:
        logits: Tensor = self.program(*(inputs[name] for name in self.names))
        return logits
