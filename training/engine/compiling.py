"""The student's network through `torch.compile`, for training only: what is saved, scored and timed
is the network itself, which shares every weight."""

import importlib.util
import os
import shutil

import torch
from torch import nn

from training.engine.answers import Wanted
from training.engine.errors import ConfigError, Fault

FIELD = "training.compile"


def compiled(module: nn.Module, device: torch.device, wanted: Wanted) -> nn.Module:
    """Another face of the module, compiled when it is first asked. Raises ConfigError, before a
    step is taken, where this machine has nothing to compile with or layers must be watched."""
    if wanted:
        sentence = (
            "A term looks at layers or last vectors, which a compiled network does not show. Turn "
            "it off, or take terms that compare answers."
        )
        raise ConfigError([Fault(FIELD, sentence)])
    if not any(shutil.which(one) for one in (os.environ.get("CXX", "g++"), "g++", "clang++")):
        sentence = (
            "It needs a C++ compiler, and this machine has none. Install g++, or turn it off."
        )
        raise ConfigError([Fault(FIELD, sentence)])
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        sentence = "On a GPU it needs triton, which is not installed here. Turn it off."
        raise ConfigError([Fault(FIELD, sentence)])
    import torch._inductor.config as how  # noqa: PLC0415 - a second, and few runs need it

    how.compile_threads = 1  # in this process: a run's memory and end are those of its processes
    face: nn.Module = torch.compile(module)  # type: ignore[assignment]
    return face
