"""What people see of what MLflow's clients logged: files of runs, registered versions, and how to
connect."""

import html
import re

import pytest
from django.test import Client

from projects.models import ApiToken, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.mlflow_calls import Caller
from training.models import ExperimentRun, ImportedRun, LoggedModel, Run, TrackedFile
from training.services import run_removal

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller(project: Project, erin: User) -> Caller:
    return Caller(project, erin)


@pytest.fixture
def pages(vera: User) -> Client:
    return signed_in(vera)


@pytest.fixture
def logged(caller: Caller) -> Run:
    """A run with a file, and a model with another, that is registered."""
    key = caller.begin(name="told", tags={"who": "me", "mlflow.source.name": "<b>x.py</b>"})
    caller.put(f"0/{key}/artifacts/plots/<b>.html", b"<script>alert(1)</script>")
    model = caller.post("logged-models", experiment_id="0", name="best", source_run_id=key)
    model_id = model["model"]["info"]["model_id"]
    caller.put(f"0/models/{model_id}/artifacts/model.safetensors", b"weights")
    caller.post("registered-models/create", name="student")
    caller.post(
        "model-versions/create", name="student", source=f"models:/{model_id}", model_id=model_id
    )
    caller.post("runs/update", run_id=key, status="FINISHED", end_time=1_700_000_000_000)
    return ExperimentRun.objects.get(key=key).run


def test_a_run_shows_its_files_and_sends_them(pages: Client, logged: Run) -> None:
    shown = pages.get(f"/p/intents/runs/{logged.number}/?tab=artifacts").content.decode()
    assert "plots/&lt;b&gt;.html" in shown
    assert "Model: best" in shown
    assert re.search(r"1 file, 25\sB", shown)
    links = re.findall(r'<a href="(/p/intents/runs/[^"]*/files/[^"]*)"', shown)
    answer = pages.get(links[0])
    assert b"".join(answer) == b"<script>alert(1)</script>"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    other = make.tracked(logged.project)
    nested = links[0].replace(f"runs/{logged.number}/", f"runs/{other.number}/")
    assert pages.get(nested).status_code == 404


def test_rest_lists_the_files_that_clients_sent_and_sends_them(pages: Client, logged: Run) -> None:
    address = f"/api/v1/projects/intents/runs/{logged.number}/artifacts/"
    found = {one["name"]: one for one in pages.get(address).json()["results"]}
    (model,) = (name for name in found if name.startswith("m-"))
    assert set(found) == {"plots/<b>.html", model}
    assert model.endswith("/model.safetensors")
    for name, content in (("plots/<b>.html", b"<script>alert(1)</script>"), (model, b"weights")):
        assert found[name]["bytes"] == len(content)
        answer = pages.get(found[name]["url"])
        assert b"".join(answer) == content
        assert answer.headers["Content-Disposition"].startswith("attachment")
    other = make.tracked(logged.project)
    for name in (*found, "../x", "none"):
        nested = f"/api/v1/projects/intents/runs/{other.number}/artifacts/{name}"
        assert pages.get(nested).status_code in (400, 404)


def test_an_experiment_leads_to_its_runs(pages: Client, logged: Run) -> None:
    make.tracked(logged.project, name="of none")
    shown = pages.get("/p/intents/mlflow/").content.decode()
    (to,) = re.findall(r'href="(/p/intents/runs/\?filter=[^"]*)"', shown)
    table = pages.get(html.unescape(to)).content.decode()
    assert "told" in table
    assert "of none" not in table
    address = "/api/v1/projects/intents/runs/"
    brought = make.tracked(logged.project, name="brought")
    about = {"experiment": "Default tries"}
    ImportedRun.objects.create(run=brought, project=logged.project, key="x:1", about=about)
    for told, names in (
        ('experiment contains "DEFAULT"', {"told", "brought"}),
        ('experiment = "Default tries"', {"brought"}),
        ('experiment != "Default"', {"of none", "brought"}),
    ):
        found = pages.get(address, {"filter": told}).json()["results"]
        assert {one["name"] for one in found} == names
    refused = pages.get(address, {"filter": "experiment > a"})
    assert refused.status_code == 400
    assert "compared by" in refused.json()["detail"]


def test_tags_of_clients_stand_beside_parameters(pages: Client, logged: Run) -> None:
    shown = pages.get(f"/p/intents/runs/{logged.number}/?tab=configuration").content.decode()
    assert "as MLflow's client set them" in shown
    assert "&lt;b&gt;x.py&lt;/b&gt;" in shown
    assert "<b>x.py" not in shown


@pytest.mark.parametrize("page", ["", "card/", "promotion/", "publish/", "lineage/"])
def test_every_page_of_a_registered_version_is_shown(alice: User, logged: Run, page: str) -> None:
    answer = signed_in(alice).get(f"/p/intents/models/student/1/{page}")
    assert answer.status_code == 200
    if not page:
        shown = answer.content.decode()
        assert "kept as they came, and never loaded" in shown
        assert "Train it" not in shown
        assert "Make smaller" not in shown


@pytest.mark.parametrize(
    "page",
    ["students/", "models/student/", "", "runs/", "playground/", "pareto/", "runs/new/", "mlflow/"],
)
def test_pages_that_name_models_are_shown(alice: User, logged: Run, page: str) -> None:
    assert signed_in(alice).get(f"/p/intents/{page}").status_code == 200


def test_a_model_without_versions_is_not_listed_yet(caller: Caller, alice: User) -> None:
    caller.post("registered-models/create", name="hollow")
    pages = signed_in(alice)
    assert "hollow" not in pages.get("/p/intents/students/").content.decode()
    assert pages.get("/p/intents/models/hollow/").status_code == 200
    assert api_of(alice).get("/api/v1/projects/intents/models/hollow/").json()["versions"] == []


def test_what_is_kept_does_not_train_teach_or_export(logged: Run, alice: User) -> None:
    version = ModelVersion.objects.get(model__name="student")
    assert version.files[0]["name"] == "model.safetensors"
    assert not version.can_teach
    made = make.dataset_version(logged.project, "texts")
    answer = api_of(alice).post(
        "/api/v1/projects/intents/runs/",
        {
            "name": "x",
            "task": "text-classification",
            "dataset": made.reference,
            "student": "student@1",
            "losses": [{"kind": "hard_labels"}],
        },
        format="json",
    )
    assert answer.status_code == 400
    assert "student" in answer.json()["fields"]
    for path, body in (("exports", {"format": "onnx"}), ("predict", {"inputs": ["x"]})):
        address = f"/api/v1/projects/intents/models/student/versions/1/{path}/"
        assert 400 <= api_of(alice).post(address, body, format="json").status_code < 500


def test_the_page_makes_a_token_for_this_project_alone_and_shows_it_once(
    project: Project, erin: User, vera: User
) -> None:
    assert signed_in(vera).post("/p/intents/mlflow/").status_code == 403
    assert "Make a token" not in signed_in(vera).get("/p/intents/mlflow/").content.decode()
    pages = signed_in(erin)
    shown = pages.post("/p/intents/mlflow/").content.decode()
    raw = re.findall(r"MLFLOW_TRACKING_TOKEN=(dh_\S+?)<", shown)[0]
    token = ApiToken.objects.get()
    assert (token.project, token.user, token.scope) == (project, erin, "write")
    assert raw not in pages.get("/p/intents/mlflow/").content.decode()
    caller = Caller(project, erin, token=raw)
    assert caller.begin(name="by the page")
    assert "Default" in pages.get("/p/intents/mlflow/").content.decode()


def test_links_that_clients_print_lead_to_the_run(pages: Client, logged: Run) -> None:
    answer = pages.get("/mlflow/intents/")
    assert answer.headers["Location"] == "/p/intents/mlflow/"  # a browser keeps what is behind #
    shown = pages.get("/p/intents/mlflow/").content.decode()
    assert "js/mlflow_links.js" in shown
    key = ExperimentRun.objects.get(run=logged).key
    answer = pages.get(f"/p/intents/mlflow/runs/{key}/")
    assert answer.headers["Location"] == f"/p/intents/runs/{logged.number}/"
    assert pages.get("/p/intents/mlflow/runs/nothing/").status_code == 404


def test_deleting_a_run_takes_its_files_and_leaves_versions(logged: Run) -> None:
    assert run_removal.losses(run=logged).files == 2
    run_removal.delete(run=logged)
    assert not TrackedFile.objects.exists()
    assert not LoggedModel.objects.exists()
    assert ModelVersion.objects.get(model__name="student").files
