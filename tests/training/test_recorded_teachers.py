"""Teachers that are nothing but columns of a dataset, and teachers that stand for several: they are
registered, teach where they can, and say what they are."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import signed_in
from tests.training.conftest import asked, launch, sentences
from tests.training.test_annotate import VERSIONS, make_all, newest, upload_file
from training.models import Run, TeacherGate
from training.services import launching
from training.worker import gates as gating
from training.worker import runs as executing

LABELS = ("account", "billing", "delivery")
SOFT = {label: f"p_{label}" for label in LABELS}
MODELS = "/api/v1/projects/intents/models/"
RUNS = "/api/v1/projects/intents/runs/"


def table(rows: list[dict[str, Any]], *, silent: int = 0) -> bytes:
    """With the probability of each label; of the first `silent` rows without."""
    lines = ["text,label,split,said," + ",".join(f"p_{label}" for label in LABELS)]
    for row in rows:
        told = [0.9 if label == row["label"] else 0.05 for label in LABELS]
        speaks = row["row_id"] >= silent
        chances = [str(one) if speaks else "" for one in told]
        said = row["label"] if speaks else ""
        lines.append(",".join([row["text"], row["label"], row["split"], said, *chances]))
    return "\n".join(lines).encode()


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    """`tickets@2`, of which a fifth has no answer; and a student."""
    make.model_version(project, "tiny", config={"dim": 8, "vocabulary": 300}, parameters=2427)
    client = upload_file(erin, table(sentences(150), silent=30))
    change(client, operation="columns", soft_labels=SOFT)
    return client


@pytest.fixture
def web(erin: User) -> Client:
    return signed_in(erin)


def register(client: APIClient, name: str = "said", **source: Any) -> Any:
    body = {
        "name": name, "role": "teacher", "task": "text-classification",
        "source": {"kind": "column", "dataset": "tickets@2", **source},
    }  # fmt: skip
    return client.post(MODELS, body, format="json")


def change(client: APIClient, **options: Any) -> DatasetVersion:
    made = client.post(VERSIONS, options, format="json")
    assert made.status_code == 201, made.data
    make_all()
    return newest()


def refusal(client: APIClient, **changes: Any) -> dict[str, list[str]]:
    answer = client.post(f"{RUNS}preview/", asked(**changes), format="json")
    assert answer.status_code == 400, answer.data
    return dict(answer.data["fields"])


# -- registering ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_columns_of_probabilities_become_a_teacher(client: APIClient) -> None:
    made = register(client)
    assert made.status_code == 201, made.data
    assert made.data["status"] == "ready"
    assert made.data["labels"] == list(LABELS)
    assert made.data["parameters"] is None
    source = made.data["source"]
    assert source["probabilities"] == SOFT
    assert source["fingerprint"] == newest().fingerprint
    assert source["answered"] == {"train": 96, "validation": 12, "test": 12}
    assert source["rows"] == {"train": 120, "validation": 15, "test": 15}


@pytest.mark.django_db
def test_a_column_of_labels_becomes_one_too(client: APIClient) -> None:
    made = register(client, column="said")
    assert made.status_code == 201, made.data
    assert made.data["source"]["label"] == "said"
    assert made.data["source"]["answered"]["train"] == 96


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("source", "field", "words"),
    [
        ({"dataset": "tickets@7"}, "dataset", "tickets"),
        ({"dataset": ""}, "dataset", "Name the dataset version"),
        ({"column": "text"}, "column", "no such column of words beside its label: said"),
        ({"column": "p_billing"}, "column", "no such column of words"),
        ({"column": "said", "columns": {}}, None, ""),
        ({"column": "said", "columns": {"billing": "p_billing"}}, "column", "not both"),
        ({"columns": {"billing": "p_billing"}}, "columns", "probability of account, delivery"),
        ({"columns": [1]}, "columns", "It must be"),
        ({"columns": dict.fromkeys(LABELS, "said")}, "columns", "no column of numbers 'said'"),
        ({"columns": dict.fromkeys((*LABELS, "x"), "p_billing")}, "columns", "'x' is no label"),
        ({"members": ["a@1"]}, "members", "has no members"),
    ],
)
def test_what_holds_no_answers_is_refused_at_its_field(
    client: APIClient, source: dict[str, Any], field: str | None, words: str
) -> None:
    made = register(client, **source)
    if field is None:
        assert made.status_code == 201
        return
    assert made.status_code == 400
    assert words in made.data["fields"][f"source.{field}"][0]


@pytest.mark.django_db
def test_what_only_teaches_is_no_student(client: APIClient) -> None:
    for source in ({"kind": "column", "dataset": "tickets@2"},):
        body = {"name": "x", "role": "student", "task": "text-classification", "source": source}
        made = client.post(MODELS, body, format="json")
        assert made.status_code == 400
        assert "can teach, but not be trained" in made.data["detail"]
    assert register(client).status_code == 201
    said = refusal(client, student="said@1")
    assert said["student"] == ["said@1 was recorded in a dataset: it cannot be trained."]


@pytest.mark.django_db
def test_a_dataset_without_such_columns_says_how_to_get_them(
    project: Project, erin: User, client: APIClient
) -> None:
    make.dataset_version(project, "plain", labels=LABELS)
    made = register(client, dataset="plain@1")
    assert "annotate with probabilities" in made.data["fields"]["source.dataset"][0]


# -- teaching -------------------------------------------------------------------------------------


@pytest.fixture
def trained(project: Project, client: APIClient) -> Run:
    register(client)
    run = launch(project, dataset="tickets@2", teachers=["said@1"], training={"epochs": 6})
    executing.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "finished", run.error
    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_a_student_learns_from_it_and_every_page_says_what_it_was(
    client: APIClient, web: Client, project: Project, trained: Run
) -> None:
    teacher = ModelVersion.objects.get(model__name="said")
    assert list(trained.teachers.all()) == [teacher]
    assert trained.config["teachers"] == ["said@1"]
    summary = trained.summary
    assert summary["teacher"]["recorded"]
    assert summary["teacher"]["rows"] == 12
    assert summary["teacher"]["accuracy"] == 1.0
    assert 0.0 <= summary["agreement"] <= 1.0
    assert summary["compression"] is None
    assert trained.metrics["teacher/val/accuracy"] == 1.0
    lines = [line["text"] for chunk in trained.log_chunks.all() for line in chunk.lines]
    said = "answers to 96 of 120 train, 12 of 15 validation, 12 of 15 test rows"
    assert any(said in line for line in lines)

    graph = client.get(f"{RUNS}{trained.number}/lineage/").json()
    assert {"from": "tickets@2", "to": "said@1", "as": "answers"} in graph["edges"]
    assert {"from": "said@1", "to": f"run/{trained.number}", "as": "teacher"} in graph["edges"]
    evaluated = client.get(f"{RUNS}{trained.number}/evaluation/").json()
    assert evaluated["teacher"]["rows"] == 12
    assert {one["teacher"] for one in evaluated["examples"]} <= {*LABELS, None}

    for tab in ("overview", "curves", "evaluation", "configuration", "artifacts"):
        shown = web.get(f"/p/intents/runs/{trained.number}/?tab={tab}")
        assert shown.status_code == 200
    overview = web.get(f"/p/intents/runs/{trained.number}/").content.decode()
    assert "recorded in tickets@2" in overview
    assert "Compression" not in overview
    assert "scored on 12 of 15 test rows" in overview
    told = web.get("/p/intents/models/said/1/").content.decode()
    assert "96 of 120" in told
    assert "Train it" not in told
    assert "Teach with it" in told
    listed = web.get("/p/intents/teachers/").content.decode()
    assert "untrained" not in listed
    assert web.get("/p/intents/").status_code == 200


@pytest.mark.django_db
def test_it_teaches_on_versions_that_were_made_of_its_own(client: APIClient) -> None:
    register(client)
    change(client, operation="sample", rows=60)
    answer = client.post(
        f"{RUNS}preflight/", asked(dataset="tickets@3", teachers=["said@1"]), format="json"
    )
    assert answer.status_code == 200, answer.data
    assert answer.data["config"]["teachers"] == ["said@1"]
    counted = answer.data["estimates"]["based_on"]["disk"]
    assert "nothing of said@1, whose answers are stored" in counted
    assert any("has an answer to" in one for one in answer.data["warnings"])


@pytest.mark.django_db
def test_it_does_not_teach_where_its_answers_are_not(
    client: APIClient, project: Project, erin: User
) -> None:
    register(client)
    make.dataset_version(project, "others", labels=LABELS)
    (said,) = refusal(client, dataset="others@1", teachers=["said@1"])["teachers.0"]
    assert "is not made of it" in said
    renamed = {"p_billing": "other"}
    change(client, operation="columns", version=2, rename=renamed)
    (said,) = refusal(client, dataset="tickets@3", teachers=["said@1"])["teachers.0"]
    assert "tickets@3 no longer has p_billing" in said
    change(client, operation="filter", version=2, row_ids=[*range(30), 38, 39, 48, 49, 58, 59])
    (said,) = refusal(client, dataset="tickets@4", teachers=["said@1"])["teachers.0"]
    assert "said nothing of any of the 24 training rows of tickets@4" in said


@pytest.mark.django_db
def test_answers_that_somebody_wrote_since_are_not_its_own(client: APIClient, erin: User) -> None:
    register(client)
    others = table(sentences(40, seed=5)).replace(b"0.05", b"0.1").replace(b"0.9", b"0.8")
    body = {"file": make_file(others), "name": "more"}
    assert (
        client.post("/api/v1/projects/intents/datasets/", body, format="multipart").status_code
        == 201
    )
    make_all()
    made = client.post(
        "/api/v1/projects/intents/datasets/more/versions/",
        {"operation": "columns", "soft_labels": SOFT},
        format="json",
    )
    assert made.status_code == 201, made.data
    make_all()
    change(client, operation="merge", version=2, versions=["more@2"])
    (said,) = refusal(client, dataset="tickets@3", teachers=["said@1"])["teachers.0"]
    assert "hold other answers than were recorded in tickets@2" in said


def make_file(content: bytes) -> Any:
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile("more.csv", content)


@pytest.mark.django_db
def test_terms_about_layers_are_refused_by_name(client: APIClient) -> None:
    register(client)
    losses = [{"kind": "embeddings", "weight": 1.0, "of": "rows"}]
    said = refusal(client, dataset="tickets@2", teachers=["said@1"], losses=losses)
    (sentence,) = said["losses.0.kind"]
    assert "compares layers, and said@1 is recorded answers" in sentence


@pytest.mark.django_db
def test_nobody_can_ask_ship_or_shrink_it(client: APIClient, project: Project) -> None:
    register(client)
    made = client.post(VERSIONS, {"operation": "annotate", "teacher": "said@1"}, format="json")
    assert "there is nobody to ask" in made.data["fields"]["teacher"][0]
    made = client.post(f"{MODELS}said/versions/1/exports/", {"format": "onnx"}, format="json")
    assert made.status_code == 400
    assert "nothing to ship" in made.data["detail"]
    smaller = {"kind": "derived", "from": "said@1", "method": "keep_layers"}
    body = {"name": "s", "role": "student", "task": "text-classification", "source": smaller}
    assert "no weights" in client.post(MODELS, body, format="json").data["detail"]
    made = client.get(f"{MODELS}said/versions/1/download/")
    assert made.status_code == 404


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_a_gate_scores_it_without_asking(client: APIClient) -> None:
    register(client)
    made = client.post(f"{MODELS}said/versions/1/gates/", {"dataset": "tickets@2"}, format="json")
    assert made.status_code == 202, made.data
    gate = TeacherGate.objects.get()
    gating.WORK.carry_out(gate.pk)
    gate.refresh_from_db()
    assert gate.status == "ready", gate.error
    assert gate.report is not None
    assert gate.report["rows"] == 12
    assert gate.report["metrics"]["accuracy"] == 1.0
    assert gate.report["stored"]["lacking"] == 30


@pytest.mark.django_db
def test_the_form_offers_datasets_with_columns_and_registers(
    client: APIClient, web: Client
) -> None:
    shown = web.get("/p/intents/models/new/?role=teacher&source=column").content.decode()
    assert "tickets@2" in shown
    assert "p_account" in shown
    posted = {
        "action": "register", "role": "teacher", "task": "text-classification", "name": "told",
        "source": "column", "recorded_in": "tickets@2", "column": "said",
    }  # fmt: skip
    answer = web.post("/p/intents/models/new/", posted)
    assert answer.status_code == 302, answer.content.decode()
    assert ModelVersion.objects.get(model__name="told").source["label"] == "said"
    posted |= {"name": "wrong", "recorded_in": "tickets@9"}
    assert "tickets@9" in web.post("/p/intents/models/new/", posted).content.decode()


# -- several that speak together ------------------------------------------------------------------


@pytest.fixture
def two(project: Project, client: APIClient) -> list[str]:
    """References of two recorded teachers."""
    register(client, "first")
    register(client, "second", column="said")
    return ["first@1", "second@1"]


def together(client: APIClient, name: str = "both", **source: Any) -> Any:
    body = {
        "name": name, "role": "teacher", "task": "text-classification",
        "source": {"kind": "ensemble", **source},
    }  # fmt: skip
    return client.post(MODELS, body, format="json")


@pytest.mark.django_db
def test_an_ensemble_is_its_members_where_a_run_names_it(
    client: APIClient, project: Project, two: list[str]
) -> None:
    made = together(client, members=["first", "second@1"], weights=[3, 1])
    assert made.status_code == 201, made.data
    assert made.data["source"]["members"] == two
    assert made.data["status"] == "ready"
    run = launching.launch(
        project=project,
        configuration=asked(dataset="tickets@2", teachers=["both@1"]),
        by=project.created_by,
    )
    assert run.config["teachers"] == [
        {"model": "first@1", "weight": 0.75},
        {"model": "second@1", "weight": 0.25},
    ]
    assert {one.reference for one in run.teachers.all()} == set(two)
    again = launching.clone(run=run, by=project.created_by)
    assert again.config["teachers"] == run.config["teachers"]


@pytest.mark.django_db
def test_who_is_named_twice_counts_with_both_weights(client: APIClient, two: list[str]) -> None:
    together(client, members=two)
    teachers = ["first@1", {"model": "both@1", "weight": 2.0}]
    answer = client.post(
        f"{RUNS}preview/", asked(dataset="tickets@2", teachers=teachers), format="json"
    )
    assert answer.status_code == 200, answer.data
    assert answer.data["teachers"] == [{"model": "first@1", "weight": 2.0}, "second@1"]


@pytest.mark.django_db
def test_a_fault_of_a_member_stands_at_the_ensemble(client: APIClient, two: list[str]) -> None:
    together(client, members=two)
    change(client, operation="columns", version=2, rename={"p_billing": "other"})
    said = refusal(client, dataset="tickets@3", teachers=["both@1"])
    assert "where first@1 was recorded" in said["teachers.0"][0]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("source", "field", "words"),
    [
        ({"members": ["first@1"]}, "members", "Name 2 to 16"),
        ({"members": "first@1"}, "members", "Name 2 to 16"),
        ({"members": ["first@1", "first"]}, "members.1", "is there twice"),
        ({"members": ["first@1", "tiny@1"]}, "members.1", "has not been trained"),
        ({"members": ["first@1", "nobody@1"]}, "members.1", "nobody"),
        ({"members": ["first@1", "both@1"]}, "members.1", "stands for several"),
        ({"members": ["first@1", "other@1"]}, "members.1", "other labels"),
        ({"members": ["first@1", 3]}, "members.1", "a reference"),
        ({"members": ["first@1", "second@1"], "weights": [1]}, "weights", "There must be 2"),
        ({"members": ["first@1", "second@1"], "weights": [1, 0]}, "weights.1", "above 0"),
        ({"members": ["first@1", "second@1"], "weights": [1, True]}, "weights.1", "above 0"),
    ],
)
def test_what_cannot_speak_together_is_refused_at_its_field(
    client: APIClient,
    project: Project,
    two: list[str],
    source: dict[str, Any],
    field: str,
    words: str,
) -> None:
    together(client, members=two)
    file = {"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}
    make.model_version(project, "other", role="teacher", files=[file], labels=["x", "y"])
    made = together(client, "more", **source)
    assert made.status_code == 400, made.data
    assert words in made.data["fields"][f"source.{field}"][0]


@pytest.mark.django_db
def test_nobody_asks_an_ensemble_but_its_members(client: APIClient, two: list[str]) -> None:
    together(client, members=two)
    made = client.post(VERSIONS, {"operation": "annotate", "teacher": "both@1"}, format="json")
    assert "Ask one of them: first@1 or second@1" in made.data["fields"]["teacher"][0]
    made = client.post(f"{MODELS}both/versions/1/gates/", {"dataset": "tickets@2"}, format="json")
    assert "stands for first@1, second@1: ask those" in made.data["detail"]
    said = refusal(client, student="both@1")
    assert said["student"] == ["both@1 stands for several models: it cannot be trained."]


@pytest.mark.django_db
def test_the_form_registers_an_ensemble_and_the_run_form_offers_it(
    client: APIClient, web: Client, two: list[str]
) -> None:
    shown = web.get("/p/intents/models/new/?role=teacher&source=ensemble").content.decode()
    assert "first@1" in shown
    posted = {
        "action": "register", "role": "teacher", "task": "text-classification", "name": "both",
        "source": "ensemble", "members": two, "share.first@1": "3", "share.second@1": "1",
    }  # fmt: skip
    answer = web.post("/p/intents/models/new/", posted)
    assert answer.status_code == 302, answer.content.decode()
    assert ModelVersion.objects.get(model__name="both").source["weights"] == [3.0, 1.0]
    told = web.get("/p/intents/models/both/1/").content.decode()
    assert "first@1" in told
    assert "75 %" in told
    form = web.get("/p/intents/runs/new/?teacher=both@1&preset=balanced").content.decode()
    assert "stands for first@1, second@1" in form
