"""Checkpoints, from which a job resumes bit for bit. The one module that reads tensors with torch.

A checkpoint is a folder `checkpoints/<step>`: written beside its place, every file fsynced, a
manifest with sha256 and size, then renamed. One flipped byte in a file of tensors loads silently
as wrong weights, so nothing is used that does not match its manifest. The last three are kept; each
holds the best weights so far, too. RNG states are tensors, so that `weights_only` can hold.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

KEPT = 3
Weights = dict[str, Tensor]


@dataclass(slots=True, kw_only=True)
class State:
    """Where a training stands, all of it that is not a tensor. JSON."""

    step: int = 0  # optimizer steps done
    stage: int = 0  # the stage it is in, from 0
    began: int = 0  # steps done before this stage
    epochs_before: int = 0  # epochs done before this stage
    epoch: int = 0  # the epoch of the stage it is in, from 0
    batch: int = 0  # steps done within this epoch
    steps: int = 0  # of this stage, and of those before it
    best_step: int = 0
    best_value: float | None = None
    stale_epochs: int = 0  # since the best, for early stopping
    over: bool = False  # the stage has ended, by its last step or by early stopping
    seconds: float = 0.0  # spent by all attempts
    joules: float = 0.0  # the same, of the first process
    asked_seconds: float = 0.0  # of these, those in which teachers were asked
    asked_joules: float = 0.0
    config: str = ""  # sha256 of what must not change between attempts
    sums: dict[str, float] = field(default_factory=dict)  # of the metrics since the last line
    scaler: dict[str, Any] = field(default_factory=dict)  # the loss scale of float16

    @property
    def epochs(self) -> int:
        """Epochs done, of all stages."""
        return self.epochs_before + self.epoch

    def asked(self, seconds: float, joules: float) -> None:
        """Count that teachers were asked for so long."""
        self.asked_seconds += seconds
        self.asked_joules += joules

    def next_stage(self) -> "State":
        """Where the stage after this one begins."""
        return State(
            step=self.step,
            stage=self.stage + 1,
            began=self.step,
            epochs_before=self.epochs,
            seconds=self.seconds,
            joules=self.joules,
            asked_seconds=self.asked_seconds,
            asked_joules=self.asked_joules,
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    folder: Path
    state: State
    sha256: str  # of the manifest
    bytes: int


class Kept(Protocol):
    """What a checkpoint holds: a module or an optimizer, or the whole of one that is in parts."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Held:
    """The state of something at a moment."""

    def __init__(self, of: Kept) -> None:
        self._state = of.state_dict()

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def load_state_dict(self, state_dict: Any, /) -> Any:
        self._state = state_dict


def save(
    home: Path,
    state: State,
    module: Kept,
    optimizer: Kept,
    best: Weights | None,
    beside: nn.Module | None = None,
) -> Checkpoint:
    """Write `home/<step>` and forget all but the newest three. `beside` is what is trained or kept
    with the student and is no part of it. Raises OSError, RuntimeError (torch's) or SafetensorError
    when the disk is full; the older checkpoints are then untouched."""
    home.mkdir(exist_ok=True)
    name = f"{state.step:09d}"
    part = home / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        total = _write(part, state, module, optimizer, best, beside)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # of a full disk it is the room to say so
        raise
    folder = home / name
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt whose files were damaged
    part.rename(folder)
    _sync(home)
    for old in _folders(home)[KEPT:]:
        shutil.rmtree(old)
    return Checkpoint(folder, state, _digest(folder / "manifest.json"), total)


def _write(
    part: Path,
    state: State,
    module: Kept,
    optimizer: Kept,
    best: Weights | None,
    beside: nn.Module | None,
) -> int:
    """The files of a checkpoint, with their manifest, onto the disk; their bytes."""
    save_file(_plain(module.state_dict()), part / "model.safetensors")
    if best is not None and state.best_step != state.step:
        save_file(_plain(best), part / "best.safetensors")
    if beside is not None and (others := beside.state_dict()):
        save_file(_plain(others), part / "beside.safetensors")
    torch.save(optimizer.state_dict(), part / "optimizer.pt")
    save_file(_random_state(), part / "random.safetensors")
    (part / "state.json").write_text(json.dumps(asdict(state)))
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(part.iterdir()):
        files[path.name] = {"sha256": _digest(path), "bytes": path.stat().st_size}
        _sync(path)
    versions = {"torch": torch.__version__, "format": 1}
    manifest = part / "manifest.json"
    manifest.write_text(json.dumps({"files": files, "step": state.step, **versions}, indent=1))
    _sync(manifest)
    _sync(part)
    return sum(one["bytes"] for one in files.values())


def newest(home: Path, config: str) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint whose every byte is as written and that belongs to this configuration
    (its sha256), and a sentence for each newer one that had to be passed over."""
    passed: list[str] = []
    for folder in _folders(home):
        fault = verify(folder)
        if fault is None:
            state = State(**json.loads((folder / "state.json").read_text()))
            if state.config == config:
                size = sum(path.stat().st_size for path in folder.iterdir())
                return Checkpoint(folder, state, _digest(folder / "manifest.json"), size), passed
            fault = "it belongs to another configuration"
        passed.append(f"The checkpoint of step {int(folder.name)} is not used: {fault}.")
    return None, passed


def verify(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, said in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != said["bytes"] or _digest(path) != said["sha256"]:
                return f"{name} is not what was written"
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest cannot be read"
    return None


def restore(
    found: Checkpoint,
    module: Kept,
    optimizer: Kept,
    device: torch.device,
    beside: nn.Module | None = None,
) -> Weights | None:
    """Put weights, optimizer and random numbers back; the best weights so far, if there are."""
    module.load_state_dict(load_file(found.folder / "model.safetensors"))
    if beside is not None and beside.state_dict():
        beside.load_state_dict(load_file(found.folder / "beside.safetensors"))
    saved = torch.load(  # noqa: TID251 - the one place that may, and with weights_only
        found.folder / "optimizer.pt", map_location=device, weights_only=True
    )
    optimizer.load_state_dict(saved)
    states = load_file(found.folder / "random.safetensors")
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
    if found.state.best_value is None:
        return None
    if found.state.best_step == found.state.step:
        return copy(module)
    best: Weights = load_file(found.folder / "best.safetensors")
    return best


def copy(module: Kept) -> Weights:
    """The weights as they are now, on the CPU, on memory of their own."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def _plain(weights: Weights) -> Weights:
    """Contiguous, and each tensor on memory of its own, as safetensors wants them."""
    seen: set[int] = set()
    plain = {}
    for name, value in weights.items():
        value = value.detach().cpu().contiguous()
        if value.data_ptr() in seen:
            value = value.clone()
        seen.add(value.data_ptr())
        plain[name] = value
    return plain


def _random_state() -> Weights:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _folders(home: Path) -> list[Path]:
    """Newest first."""
    if not home.is_dir():
        return []
    return sorted((one for one in home.iterdir() if one.name.isdigit()), reverse=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
