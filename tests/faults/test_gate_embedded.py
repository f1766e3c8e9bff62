"""The short gate, on one machine: SQLite, a folder of messages, one worker. Each fault strikes at a
moment that a printed seed chooses; the checker then compares with a run that nobody disturbed."""

import random
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.faults.checker import check_ended, check_finished
from tests.faults.conftest import Struck
from tests.faults.stack import EVERY, Watched, after
from tests.site.processes import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults-embedded")]


def test_a_killed_training_goes_on_from_its_checkpoint(
    embedded: Struck, chance: random.Random
) -> None:
    run = embedded.stack.launch()
    run.until_step(chance.randrange(1, embedded.steps * 7 // 10))
    run.kill_child()
    check_finished(
        run,
        embedded.undisturbed,
        r"The training process was killed \(SIGKILL\) at step \d+\. It goes on",
        r"(Continued from step|Begun again)",
    )


def test_a_killed_worker_that_is_started_again_goes_on_at_once(
    embedded: Struck, chance: random.Random
) -> None:
    run = embedded.stack.launch()
    run.until_step(chance.randrange(1, embedded.steps * 7 // 10))
    worker = run.worker
    worker.kill()
    embedded.stack.replace(worker)
    check_finished(
        run,
        embedded.undisturbed,
        r"Worker \S+ went silent at step \d+\.",
        r"(Continued from step|Begun again)",
    )


def test_a_worker_that_is_asked_to_leave_loses_no_step(
    embedded: Struck, chance: random.Random
) -> None:
    run = embedded.stack.launch()
    run.until_step(chance.randrange(1, embedded.steps * 7 // 10))
    worker = run.worker
    assert worker.stop(signal.SIGTERM) == 0
    assert run.column("status") == "queued"
    assert embedded.stack.engines() == []
    embedded.stack.replace(worker)
    check_finished(
        run,
        embedded.undisturbed,
        r"Worker \S+ was stopped; it goes on from its checkpoint at step \d+\.",
        r"Continued from step \d+",
    )
    assert run.column("times_lost") == 0
    assert not any("once more" in sentence for sentence in run.timeline)


def test_a_flipped_byte_in_the_newest_checkpoint_costs_that_checkpoint_and_says_so(
    embedded: Struck, chance: random.Random
) -> None:
    run = embedded.stack.launch()
    run.until_checkpoint(EVERY * chance.randrange(2, embedded.steps * 6 // 10 // EVERY))
    run.kill_child()
    older, newest = checkpoints(run)[-2:]
    file = chance.choice([one for one in newest.iterdir() if one.stat().st_size])
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    file.write_bytes(content)
    at = int(older.name)
    check_finished(
        run, embedded.undisturbed, "was killed", rf"Continued from step {at} |Continued from {at}"
    )
    assert f"The checkpoint of step {int(newest.name)} is not used:" in run.console


@pytest.mark.parametrize(("what", "learning_rate"), [("loss", 100.0), ("gradient", 1.0)])
def test_numbers_that_are_none_end_a_run_with_advice_and_are_not_tried_again(
    embedded: Struck, what: str, learning_rate: float
) -> None:
    """A gradient's length is beyond all numbers while the loss is still one."""
    wild = {
        "optimizer": "sgd",
        "learning_rate": learning_rate,
        "weight_decay": 10.0,
        "max_grad_norm": None,
        "schedule": "constant",
        "warmup_ratio": 0.0,
    }
    run = embedded.stack.launch(training=wild)
    check_ended(
        run, "failed", rf"The {what} is no longer a number at step \d+\. Lower the learning rate"
    )
    assert run.read()["error"]["code"] == "diverged"
    assert run.column("attempt") == 1


def test_a_full_disk_at_a_checkpoint_is_named_and_the_run_resumes_when_there_is_room(
    embedded: Struck, chance: random.Random
) -> None:
    run = embedded.stack.launch()
    run.until_checkpoint(EVERY * chance.randrange(1, embedded.steps * 6 // 10 // EVERY))
    # A process that may write no more than so much into one file: no mount, no other user.
    room = (run.folder() / "journal.jsonl").stat().st_size + 100_000
    weights = max(one.stat().st_size for one in checkpoints(run)[-1].iterdir())
    assert room < weights
    psutil.Process(run.child()).rlimit(resource.RLIMIT_FSIZE, (room, room))
    check_ended(run, "failed", r"The disk is full\. Free some space, then retry the run\.")
    assert run.read()["error"]["code"] == "disk_full"
    assert [one for one in (run.folder() / "checkpoints").iterdir() if ".part" in one.name] == []

    run.stack.post(f"{run.path}/resume/")
    check_finished(run, embedded.undisturbed, "disk is full", "Resumed by", "Continued from step")


def test_cancelled_at_every_moment_a_run_ends_once(embedded: Struck, chance: random.Random) -> None:
    def cancelled(moment: float) -> None:
        """`moment`: 0 in the queue, 1 to 2 in training, above 2 in its evaluation and after."""
        run = embedded.stack.launch()
        if moment >= 1:
            run.until_step(max(1, int(embedded.steps * min(1.0, moment - 1))))
        after(moment % 1 if moment < 1 else max(0.0, moment - 2))
        status, answer = run.cancel()
        assert status in (200, 409), answer
        if status == 409:
            assert run.status == "finished"
            check_finished(run, embedded.undisturbed)
        else:
            check_ended(run, "cancelled", r"Cancelled by|asked it to stop")
            told = run.timeline
            assert sum(one.startswith(("Cancelled by", "Stopped at")) for one in told) == 1

    moments = [0.0, chance.uniform(0, 1), chance.uniform(1, 2), chance.uniform(2, 2.5)]
    with ThreadPoolExecutor(len(moments)) as pool:
        list(pool.map(cancelled, moments))


def checkpoints(run: Watched) -> list[Path]:
    """Oldest first, once there are two whole ones or the training has ended."""

    def whole() -> list[Path]:
        home = run.folder() / "checkpoints"
        return sorted(one for one in home.iterdir() if one.name.isdigit())

    found: list[Path] = until(whole, what=run.__str__)
    return found
