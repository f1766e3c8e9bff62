"""What has to be true after every fault."""

import hashlib
import re
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.stack import OVER, Stack, Watched
from tests.site.processes import until

#: Series that tell how fast this machine is, and not what was learnt: their steps are compared,
#: and not their values.
TIMES = ("train/samples_per_second",)
#: What a machine says of itself is nobody's training.
OF_MACHINES = "system/"
#: Words that no person should have to read.
UNREADABLE = re.compile(r"Traceback|Error\(|<class|0x[0-9a-f]{6}|None\b|\{|\}")
WORKED_IN = {"checkpoints", "inputs", "output", "work"}


@dataclass(frozen=True)
class Outcome:
    """What a run that nobody disturbed left."""

    weights: str  # sha256 of model.safetensors
    series: dict[str, tuple[list[int], list[Any]]]
    steps: int


def outcome(run: Watched) -> Outcome:
    """What a finished run has left, its weights read back through REST."""
    files = {one["name"]: one for one in run.stack.get(f"{run.path}/artifacts/")["results"]}
    file = files["model/model.safetensors"]
    request = urllib.request.Request(
        f"{run.stack.address}{run.path}/artifacts/model/model.safetensors",
        headers={"Authorization": f"Bearer {run.stack.token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        weights = hashlib.sha256(answer.read()).hexdigest()
    assert weights == file["sha256"]
    read = run.stack.get(f"{run.path}/metrics/?max_points=20000")["series"]
    series = {}
    for name, points in read.items():
        if name.startswith(OF_MACHINES):
            continue
        assert not points["thinned"]
        assert points["count"] == len(points["steps"])
        series[name] = (points["steps"], points["values"])
    return Outcome(weights, series, int(run.read()["summary"]["steps"]))


def check_finished(run: Watched, undisturbed: Outcome, *says: str) -> None:
    """Finished, as if nothing had been: the same weights, every point once; and a timeline that
    tells what had been, in sentences that match `says` in this order."""
    status = run.until_over()
    assert status == "finished", str(run)
    found = outcome(run)
    assert found.weights == undisturbed.weights, "other weights"
    check_points(found, undisturbed)
    told = run.timeline
    assert sum(sentence.startswith("Finished") for sentence in told) == 1, told
    assert run.read()["output"], told
    check_told(run, *says)
    check_nothing_left(run.stack)


def check_points(found: Outcome, undisturbed: Outcome) -> None:
    assert set(found.series) == set(undisturbed.series)
    for name, (steps, values) in undisturbed.series.items():
        ours, measured = found.series[name]
        assert ours == steps, f"{name}: {_difference(ours, steps)}"
        if name not in TIMES:
            assert measured == values, name


def check_ended(run: Watched, status: str, *says: str) -> None:
    """Over for the right reason: `failed` or `cancelled`, its points in order, each once."""
    assert run.until_over() == status, str(run)
    for name, points in run.stack.get(f"{run.path}/metrics/?max_points=20000")["series"].items():
        steps = points["steps"]
        assert steps == sorted(set(steps)), name
    assert run.read()["output"] is None
    check_told(run, *says)
    check_nothing_left(run.stack)


def check_told(run: Watched, *says: str) -> None:
    told = run.timeline
    for sentence in told:
        assert sentence.endswith("."), sentence
        assert not UNREADABLE.search(sentence), sentence
    left = iter(told)
    for pattern in says:
        assert any(re.search(pattern, sentence) for sentence in left), (pattern, told)


def check_nothing_left(stack: Stack) -> None:
    """No process, no folder and no lease that belongs to nobody. Waits for those that are ending,
    and has nothing against runs that are still in training."""
    until(lambda: not stack.strangers(), seconds=20, what=lambda: str(stack.strangers()))
    done = "SELECT id, job_home FROM training_run WHERE status = 'finished'"
    ended = dict(stack.rows(done))
    every = {pk for (pk,) in stack.rows("SELECT id FROM training_run")}
    over = "(" + ", ".join(f"'{one}'" for one in sorted(OVER)) + ")"

    def engines_of_the_dead() -> list[str]:
        alive = {
            str(pk)
            for (pk,) in stack.rows(f"SELECT id FROM training_run WHERE status NOT IN {over}")
        }
        return [
            " ".join(one.cmdline())
            for one in stack.engines()
            if one.cmdline()[-1].rsplit("/", 1)[-1] not in alive and "train" in one.cmdline()
        ]

    until(lambda: not engines_of_the_dead(), seconds=20, what=lambda: str(engines_of_the_dead()))
    leased = f"SELECT number, status FROM training_run WHERE status IN {over}"
    assert stack.rows(f"{leased} AND lease_until IS NOT NULL") == []
    for home in {stack.home, *(worker.home for worker in stack.workers)}:
        here = home / "jobs" / ".id"
        for folder in (home / "jobs").glob("[0-9]*"):
            assert int(folder.name) in every, f"{folder} belongs to no run"
            # What a run left where it did not end is swept within minutes.
            if here.read_text().strip() == str(ended.get(int(folder.name))):
                until(partial(_is_cleared, folder), what=folder.__str__)


def _is_cleared(folder: Path) -> bool:
    return not WORKED_IN & {one.name for one in folder.iterdir()}


def _difference(ours: list[int], theirs: list[int]) -> str:
    missing, added = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    twice = len(ours) - len(set(ours))
    return f"missing {missing[:9]}, added {added[:9]}, {twice} twice, of {len(theirs)}"
