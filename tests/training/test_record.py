"""What a journal says becomes rows, once."""

from pathlib import Path

import pytest

from tests.training.journals import measured, write
from training.models import Run
from training.services import logs, metrics
from training.worker import claims, journal, record

pytestmark = pytest.mark.django_db(transaction=True)


def steps_of(run: Run, name: str) -> list[int]:
    steps: list[int] = metrics.read(run=run, max_points=20_000)["series"][name]["steps"]
    return steps


def test_a_journal_becomes_rows(held: claims.Held, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"type": "stage", "name": "training"},
        measured(1, **{"train/loss": 0.5, "val/kl": "NaN"}),
        {"type": "progress", "step": 1, "steps": 10, "fraction": 0.1, "eta_seconds": 9.5},
        {"type": "logged", "level": "info", "text": "hello\x00 there"},
        torn='{"seq": 9, "type": "meas',
    )
    batch = journal.read(path, 0)
    record.record(held, tmp_path, batch)
    run = Run.objects.get()
    assert (run.status, run.stage) == ("training", "training")
    assert (run.step, run.steps, run.fraction, run.eta_seconds) == (1, 10, 0.1, 9.5)
    assert run.metrics == {"train/loss": 0.5, "val/kl": "NaN"}
    assert run.journal_offset == batch.offset < path.stat().st_size
    assert [line["text"] for line in logs.read(run=run)["lines"]] == [
        "— training",
        "hello� there",
    ]


def test_progress_does_not_fall_back_while_a_resumed_attempt_prepares(
    held: claims.Held, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        {"type": "progress", "step": 8, "steps": 10, "fraction": 0.8, "eta_seconds": 2.0},
    )
    batch = journal.read(path, 0)
    record.record(held, tmp_path, batch)
    write(
        tmp_path,
        {"type": "resumed", "step": 6},
        {"type": "progress", "step": 0, "steps": 0, "fraction": 0.0, "eta_seconds": None},
    )
    record.record(held, tmp_path, journal.read(path, batch.offset))
    run = Run.objects.get()
    assert (run.step, run.steps, run.fraction, run.eta_seconds) == (6, 10, 0.8, None)


def test_a_batch_recorded_twice_changes_nothing(held: claims.Held, tmp_path: Path) -> None:
    path = write(tmp_path, *(measured(step, loss=step / 2) for step in range(1, 50)))
    batch = journal.read(path, 0)
    record.record(held, tmp_path, batch)
    before = metrics.read(run=held.run)
    record.record(held, tmp_path, batch)
    assert metrics.read(run=held.run) == before


def test_going_on_from_a_checkpoint_leaves_every_step_once(
    held: claims.Held, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        *(measured(step, loss=1.0) for step in range(1, 31)),
        {"type": "resumed", "step": 20},
        *(measured(step, loss=2.0) for step in range(21, 41)),
    )
    record.record(held, tmp_path, journal.read(path, 0))
    assert steps_of(held.run, "loss") == list(range(1, 41))
    values = metrics.read(run=held.run)["series"]["loss"]["values"]
    assert values == [1.0] * 20 + [2.0] * 20


@pytest.mark.parametrize(
    "line",
    [
        "not json\n",
        "[1, 2]\n",
        '{"type": 5}\n',
        '{"type": "measured", "step": "NaN", "values": {"a": "many"}}\n',
        '{"type": "measured", "step": 1e400, "values": 3}\n',
        '{"type": "progress", "step": null, "fraction": 7}\n',
        '{"type": "saved", "kind": "model", "path": "../../../etc/passwd"}\n',
        '{"type": "saved", "kind": "model", "path": "/etc/passwd"}\n',
        '{"type": "unheard"}\n',
    ],
)
def test_an_odd_line_never_stops_a_training(held: claims.Held, tmp_path: Path, line: str) -> None:
    path = write(tmp_path, torn=line)
    write(tmp_path, measured(3, loss=0.25))
    record.record(held, tmp_path, journal.read(path, 0))
    run = Run.objects.get()
    assert run.metrics["loss"] == 0.25
    assert run.journal_offset == path.stat().st_size
    assert not run.artifacts.exists()


def test_a_long_journal_is_worked_off_in_pieces(tmp_path: Path) -> None:
    path = write(tmp_path, *({"type": "logged", "text": "x" * 5000} for _ in range(500)))
    batch = journal.read(path, 0)
    assert 0 < batch.offset < path.stat().st_size
    seen = len(batch.events)
    while batch.offset < path.stat().st_size:
        batch = journal.read(path, batch.offset)
        seen += len(batch.events)
    assert seen == 500


def test_an_ending_is_kept_apart_from_what_was_told_before_it(tmp_path: Path) -> None:
    path = write(tmp_path, measured(1, a=1), {"type": "finished", "summary": {}}, measured(2, a=2))
    batch = journal.read(path, 0)
    assert [event["type"] for event in batch.events] == ["measured"]
    assert batch.last is not None
    assert batch.last["type"] == "finished"
    assert batch.offset < batch.last_offset
    assert journal.read(path, batch.last_offset).events[0]["step"] == 2
