"""Forms in which a network is shipped, one file each.

An exporter writes files, opens what it wrote, and answers from that: exporting.py then holds its
answers against the network's own on real rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from training.engine.data import Indices, Inputs
from training.engine.networks import Network
from training.engine.registry import Method, Registry

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Real rows that an exporter may look at. Of the training split: validation rows judge."""

    inputs: Inputs
    training: Indices
    path: Path | None = None  # of the dataset's file, where they stand as they came


class Exporter(Method):
    """`options` is an instance of the class's own Options."""

    refusals: ClassVar[Mapping[str, str]] = {}  # why not, by architecture
    weights: ClassVar[str]  # the file that holds them, in the export's folder
    is_onnx: ClassVar[bool] = False
    usage: ClassVar[str] = ""  # how it is used, where instructions.py has no program for it
    quantises: ClassVar[str] = ""  # the compressor that belongs to this form

    def __init__(self, options: Any) -> None:
        self.options = options

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        """Fill the folder, which is empty. Raises ModelError when it cannot be done."""
        raise NotImplementedError

    def open(self, network: Network, folder: Path, threads: int) -> nn.Module:
        """What was written, as a module that takes the inputs by name and answers logits, in the
        scale that is meant. Only the files are used; `network` says which model they are of."""
        raise NotImplementedError

    @classmethod
    def described(cls) -> JSON:
        return {
            **super().described(),
            "refusals": dict(cls.refusals),
            "weights": cls.weights,
            "is_onnx": cls.is_onnx,
        }


EXPORTERS: Registry[type[Exporter]] = Registry("export format", "training.engine.exporters")
