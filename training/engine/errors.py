"""What can go wrong in a job, as facts that a person can act on. The engine knows no HTTP.

EngineError                 code, and a sentence that says what to do
├── ConfigError             bad_configuration  every fault at once, each with its field
├── DataError               bad_data           the dataset's file is not what was promised
├── ModelError              bad_model          a model's files cannot, or must not, be used
├── DivergedError           diverged           the loss is no longer a number
└── OutOfMemoryError        out_of_memory      the machine's memory ended

Stopped is no error: the job was asked to leave, and did so between two steps.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

AskedToStop = Callable[[], bool]


class Fault(NamedTuple):
    """One thing wrong with a configuration: where (`losses.0.temperature`) and what."""

    field: str
    sentence: str


class EngineError(Exception):
    code = "crashed"


class ConfigError(EngineError):
    code = "bad_configuration"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__(" ".join(f"{fault.field}: {fault.sentence}" for fault in faults))


class DataError(EngineError):
    code = "bad_data"


class ModelError(EngineError):
    code = "bad_model"


class DivergedError(EngineError):
    code = "diverged"


class OutOfMemoryError(EngineError):
    code = "out_of_memory"


class Stopped(Exception):
    """The job was asked to stop; `step` is where its last checkpoint resumes."""

    def __init__(self, step: int = 0) -> None:
        super().__init__(f"stopped at step {step}")
        self.step = step
