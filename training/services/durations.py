"""How long a run will take, from finished runs like it; where there are none, a rough guess.

A run is a fixed part (starting a process, preparing rows, asking the teachers, evaluating) and
steps. Both are measured of runs that are over: when they began and ended, and the times at which
their loss was recorded.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projects.models import DatasetVersion
from training import catalog
from training.models import MetricChunk, Run, TeacherGate, Worker
from training.services import schedule, workers
from training.services.readings import Network

LOOKED_AT = 100  # finished runs
COMPARED = 5  # of those, the ones most alike
LEAST = 2.0  # seconds: no process starts, prepares and evaluates in less
#: Of one run, by hand: seconds around its steps, and of a step whatever it computes. Measured with
#: the small networks on two cores: 2 to 6, and 0.001 to 0.005.
AROUND, A_STEP = 4.0, 0.003
FIRST = 30.0  # seconds that a first run may take whatever it computes, on a busy machine
#: Multiplications and additions a second that training reaches.
ON_CPU, ON_GPU = 2.5e10, 5e12
#: How far a run may be from what runs like it took, and from a guess: other work on the machine
#: alone makes the same run take twice as long.
MEASURED, GUESSED = (0.6, 2.0), (1 / 3, 4.0)


@dataclass(frozen=True, slots=True)
class Duration:
    seconds: float
    low: float
    high: float
    said: str  # what it is from, in words


@dataclass(frozen=True, slots=True)
class _Asked:
    """A run that may come."""

    config: Mapping[str, Any]
    dataset: DatasetVersion
    student: Network
    teachers: Sequence[Network]
    epoch: schedule.Epoch

    @property
    def steps(self) -> int:
        return self.epoch.steps * schedule.passes(self.config)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A run that is over: seconds of a step, and of everything around its steps."""

    run: Run
    a_step: float
    around: float


def estimate(
    *,
    config: Mapping[str, Any],
    dataset: DatasetVersion,
    student: Network,
    teachers: Sequence[Network],
    epoch: schedule.Epoch,
    listens: bool,
    stored: Sequence[Network],
) -> Duration:
    """Of a run and its control, one after the other. `listens` says whether a term hears the
    teachers, `stored` which of them have been asked about these rows before."""
    asked = _Asked(config, dataset, student, teachers if listens else (), epoch)
    found = _of_one(asked)
    asking, said = _asking(asked, stored, found.said)
    low, high = MEASURED
    seconds, least, most = (
        found.seconds + asking, found.low + asking * low, found.high + asking * high
    )  # fmt: skip
    if config.get("control"):
        plain = {**config, "scheme": "offline", "teachers": []}
        alone = _of_one(_Asked(_as_long(plain, config), dataset, student, (), epoch))
        seconds, least, most = (
            seconds + alone.seconds, least + alone.low, most + alone.high
        )  # fmt: skip
        said = f"its control included; {said}"
    return Duration(seconds, least, most, said)


def _as_long(plain: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A control takes the epochs of all stages and generations."""
    training = {**config["training"], "epochs": schedule.passes(config)}
    return {**plain, "training": training, "stages": []}


def _of_one(asked: _Asked) -> Duration:
    like = _like(asked)
    if not like:
        return _guess(asked)
    found = [
        max(LEAST, one.around) + asked.steps * one.a_step * _harder(asked, one.run) for one in like
    ]
    newest = like[0]
    numbers = f"run {newest.run.number}" + (f" and {len(like) - 1} like it" if like[1:] else "")
    steps = sorted(one.a_step * 1000 for one in like)
    paces = [f"{one:.2g}" if one < 100 else f"{one:,.0f}" for one in (steps[0], steps[-1])]
    pace = " to ".join(dict.fromkeys(paces))
    around = statistics.median(one.around for one in like)
    said = f"from {numbers}: {pace} ms a step, {around:.0f} s around the steps"
    low, high = MEASURED
    return Duration(
        statistics.median(found), max(LEAST, min(found) * low), max(LEAST, max(found) * high), said
    )


def _guess(asked: _Asked) -> Duration:
    """What a step computes over what a machine does a second, and a floor under each."""
    speed = ON_GPU if _has_gpu(asked.config) else ON_CPU
    step = schedule.students(asked.config) * (A_STEP + _work(asked) / speed)
    seconds = _around(asked) + asked.steps * step
    label = (catalog.find("architectures", asked.student.architecture) or {}).get("label")
    said = f"a rough guess, for no run of {label or 'this student'} has finished here"
    low, high = GUESSED
    return Duration(seconds, max(LEAST, seconds * low), max(FIRST, seconds * high), said)


def _around(asked: _Asked) -> float:
    """What other runs of the project took around their steps, whatever they trained."""
    finished = Run.objects.filter(
        status=Run.Status.FINISHED, project=asked.dataset.dataset.project_id
    ).select_related("dataset_version")
    newest = [one for one in finished.order_by("-pk")[:COMPARED] if _seconds(one)]
    return max(AROUND, *(_measure(one).around for one in newest)) if newest else AROUND


# -- runs that are over ---------------------------------------------------------------------------


def _like(asked: _Asked) -> list[_Measured]:
    """Those most alike, the best first: of the same model, taught likewise, on a machine of the
    kind that is here; all of one project, task and architecture, and equally alike."""
    project = asked.dataset.dataset.project_id
    finished = (
        Run.objects.filter(
            status=Run.Status.FINISHED, task=asked.config["task"], project=project,
            student__architecture=asked.student.architecture,
        )
        .select_related("student", "dataset_version", "worker")
        .order_by("-pk")[:LOOKED_AT]
    )  # fmt: skip
    here = [_kind(one) for one in _here(asked.config)]
    version = asked.student.version
    ranked: dict[tuple[bool, ...], list[Run]] = {}
    for run in finished:
        if run.student is None or not _seconds(run):
            continue
        rank = (
            not here or run.worker is None or _kind(run.worker) in here,
            version is not None and run.student.model_id == version.model_id,
            run.data.dataset_id == asked.dataset.dataset_id,
            _kind_of(run.config) == _kind_of(asked.config),
            run.is_distillation == bool(asked.teachers),
        )
        ranked.setdefault(rank, []).append(run)
    if not ranked:
        return []
    return [_measure(run) for run in ranked[max(ranked)][:COMPARED]]


def _seconds(run: Run) -> float:
    """That its engine counted, of all attempts; 0 where it does not say."""
    seconds = run.summary.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else 0.0


def _measure(run: Run) -> _Measured:
    steps = schedule.of_run(run)
    inside = _seconds(run)
    whole = inside + LEAST
    if run.attempt <= 1 and run.started_at and run.finished_at:
        whole = max(inside, (run.finished_at - run.started_at).total_seconds())
    a_step = min(_pace(run) or inside / steps, whole / steps)
    return _Measured(run, a_step, max(0.0, whole - a_step * steps))


def _pace(run: Run) -> float | None:
    """Seconds of a step, the evaluations between epochs included, by the times at which the loss
    was recorded; None where that was not twice."""
    chunks = MetricChunk.objects.filter(series__run=run, series__name="train/loss")
    first, last = chunks.order_by("index").first(), chunks.order_by("-index").first()
    if first is None or last is None:
        return None
    began, ended = first.points, last.points
    steps = int(ended.steps[-1]) - int(began.steps[0])
    seconds = float(ended.times[-1]) - float(began.times[0])
    return seconds / steps if steps > 0 and seconds > 0 else None


def _harder(asked: _Asked, run: Run) -> float:
    """How many times longer a step takes than one of that run: by what both compute, above what a
    step takes whatever it computes. Small networks of any size take the same."""
    assert run.student is not None
    student = schedule.There(run.student)
    then = _Asked(run.config, run.data, student, (), asked.epoch)
    speed = ON_GPU if run.worker is not None and run.worker.machine.get("gpus") else ON_CPU
    mine, its = (
        schedule.students(one.config) * (A_STEP + _work(one) / speed) for one in (asked, then)
    )
    return mine / its


def _work(asked: _Asked) -> float:
    """Multiplications and additions of a step, roughly: three passes, each of two for a weight that
    is no table of words, at every place."""
    version = asked.student.version
    if version is None or not version.parameters:
        return 0.0
    config = version.config
    words = (version.tokenizer or {}).get("vocabulary") or 0
    width = schedule.first(config, "dim", "hidden_size", "n_embd", "d_model", "embedding")
    table = 0 if config.get("tied") else words * width
    dense = max(0, version.parameters - table)
    return 6.0 * dense * _places(asked, config) * schedule.at_once(asked.config)


def _places(asked: _Asked, config: Mapping[str, Any]) -> float:
    """Places of a row at which the weights are used: tokens, patches, frames."""
    measured = asked.dataset.statistics.get("measures") or {}
    means = {
        name: float(one["mean"])
        for name, one in measured.items()
        if isinstance(one, Mapping) and isinstance(one.get("mean"), int | float)
    }
    longest = schedule.first(config, "max_length") or 128
    if asked.config["task"] == "text-generation":
        return float(longest)
    if asked.student.architecture == "bag_of_embeddings":
        return 1.0
    if "width" in means and "height" in means:
        side = schedule.first(config, "image_size") or 0
        pixels = side * side if side else means["width"] * means["height"]
        patch = schedule.first(config, "patch_size") or 4
        return max(1.0, pixels / (patch * patch))
    if "milliseconds" in means:
        apart = 1 if asked.student.architecture == "spectrogram_convnet" else 20
        return means["milliseconds"] / apart
    if "characters" in means:
        return min(float(longest), means["characters"] / 3.5)
    return 1.0


# -- teachers and machines ------------------------------------------------------------------------


def _asking(asked: _Asked, stored: Sequence[Network], said: str) -> tuple[float, str]:
    """Seconds in which teachers answer the training rows for the first time."""
    seconds = 0.0
    for teacher in asked.teachers:
        if teacher in stored:
            continue
        speed = _speed(teacher)
        if speed is None:
            said += f"; how long {teacher.reference} takes to answer is not known yet"
        else:
            seconds += asked.epoch.rows / speed
            said += f"; {teacher.reference} answers {speed:,.0f} rows a second"
    return seconds, said


def _speed(teacher: Network) -> float | None:
    """Rows a second that a teacher answered, by a gate or by a run's evaluation."""
    if teacher.version is None:
        return None
    gated = TeacherGate.objects.filter(version=teacher.version, report__isnull=False)
    for gate in gated.order_by("-pk")[:5]:
        speed = (gate.report or {}).get("rows_per_second")
        if isinstance(speed, int | float) and speed > 0:
            return float(speed)
    measured = Run.objects.filter(teachers=teacher.version, status=Run.Status.FINISHED)
    for run in measured.order_by("-pk")[:5]:
        speed = (run.summary.get("teacher") or {}).get("samples_per_second")
        if isinstance(speed, int | float) and speed > 0:
            return float(speed)
    return None


def _here(config: Mapping[str, Any]) -> list[Worker]:
    queue = (config.get("resources") or {}).get("queue", "default")
    return [
        one
        for one in Worker.objects.all()
        if workers.state(one) == "online" and queue in one.queues
    ]


def _has_gpu(config: Mapping[str, Any]) -> bool:
    return any(one.machine.get("gpus") for one in _here(config))


def _kind(worker: Worker) -> tuple[Any, ...]:
    """Machines of one kind are as fast."""
    machine = worker.machine
    cards = tuple(one.get("name") for one in machine.get("gpus") or [])
    return machine.get("cpu"), machine.get("cpus"), cards


def _kind_of(config: Mapping[str, Any]) -> str:
    scheme = config.get("scheme") or "offline"
    return scheme if isinstance(scheme, str) else str(scheme.get("kind"))
