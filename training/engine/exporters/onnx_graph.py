"""ONNX: a graph that ONNX Runtime, and most other programs, can answer from without Python.

torch.onnx traces the network through torch.export, so that batch and length stay free. What the
tracer leaves of this machine (file names, lines of code) is taken out again.
"""

import contextlib
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from training.engine import few_bits
from training.engine.errors import ModelError
from training.engine.exporters import EXPORTERS, Exporter, Rows
from training.engine.exporters.feeding import Fed, Ordered, fed, writes
from training.engine.networks import Network
from training.engine.options import option

FILE = "model.onnx"
OLDER_OPSET = 20  # the newest that the older tracer knows
MOST_BYTES = 1_900_000_000  # protobuf's limit is 2 GiB for graph and weights together


@dataclass(frozen=True)  # without slots: the int8 forms join two of these
class Options:
    opset: int = option(
        20,
        minimum=18,
        maximum=23,
        help="Version of ONNX's operators; lower for older runtimes.",
    )


@EXPORTERS.register
class Onnx(Exporter):
    key = "onnx"
    label = "ONNX"
    summary = "A graph in float32 for ONNX Runtime and its like: equal answers, usually faster."
    paper = "Open Neural Network Exchange, onnx.ai"
    weights = FILE
    is_onnx = True
    Options: ClassVar[type] = Options

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        write(network, rows, folder / FILE, self.options.opset)

    def open(self, network: Network, folder: Path, threads: int) -> nn.Module:
        return Session(folder / FILE, threads)


class Session(nn.Module):
    """An ONNX file answering in ONNX Runtime, on the CPU, with so many threads."""

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__()
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime has a tree of its own, in C
            raise ModelError(
                f"ONNX Runtime does not open what was written: {first_line(error)}"
            ) from error
        self.wanted = [one.name for one in self.session.get_inputs()]

    def forward(self, **inputs: Tensor) -> Tensor:
        given = {name: inputs[name].contiguous().numpy() for name in self.wanted}
        return torch.from_numpy(self.session.run(None, given)[0])


def write(network: Network, rows: Rows, path: Path, opset: int = 20) -> None:
    """Trace the network and write the graph. Raises ModelError."""
    import onnx  # noqa: PLC0415

    held = sum(
        one.numel() * one.element_size()
        for one in (*network.module.parameters(), *network.module.buffers())
    )
    if held > MOST_BYTES:
        raise ModelError(
            f"Its weights are {held / 1e9:.1f} GB, and an ONNX file holds at most 2 GB. Export "
            "it as safetensors or torch-export."
        )
    network.module.eval()
    with onnx_quiet():
        model = _traced(network, fed(network, rows), opset)
    _forget_this_machine(model)
    said = {
        "model": network.name,
        "task": network.task,
        "problem": network.problem,
        "labels": json.dumps(list(network.labels), ensure_ascii=False),
        "preprocessing": json.dumps(network.preprocessing.as_dict()),
    }
    onnx.helper.set_model_props(model, said)
    model.producer_name = "distillhub"
    onnx.save(model, str(path))


def is_recurrent(network: Network) -> bool:
    """Whether it reads step by step, which torch.export takes for a fixed number of steps."""
    return any(isinstance(one, nn.RNNBase) for one in network.module.modules())


def _traced(network: Network, how: Fed, opset: int) -> Any:
    # Folding constants would make floats of weights that were rounded to few bits.
    folds = not few_bits.is_rounded(network.module)
    try:
        if is_recurrent(network):
            return _recurrent(network, how, opset)
        program = torch.onnx.export(
            Ordered(network, how.names).eval(),
            tuple(how.example.values()),
            dynamo=True,
            dynamic_shapes=(tuple(how.axes.values()),),
            input_names=list(how.names),
            output_names=["logits"],
            opset_version=opset,
            optimize=folds,
            verbose=False,
        )
        return program.model_proto  # type: ignore[union-attr]
    except Exception as error:  # whatever the network's authors did not think of
        raise ModelError(
            f"The {network.architecture} cannot be traced to ONNX: {first_line(error)} "
            "Export it as safetensors."
        ) from error


def _recurrent(network: Network, how: Fed, opset: int) -> Any:
    """By torch's older tracer, which knows packed sequences and writes ONNX's own LSTM."""
    import onnx  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / FILE
        torch.onnx.export(
            Ordered(network, how.names).eval(),
            tuple(how.example.values()),
            written,
            dynamo=False,
            dynamic_axes={**how.axes, "logits": _answered(network)},
            input_names=list(how.names),
            output_names=["logits"],
            opset_version=min(opset, OLDER_OPSET),
        )
        return onnx.load(str(written))


def _answered(network: Network) -> dict[int, str]:
    """Which sizes of its logits vary."""
    return {0: "batch", 1: "length"} if writes(network) else {0: "batch"}


def _forget_this_machine(model: Any) -> None:
    """Stack traces of every node, and shapes that quantising would contradict."""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for part in (model.graph, *model.functions):
        for node in part.node:
            del node.metadata_props[:]
            node.ClearField("doc_string")
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]


@contextlib.contextmanager
def onnx_quiet() -> Iterator[None]:
    """The tracer, the quantiser and their libraries print; the journal is the place for words."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def first_line(error: BaseException) -> str:
    """What went wrong in one sentence; tracers explain themselves on pages."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for one in reversed(causes):
        lines = [line.strip() for line in str(one).splitlines() if line.strip()]
        if lines:
            return lines[0][:300].rstrip(".") + "."
    return f"{type(error).__name__}."


def values(batch: dict[str, Tensor]) -> dict[str, "np.ndarray[Any, Any]"]:
    """A batch as ONNX Runtime wants it."""
    return {name: one.contiguous().numpy() for name, one in batch.items() if name != "targets"}
