"""The next student: rows that came live become a dataset version, a run trains a challenger on old
and new rows, both are held against each other, and a person decides."""

import json
import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.utils import timezone

from distillhub.lib import storage
from projects import jobs
from projects.models import DatasetVersion, ModelVersion, Project, ReviewQueue, User
from projects.services import datasets, registry
from tests import make
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of
from tests.training import in_process
from tests.training.conftest import FILLER, launch, sentences
from training.models import InferencePart, Monitor, Promotion, Retraining, Run, Worker
from training.operations import live
from training.retraining import advancing, beginning, steps
from training.services import lineage

Status = Retraining.Status
#: How people say the same things since the world changed.
NEW_WORDS = {
    "billing": ["iban", "subscription", "vat", "voucher", "debit", "receipt"],
    "delivery": ["drone", "locker", "pickup", "depot", "customs", "pallet"],
    "account": ["passkey", "avatar", "token", "biometric", "handle", "session"],
}


def new_sentences(rows: int, seed: int = 7) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    made = sentences(rows, seed=seed)
    for row in made:
        words = chance.sample(FILLER, 4) + chance.sample(NEW_WORDS[row["label"]], 2)
        chance.shuffle(words)
        row["text"] = " ".join(words)
    return made


def part_of(monitor: Monitor, folder: Path, rows: list[dict[str, Any]], kind: str = "rows") -> None:
    """Stored rows, as a look at a monitor leaves them."""
    path = folder / f"{kind}-{monitor.parts.count()}.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    blob = storage.put(path)
    times = [row["time"] for row in rows if row.get("time")]
    InferencePart.objects.create(
        monitor=monitor, kind=kind, day=timezone.now().date(), rows=len(rows),
        first_at=min(times, default=None), last_at=max(times, default=None), sha256=blob.sha256,
        size_bytes=blob.bytes,
    )  # fmt: skip


def live_table(many: int = 300) -> list[dict[str, Any]]:
    """Rows of the new world: the model answers `account` to all. A third has its label, a third a
    teacher's answer, and of a third nobody knows anything."""
    now = timezone.now()
    return [
        {
            "id": f"r{at}",
            "time": now - timedelta(minutes=many - at),
            "window": at // 50,
            "text": row["text"],
            "prediction": "account",
            "probabilities": [0.5, 0.3, 0.2],
            "label": row["label"] if at % 3 == 0 else None,
            "teacher_prediction": row["label"] if at % 3 == 1 else None,
        }
        for at, row in enumerate(new_sentences(many))
    ]


def make_versions() -> None:
    for pk in DatasetVersion.objects.ingesting().values_list("pk", flat=True):
        jobs.ingest_dataset_version(version_id=pk)


def upload(project: Project, rows: list[dict[str, Any]]) -> DatasetVersion:
    """The next version of `tickets`."""
    lines = [f"{one['text']},{one['label'] or ''},{one['split']}" for one in rows]
    table = "\n".join(["text,label,split", *lines]).encode()
    made = datasets.upload(
        project=project,
        name="tickets",
        task="text-classification",
        file=file_of(table),
        dataset=project.datasets.filter(name="tickets").first(),
        by=project.created_by,
    )
    make_versions()
    return DatasetVersion.objects.get(pk=made.pk)


@pytest.fixture
def dataset(project: Project) -> DatasetVersion:
    return upload(project, sentences(300))


@pytest.fixture
def champion(
    project: Project, dataset: DatasetVersion, student: ModelVersion, worker: Worker
) -> ModelVersion:
    """`tiny@2`, which production means."""
    run = launch(project, name="first", training={"epochs": 12})
    in_process.carry_out(project, worker)
    run.refresh_from_db()
    assert run.output is not None
    registry.set_alias(
        model=run.output.model, name="production", version=run.output, by=project.created_by
    )
    return run.output


@pytest.fixture
def wise(
    project: Project, champion: ModelVersion, teacher: ModelVersion, worker: Worker
) -> ModelVersion:
    """A teacher that knows the old words and the new ones."""
    upload(project, sentences(300) + new_sentences(300, seed=11))
    run = launch(project, name="wise", student="big", dataset="tickets@2", training={"epochs": 15})
    in_process.carry_out(project, worker)
    run.refresh_from_db()
    assert run.output is not None
    return run.output


@pytest.fixture
def monitor(project: Project, champion: ModelVersion, tmp_path: Path) -> Monitor:
    return monitor_of(project, champion, tmp_path)


def monitor_of(project: Project, champion: ModelVersion, folder: Path) -> Monitor:
    made = Monitor.objects.create(
        project=project, name="watch", task="text-classification", labels=champion.labels,
        model=champion.model, alias="production", version=champion, salt="s" * 32,
        window_rows=50, created_by=project.created_by,
    )  # fmt: skip
    part_of(made, folder, live_table())
    return made


class Dead(BaseException):
    """As if the process was killed."""


def counted() -> tuple[int, ...]:
    return (
        DatasetVersion.objects.count(),
        Run.objects.count(),
        ReviewQueue.objects.count(),
        Promotion.objects.count(),
    )


def advanced(found: Retraining, monkeypatch: pytest.MonkeyPatch) -> Retraining:
    """One that a process died at, before anything of its step was kept; that another one then
    carries on, while a third still looks at the row as it was: nothing is made twice."""
    found = Retraining.objects.select_related(*advancing.RELATED).get(pk=found.pk)
    before, was = counted(), (found.status, found.steps)

    def killed(*asked: Any, **more: Any) -> None:
        raise Dead

    with monkeypatch.context() as patched:
        patched.setattr(steps, "write", killed)
        with pytest.raises(Dead):
            advancing.advance(found)
    assert counted() == before
    late = Retraining.objects.select_related(*advancing.RELATED).get(pk=found.pk)
    assert (late.status, late.steps) == was
    carried_on = advancing.advance(Retraining.objects.get(pk=found.pk))
    made = counted()
    with suppress(steps.Elsewhere):
        advancing.STEPS[late.status](late)
    assert counted() == made
    return carried_on


@pytest.mark.django_db(transaction=True)
def test_from_drifted_rows_to_a_promotion_and_back(
    project: Project,
    erin: User,
    monitor: Monitor,
    champion: ModelVersion,
    wise: ModelVersion,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What people do in it, a program does through REST."""
    monitor.teacher = wise
    monitor.save()
    api, home = api_of(erin), f"/api/v1/projects/{project.slug}"
    kept = api.put(f"{home}/monitors/watch/retraining/", {"review_rows": 10}, format="json")
    assert kept.status_code == 200, kept.json()
    begun = api.post(f"{home}/retrainings/", {"monitor": "watch"}, format="json")
    assert (begun.status_code, begun.json()["number"]) == (201, 1), begun.json()
    found = Retraining.objects.get()
    assert found.status == Status.COLLECTING

    found = advanced(found, monkeypatch)
    make_versions()
    assert found.status == Status.COLLECTING
    found = advanced(found, monkeypatch)
    assert found.status == Status.LABELLING, found.error
    assert found.collected is not None
    report = found.collected.statistics["operation"]
    assert report["seen"] == 300
    assert report["labels"]["true"] > 50 < report["labels"]["teacher"]
    assert report["without_label"] > 50

    make_versions()  # the teacher labels the others, in a process of the engine
    found = advanced(found, monkeypatch)
    assert found.status == Status.REVIEWING, found.error
    assert found.review is not None
    assert found.review.items.count() == 10
    assert advancing.advance(found).status == Status.REVIEWING  # until people have looked
    review = f"{home}/reviews/{found.review.pk}"
    first, *others = api.post(f"{review}/take/", {"many": 10}, format="json").json()["results"]
    other = next(one for one in champion.labels if one != first["label"])
    said = [{"row_id": first["row_id"], "verdict": "correct", "label": other}]
    said += [{"row_id": one["row_id"], "verdict": "accept"} for one in others]
    for one in said:
        assert api.post(f"{review}/verdicts/", one, format="json").status_code == 200
    assert api.post(f"{review}/close/", {}, format="json").status_code == 200
    make_versions()
    found = advanced(found, monkeypatch)
    assert found.status == Status.TRAINING, found.error
    assert found.review is not None
    assert found.dataset_version is not None
    assert found.dataset_version == found.review.made
    with storage.open_blob(found.dataset_version.file_sha256) as stream:
        rows = parquet.read_table(stream).to_pylist()
    fresh = [row for row in rows if row[live.FOR] == "1"]
    assert len(rows) == 300 + len(fresh)
    assert all(row["label"] for row in fresh)
    assert {row["split"] for row in fresh} == {"train", "validation", "test"}
    assert {row[live.FROM] for row in fresh} == {"watch"}
    assert fresh[0][live.ID].startswith("r")

    in_process.carry_out(project, worker)
    found = advanced(found, monkeypatch)  # the champion is asked about the live test rows
    assert found.status == Status.DECIDING, found.error
    at = f"{home}/retrainings/1"
    judgement = api.get(f"{at}/").json()["judgement"]
    assert judgement["passed"], judgement
    assert judgement["new"]["difference"] > 0.2
    assert judgement["new"]["interval"][0] > 0
    assert judgement["new"]["teacher_labels"] > 0 < judgement["new"]["true_labels"]
    assert judgement["old"]["rows"] == 30

    assert api.post(f"{at}/decide/", {"promote": True}, format="json").status_code == 200
    found.refresh_from_db()
    assert found.status == Status.PROMOTED
    assert registry.resolve(project=project, reference="tiny@production") == found.challenger
    again = api.post(f"{at}/decide/", {"promote": False}, format="json")
    assert again.status_code == 409
    assert "waits for no decision" in again.json()["detail"]
    assert found.challenger is not None
    assert found.collected is not None
    assert found.dataset_version is not None
    assert found.run is not None
    graph = lineage.of_version(version=found.challenger)
    ways = {(one["from"], one["to"]) for one in graph["edges"]}
    data, run = found.dataset_version.reference, f"run/{found.run.number}"
    assert {("monitor/watch", found.collected.reference), (data, run)} <= ways
    assert {(run, "tiny@3"), ("tiny@3", "tiny@production")} <= ways
    assert signed_in(erin).get("/p/intents/models/tiny/3/lineage/").status_code == 200

    assert api.post(f"{at}/rollback/").status_code == 200
    assert registry.resolve(project=project, reference="tiny@production") == champion
    assert api.post(f"{at}/rollback/").status_code == 409


def sentences_with_tags(rows: int, people: list[str], places: list[str]) -> list[tuple[str, str]]:
    """Who went where, with the tag of each word."""
    chance = random.Random(3)
    made = []
    for _ in range(rows):
        filler = chance.choices(["saw", "the", "sea", "with", "and"], k=3)
        words = [chance.choice(people), *filler, chance.choice(places)]
        made.append((" ".join(words), "B-PER O O O B-LOC"))
    return made


@pytest.mark.django_db(transaction=True)
def test_tags_of_words_go_the_same_way(project: Project, worker: Worker, tmp_path: Path) -> None:
    """Names that nobody had before: the champion tags no word, and the challenger learns them."""
    old = sentences_with_tags(200, ["Ada", "Alan", "Grace"], ["Oslo", "Lima", "Rome"])
    new = sentences_with_tags(200, ["Mbeki", "Yuki", "Priya"], ["Lagos", "Osaka", "Pune"])
    lines = [json.dumps({"tokens": text.split(), "tags": tags.split()}) for text, tags in old]
    datasets.upload(
        project=project,
        name="tickets",
        task="token-classification",
        file=file_of("\n".join(lines).encode(), "tags.jsonl"),
        by=project.created_by,
    )
    make_versions()
    student = make.model_version(
        project, "tiny", task="token-classification", architecture="bilstm",
        source={"kind": "architecture", "architecture": "bilstm"},
        config={"dim": 8, "hidden": 8, "vocabulary": 100},
    )  # fmt: skip
    launch(project, task="token-classification", training={"epochs": 4, "learning_rate": 0.02})
    in_process.carry_out(project, worker)
    champion = student.model.versions.latest("number")
    registry.set_alias(
        model=student.model, name="production", version=champion, by=project.created_by
    )
    monitor = Monitor.objects.create(
        project=project, name="watch", task="token-classification", labels=champion.labels,
        model=champion.model, alias="production", version=champion, salt="s" * 32,
        window_rows=50, created_by=project.created_by,
    )  # fmt: skip
    now = timezone.now()
    came = [
        {
            "id": f"r{at}", "time": now - timedelta(minutes=200 - at), "window": at // 50,
            "text": text, "prediction": "O O O O O", "label": tags, "teacher_prediction": None,
        }
        for at, (text, tags) in enumerate(new)
    ]  # fmt: skip
    part_of(monitor, tmp_path, came)
    found = beginning.begin(monitor=monitor, incident=None, by=project.created_by)
    for _ in range(8):
        make_versions()
        in_process.carry_out(project, worker)
        found = advancing.advance(Retraining.objects.get(pk=found.pk))
        if found.status not in (
            Status.COLLECTING,
            Status.LABELLING,
            Status.TRAINING,
            Status.JUDGING,
        ):
            break
    assert found.status == Status.DECIDING, (found.status, found.error)
    assert found.judgement["passed"], found.judgement
    assert found.judgement["new"]["difference"] > 0.1
    assert found.judgement["new"]["interval"][0] > 0
