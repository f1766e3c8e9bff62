"""Runs through REST, as rest.md promises them."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from distillhub.lib import storage
from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from tests.training.conftest import asked
from training.api.run_serializers import EXAMPLES
from training.models import Artifact, Run
from training.services import metrics
from training.worker import logs

RUNS = "/api/v1/projects/intents/runs/"


@pytest.fixture
def client(erin: User, project: Project) -> APIClient:
    return api_of(erin)


@pytest.fixture
def parts(project: Project) -> None:
    make.dataset_version(project, "tickets", labels=("a", "b"))
    make.model_version(project, "tiny")
    make.model_version(
        project,
        "big",
        role="teacher",
        labels=["a", "b"],
        files=[{"name": "x", "sha256": "y", "bytes": 1}],
    )


def test_a_launched_run_is_answered_with_its_complete_pinned_configuration(
    client: APIClient, parts: None
) -> None:
    body = {
        "task": "text-classification",
        "dataset": "tickets",
        "student": "tiny",
        "teachers": ["big"],
    }
    answer = client.post(RUNS, body)
    assert answer.status_code == 201, answer.data
    run = answer.json()
    assert (run["number"], run["status"], run["control"]) == (1, "queued", 2)
    config = run["config"]
    assert (config["dataset"], config["student"], config["teachers"]) == (
        "tickets@1",
        "tiny@1",
        ["big@1"],
    )
    assert config["training"]["batch_size"] > 0
    assert [loss["kind"] for loss in config["losses"]] == ["soft_targets", "hard_labels"]
    assert run["progress"] == {"fraction": 0.0, "step": 0, "steps": None, "eta_seconds": None}
    control = client.get(f"{RUNS}2/").json()
    assert (control["control_of"], control["teachers"], control["control"]) == (1, [], None)
    assert control["config"]["training"]["seed"] == config["training"]["seed"]
    assert [loss["kind"] for loss in control["config"]["losses"]] == ["hard_labels"]


def test_every_fault_of_a_configuration_is_named_at_its_field(
    client: APIClient, parts: None
) -> None:
    answer = client.post(
        RUNS,
        {
            "task": "text-classification",
            "dataset": "nothing@7",
            "student": "tiny",
            "teachers": ["big", "absent"],
            "losses": [{"kind": "soft_targets", "weight": 1, "temperature": -3}],
            "training": {"batch_size": 0, "speed": 3},
            "surprise": 1,
        },
    )
    assert answer.status_code == 400
    assert set(answer.json()["fields"]) == {
        "dataset",
        "teachers.1",
        "losses.0.temperature",
        "training.batch_size",
        "training.speed",
        "surprise",
    }
    assert not Run.objects.exists()


def test_nothing_but_the_configuration_can_be_set(client: APIClient, parts: None) -> None:
    body = asked(student="tiny") | {"status": "finished", "attempt": 7}
    assert set(client.post(RUNS, body).json()["fields"]) == {"status", "attempt"}
    run = client.post(RUNS, asked(student="tiny")).json()
    changed = client.patch(
        f"{RUNS}{run['number']}/", {"status": "finished", "attempt": 7, "number": 5, "name": "new"}
    ).json()
    assert (changed["status"], changed["attempt"], changed["number"]) == ("queued", 0, 1)
    assert changed["name"] == "new"


def test_one_key_is_one_run_however_often_it_is_posted(client: APIClient, parts: None) -> None:
    first, second = (client.post(RUNS, asked(), headers={"Idempotency-Key": "k"}) for _ in "ab")
    assert first.json() == second.json()
    assert Run.objects.count() == 1
    other = client.post(RUNS, asked(name="x"), headers={"Idempotency-Key": "k"})
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("labels", "files", "said"),
    [
        ([], [], "has not been trained"),
        (["a", "c"], [{"name": "x", "sha256": "y", "bytes": 1}], "it does not know b"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_at_its_field(
    client: APIClient, parts: None, project: Project, labels: Any, files: Any, said: str
) -> None:
    make.model_version(project, "odd", role="teacher", labels=labels, files=files)
    answer = client.post(RUNS, asked(teachers=["big", "odd"]))
    assert answer.status_code == 400
    (sentence,) = answer.json()["fields"]["teachers.1"]
    assert said in sentence


def test_parts_for_another_task_are_refused(
    client: APIClient, parts: None, project: Project
) -> None:
    make.dataset_version(project, "pictures", task="image-classification")
    make.model_version(project, "convnet", task="image-classification")
    answer = client.post(RUNS, asked(dataset="pictures", student="convnet"))
    assert set(answer.json()["fields"]) == {"dataset", "student"}


def test_members_see_and_editors_change_and_strangers_find_nothing(
    project: Project, parts: None, vera: User, charlie: User
) -> None:
    run = make.run(project)
    address = f"{RUNS}{run.number}/"
    viewer, stranger = api_of(vera), api_of(charlie)
    assert viewer.get(address).status_code == 200
    for path in ("cancel/", "resume/", "clone/"):
        assert viewer.post(address + path).status_code == 403
        assert stranger.post(address + path).status_code == 404
    assert viewer.patch(address, {"name": "x"}).status_code == 403
    for path in ("", "metrics/", "logs/", "artifacts/", "evaluation/", "lineage/"):
        assert stranger.get(address + path).status_code == 404
    assert stranger.get(RUNS).status_code == 404
    assert APIClient().get(RUNS).status_code == 401


def test_a_run_of_another_project_does_not_exist(client: APIClient, charlie: User) -> None:
    other = make.project("secret", owner=charlie)
    run = make.run(other, number=9)
    assert client.get(f"{RUNS}9/").status_code == 404
    assert client.post(RUNS, asked(student="run/9", dataset="x")).json()["fields"]["student"]
    assert run.number == 9


def test_a_queued_run_is_cancelled_at_once_and_a_finished_one_not(
    client: APIClient, project: Project
) -> None:
    run = make.run(project)
    assert client.post(f"{RUNS}{run.number}/cancel/").json()["status"] == "cancelled"
    assert client.post(f"{RUNS}{run.number}/cancel/").status_code == 200
    done = make.run(project, status="finished")
    answer = client.post(f"{RUNS}{done.number}/cancel/")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_over")


def test_a_failed_run_is_resumed_as_the_same_run(client: APIClient, project: Project) -> None:
    run = make.run(
        project, status="failed", error={"code": "killed", "detail": "It died.", "trace": "/secret"}
    )
    shown = client.get(f"{RUNS}{run.number}/").json()
    assert shown["error"] == {"code": "killed", "detail": "It died."}
    answer = client.post(f"{RUNS}{run.number}/resume/").json()
    assert (answer["status"], answer["error"], answer["number"]) == ("queued", None, run.number)
    assert client.post(f"{RUNS}{run.number}/resume/").status_code == 409


def test_a_clone_is_a_new_run_with_the_changes(client: APIClient, parts: None) -> None:
    client.post(RUNS, asked(name="first"))
    answer = client.post(f"{RUNS}1/clone/", {"name": "second", "training": {"seed": 7}})
    assert answer.status_code == 201, answer.data
    made = answer.json()
    assert (made["number"], made["name"]) == (2, "second")
    training = Run.objects.get(number=1).config["training"]
    assert made["config"]["training"] == training | {"seed": 7}


STAGES = [
    {
        "name": "layers",
        "epochs": 2,
        "losses": [{"kind": "hidden_states"}, {"kind": "embeddings", "weight": 0.5}],
    },
    {
        "losses": [
            {"kind": "soft_targets", "weight": 0.9, "weight_schedule": "linear"},
            {"kind": "hard_labels", "weight": 0.1, "label_smoothing": 0.1},
        ],
        "learning_rate": 0.002,
    },
]


def test_students_that_teach_each_other_need_no_teacher_and_get_a_control(
    client: APIClient, parts: None
) -> None:
    mutual = {"kind": "mutual", "students": 3}
    answer = client.post(RUNS, asked(scheme=mutual))
    assert answer.status_code == 201, answer.data
    run = answer.json()
    assert run["config"]["scheme"] == mutual
    assert [one["kind"] for one in run["config"]["losses"]] == ["soft_targets", "hard_labels"]
    control = client.get(f"{RUNS}{run['control']}/").json()["config"]
    assert (control["scheme"], control["teachers"]) == ("offline", [])
    assert [one["kind"] for one in control["losses"]] == ["hard_labels"]
    refused = client.post(RUNS, asked(scheme=mutual, teachers=["big"]))
    assert set(refused.json()["fields"]) == {"teachers"}
    refused = client.post(RUNS, asked(scheme={"kind": "mutual", "students": 1, "pupils": 2}))
    assert set(refused.json()["fields"]) == {"scheme.students", "scheme.pupils"}


def test_stages_are_resolved_one_by_one_and_their_control_trains_as_long(
    client: APIClient, parts: None
) -> None:
    body = asked(scheme="staged", stages=STAGES, teachers=["big"], training={"epochs": 5})
    answer = client.post(RUNS, body)
    assert answer.status_code == 201, answer.data
    run = answer.json()
    first, second = run["config"]["stages"]
    assert (first["name"], second["name"]) == ("layers", "stage 2")
    assert (first["epochs"], second["learning_rate"]) == (2, 0.002)
    assert [one["weight"] for one in first["losses"]] == [1.0, 0.5]
    assert first["losses"][0]["layers"] == "uniform"
    assert second["losses"][0]["weight_schedule"] == "linear"
    control = client.get(f"{RUNS}{run['control']}/").json()["config"]
    assert "stages" not in control
    assert control["losses"] == [{"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.1}]
    assert (control["training"]["epochs"], control["training"]["learning_rate"]) == (7, 0.002)
    assert client.post(f"{RUNS}preview/", control).status_code == 200


def test_the_control_of_generations_may_spend_what_they_spend(
    client: APIClient, parts: None
) -> None:
    for scheme, epochs in (("born_again", 15), ({"kind": "born_again", "generations": 3}, 20)):
        answer = client.post(RUNS, asked(scheme=scheme, training={"epochs": 5}))
        assert answer.status_code == 201, answer.data
        control = client.get(f"{RUNS}{answer.json()['control']}/").json()["config"]
        assert control["training"]["epochs"] == epochs


def test_a_fault_in_a_stage_is_named_where_it_stands(client: APIClient, parts: None) -> None:
    broken = [
        {"losses": [{"kind": "soft_targets", "temperature": -1}], "epochs": 0, "speed": 3},
        {"losses": []},
    ]
    answer = client.post(RUNS, asked(scheme="staged", stages=broken, teachers=["big"]))
    assert set(answer.json()["fields"]) == {
        "stages.0.losses.0.temperature", "stages.0.epochs", "stages.0.speed", "stages.1.losses",
    }  # fmt: skip
    answer = client.post(RUNS, asked(stages=STAGES, teachers=["big"]))
    assert set(answer.json()["fields"]) == {"stages"}


def test_a_clone_keeps_scheme_and_stages_until_another_scheme_is_asked(
    client: APIClient, parts: None
) -> None:
    body = asked(scheme="staged", stages=STAGES, teachers=["big"])
    first = client.post(RUNS, body).json()
    again = client.post(f"{RUNS}{first['number']}/clone/", {"training": {"seed": 5}}).json()
    assert again["config"]["stages"] == first["config"]["stages"]
    changes = {"scheme": {"kind": "offline", "combine": "confidence"}}
    other = client.post(f"{RUNS}{first['number']}/clone/", changes).json()
    assert "stages" not in other["config"]
    assert other["config"]["scheme"]["combine"] == "confidence"
    assert other["config"]["losses"] == first["config"]["stages"][1]["losses"]


def test_a_control_is_selected_by_what_needs_no_teacher(client: APIClient, parts: None) -> None:
    body = asked(teachers=["big"], training={"selection_metric": "val/agreement"})
    run = client.post(RUNS, body).json()
    control = client.get(f"{RUNS}{run['control']}/").json()["config"]
    assert control["training"]["selection_metric"] == "auto"


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_of_openapi_can_be_launched(
    client: APIClient, project: Project, name: str
) -> None:
    make.dataset_version(project, "banking77", labels=("a", "b"))
    make.model_version(project, "tiny", architecture="bert")
    files = [{"name": "x", "sha256": "y", "bytes": 1}]
    for _ in range(2):
        make.model_version(
            project, "minilm", role="teacher", architecture="bert", labels=["a", "b"], files=files
        )
    answer = client.post(RUNS, EXAMPLES[name])
    assert answer.status_code == 201, answer.data


def test_losses_that_do_not_fit_the_labels_are_refused(
    client: APIClient, parts: None, project: Project
) -> None:
    make.dataset_version(project, "prices", labels=(), reading={"problem": "regression"})
    answer = client.post(RUNS, asked(dataset="prices", scheme="mutual"))
    assert set(answer.json()["fields"]) == {"losses.0.kind"}
    answer = client.post(f"{RUNS}preview/", asked(dataset="prices"))
    assert answer.json()["training"]["selection_metric"] == "val/rmse"


def test_a_preview_launches_nothing(client: APIClient, parts: None) -> None:
    answer = client.post(f"{RUNS}preview/", asked())
    assert answer.status_code == 200
    assert answer.json()["dataset"] == "tickets@1"
    assert not Run.objects.exists()


class TestList:
    @pytest.fixture
    def three(self, project: Project) -> list[Run]:
        # Names without digits: `q` looks in them too, and it looks for the number 3.
        version = make.dataset_version(project, "texts")
        same = {"dataset_version": version, "student": make.model_version(project, "tiny")}
        runs = [
            make.run(project, name="alpha", status="finished", tags=["baseline", "é"], **same),
            make.run(project, name="beta", status="failed", notes="see alpha", **same),
            make.run(project, name="gamma", **same),
        ]
        for run, accuracy in zip(runs, [0.8, 0.95], strict=False):
            metrics.append(run, [metrics.Measured("val/accuracy", 10, accuracy, 0.0)])
        config = runs[0].config
        config["losses"] = [{"kind": "soft_targets", "weight": 0.9, "temperature": 4.0}]
        runs[0].save()
        return runs

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({}, ["gamma", "beta", "alpha"]),
            ({"status": "failed"}, ["beta"]),
            ({"status": "failed,finished"}, ["beta", "alpha"]),
            ({"status": "active"}, ["gamma"]),
            ({"tag": "baseline"}, ["alpha"]),
            ({"tag": "é"}, ["alpha"]),
            ({"tag": "base"}, []),
            ({"q": "alpha"}, ["beta", "alpha"]),
            ({"q": "3"}, ["gamma"]),
            ({"order": "name"}, ["alpha", "beta", "gamma"]),
            ({"order": "-metrics.val/accuracy"}, ["beta", "alpha", "gamma"]),
            ({"order": "metrics.val/accuracy"}, ["alpha", "beta", "gamma"]),
            ({"filter": "metrics.val/accuracy > 0.9"}, ["beta"]),
            ({"filter": "metrics.val/accuracy <= 0.9 and status = finished"}, ["alpha"]),
            ({"filter": "config.losses.soft_targets.temperature = 4"}, ["alpha"]),
            ({"filter": "config.losses.soft_targets.temperature > 4"}, []),
            ({"filter": "config.training.batch_size = 16"}, ["gamma", "beta", "alpha"]),
            ({"filter": 'not (name = "alpha" or number >= 3)'}, ["beta"]),
            ({"filter": "tag = baseline or name contains GAM"}, ["gamma", "alpha"]),
            ({"filter": "status != queued"}, ["beta", "alpha"]),
            ({"study": "1"}, []),
        ],
    )
    def test_runs_are_found_by(
        self, client: APIClient, three: list[Run], query: dict[str, str], names: list[str]
    ) -> None:
        answer = client.get(RUNS, query)
        assert answer.status_code == 200, answer.data
        assert [run["name"] for run in answer.json()["results"]] == names

    @pytest.mark.parametrize(
        "query",
        [
            {"owner": "alice"},
            {"order": "project__members"},
            {"order": "metrics.'; drop table"},
            {"status": "happy"},
            {"filter": "password = 1"},
            {"filter": "metrics.val/accuracy"},
            {"filter": "metrics.val/accuracy > fast"},
            {"filter": "config.project__slug = 1"},
            {"filter": "(" * 50 + "number = 1"},
            {"filter": "number = 1 number = 2"},
            {"filter": "status = 'queued"},
            {"filter": "number regex 3"},
            {"limit": "0"},
            {"limit": "many"},
        ],
    )
    def test_what_is_not_understood_is_refused(
        self, client: APIClient, three: list[Run], query: dict[str, str]
    ) -> None:
        answer = client.get(RUNS, query)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert set(answer.json()["fields"]) == set(query)

    @pytest.mark.parametrize("order", ["-number", "metrics.val/accuracy", "-finished_at", "status"])
    def test_pages_hold_every_run_once(
        self, client: APIClient, project: Project, three: list[Run], order: str
    ) -> None:
        for _ in range(4):
            make.run(project)
        seen, address = [], f"{RUNS}?limit=2&order={order}"
        while address:
            page = client.get(address).json()
            seen += [run["number"] for run in page["results"]]
            address = page["next"]
        assert sorted(seen) == [1, 2, 3, 4, 5, 6, 7]
        assert len(seen) == 7

    def test_a_list_costs_the_same_queries_whatever_its_length(
        self, client: APIClient, project: Project, three: list[Run]
    ) -> None:
        def cost() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert client.get(RUNS).status_code == 200
            return len(queries)

        few = cost()
        for _ in range(20):
            make.run(project)
        assert cost() == few <= 12


def test_metrics_come_thinned_since_a_step_and_by_name(client: APIClient, project: Project) -> None:
    run = make.run(project)
    points = [metrics.Measured("train/loss", step, 1 / (step + 1), step) for step in range(5000)]
    metrics.append(run, [*points, metrics.Measured("val/loss", 10, float("nan"), 0.0)])
    address = f"{RUNS}{run.number}/metrics/"
    every = client.get(address).json()["series"]
    assert every["train/loss"]["count"] == 5000
    assert every["train/loss"]["thinned"] is True
    assert len(every["train/loss"]["steps"]) <= 1000
    assert every["val/loss"] == {
        "steps": [10],
        "values": ["NaN"],
        "times": ["1970-01-01T00:00:00Z"],
        "count": 1,
        "thinned": False,
    }
    one = client.get(f"{address}?names=val/loss,absent&max_points=5").json()["series"]
    assert set(one) == {"val/loss"}
    late = client.get(f"{address}?since_step=4997&names=train/loss").json()["series"]
    assert late["train/loss"]["steps"] == [4998, 4999]
    assert client.get(address, {"max_points": "all"}).status_code == 400
    assert client.get(address, {"colour": "red"}).status_code == 400


def test_the_console_is_read_after_a_cursor_and_downloaded(
    client: APIClient, project: Project
) -> None:
    run = make.run(project)
    logs.append(run, [logs.Line(0.0, "info", f"line {n}\x00") for n in range(1, 701)])
    logs.append(run, [logs.Line(1.0, "error", "two\nlines")])
    address = f"{RUNS}{run.number}/logs/"
    first = client.get(address, {"limit": 600}).json()
    assert (len(first["lines"]), first["cursor"]) == (600, 600)
    assert first["lines"][0] == {
        "n": 1, "time": "1970-01-01T00:00:00Z", "level": "info", "text": "line 1�", "attempt": 0,
    }  # fmt: skip
    rest = client.get(address, {"after": first["cursor"]}).json()
    assert [line["n"] for line in rest["lines"]] == list(range(601, 703))
    assert [line["text"] for line in rest["lines"][-2:]] == ["two", "lines"]
    assert client.get(address, {"after": 702}).json() == {"lines": [], "cursor": 702, "more": False}
    text = b"".join(client.get(f"{address}download/").streaming_content).decode()  # type: ignore[attr-defined]
    assert text.count("\n") == 702
    assert "ERROR" in text


def test_artifacts_are_listed_with_their_digest_and_downloaded(
    client: APIClient, project: Project, tmp_path: Path
) -> None:
    run = make.run(project)
    file = tmp_path / "x"
    file.write_bytes(b"weights")
    blob = storage.put(file)
    Artifact.objects.create(
        run=run, kind="model", name="model/model.safetensors", sha256=blob.sha256, bytes=7
    )
    (listed,) = client.get(f"{RUNS}{run.number}/artifacts/").json()["results"]
    assert (listed["sha256"], listed["bytes"]) == (blob.sha256, 7)
    answer = client.get(listed["url"])
    assert b"".join(answer.streaming_content) == b"weights"  # type: ignore[attr-defined]
    assert "attachment" in answer["Content-Disposition"]
    assert client.get(f"{RUNS}{run.number}/artifacts/../../etc/passwd").status_code == 404
    assert client.get(f"{RUNS}{run.number}/evaluation/").json()["code"] == "not_evaluated"


def test_lineage_leads_back_to_the_data(client: APIClient, project: Project) -> None:
    made = make.model_version(project, "big", role="teacher")
    first = make.run(project, status="finished", output=made)
    second = make.run(project, dataset_version=first.dataset_version)
    second.teachers.add(made)
    graph = client.get(f"{RUNS}{second.number}/lineage/").json()
    kinds = {node["id"]: node["kind"] for node in graph["nodes"]}
    assert kinds[first.data.reference] == "dataset"
    assert {"run/1", "run/2", "big@1"} <= set(kinds)
    assert {"from": "run/1", "to": "big@1", "as": "output"} in graph["edges"]
    assert {"from": "big@1", "to": "run/2", "as": "teacher"} in graph["edges"]


def test_the_catalog_and_the_workers_are_for_everyone_signed_in(charlie: User) -> None:
    client = api_of(charlie)
    catalog = client.get("/api/v1/methods/").json()
    assert {"losses", "schemes", "tasks", "architectures"} <= set(catalog)
    workers = client.get("/api/v1/workers/").json()
    assert (workers["results"], workers["queues"][0]["name"]) == ([], "default")
    assert APIClient().get("/api/v1/workers/").status_code == 401
