"""Ways to make a trained network smaller or faster before it is shipped, one file each.

Some change the network (fewer weights, zeros, fewer bits) and some the graph that was written of it
(8-bit arithmetic); a compressor says which forms it can be shipped in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from training.engine.data import Dataset, Indices, Inputs
from training.engine.exporters import Rows
from training.engine.networks import Network, Place
from training.engine.registry import Method, Registry
from training.engine.teacher_outputs import Teacher

JSON = dict[str, Any]
NETWORK_FORMS = ("safetensors", "onnx", "onnx-int8", "onnx-int8-static", "torch-export")


@dataclass(frozen=True, slots=True)
class Material:
    """What a compressor may learn from: training rows, and a teacher whose answers are stored.

    `say` takes a sentence on how far it is.
    """

    dataset: Dataset
    inputs: Inputs
    place: Place
    teacher: Teacher | None
    say: Callable[[str], None]

    @property
    def training(self) -> Indices:
        return self.dataset.splits["train"]


class Compressed(NamedTuple):
    """`said` is a sentence: what became of the network."""

    network: Network
    said: str


class Compressor(Method):
    """`options` is an instance of the class's own Options."""

    refusals: ClassVar[Mapping[str, str]] = {}  # why not, by architecture
    formats: ClassVar[tuple[str, ...]] = NETWORK_FORMS  # keys of exporters it can be shipped by
    trains: ClassVar[bool] = False  # takes training rows, and a teacher where there is one

    def __init__(self, options: Any) -> None:
        self.options = options

    def compress(self, network: Network, material: Material) -> Compressed:
        """A smaller network of the same answers; the given one may be used up. Raises ModelError
        for what cannot be done with it."""
        return Compressed(network, "")

    def finish(self, graph: Path, rows: Rows) -> str:
        """Change the ONNX file that was written, in place; a sentence on what was done."""
        return ""

    @classmethod
    def described(cls) -> JSON:
        return {
            **super().described(),
            "refusals": dict(cls.refusals),
            "formats": list(cls.formats),
            "trains": cls.trains,
        }


COMPRESSORS: Registry[type[Compressor]] = Registry("compressor", "training.engine.compressors")
