"""A network with everything needed to use it: weights, labels, preprocessing; and its folder.

A model folder holds `model.safetensors`, `config.json`, `tokenizer.json` (text) and
`distillhub.json`, which says how to build the network again. Transformers architectures keep the
layout of `save_pretrained`, so that their folder opens anywhere. Weights are safetensors, never
pickle.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.engine import alterations, chat_templates, features, few_bits, terms
from training.engine.answers import NOTHING, Answer, Wanted
from training.engine.data import NO_UNIT, Batch, Dataset
from training.engine.errors import ConfigError, Fault, ModelError
from training.engine.heads import Head, Unmultiplied
from training.engine.job_config import NetworkInput, Problem
from training.engine.language import LanguagePreprocessing
from training.engine.students import ARCHITECTURES, Architecture
from training.engine.students.transformers_models import key_of
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
    problem: Problem = "single_label"
    scale: tuple[float, float] = (0.0, 1.0)  # of numbers: what its 0 and its 1 further mean
    width: int = 0  # of the vector it answers, where that is what it answers

    @property
    def outputs(self) -> int:
        """Numbers it answers for a unit."""
        if isinstance(self.preprocessing, LanguagePreprocessing):
            return self.preprocessing.vocabulary
        return self.width or outputs(self.labels)

    @property
    def parameters(self) -> int:
        """Weights, each counted once however often it is used."""
        return few_bits.count(self.module)

    @property
    def channels_last(self) -> bool:
        return ARCHITECTURES[self.architecture].channels_last


def _vector(network: Network, logits: Tensor) -> Tensor | None:
    return logits if network.problem == "embedding" else None


def outputs(labels: tuple[str, ...]) -> int:
    """One for each label; one number where there are none."""
    return len(labels) or 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network computes, and how precisely."""

    device: torch.device
    half: torch.dtype | None = None  # bfloat16 or float16 where autocast is on

    @classmethod
    def choose(cls, precision: str) -> "Place":
        """A GPU when there is one; bfloat16 where asked, or where `auto` finds it pays. Raises
        ConfigError for float16 without a GPU, where it is slower than float32."""
        cuda = torch.cuda.is_available()
        if precision == "float16" and not cuda:
            sentence = "float16 needs a GPU: on a CPU it is slower than float32. Take bfloat16."
            raise ConfigError([Fault("training.precision", sentence)])
        device = torch.device("cpu")
        if cuda:  # one GPU for each of a run's processes on this machine
            rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
            if rank >= count:
                sentence = (
                    f"This machine has {count} GPU(s), and more of the run's processes were started"
                    " on it. Start one process for each GPU."
                )
                raise ConfigError([Fault("training.precision", sentence)])
            device = torch.device("cuda", rank)
            torch.cuda.set_device(device)
        if precision == "auto":
            able = cuda and torch.cuda.is_bf16_supported()
            return cls(device, torch.bfloat16 if able else None)
        return cls(device, None if precision == "float32" else getattr(torch, precision))

    def __str__(self) -> str:
        device = self.device.type
        if device == "cuda":
            device = torch.cuda.get_device_name(self.device)
        return f"{device} in {str(self.half or torch.float32).removeprefix('torch.')}"

    def settle(self, network: Network) -> nn.Module:
        """The network's module on this device, in the memory format its convolutions like."""
        module = network.module.to(self.device)
        if network.channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module

    def logits(self, network: Network, batch: Batch, module: nn.Module | None = None) -> Tensor:
        """`[units, classes]`, float32, whatever the network computes in; of `module` where another
        one of the network's kind is asked. Where tokens have labels, `batch` has `targets`, and the
        units are its places that have one, row by row."""
        if hasattr(network.module if module is None else module, "last"):
            return self.head(network, batch, module).logits()
        return self._said(network, batch, module)

    def head(self, network: Network, batch: Batch, module: nn.Module | None = None) -> Head:
        """Of a network that writes: what its last layer makes the units' logits of. Places without
        a unit never meet that layer."""
        weight, bias = network.module.last() if module is None else module.last()  # type: ignore[operator]
        return Head(self._said(network, batch, module, headless=True), weight, bias)

    def _said(self, network: Network, batch: Batch, module: nn.Module | None, **how: Any) -> Tensor:
        """What the network answers at the batch's units."""
        inputs = {name: value for name, value in batch.items() if name != "targets"}
        if self.device.type != "cpu":
            inputs = {
                name: value.to(self.device, non_blocking=True) for name, value in inputs.items()
            }
        if network.channels_last:
            inputs = {
                name: value.contiguous(memory_format=torch.channels_last)
                for name, value in inputs.items()
            }
        answering = network.module if module is None else module
        if self.half is None:
            logits: Tensor = answering(**inputs, **how)
        else:
            with torch.autocast(self.device.type, self.half):
                logits = answering(**inputs, **how)
            logits = logits.float()
        if network.scale != (0.0, 1.0):
            logits = logits * network.scale[1] + network.scale[0]
        targets = batch.get("targets")
        if targets is not None:
            logits = logits[(targets != NO_UNIT).to(self.device)]
        return logits

    def answer(
        self,
        network: Network,
        batch: Batch,
        wanted: Wanted = NOTHING,
        module: nn.Module | None = None,
    ) -> Answer:
        """The logits, and what else is wanted. Raises ConfigError where it cannot be shown."""
        mask = batch.get("attention_mask") if wanted else None
        if mask is not None:
            mask = mask.to(self.device).bool()
        if hasattr(network.module, "last"):
            return self._unmultiplied(network, batch, wanted, module, mask)
        if network.problem == "embedding":
            wanted = replace(wanted, embedding=False)
        if not wanted:
            logits = self._said(network, batch, module)
            return Answer(logits, embedding=_vector(network, logits), mask=mask)
        watched = network.module if module is None else module
        with features.watch(watched, wanted) as seen:
            logits = self.logits(network, batch, module)
        said = features.answer(watched, seen, logits, mask)
        if network.problem == "embedding":
            said.embedding = logits
        return said

    def _unmultiplied(
        self,
        network: Network,
        batch: Batch,
        wanted: Wanted,
        module: nn.Module | None,
        mask: Tensor | None,
    ) -> Answer:
        """An answer whose logits are not made before a term asks for them."""
        if not wanted:
            return Unmultiplied(self.head(network, batch, module), mask=mask)
        watched = network.module if module is None else module
        with features.watch(watched, wanted) as seen:
            head = self.head(network, batch, module)
        like = features.answer(watched, seen, head.hidden, mask)
        return Unmultiplied(head, like=like, mask=mask)


def be_repeatable() -> None:
    """Have a GPU give the same numbers for the same seed: products and convolutions are made in one
    way, not in the one that is fastest this time. What has no such way stays as it is (docs:
    operations.md)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def student(
    asked: NetworkInput,
    folder: Path,
    dataset: Dataset,
    task: str,
    say: Callable[[str], None],
    preprocessing: Preprocessing | None = None,
) -> Network:
    """The student a run trains: drawn at random, or from weights, whose last layer is kept when
    they know exactly the dataset's labels and drawn anew otherwise. `preprocessing` is taken over
    from a teacher where both must see the same inputs. Raises ModelError."""
    network = _student(asked, folder, dataset, task, say, preprocessing)
    read_rationales(network, dataset)
    return network


def read_rationales(network: Network, dataset: Dataset) -> None:
    """Have it read every prompt once for its answer and once for the reasons, if they are wanted:
    those who compare tokens must all do so."""
    if dataset.rationales and isinstance(network.preprocessing, LanguagePreprocessing):
        network.preprocessing = replace(network.preprocessing, rationales=True)


def _student(
    asked: NetworkInput,
    folder: Path,
    dataset: Dataset,
    task: str,
    say: Callable[[str], None],
    preprocessing: Preprocessing | None,
) -> Network:
    if asked.path is None:
        architecture = ARCHITECTURES[asked.architecture]
        seen = preprocessing or TASKS[task].fit(dataset, architecture, asked.config)
        fresh = draw(
            asked.name,
            asked.architecture,
            asked.config,
            task,
            dataset.names,
            seen,
            dataset.problem,
        )
        fresh.scale = dataset.scale
        return fresh
    known = load(asked.name, folder / asked.path, task)
    if few_bits.is_rounded(known.module):
        raise ModelError(
            f"{asked.name} has weights of few bits, which cannot be trained. Take the version it "
            "was made from."
        )
    if known.labels == dataset.names and known.problem == dataset.problem:
        return known
    say(f"{asked.name} does not know this dataset's labels: its last layer starts anew.")
    if ARCHITECTURES[known.architecture].kind == "transformers":
        classes = outputs(dataset.names)
        known.module = _transformers(folder / asked.path, task, classes, known.config)
        known.labels, known.problem = dataset.names, dataset.problem
        known.scale = dataset.scale
        return known
    fresh = draw(
        asked.name,
        known.architecture,
        known.config,
        task,
        dataset.names,
        known.preprocessing,
        dataset.problem,
    )
    fresh.scale = dataset.scale
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
    problem: Problem = "single_label",
) -> Network:
    """A network with weights from torch's generator."""
    width = ARCHITECTURES[architecture].width(config) if problem == "embedding" else 0
    shape = TASKS[task].shape(preprocessing, width or outputs(labels))
    module = ARCHITECTURES[architecture].build(alterations.plain(config), shape)
    alterations.apply(module, alterations.of(config))
    return Network(
        name, module, architecture, config, task, labels, preprocessing, problem, width=width
    )


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
    problem: Problem = said.get("problem", "single_label")
    mean, deviation = said.get("scale", (0.0, 1.0))
    scale = (float(mean), float(deviation))
    if ARCHITECTURES[said["architecture"]].kind == "transformers":
        module = _transformers(folder, task, outputs(labels), said["config"])
        return Network(
            name,
            module,
            said["architecture"],
            said["config"],
            task,
            labels,
            preprocessing,
            problem,
            scale,
            features.width(module) if problem == "embedding" else 0,
        )
    network = draw(name, said["architecture"], said["config"], task, labels, preprocessing, problem)
    try:
        network.module.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(f"The weights of {name} do not fit its configuration: {error}") from error
    network.scale = scale
    return network


def preprocessing_of(folder: Path, task: str) -> Preprocessing:
    """How the model of this folder reads its inputs, with weights or without. Raises ModelError."""
    checkpoints.refuse_unsafe(folder)
    described = folder / "distillhub.json"
    if not described.exists():
        return checkpoints.preprocessing(folder, task)
    said = json.loads(described.read_text(encoding="utf-8"))
    return TASKS[task].load(folder, said["preprocessing"])


def _transformers(folder: Path, task: str, classes: int, config: JSON) -> nn.Module:
    """A transformers model of ours. Its altered layers are not the library's to load."""
    if not alterations.of(config):
        return checkpoints.load(folder, task, classes=classes)
    module = checkpoints.unfilled(folder, task, classes=classes)
    alterations.apply(module, alterations.of(config))
    alterations.load(module, folder / WEIGHTS, features.last_layer(module))
    return module


def _load_checkpoint(name: str, folder: Path, task: str) -> Network:
    preprocessing = checkpoints.preprocessing(folder, task)
    judged = TASKS[task].metrics
    named = TASKS[task].needs_labels
    problem: Problem = checkpoints.problem(folder) if named else "single_label"
    if problem not in judged and named:
        raise ModelError(f"{name} answers {terms.PROBLEMS[problem]}, which {task} does not know.")
    labels = checkpoints.labels(folder) if named and problem != "regression" else ()
    module = checkpoints.load(folder, task, classes=outputs(labels))
    architecture = key_of(checkpoints.model_type(folder, task), task)
    network = Network(name, module, architecture, {}, task, labels, preprocessing, problem)
    if "embedding" in TASKS[task].metrics:
        network.problem, network.width = "embedding", features.width(module)
    return network


def save(network: Network, folder: Path) -> list[Path]:
    """Write the model folder, which must not exist; its files, by name."""
    folder.mkdir(parents=True)
    module = network.module
    architecture: type[Architecture] = ARCHITECTURES[network.architecture]
    if architecture.kind == "transformers":
        checkpoints.save(module, folder, network.labels, network.problem)
        if alterations.of(network.config):
            alterations.save(module, folder / WEIGHTS)
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
        "problem": network.problem,
        "scale": list(network.scale),
        "preprocessing": network.preprocessing.as_dict(),
        "tokenizer": tokenizer(network),
        "parameters": network.parameters,
    }
    (folder / "distillhub.json").write_text(json.dumps(described, indent=2, ensure_ascii=False))
    return sorted(path for path in folder.iterdir() if path.is_file())


def tokenizer(network: Network) -> JSON | None:
    """How it cuts texts, for people: `sha256` is equal where two read the same tokens."""
    made = getattr(network.preprocessing, "tokenizer", None)
    if made is None:
        return None
    said = {
        "kind": type(made.model).__name__.lower(),
        "vocabulary": int(made.get_vocab_size(with_added_tokens=True)),
        "trained": True,
        "sha256": network.preprocessing.digest,
    }
    if isinstance(network.preprocessing, LanguagePreprocessing):
        said["chats"] = chat_templates.judged(network.preprocessing)
    return said


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
    if not names:
        return list(range(network.outputs))
    known = {label: place for place, label in enumerate(network.labels)}
    unknown = [name for name in names if name not in known]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise ModelError(
            f"{network.name} does not know {len(unknown)} of the dataset's labels ({shown}). "
            "Fine-tune it on this dataset first, and teach with that version."
        )
    return [known[name] for name in names]
