import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as sizes

from training.engine.errors import ModelError
from training.engine.exporters import EXPORTERS, Exporter, Rows
from training.engine.exporters.feeding import Fed, Ordered, fed
from training.engine.exporters.onnx_graph import first_line, is_recurrent, onnx_quiet
from training.engine.networks import Network

FILE = "model.pt2"
STEPS = (
    "torch.export takes the length of a text for a constant where a network reads it step by step. "
    "Export it as onnx."
)


@EXPORTERS.register
class TorchExport(Exporter):
    key = "torch-export"
    label = "torch.export"
    summary = (
        "PyTorch's own graph: opens with torch.export.load, without this code, and is what "
        "ExecuTorch and AOTInductor compile."
    )
    paper = "Ansel et al.: PyTorch 2, ASPLOS 2024, 10.1145/3620665.3640366"
    refusals: ClassVar[Mapping[str, str]] = {"bilstm": STEPS, "gru_language_model": STEPS}
    weights = FILE

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        if is_recurrent(network):
            raise ModelError(STEPS)
        how = fed(network, rows)
        try:
            with onnx_quiet(), torch.no_grad():
                program = _traced(network, how)
                _forget_this_machine(program)
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


def _traced(network: Network, how: Fed) -> Any:
    """The program. Of some networks the tracer notes that a length must not be 1 or 2, which the
    graph itself does not need; told to think of sizes as any number, it does not."""
    module = Ordered(network, how.names).eval()
    axes = tuple(dict.fromkeys(one, torch.export.Dim.DYNAMIC) for one in how.axes.values())
    for oblivious in (False, True):
        with sizes.patch(backed_size_oblivious=oblivious):  # type: ignore[attr-defined]
            program = torch.export.export(
                module, tuple(how.example.values()), dynamic_shapes=(axes,), strict=False
            )
        answering = program.module()
        try:
            for batch in how.small():
                answering(*batch.values())
        except (AssertionError, RuntimeError):
            if oblivious:
                raise
            continue
        break
    return program


def _forget_this_machine(program: Any) -> None:
    """Every node carries the lines of code that it came from, with their files."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if hasattr(module, "graph") else ():
            node.meta.pop("stack_trace", None)


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
