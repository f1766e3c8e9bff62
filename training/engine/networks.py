"""A network with everything needed to use it: weights, labels, preprocessing; and its folder.

A model folder holds `model.safetensors`, `config.json`, `tokenizer.json` (text) and
`distillhub.json`, which says how to build the network again. Transformers architectures keep the
layout of `save_pretrained`, so that their folder opens anywhere. Weights are safetensors, never
pickle.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.engine.data import Batch, Dataset
from training.engine.errors import ModelError
from training.engine.job_config import NetworkInput
from training.engine.students import ARCHITECTURES, Architecture
from training.engine.tasks import TASKS, Preprocessing
from training.engine.teachers import folder as checkpoints

JSON = dict[str, Any]
WEIGHTS = "model.safetensors"


@dataclass(slots=True)
class Network:
    name: str
    module: nn.Module
    architecture: str
    config: JSON
    task: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def parameters(self) -> int:
        """Weights, each counted once however often it is used."""
        return sum(one.numel() for one in self.module.parameters())

    @property
    def channels_last(self) -> bool:
        return ARCHITECTURES[self.architecture].channels_last


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network computes, and how precisely."""

    device: torch.device
    bfloat16: bool = False

    @classmethod
    def choose(cls, precision: str) -> "Place":
        """A GPU when there is one; bfloat16 where asked, or where `auto` finds it pays."""
        if torch.cuda.is_available():
            able = torch.cuda.is_bf16_supported()
            return cls(
                torch.device("cuda"), able if precision == "auto" else precision != "float32"
            )
        return cls(torch.device("cpu"), precision == "bfloat16")

    def __str__(self) -> str:
        device = self.device.type
        if device == "cuda":
            device = torch.cuda.get_device_name(self.device)
        return f"{device} in {'bfloat16' if self.bfloat16 else 'float32'}"

    def settle(self, network: Network) -> nn.Module:
        """The network's module on this device, in the memory format its convolutions like."""
        module = network.module.to(self.device)
        if network.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module

    def logits(self, network: Network, batch: Batch) -> Tensor:
        """`[batch, classes]`, float32, whatever the network computes in."""
        inputs = batch
        if self.device.type != "cpu":
            inputs = {
                name: value.to(self.device, non_blocking=True) for name, value in batch.items()
            }
        if network.channels_last:
            inputs = {
                name: value.contiguous(memory_format=torch.channels_last)
                for name, value in inputs.items()
            }
        if not self.bfloat16:
            plain: Tensor = network.module(**inputs)
            return plain
        with torch.autocast(self.device.type, torch.bfloat16):
            logits: Tensor = network.module(**inputs)
        return logits.float()


def student(
    asked: NetworkInput, folder: Path, dataset: Dataset, task: str, say: Callable[[str], None]
) -> Network:
    """The student a run trains: drawn at random, or from weights, whose last layer is kept when
    they know exactly the dataset's labels and drawn anew otherwise. Raises ModelError."""
    if asked.path is None:
        architecture = ARCHITECTURES[asked.architecture]
        preprocessing = TASKS[task].fit(dataset, architecture, asked.config)
        return draw(
            asked.name, asked.architecture, asked.config, task, dataset.names, preprocessing
        )
    known = load(asked.name, folder / asked.path, task)
    if known.labels == dataset.names:
        return known
    say(f"{asked.name} does not know this dataset's labels: its last layer starts anew.")
    if not (folder / asked.path / "distillhub.json").exists():
        module = checkpoints.load(folder / asked.path, task, classes=len(dataset.names))
        known.module, known.labels = module, dataset.names
        return known
    fresh = draw(
        asked.name, known.architecture, known.config, task, dataset.names, known.preprocessing
    )
    weights = fresh.module.state_dict()
    kept = {
        name: value
        for name, value in known.module.state_dict().items()
        if value.shape == weights[name].shape and not name.startswith("head.")
    }
    fresh.module.load_state_dict({**weights, **kept})
    return fresh


def draw(
    name: str,
    architecture: str,
    config: JSON,
    task: str,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
) -> Network:
    """A network with weights from torch's generator."""
    shape = TASKS[task].shape(preprocessing, len(labels))
    module = ARCHITECTURES[architecture].build(config, shape)
    return Network(name, module, architecture, config, task, labels, preprocessing)


def load(name: str, folder: Path, task: str) -> Network:
    """A network from its folder: ours, or one as Hugging Face keeps it. Raises ModelError."""
    checkpoints.refuse_unsafe(folder)
    described = folder / "distillhub.json"
    if not described.exists():
        return _load_checkpoint(name, folder, task)
    said = json.loads(described.read_text(encoding="utf-8"))
    if said["task"] != task:
        raise ModelError(f"{name} was made for {said['task']}, and this run is {task}.")
    if said["architecture"] not in ARCHITECTURES:
        raise ModelError(f"{name} is a {said['architecture']}, which this engine does not know.")
    preprocessing = TASKS[task].load(folder, said["preprocessing"])
    labels = tuple(said["labels"])
    if ARCHITECTURES[said["architecture"]].kind == "transformers":
        module = checkpoints.load(folder, task, classes=len(labels))
        return Network(
            name, module, said["architecture"], said["config"], task, labels, preprocessing
        )
    network = draw(name, said["architecture"], said["config"], task, labels, preprocessing)
    try:
        network.module.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(f"The weights of {name} do not fit its configuration: {error}") from error
    return network


def _load_checkpoint(name: str, folder: Path, task: str) -> Network:
    preprocessing = checkpoints.preprocessing(folder, task)
    labels = checkpoints.labels(folder)
    module = checkpoints.load(folder, task, classes=len(labels))
    architecture = checkpoints.model_type(folder, task)
    return Network(name, module, architecture, {}, task, labels, preprocessing)


def save(network: Network, folder: Path) -> list[Path]:
    """Write the model folder, which must not exist; its files, by name."""
    folder.mkdir(parents=True)
    module = network.module
    architecture: type[Architecture] = ARCHITECTURES[network.architecture]
    if architecture.kind == "transformers":
        checkpoints.save(module, folder, network.labels)
    else:
        weights = {name: value.contiguous().cpu() for name, value in module.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        said = {"architecture": network.architecture, **network.config}
        (folder / "config.json").write_text(json.dumps(said, indent=2))
    network.preprocessing.save(folder)
    described = {
        "format": 1,
        "architecture": network.architecture,
        "config": network.config,
        "task": network.task,
        "labels": list(network.labels),
        "preprocessing": network.preprocessing.as_dict(),
        "parameters": network.parameters,
    }
    (folder / "distillhub.json").write_text(json.dumps(described, indent=2, ensure_ascii=False))
    return sorted(path for path in folder.iterdir() if path.is_file())


def digest(folder: Path) -> str:
    """sha256 over every file of a model folder that can change an answer."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors", ".txt", ".model"}:
            with path.open("rb") as file:
                total.update(
                    f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
    return total.hexdigest()


def columns(network: Network, names: tuple[str, ...]) -> list[int]:
    """For each of the dataset's labels, the column of the network's logits. Raises ModelError."""
    known = {label: place for place, label in enumerate(network.labels)}
    unknown = [name for name in names if name not in known]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise ModelError(
            f"{network.name} does not know {len(unknown)} of the dataset's labels ({shown}). "
            "Fine-tune it on this dataset first, and teach with that version."
        )
    return [known[name] for name in names]
