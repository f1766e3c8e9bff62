"""The rows of the next student: those that came live, with labels, beside those of the champion."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from projects.models import DatasetVersion, ModelVersion, ReviewQueue
from projects.services import operations, registry, reviews
from training.models import MonitorWindow, Retraining
from training.operations import live
from training.retraining import beginning, steps
from training.retraining.steps import Status
from training.services import monitor_defaults

REVIEWED = "random"  # how rows are chosen that people check: they stand for all


class Stopped(Exception):
    """It cannot go on, for a reason that another look would meet again."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def collect(retraining: Retraining) -> None:
    """Have a worker add the live rows to those that the champion learnt from. Raises Stopped."""
    if retraining.collected is None:
        with steps.locked(retraining, Status.COLLECTING) as row:
            if row.collected_id is None:
                base = _base(row)
                made = operations.change(
                    version=base,
                    operation=live.KEY,
                    options=_asked(row),
                    by=row.created_by,
                )
                sentence = f"Live rows are added to {base.reference}, as {made.reference}."
                steps.write(row, Status.COLLECTING, sentence, collected=made)
        return
    version = _ready(retraining.collected)
    if version is None:
        return
    with steps.locked(retraining, Status.COLLECTING) as row:
        steps.write(row, Status.LABELLING, collected_words(version))


def label(retraining: Retraining) -> None:
    """Have the teacher label the rows that nobody has. Raises Stopped."""
    collected = retraining.collected
    if collected is None:
        raise Stopped("gone", "The version with the live rows was deleted.")
    lacking = found(collected).get("without_label", 0)
    if retraining.dataset_version is None:
        with steps.locked(retraining, Status.LABELLING) as row:
            if row.dataset_version_id is None:
                _label(row, collected, lacking)
        return
    version = _ready(retraining.dataset_version)
    if version is None:
        return
    with steps.locked(retraining, Status.LABELLING) as row:
        if lacking:
            said = (version.statistics.get("operation") or {}).get("labelled", 0)
            sentence = _labelled(version, said)
        else:
            sentence = "Every live row has a label already."
        to = Status.REVIEWING if row.policy["review_rows"] else Status.TRAINING
        steps.write(row, to, sentence)


def _label(row: Retraining, collected: DatasetVersion, lacking: int) -> None:
    if not lacking:
        row.dataset_version = collected
        row.save(update_fields=["dataset_version"])
        return
    teacher = teacher_of(row)
    if teacher is None:
        raise Stopped("no_teacher", "The teacher that was to label rows is gone.")
    options: dict[str, Any] = {
        "teacher": teacher.reference,
        "where": [f"{live.FOR}:is:{row.number}"],
        "unlabelled": True,
    }
    if teacher.is_asked:
        options["budget"] = row.policy["budget"]
    made = operations.change(
        version=collected, operation="annotate", options=options, by=row.created_by
    )
    rows = "1 row" if lacking == 1 else f"{lacking:,} rows"
    sentence = f"{teacher.reference} is asked about {rows}, for {made.reference}."
    steps.write(row, Status.LABELLING, sentence, dataset_version=made)


def review(retraining: Retraining) -> None:
    """Have people check some of the live rows first. Raises Stopped."""
    version = retraining.dataset_version
    if version is None:
        raise Stopped("gone", "The version with old and live rows was deleted.")
    if retraining.review is None:
        with steps.locked(retraining, Status.REVIEWING) as row:
            if row.review_id is None:
                queue = reviews.create(
                    version=version,
                    name=f"Retraining {row.number}: live rows",
                    kind=ReviewQueue.Kind.LABELS,
                    how=REVIEWED,
                    many=row.policy["review_rows"],
                    seed=row.number,
                    conditions={"where": [f"{live.FOR}:is:{row.number}"]},
                    by=row.created_by,
                )
                rows = queue.items.count()
                many = "1 live row" if rows == 1 else f"{rows:,} live rows"
                sentence = f"{many} wait for people to check them. It goes on when the review is "
                steps.write(row, Status.REVIEWING, f"{sentence}closed.", review=queue)
        return
    queue = retraining.review
    if queue.is_open:
        return
    made = queue.made
    if made is not None and _ready(made) is None:
        return
    with steps.locked(retraining, Status.REVIEWING) as row:
        sentence = "People checked the live rows, and corrected none."
        if made is not None:
            sentence = f"{made.told}: {made.reference}."
        steps.write(row, Status.TRAINING, sentence, dataset_version=made or version)


def teacher_of(retraining: Retraining) -> ModelVersion | None:
    """Who labels live rows: as the policy says, else the monitor's, else the champion's."""
    named = retraining.policy["teacher"]
    if named:
        return registry.resolve(project=retraining.project, reference=named)
    if retraining.monitor.teacher is not None:
        return retraining.monitor.teacher
    champion = retraining.champion
    return None if champion is None else monitor_defaults.teacher_of(champion)


def collected_words(version: DatasetVersion) -> str:
    told = found(version)
    labels, splits = told.get("labels") or {}, told.get("splits") or {}
    unknown = (told.get("left_out") or {}).get("unknown_label", 0)
    return (
        f"{told.get('rows', 0):,} of {told.get('seen', 0):,} live rows were taken: "
        f"{splits.get('train', 0):,} to learn from, {splits.get('validation', 0):,} for "
        f"validation, {splits.get('test', 0):,} for the test. {labels.get('true', 0):,} have a "
        f"label that came, {labels.get('teacher', 0):,} the teacher's."
        + (f" {unknown:,} of classes that the dataset does not know were left out." * bool(unknown))
    )


def _labelled(version: DatasetVersion, said: int) -> str:
    who = (version.operation or {}).get("options", {}).get("teacher", "The teacher")
    return f"{who} labelled {said:,} live rows: {version.reference}."


def _base(row: Retraining) -> DatasetVersion:
    """What the champion learnt from. Raises Stopped."""
    champion = row.champion
    run = None if champion is None else beginning.run_of(champion)
    if run is None:
        raise Stopped("gone", "The champion, or the run that trained it, was deleted.")
    return run.data


def _asked(row: Retraining) -> dict[str, Any]:
    policy = row.policy
    since = _since(row)
    teacher = teacher_of(row)
    return {
        "monitor": row.monitor.name,
        "retraining": row.number,
        "since": None if since is None else since.isoformat(),
        "until": timezone.now().isoformat(),
        "rows": policy["rows"],
        "least": policy["least_rows"],
        "test": policy["test_share"],
        "validation": policy["validation_share"],
        "chance": policy["by_chance"],
        "keep": policy["keep_old"],
        "slices": _slices(row),
        "unlabelled": teacher is not None,
        "teacher": teacher is not None and teacher == row.monitor.teacher,
        "seed": row.number,
    }


def _slices(row: Retraining) -> list[str]:
    """In which the incident is worst, and that the monitor still knows."""
    known = {one["name"] for one in row.monitor.slices}
    told = (row.incident.facts.get("slices") or []) if row.incident is not None else []
    return [name for name in dict.fromkeys(one["slice"] for one in told) if name in known]


def _since(row: Retraining) -> datetime | None:
    """From the first window that spoke against the model; without an incident, as far back as the
    policy says."""
    if row.incident is None:
        return timezone.now() - timedelta(days=row.policy["days"])
    first = (
        MonitorWindow.objects.filter(monitor=row.monitor_id, ends_at__gte=row.incident.since)
        .order_by("number")
        .first()
    )
    return first.starts_at if first is not None else row.incident.since


def _ready(version: DatasetVersion) -> DatasetVersion | None:
    """None while a worker makes it. Raises Stopped."""
    if version.status == DatasetVersion.Status.FAILED:
        detail = (version.error or {}).get("detail", "")
        raise Stopped("rows", f"{version.reference} could not be made. {detail}".strip())
    return version if version.is_ready else None


def found(version: DatasetVersion) -> dict[str, Any]:
    """What the operation `live` told of the rows it took."""
    return dict(version.statistics.get("operation") or {})
