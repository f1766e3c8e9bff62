from pathlib import Path

from torch import nn

from training.engine import networks
from training.engine.exporters import EXPORTERS, Exporter, Rows
from training.engine.exporters.feeding import Answering
from training.engine.networks import Network


@EXPORTERS.register
class Safetensors(Exporter):
    key = "safetensors"
    label = "safetensors"
    summary = (
        "The model folder: weights, configuration and tokenizer, for transformers or for here."
    )
    weights = networks.WEIGHTS

    def write(self, network: Network, rows: Rows, folder: Path) -> None:
        inner = folder / "model"
        networks.save(network, inner)
        for path in inner.iterdir():
            path.rename(folder / path.name)
        inner.rmdir()

    def open(self, network: Network, folder: Path, threads: int) -> nn.Module:
        loaded = networks.load(network.name, folder, network.task)
        return loaded.module if hasattr(loaded.module, "last") else Answering(loaded)
