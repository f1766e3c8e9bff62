"""A training process that is gone without a last word: what happened, in words, and what now."""

import contextlib
import signal
from pathlib import Path

from django.db import transaction

from training.engine import journal
from training.models import Run
from training.worker import outcomes
from training.worker.child import Child
from training.worker.claims import Held

OUT_OF_MEMORY = (
    "The machine ran out of memory and the kernel ended the training at step {step}; it used "
    "{used} at most. Try a smaller batch_size, a smaller student, or a machine with more memory."
)


def settle(held: Held, child: Child, status: int, oom_before: int | None) -> None:
    """End an attempt whose process exited with `status` (negative: killed by that signal) and whose
    journal says nothing of it."""
    run = held.now()
    if run.cancel_requested_at is not None:
        outcomes.cancel(held)
        return
    if child.asked_at is not None:
        outcomes.give_back(
            held,
            f"The worker stopped or was drained, and the training did not leave in time at step "
            f"{run.step}.",
        )
        return
    if child.hung:
        _lost(held, f"The training hung at step {run.step} and was ended: {child.hung}.", "hung")
        return
    said = child.said_last()
    if status == -signal.SIGKILL:
        _killed(held, run, child, oom_before)
        return
    if status == journal.NO_ROOM:
        detail = f"The disk is full at step {run.step}. Free some space, then retry the run."
        outcomes.fail(held, code="disk_full", detail=detail, trace=said[-20_000:])
        return
    name = _signal_name(-status) if status < 0 else ""
    detail = (
        f"The training process crashed with {name} at step {run.step}."
        if name
        else f"The training process ended with status {status} at step {run.step}, without a word."
    )
    out_of_memory = "MemoryError" in said or "Cannot allocate memory" in said
    outcomes.fail(
        held,
        code="out_of_memory" if out_of_memory else "crashed",
        detail=OUT_OF_MEMORY.format(step=run.step, used=_size(child.peak_bytes))
        if out_of_memory
        else detail,
        trace=said[-20_000:],
    )


def oom_kills() -> int | None:
    """How many processes the kernel has killed for memory; None where it does not say."""
    for file, word in (
        ("/sys/fs/cgroup/memory.events", "oom_kill"),
        ("/proc/vmstat", "oom_kill"),
    ):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(file).read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == word:
                    return int(count)
    return None


def _killed(held: Held, run: Run, child: Child, oom_before: int | None) -> None:
    """SIGKILL: by the kernel for memory, which would only happen again; or by somebody's hand."""
    now = oom_kills()
    if oom_before is not None and now is not None and now > oom_before:
        outcomes.fail(
            held,
            code="out_of_memory",
            detail=OUT_OF_MEMORY.format(step=run.step, used=_size(child.peak_bytes)),
        )
        return
    _lost(held, f"The training process was killed (SIGKILL) at step {run.step}.", "killed")


def _lost(held: Held, sentence: str, code: str) -> None:
    """Back to the queue, or failed where that was too often."""
    with transaction.atomic():
        held.write()
        outcomes.lose(held.now(), sentence=sentence, code=code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
