"""Why a run failed, as a person needs it: what happened, at which step, what was said last, how
much memory it took, and what to try. The first cause of the table that fits gives the advice.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
from django.db.models import Max

from training.models import LogChunk, MetricChunk, MetricSeries, Run

LAST_LINES = 20
Config = Mapping[str, Any]
Advice = Callable[[Config], list[str]]


@dataclass(frozen=True, slots=True)
class Cause:
    """A kind of failure: known by the code of its error and, where several share it, by words in
    what was said last. `tries` are sentences, the most promising first."""

    name: str
    title: str
    codes: frozenset[str]
    tries: Advice
    words: re.Pattern[str] | None = None

    def fits(self, code: str, said: str) -> bool:
        return code in self.codes and (self.words is None or bool(self.words.search(said)))


def report(run: Run, *, code: str, detail: str, trace: str = "") -> dict[str, Any]:
    """The `error` of a failed run. Four queries; call it before the run's row says `failed`."""
    lines = _last_lines(run)
    found = cause(code, "\n".join([detail, trace[-4000:], *lines]))
    error: dict[str, Any] = {
        "code": code,
        "detail": detail,
        "cause": found.name,
        "title": found.title,
        "step": _reached(run),
        "steps": run.steps,
        "attempt": run.attempt,
        "memory": _memory(run),
        "last_lines": lines,
        "advice": found.tries(run.config),
    }
    return error | ({"trace": trace} if trace else {})


def cause(code: str, said: str) -> Cause:
    """The first of CAUSES that fits; every code has one."""
    return next((one for one in CAUSES if one.fits(code, said)), CAUSES[-1])


# -- what to try -----------------------------------------------------------------------------------


def _smaller(config: Config) -> list[str]:
    training = config.get("training", {})
    size = int(training.get("batch_size") or 0)
    parts = int(training.get("gradient_accumulation") or 1)
    tries = []
    if size > 1:
        tries.append(
            f"Set batch_size to {size // 2} and gradient_accumulation to {parts * 2} (now {size} "
            f"and {parts}): a step sees as many rows, and the result stays the same."
        )
    tries.append("Take a smaller student, or shorter inputs.")
    return tries


def _out_of_memory(config: Config) -> list[str]:
    return [
        *_smaller(config),
        "Have fewer runs at once on that worker (DISTILLHUB_MAX_RUNS), or choose a queue whose "
        "workers have more memory.",
    ]


def _out_of_card(config: Config) -> list[str]:
    precision = config.get("training", {}).get("precision", "auto")
    half = ["Set precision to bfloat16."] if precision in ("auto", "float32") else []
    return [
        *_smaller(config),
        *half,
        "Ask for a GPU of its own (resources.gpus = 1): other programs may share this one.",
    ]


def _diverged(config: Config) -> list[str]:
    training = config.get("training", {})
    rate = training.get("learning_rate")
    tries = []
    if isinstance(rate, int | float) and rate > 0:
        tries.append(f"Set learning_rate to {rate / 10:g} (now {rate:g}).")
    if not training.get("warmup_ratio"):
        tries.append("Set warmup_ratio to 0.1: the first steps are the ones that break.")
    norm = training.get("max_grad_norm")
    if not norm or norm > 1:
        tries.append("Set max_grad_norm to 1, which clips gradients that are too long.")
    if training.get("precision") == "float16":
        tries.append("Set precision to bfloat16: float16 has no room for large numbers.")
    losses = [loss.get("kind", "") for loss in config.get("losses", [])]
    if len(losses) > 1:
        tries.append(
            "Look at the curve of each term before the last step: the one that leaves first needs "
            "a smaller weight."
        )
    return [*tries, "Clone it with these changes; the same run would meet the same step again."]


def _say(*sentences: str) -> Advice:
    return lambda config: list(sentences)


def _words(*some: str) -> re.Pattern[str]:
    return re.compile("|".join(some), re.IGNORECASE)


#: In the order in which they are tried; the last one fits everything.
CAUSES: tuple[Cause, ...] = (
    Cause("diverged", "The loss left the numbers", frozenset({"diverged"}), _diverged),
    Cause(
        "gpu_memory", "The GPU's memory ended", frozenset({"out_of_memory", "crashed"}),
        _out_of_card,
        _words("cuda out of memory", "cuda error: out of memory", "CUDNN_STATUS_ALLOC"),
    ),
    Cause(
        "memory", "The machine's memory ended", frozenset({"out_of_memory"}), _out_of_memory
    ),
    Cause(
        "poison", "It dies at the same step each time", frozenset({"lost", "killed"}),
        _out_of_memory, _words("times in a row at step"),
    ),
    Cause(
        "killed", "Somebody or something killed it", frozenset({"killed"}),
        _say(
            "Look at the machine: an administrator's hand, a container's limit or a scheduler ends "
            "processes with SIGKILL.",
            "Retry it: it goes on from its newest checkpoint.",
        ),
    ),
    Cause(
        "hung", "It hung", frozenset({"hung"}),
        _say(
            "Read the end of the console: it says where each thread stood when it was ended.",
            "What it waited for never came: look whether the machine's disks, a mounted folder or "
            "a GPU answer.",
            "Retry it: it goes on from its newest checkpoint. If it is only slow, have its worker "
            "wait longer (DISTILLHUB_STALL_SECONDS).",
        ),
    ),
    Cause(
        "lost", "Its machines went away", frozenset({"lost"}),
        _say(
            "Look at the page Workers: which of them went silent, and what their load was.",
            "Retry it: it goes on from its newest checkpoint.",
        ),
    ),
    Cause(
        "disk", "The disk is full", frozenset({"disk_full", "crashed"}),
        _say(
            "Free some space on the worker's disk, then retry the run: it goes on from its newest "
            "checkpoint.",
            "Set checkpoint_every_steps higher, so that fewer checkpoints are written.",
        ),
        _words("no space left", "disk is full", "disk quota exceeded"),
    ),
    Cause(
        "shared_memory", "The machine's shared memory ended", frozenset({"crashed"}),
        _say(
            "Give the container more shared memory (docker run --shm-size=2g; in compose: "
            "shm_size).",
        ),
        _words("SIGBUS", "/dev/shm", "shared memory"),  # noqa: S108 - a name that is looked for
    ),
    Cause(
        "processor", "This processor cannot do what was asked", frozenset({"crashed"}),
        _say(
            "The machine's processor lacks instructions that PyTorch was built with. Choose a "
            "queue of other workers, or install a build of PyTorch for this machine.",
        ),
        _words("SIGILL", "illegal instruction"),
    ),
    Cause(
        "gpu_lost", "The GPU stopped answering", frozenset({"crashed"}),
        _say(
            "Look at the card with nvidia-smi; one that fell off the bus needs the machine to be "
            "started anew.",
            "Drain the worker, then retry the run: it goes on elsewhere.",
        ),
        _words("unspecified launch failure", "uncorrectable ECC", "fallen off the bus", "Xid",
               "device-side assert", "CUDA error", "NVML"),
    ),
    Cause(
        "together", "Its processes lost each other", frozenset({"crashed"}),
        _say(
            "One of the run's processes ended before the others: the lines above its last ones say "
            "why. Clone it with resources.gpus = 1 to see whether it trains alone.",
        ),
        _words("NCCL", "ChildFailedError", "Connection closed by peer"),
    ),
    Cause(
        "segfault", "Native code crashed", frozenset({"crashed"}),
        _say(
            "Retry it once: a single crash may be the machine's. Twice at one step is a bug of a "
            "library; the trace of the console says in which.",
        ),
        _words("SIGSEGV", "SIGABRT", "SIGFPE", "segmentation fault"),
    ),
    Cause(
        "configuration", "This cannot be trained", frozenset({"bad_configuration"}),
        _say("Clone it and change what the fault names: the form marks it."),
    ),
    Cause(
        "data", "The rows are not as promised", frozenset({"bad_data"}),
        _say("Open the dataset version: its page lists what is wrong with which rows."),
    ),
    Cause(
        "model", "A model cannot be loaded", frozenset({"bad_model"}),
        _say("Open the model's page: it says what was found in its files."),
    ),
    Cause(
        "damaged", "A stored file is not what was recorded", frozenset({"dataset_changed"}),
        _say("Upload the file once more, as a next version, and launch the run with it."),
    ),
    Cause(
        "checkpoint", "There is nothing sound to go on from", frozenset({"no_checkpoint"}),
        _say("Retry it from the beginning."),
    ),
    Cause(
        "upstream", "The run it waits for did not finish", frozenset({"upstream_failed"}),
        _say("Mend the run it waits for, then retry this one."),
    ),
    Cause(
        "memory_asked", "It asked for more memory than there is", frozenset({"crashed"}),
        _out_of_memory, _words("MemoryError", "cannot allocate memory", "bad_alloc"),
    ),
    Cause(
        "elsewhere", "It failed where it was trained", frozenset({"failed"}),
        _say(
            "What its program printed there says why: lines that it sends stand under Console.",
            "Start it there again, once that is mended; it is tracked as another run.",
        ),
    ),
    Cause(
        "unknown", "This was a surprise", frozenset(),
        _say(
            "The last lines and the trace say where it happened.",
            "Retry it once; when it fails at the same step, clone it with a smaller part of its "
            "data to find the rows.",
        ),
    ),
)  # fmt: skip


# -- what is known of the moment -------------------------------------------------------------------


def _last_lines(run: Run) -> list[str]:
    """What this attempt said last, oldest first."""
    lines: list[str] = []
    for chunk in LogChunk.objects.filter(run=run).order_by("-index")[:2]:
        lines = [
            line["text"]
            for line in chunk.lines
            if line.get("attempt") == run.attempt and line["level"] != "attempt"
        ] + lines
        if len(lines) >= LAST_LINES:
            break
    return [line[:1000] for line in lines[-LAST_LINES:]]


def _reached(run: Run) -> int:
    """The last step that was told of: the row's own is written some seconds later."""
    last = MetricSeries.objects.filter(run=run, name="train/loss").values_list("last_step")[:1]
    return max(run.step, *(step for (step,) in last), 0)


def _memory(run: Run) -> dict[str, int]:
    """Bytes: `used` at the last sample and `peak` of all of them, of the run's processes; `machine`
    that its worker has, and `free` of it at the last sample. What is not known is not there."""
    chunks = MetricChunk.objects.filter(series__run=run, series__name="system/memory_bytes")
    held = run.worker.machine.get("memory_bytes") if run.worker is not None else None
    found = {
        "used": run.metrics.get("system/memory_bytes"),
        "peak": chunks.aggregate(peak=Max("maximum"))["peak"],
        "free": run.metrics.get("system/memory_free_bytes"),
        "machine": held or psutil.virtual_memory().total,
    }
    return {name: int(value) for name, value in found.items() if isinstance(value, int | float)}
