"""What a failed run says of itself: the cause, the moment, and what to try."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from training.engine import errors
from training.models import Run
from training.services import runs
from training.worker import child, claims, console, deaths, failures, logs, metrics, outcomes
from training.worker.failures import CAUSES

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG: dict[str, Any] = {
    "training": {"batch_size": 64, "gradient_accumulation": 1, "learning_rate": 0.01,
                 "precision": "auto", "max_grad_norm": None, "warmup_ratio": 0.0},
    "losses": [{"kind": "soft_targets"}, {"kind": "hard_labels"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said", "cause", "advice"),
    [
        ("diverged", "The loss is no longer a number", "diverged", "learning_rate to 0.001 (now"),
        ("diverged", "", "diverged", "max_grad_norm to 1"),
        ("out_of_memory", "CUDA out of memory. Tried", "gpu_memory", "precision to bfloat16"),
        ("out_of_memory", "MemoryError", "memory", "batch_size to 32 and gradient_acc"),
        ("crashed", "RuntimeError: CUDA error: out of memory", "gpu_memory", "batch_size to 32"),
        ("killed", "It died 3 times in a row at step 7", "poison", "batch_size to 32"),
        ("lost", "It died 3 times in a row at step 7", "poison", "smaller student"),
        ("killed", "was killed (SIGKILL) at step 3", "killed", "Retry it"),
        ("hung", "It hung or died 3 times in a row at step 7", "hung", "end of the console"),
        ("lost", "That was the 6th loss", "lost", "page Workers"),
        ("disk_full", "The disk is full.", "disk", "Free some space"),
        ("crashed", "OSError: [Errno 28] No space left on device", "disk", "Free some space"),
        ("crashed", "crashed with SIGBUS at step 3", "shared_memory", "--shm-size"),
        ("crashed", "crashed with SIGILL at step 0", "processor", "other workers"),
        ("crashed", "CUDA error: unspecified launch failure", "gpu_lost", "nvidia-smi"),
        ("crashed", "NCCL timeout", "together", "resources.gpus = 1"),
        ("crashed", "crashed with SIGSEGV at step 9", "segfault", "Retry it once"),
        ("crashed", "MemoryError", "memory_asked", "batch_size to 32"),
        ("bad_configuration", "", "configuration", "form marks"),
        ("bad_data", "", "data", "dataset version"),
        ("bad_model", "", "model", "model's page"),
        ("dataset_changed", "", "damaged", "next version"),
        ("no_checkpoint", "", "checkpoint", "from the beginning"),
        ("upstream_failed", "", "upstream", "waits for"),
        ("failed", "", "elsewhere", "Console"),
        ("crashed", "KeyError: 'x'", "unknown", "last lines"),
        ("something_new", "", "unknown", "trace"),
    ],
)
def test_every_cause_has_its_advice(code: str, said: str, cause: str, advice: str) -> None:
    found = failures.cause(code, said)
    assert found.name == cause
    assert advice in " ".join(found.tries(CONFIG))


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_advice_calls_the_buttons_of_a_failed_run_by_their_names(cause: failures.Cause) -> None:
    said = " ".join([cause.title, *cause.tries(CONFIG)]).lower()
    assert "resum" not in said  # a failed run has the buttons Retry, From the beginning and Clone
    assert "launch it again" not in said
    if cause.codes and cause.codes <= runs.INCURABLE.keys():
        assert "retry" not in said


def test_a_failure_names_the_step_that_was_measured_last(project: Project) -> None:
    run = make.run(project, step=0, steps=100)
    metrics.append(run, [metrics.Measured("train/loss", step, 1.0, 0.0) for step in range(1, 11)])
    assert failures.report(run, code="diverged", detail="At step 10.")["step"] == 10
    Run.objects.filter(pk=run.pk).update(step=12)
    run.refresh_from_db()
    assert failures.report(run, code="diverged", detail="At step 12.")["step"] == 12


def test_no_cause_of_the_table_is_out_of_reach() -> None:
    names = [cause.name for cause in CAUSES]
    assert len(names) == len(set(names))
    for cause in CAUSES:
        assert cause.title
        assert cause.tries({})  # of a configuration that says nothing
        assert cause.tries(CONFIG)


def test_every_code_of_the_engine_has_advice_of_its_own() -> None:
    every = errors.EngineError.__subclasses__()
    # Others end looks of monitors, and no run.
    codes = {one.code for one in every if one.__module__ == errors.__name__}
    assert "diverged" in codes
    assert all(failures.cause(code, "").name != "unknown" for code in codes)


def test_a_batch_of_one_is_not_halved() -> None:
    said = " ".join(failures.cause("out_of_memory", "").tries({"training": {"batch_size": 1}}))
    assert "batch_size" not in said
    assert "smaller student" in said


def test_a_crash_report_has_the_step_the_lines_and_the_memory(
    held: claims.Held, tmp_path: Path
) -> None:
    file = console.file_of(tmp_path, held.attempt)
    script = "import os\nfor n in range(40): print('line', n, flush=True)\nos.kill(os.getpid(), 11)"
    with file.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=out, stderr=out)
    status = process.wait()
    points = [metrics.Measured("system/memory_bytes", n, n * 2.0**20, 0.0) for n in (1, 900, 700)]
    held.write(step=123, steps=500, metrics=metrics.append(held.run, points))
    console.Console(held, file).write(is_over=True)
    deaths.settle(held, child.Child(process, file), status, deaths.oom_kills())
    error = Run.objects.get().error
    assert error is not None
    assert (error["code"], error["cause"], error["step"], error["steps"]) == (
        "crashed", "segfault", 123, 500,
    )  # fmt: skip
    assert error["last_lines"][-1] == "line 39"
    assert len(error["last_lines"]) == failures.LAST_LINES
    assert error["memory"]["peak"] == 900 << 20
    assert error["memory"]["machine"] > 1 << 30


def test_only_lines_of_the_last_attempt_are_told(held: claims.Held) -> None:
    run = held.run
    logs.append(run, [logs.Line(0.0, "info", "of before")])
    run.attempt += 1
    logs.append(run, [logs.Line(0.0, "attempt", "Attempt 2"), logs.Line(0.0, "info", "of now")])
    assert failures.report(run, code="crashed", detail="x")["last_lines"] == ["of now"]


def test_the_page_and_rest_show_what_happened_and_what_to_try(
    held: claims.Held, vera: User
) -> None:
    held.write(step=7, config=held.run.config | CONFIG)
    logs.append(held.run, [logs.Line(0.0, "output", "<script>alert(1)</script>")])
    outcomes.fail(held, code="diverged", detail="The loss is no longer a number at step 7.")
    run = Run.objects.get()
    shown = signed_in(vera).get(f"/p/{run.project.slug}/runs/{run.number}/").content.decode()
    assert "The loss left the numbers" in shown
    assert "Set learning_rate to 0.001 (now 0.01)." in shown
    assert "<script>alert(1)" not in shown
    told = api_of(vera).get(f"/api/v1/projects/{run.project.slug}/runs/{run.number}/").json()
    assert told["error"]["advice"][0] == "Set learning_rate to 0.001 (now 0.01)."
    assert told["error"]["step"] == 7


def test_a_run_that_failed_before_reports_has_advice_all_the_same(
    project: Project, vera: User
) -> None:
    run = make.run(project, status="failed", error={"code": "crashed", "detail": "Odd."})
    shown = signed_in(vera).get(f"/p/{run.project.slug}/runs/{run.number}/").content.decode()
    assert "What to try" in shown
