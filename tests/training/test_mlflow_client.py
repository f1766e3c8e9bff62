"""MLflow's own client, unmodified, in a process of its own, against a real server: what it writes
it reads again, and our pages and REST show the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from projects.models import ModelVersion, Project, User
from projects.services import accounts
from tests.conftest import api_of
from training.models import ExperimentRun, LoggedModel, Run, TrackedFile

pytestmark = pytest.mark.django_db(transaction=True)
JOURNEY = Path(__file__).with_name("mlflow_journey.py")
#: What MLflow's client asks for to log checkpoints and data. Apart from what we are installed with:
#: pyarrow would load it into every process of ours that it finds it in, which no user has.
PANDAS = ("pandas==3.1.1", "python-dateutil==2.9.0.post0", "six==1.17.0", "tzdata==2026.6")
BESIDE = Path(sys.prefix) / ".peers" / "pandas-3.1.1"
AUTOLOG = Path(__file__).with_name("mlflow_autolog.py")
TRAINER = Path(__file__).with_name("mlflow_trainer.py")
JSON = dict[str, Any]


def environment(server: str, project: Project, token: str) -> dict[str, str]:
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"{server}/mlflow/{project.slug}",
        "MLFLOW_TRACKING_TOKEN": token,
        # What is refused is not to be tried again for minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }


def test_a_journey_with_the_real_client(
    live_server: LiveServer, project: Project, erin: User, tmp_path: Path
) -> None:
    token = accounts.create_token(user=erin, name="laptop")[1]
    done = subprocess.run(
        [sys.executable, str(JOURNEY)],
        env=environment(live_server.url, project, token),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: JSON = json.loads(done.stdout.splitlines()[-1])
    what_was_logged_is_read(found)
    batches_arrive_whole(found)
    searches_find(found)
    faults_have_their_words(found)
    experiments_and_models_are_kept(found)
    we_show_the_same(found, project, erin)


@pytest.fixture(scope="module")
def beside() -> dict[str, str]:
    """Variables that put pandas beside a client."""
    made = BESIDE / "made"
    if not made.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        installed = subprocess.run(
            [*pip, "--target", str(BESIDE), *PANDAS],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if installed.returncode:
            pytest.skip(f"pandas cannot be installed here: {installed.stderr[-200:]}")
        made.touch()
    return {"PYTHONPATH": str(BESIDE)}


@pytest.mark.slow
def test_a_trainer_of_transformers_reports_its_curves_and_checkpoints(
    live_server: LiveServer, project: Project, erin: User, tmp_path: Path, beside: dict[str, str]
) -> None:
    token = accounts.create_token(user=erin, name="cluster", scope="track")[1]
    more = {"MLFLOW_EXPERIMENT_NAME": "trainers", "HF_MLFLOW_LOG_ARTIFACTS": "true"}
    done = subprocess.run(
        [sys.executable, str(TRAINER), str(tmp_path / "out")],
        env=environment(live_server.url, project, token) | more | beside,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    side = ExperimentRun.objects.get(key=done.stdout.split()[-1])
    assert (side.run.status, side.run.name) == ("finished", "tiny bert")
    assert side.experiment.name == "trainers"
    assert {"loss", "learning_rate"} <= set(side.run.metrics)
    params = side.run.config["params"]
    assert params["max_steps"] == 4
    assert len(params) > 100
    logged = LoggedModel.objects.filter(run=side.run)
    assert {one.name for one in logged} == {"checkpoint-2", "checkpoint-4"}
    assert {one.status for one in logged} == {"LOGGED_MODEL_READY"}
    for one in logged:
        paths = TrackedFile.objects.filter(owner=one.key).values_list("path", flat=True)
        assert any(path.endswith("model.safetensors") for path in paths), list(paths)


@pytest.mark.slow
def test_what_autolog_says_of_a_training_is_there(
    live_server: LiveServer, project: Project, erin: User, tmp_path: Path, beside: dict[str, str]
) -> None:
    token = accounts.create_token(user=erin, name="notebook", scope="track")[1]
    done = subprocess.run(
        [sys.executable, str(AUTOLOG)],
        env=environment(live_server.url, project, token) | beside,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    side = ExperimentRun.objects.get(key=done.stdout.split()[-1])
    assert (side.run.name, side.run.status) == ("iris", "finished")
    assert side.run.config["params"]["C"] == 0.5
    assert 0.9 < side.run.metrics["training_accuracy_score"] <= 1


def what_was_logged_is_read(found: JSON) -> None:
    assert found["info"] == {
        "name": "first", "status": "FINISHED", "ended": True, "stage": "active",
    }  # fmt: skip
    assert found["params"] == {
        "lr": "5e-05", "epochs": "3", "net": "cnn", "dropout": "0.1", "none": "None", "on": "True",
    }  # fmt: skip
    assert found["metrics"] == {
        "train/loss": str(1 / 3), "val/accuracy": "0.75", "bad": "nan", "endless": "inf",
    }  # fmt: skip
    assert found["tags"] == {
        "who": "me", "stage": "trying", "mlflow.note.content": "A *note*.",
        "mlflow.runName": "first",
    }  # fmt: skip
    assert found["inputs"] == [["digits", "abc", ["training"]]]
    assert found["history"] == [[0, 1.0], [1, 0.5], [2, 1 / 3]]
    assert found["files"] == ["facts.json", "notes.txt", "page.html", "sub"]
    assert found["sub"] == [
        ["sub/all/MLmodel", False, 11],
        ["sub/all/model.bin", False, 140_000],
        ["sub/all/notes.txt", False, 5],
    ]
    assert (found["of_a_file"], found["same"], found["text"]) == ([], True, "<b>bold</b>")


def batches_arrive_whole(found: JSON) -> None:
    assert found["batched"] == {
        "points": 1500, "params": 150, "late": 1.0, "status": "FAILED", "name": "batched",
        "user": "robot",
    }  # fmt: skip
    assert (found["resumed"], found["no_end"], found["ended"]) == ("RUNNING", None, "FINISHED")


def searches_find(found: JSON) -> None:
    trials = {text: [int(name[-1]) for name in names] for text, names in found["found"].items()}
    assert trials == {
        "metrics.score > 0.2": [2, 3, 4],
        "metrics.score != 0.5": [0, 3, 4],
        "metrics.`score` <= 0.3": [0, 4],
        "params.lr = '0.01'": [2],
        "params.lr != '1'": [1, 2, 3, 4],
        "params.even = 'True'": [0, 2, 4],
        "tags.kind ILIKE 'kind %'": [1, 2, 3, 4],
        "tags.kind LIKE 'kind %'": [],
        "tags.kind IS NULL": [0],
        "tags.`mlflow.runName` = 'trial 4'": [4],
        "attributes.status = 'FINISHED'": [0, 1, 2, 3, 4],
        "attributes.start_time > 0": [0, 1, 2, 3, 4],
        "attributes.end_time < 1": [],
    }
    # Trial 1 measured NaN, which comes after every number, whichever way.
    assert [name[-1] for name in found["by_score"]] == ["3", "2", "4", "0", "1"]
    assert [name[-1] for name in found["by_score_up"]] == ["0", "4", "2", "3", "1"]
    assert [name[-1] for name in found["by_kind"]] == ["4", "3", "2", "1", "0"]
    assert found["paged"] == ["trial 0", "trial 1", "trial 2", "trial 3"]
    assert found["with_data"] == ["first"]
    assert (found["deleted"], found["restored"]) == ([4, 1, 5], "active")


def faults_have_their_words(found: JSON) -> None:
    invalid, missing, exists = (
        "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS",
    )  # fmt: skip
    assert "Invalid clause(s) in filter string: 'foo bar'" in found["bad_filter"]
    assert found["bad_order"].startswith(invalid)
    assert "must be in the 'active' state. Current state is deleted" in found["write_to_deleted"]
    refused = found["refused"]
    assert refused["param"].startswith(invalid)
    assert "was already logged with value='5e-05'" in refused["param"]
    assert refused["same_param"] == "allowed"
    assert refused["run"].startswith(missing)
    assert refused["experiment"].startswith(missing)
    assert refused["twice"].startswith(exists)
    assert refused["tag"].startswith(missing)
    assert refused["file"].startswith(missing)
    assert found["no_experiment"] is None


def experiments_and_models_are_kept(found: JSON) -> None:
    assert found["experiment"] == ["renamed", {"team": "b"}, "active"]
    assert found["experiments"] == ["Default", "digits", "renamed"]
    assert found["tagged"] == ["renamed"]
    assert (found["deleted_experiment"], found["default"]) == ("deleted", "Default")
    assert found["model"] == ["student", {"a": "b"}, "Small."]
    assert found["version"] == ["1", "READY", True]
    assert (found["at_alias"], found["latest"]) == ("1", ["2"])
    assert found["aliases"] == {"production": "1"}
    assert found["versions"] == [
        ["2", {}, "", "Production"],
        ["1", {"v": "1", "seen": "yes"}, "Good.", "None"],
    ]
    assert found["models"] == ["student"]
    assert {"MLmodel", "model.bin", "notes.txt"} <= set(found["fetched"])
    assert found["model_twice"].startswith("RESOURCE_ALREADY_EXISTS")
    assert found["no_alias"].startswith("INVALID_PARAMETER_VALUE")
    assert "kept for ever" in found["kept"]
    assert found["logged"] == ["checkpoint-4", "READY", {"step": "4", "more": "5"}, "1", True]
    assert (found["logged_found"], found["logged_version"]) == ([True], "1")


def we_show_the_same(found: JSON, project: Project, erin: User) -> None:
    run = ExperimentRun.objects.get(key=found["run_id"]).run
    shown = api_of(erin).get(f"/api/v1/projects/{project.slug}/runs/{run.number}/").json()
    assert (shown["name"], shown["status"], shown["origin"]) == ("first", "finished", "tracked")
    assert shown["notes"] == "A *note*."
    # Numbers are numbers here: our tables compare them and our charts draw them.
    assert shown["config"]["params"]["lr"] == 5e-05
    assert shown["metrics"]["val/accuracy"] == 0.75
    query = "?filter=params.lr < 0.001 and metrics.val/accuracy > 0.5"
    rows = api_of(erin).get(f"/api/v1/projects/{project.slug}/runs/{query}").json()["results"]
    assert [row["number"] for row in rows] == [run.number]
    assert TrackedFile.objects.filter(owner=found["run_id"]).count() == 6
    version = ModelVersion.objects.get(model__name="student", number=1)
    assert (version.source["kind"], version.source["run"]) == ("mlflow", run.number)
    assert [file["name"] for file in version.files] == ["MLmodel", "model.bin", "notes.txt"]
    assert not version.is_trained
    assert not version.has_network
    assert Run.objects.filter(project=project).exclude(origin="tracked").count() == 0
