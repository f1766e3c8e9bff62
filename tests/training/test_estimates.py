"""What a run takes is told before it is queued, and so is what is probably not meant."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import asked
from tests.training.known_models import (
    CHATTING,
    HIDDEN,
    data,
    foresee,
    network,
)
from training.models import Run, Worker
from training.services import teacher_outputs
from training.worker import metrics
from training.worker.metrics import Measured

pytestmark = pytest.mark.django_db


@pytest.fixture
def pair(project: Project) -> DatasetVersion:
    found = data(project)
    network(project, "tiny", trained=False, parameters=1_000_000)
    network(project, "one", parameters=4_000_000)
    return found


def test_memory_grows_with_weights_batches_and_students(
    project: Project, pair: DatasetVersion
) -> None:
    alone = foresee(project)["estimates"]
    taught = foresee(project, teachers=["one@1"])["estimates"]
    assert taught["memory_bytes"] - alone["memory_bytes"] == 4_000_000 * 4
    larger = foresee(project, training={"batch_size": 64})["estimates"]
    assert larger["memory_bytes"] > alone["memory_bytes"]
    soft = [{"kind": "soft_targets", "weight": 1.0}, {"kind": "hard_labels", "weight": 1.0}]
    mutual = foresee(project, scheme={"kind": "mutual", "students": 3}, losses=soft)["estimates"]
    assert mutual["memory_bytes"] > alone["memory_bytes"] + 2 * 1_000_000 * 4 * 5
    assert "3 students" in mutual["based_on"]["memory"]
    itself = foresee(project, scheme="ema_teacher", losses=soft)["estimates"]
    assert itself["memory_bytes"] - alone["memory_bytes"] == 1_000_000 * 4
    assert "and a copy" in itself["based_on"]["memory"]


def test_weights_are_at_most_so_many_until_a_tokenizer_is_trained(
    project: Project, erin: User
) -> None:
    data(project)
    fresh: dict[str, Any] = {
        "config": {"vocabulary": 8000, "dim": 64}, "parameters": 512_650,
        "tokenizer": {"kind": "word", "vocabulary": 8000, "trained": False},
        "source": {"kind": "architecture", "assumes": "10 labels and a vocabulary of 8,000"},
    }  # fmt: skip
    network(project, "bag", "bag_of_embeddings", trained=False, **fresh)
    form = f"/p/{project.slug}/runs/new/?dataset=tickets@1&student=bag@1"

    def shown(page: str) -> str:
        return signed_in(erin).get(page).content.decode()

    told = foresee(project, student="bag@1")["estimates"]
    assert told["based_on"]["memory"].startswith("at most 512,650 weights")
    assert "at most 513k parameters" in shown(form)  # on its card
    assert "may find fewer words" in shown(form)
    version = shown(f"/p/{project.slug}/models/bag/1/")
    assert "at most 513k" in version
    assert "counted for 10 labels and a vocabulary of 8,000" in version
    assert "at most 513k" in shown(f"/p/{project.slug}/students/")
    network(
        project, "bag", "bag_of_embeddings", config=fresh["config"], parameters=145_485,
        source={"kind": "run", "run": 1},
    )  # fmt: skip
    known = foresee(project, student="bag@1")["estimates"]
    assert known["based_on"]["memory"].startswith("about 145,485 weights")
    assert "about 145k parameters" in shown(form)
    assert "at most" not in shown(f"/p/{project.slug}/models/bag/2/")


def test_disk_counts_what_is_not_stored_yet(project: Project, pair: DatasetVersion) -> None:
    before = foresee(project, teachers=["one@1"])["estimates"]
    alone = foresee(project)["estimates"]
    assert before["disk_bytes"] - alone["disk_bytes"] == 100 * 3 * 2
    make.teacher_outputs(pair, "one@1")  # of another model that is called so, too
    again = foresee(project, teachers=["one@1"])["estimates"]
    assert again["disk_bytes"] == before["disk_bytes"]
    digest = teacher_outputs.digest(ModelVersion.objects.get(model__name="one"))
    make.teacher_outputs(pair, "one@1", teacher=digest)
    after = foresee(project, teachers=["one@1"])["estimates"]
    assert after["disk_bytes"] == alone["disk_bytes"]
    assert "whose answers are stored" in after["based_on"]["disk"]


def test_disk_counts_every_frozen_view_and_no_answers_to_rows_that_always_change(
    project: Project, pair: DatasetVersion
) -> None:
    def answers(**training: Any) -> int:
        alone, taught = (
            foresee(project, training={"epochs": 3, **training}, teachers=teachers)["estimates"]
            for teachers in ([], ["one@1"])
        )
        return int(taught["disk_bytes"] - alone["disk_bytes"])

    train = pair.splits["train"]["rows"] * 3 * 2
    assert answers() == 100 * 3 * 2
    assert answers(augmentation="light") == 100 * 3 * 2 - train
    assert answers(augmentation="light", augmentation_views=2) == 100 * 3 * 2 + train
    assert answers(augmentation="light", augmentation_views=64) == 100 * 3 * 2 + 2 * train


STAGES = [
    {"name": "layers", "epochs": 2, "losses": HIDDEN},
    {"name": "answers", "losses": [{"kind": "soft_targets", "weight": 1.0}]},
]


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, 3),
        ({"scheme": "born_again"}, 9),  # its two generations after the first are not written down
        ({"scheme": {"kind": "born_again", "generations": 1}}, 6),
        ({"scheme": "staged", "stages": STAGES, "teachers": ["one@1"]}, 5),
    ],
)
def test_steps_are_those_of_all_stages_and_generations(
    project: Project, pair: DatasetVersion, changes: dict[str, Any], epochs: int
) -> None:
    if changes.get("scheme") not in (None, "staged"):
        changes = changes | {"losses": [{"kind": "soft_targets", "weight": 1.0}]}
    found = foresee(project, **changes)["estimates"]
    assert found["steps"] == epochs * 3  # 80 rows, 32 at a time
    assert found["windows"] is None
    assert found["based_on"]["steps"] == f"{epochs} epochs of 80 rows"


def test_steps_of_texts_are_counted_in_windows_and_said_to_be_about(
    project: Project, erin: User
) -> None:
    task = "text-generation"
    lengths = {"mean": 1900.0, "histogram": {"edges": [1800, 1900, 2000], "counts": [50, 50]}}
    plays = make.dataset_version(
        project, "plays", task=task, labels=(), statistics={"measures": {"characters": lengths}}
    )
    config = {"max_length": 128, "vocabulary": 4000}
    gru = network(
        project, "gru", "gru_language_model", trained=False, task=task, config=config,
        tokenizer={"kind": "bpe", "vocabulary": 4000, "trained": False},
    )  # fmt: skip
    changes = CHATTING | {"dataset": "plays@1", "student": "gru@1", "training": {"epochs": 2}}
    found = foresee(project, **changes)["estimates"]
    assert found["windows"] == 80 * 5  # 3.23 characters a token
    assert found["steps"] == 2 * 13
    page = signed_in(erin).get(f"/p/{project.slug}/runs/new/?dataset=plays@1&student=gru@1")
    assert "about 400 windows" in page.content.decode()
    finished = make.run(
        project, task=task, dataset_version=plays, student=gru, status=Run.Status.FINISHED,
        summary={"steps": 23},
    )  # fmt: skip
    finished.config["training"] |= {"batch_size": 16}
    finished.save()
    known = foresee(project, **changes)["estimates"]  # as many as that run had, to half a batch
    assert known["windows"] == 23 * 16 - 8


def over(
    project: Project, version: DatasetVersion, *, steps: int, a_step: float, around: float,
    **fields: Any,
) -> Run:  # fmt: skip
    """A finished run whose steps took so long, and everything else `around`."""
    began = timezone.now() - timedelta(hours=1)
    inside = steps * a_step
    run = make.run(
        project, dataset_version=version, status=Run.Status.FINISHED, attempt=1,
        summary={"seconds": inside + around / 2, "steps": steps}, started_at=began,
        finished_at=began + timedelta(seconds=inside + around), **fields,
    )  # fmt: skip
    first = began.timestamp() + around / 2
    points = [
        Measured("train/loss", step, 1.0, first + step * a_step) for step in range(1, steps + 1)
    ]
    metrics.append(run, points)
    return run


def test_time_is_that_of_runs_like_it_by_steps_and_what_is_around_them(
    project: Project, pair: DatasetVersion
) -> None:
    guessed = foresee(project)["estimates"]
    assert "a rough guess" in guessed["based_on"]["time"]
    over(project, pair, student=network(project, "bag", "mlp"), steps=9, a_step=0.01, around=40.0)
    slower = foresee(project)["estimates"]  # as another run here shows, whatever it trained
    assert slower["seconds"] - guessed["seconds"] == pytest.approx(36.0)
    tiny = ModelVersion.objects.get(model__name="tiny")
    run = over(project, pair, student=tiny, steps=100, a_step=0.01, around=6.0)
    known = foresee(project)["estimates"]  # 9 steps
    assert known["seconds"] == pytest.approx(6.0 + 9 * 0.01, abs=0.1)
    low, high = known["seconds_range"]
    assert 2.0 <= low < known["seconds"] < high
    assert f"from run {run.number}: 10 ms a step, 6 s around" in known["based_on"]["time"]
    alike = {"epochs": 600, "batch_size": 16}  # as that run's
    longer = foresee(project, training=alike)["estimates"]
    assert longer["seconds"] == pytest.approx(6.0 + 600 * 5 * 0.01)


def test_time_counts_the_control_and_a_teacher_that_was_not_asked_before(
    project: Project, pair: DatasetVersion
) -> None:
    tiny = ModelVersion.objects.get(model__name="tiny")
    over(project, pair, student=tiny, steps=100, a_step=0.01, around=6.0)
    soft = {"losses": [{"kind": "soft_targets", "weight": 1.0}], "teachers": ["one@1"]}
    alone = foresee(project, **soft, control=False)["estimates"]
    assert "how long one@1 takes to answer is not known yet" in alone["based_on"]["time"]
    both = foresee(project, **soft, control=True)["estimates"]
    assert both["seconds"] == pytest.approx(2 * alone["seconds"])
    assert "its control included" in both["based_on"]["time"]
    make.gate(ModelVersion.objects.get(model__name="one"), pair)  # 900 rows a second
    gated = foresee(project, **soft, control=False)["estimates"]
    assert gated["seconds"] - alone["seconds"] == pytest.approx(80 / 900)


def test_a_step_of_a_small_network_takes_no_less_where_it_is_smaller_still(
    project: Project, pair: DatasetVersion
) -> None:
    large = network(project, "large", trained=False, parameters=200_000)
    network(project, "small", trained=False, parameters=1_000)
    over(project, pair, student=large, steps=100, a_step=0.01, around=3.0)
    longest = {"epochs": 1000, "batch_size": 16}
    small = foresee(project, student="small@1", training=longest)["estimates"]
    assert small["seconds"] > 3.0 + 0.1 * 5000 * 0.01  # not a two-hundredth of it


def test_no_run_is_said_to_take_less_than_its_start(project: Project, pair: DatasetVersion) -> None:
    tiny = ModelVersion.objects.get(model__name="tiny")
    over(project, pair, student=tiny, steps=100, a_step=0.001, around=0.1)
    found = foresee(project)["estimates"]
    assert min(found["seconds"], *found["seconds_range"]) >= 2.0


def worker(**machine: Any) -> Worker:
    return Worker.objects.create(
        name="m:1", host="m", pid=1, queues=["default"], machine=machine,
        load={"disk_free_bytes": machine.pop("free", 1 << 40)}, seen_at=timezone.now(),
    )  # fmt: skip


def test_machines_that_are_too_small_are_told(project: Project, pair: DatasetVersion) -> None:
    (said,) = foresee(project)["warnings"]
    assert "No worker serves the queue default now" in said
    one = worker(memory_bytes=100 << 20, free=1000)
    said = " ".join(foresee(project)["warnings"])
    assert "the largest worker of its queue has 0.1 GB" in said
    assert "Free stored teacher answers" in said
    assert "asks for 2 GPUs" in " ".join(foresee(project, resources={"gpus": 2})["warnings"])
    one.machine = {"memory_bytes": 1 << 40}
    one.load = {"disk_free_bytes": 1 << 40}
    one.save()
    assert foresee(project)["warnings"] == []
    Worker.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    assert "No worker" in foresee(project)["warnings"][0]


def test_a_frozen_backbone_without_weights_is_warned_of(
    project: Project, pair: DatasetVersion
) -> None:
    said = " ".join(foresee(project, training={"freeze": "backbone"})["warnings"])
    assert "frozen, its backbone stays as it is drawn" in said
    assert "frozen" not in " ".join(foresee(project)["warnings"])


def test_preflight_through_rest(
    project: Project, pair: DatasetVersion, erin: User, vera: User
) -> None:
    address = f"/api/v1/projects/{project.slug}/runs/preflight/"
    answer = api_of(erin).post(address, asked(teachers=["one@1"]))
    assert answer.status_code == 200
    said = answer.json()
    assert said["config"]["dataset"] == "tickets@1"
    assert set(said["estimates"]) == {
        "memory_bytes", "disk_bytes", "steps", "windows", "seconds", "seconds_range", "based_on",
    }  # fmt: skip
    assert not Run.objects.exists()
    wrong = api_of(erin).post(address, asked(losses=[{"kind": "attention_maps", "weight": 1}]))
    assert wrong.status_code == 400
    assert api_of(vera).post(address, asked()).status_code == 403


def test_the_form_shows_what_a_run_takes_and_warns_of_a_weak_teacher(
    project: Project, pair: DatasetVersion, erin: User
) -> None:
    make.gate(ModelVersion.objects.get(model__name="one"), pair, accuracy=0.61)
    make.run(
        project, dataset_version=pair, status=Run.Status.FINISHED,
        student=ModelVersion.objects.get(model__name="tiny"),
        summary={"seconds": 9.0, "selection_metric": "val/accuracy", "best_value": 0.88},
    )  # fmt: skip
    page = f"/p/{project.slug}/runs/new/?dataset=tickets@1&student=tiny@1&teacher=one@1"
    text = signed_in(erin).get(page).content.decode()
    assert "Memory, about" in text
    assert "Time, about" in text
    assert "one@1 scores 61.0 % accuracy on validation rows" in text
