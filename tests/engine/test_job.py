"""How a job's end is told, whatever ended it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine import jobs
from training.engine import job, journal
from training.engine.errors import ConfigError, DivergedError, Fault, ModelError
from training.engine.events import Failed
from training.engine.journal import Journal


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError([Fault("losses.0.kind", "It is unknown.")]), "bad_configuration", "losses.0"),
        (ModelError("The folder is empty."), "bad_model", "The folder is empty."),
        (DivergedError("No number."), "diverged", "No number."),
        (MemoryError(), "out_of_memory", "Halve the batch size"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB"),
            "out_of_memory",
            "Halve the batch size",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "out_of_memory", "smaller model"),
        (RuntimeError("[enforce fail] . file write failed"), "crashed", "file write failed"),
        (OSError(28, "No space left on device"), "disk_full", "Free some space"),
        (OSError(122, "Disk quota exceeded"), "disk_full", "Free some space"),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 9 vs 8"),
            "disk_full",
            "Free some space",
        ),
        (KeyError("weight"), "crashed", "KeyError: 'weight'"),
        (ValueError(), "crashed", "ValueError"),
    ],
)
def test_every_end_has_a_code_and_a_sentence(error: Exception, code: str, words: str) -> None:
    failed = job.explain(error)
    assert failed.code == code
    assert words in failed.sentence
    assert type(error).__name__ in failed.trace


def test_a_failure_is_the_journals_last_line(tmp_path: Path, texts: jobs.JSON) -> None:
    folder = jobs.write(tmp_path, {**texts, "sha256": "0" * 64})
    with Journal(folder / "journal.jsonl") as book:
        assert job._run(folder, book, job.Asked()) == 1
    last = list(journal.read(folder / "journal.jsonl"))[-1]
    assert (last["type"], last["code"]) == ("failed", "bad_data")
    assert "Traceback" in last["trace"]


def test_a_job_without_a_configuration_says_so(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as book:
        assert job._run(tmp_path, book, job.Asked()) == 1
    [line] = journal.read(tmp_path / "journal.jsonl")
    assert line["code"] == "bad_configuration"


def test_a_disk_without_room_for_a_last_word_is_told_by_the_exit_status(tmp_path: Path) -> None:
    """Neither the journal nor the console takes a byte."""

    def write_nothing() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    with Path("/dev/full").open("wb", buffering=0) as console:
        ended = subprocess.run(
            [sys.executable, "-m", "training.engine", "train", str(tmp_path)],
            cwd=jobs.ROOT,
            stdout=console,
            stderr=console,
            preexec_fn=write_nothing,
            check=False,
        )
    assert ended.returncode == journal.NO_ROOM
    assert jobs.lines(tmp_path) == []


def test_a_job_resumed_at_its_end_tells_no_value_twice(tmp_path: Path, texts: jobs.JSON) -> None:
    """Killed between the test's score and `finished`: the next attempt scores again, silently."""
    folder = jobs.write(tmp_path, texts)
    path = folder / "journal.jsonl"
    with Journal(path) as book:
        job._run(folder, book, job.Asked())
    whole = path.read_text().splitlines()
    tested = next(i for i, line in enumerate(whole) if '"test/accuracy"' in line)
    path.write_text("\n".join(whole[: tested + 1]) + "\n")
    with Journal(path) as book:
        assert job._run(folder, book, job.Asked()) == 0
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert told[-1]["type"] == "finished"
    points = [
        (line["step"], name)
        for line in told
        if line["type"] == "measured"
        for name in line["values"]
    ]
    assert len(points) == len(set(points))


def test_one_asked_to_stop_while_it_evaluates_resumes_and_finishes(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    folder = jobs.write(tmp_path, texts, training={"epochs": 1})
    calls = iter(range(10_000))
    told = jobs.run(folder, asked_to_stop=lambda: next(calls) > 10)
    assert type(told[-1]).__name__ == "Halted"
    assert not any(isinstance(one, Failed) for one in told)
    assert type(jobs.run(folder, resuming=True)[-1]).__name__ == "Finished"
