"""Runs that MLflow's own client logged are imported: from its folder, its database, and from a
tracking server, which is ours; and the client and its command send a folder over REST."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from pytest_django.live_server_helper import LiveServer

from distillhub.client import Hub, packing
from distillhub.lib import secrets
from distillhub.lib.errors import Invalid
from projects.models import Project, User
from projects.services import accounts
from tests import make
from training.models import ExperimentRun, Run, RunImport
from training.services import metrics, run_imports, tracked_files
from training.trackers.found import Unreadable
from training.worker import dispatch, import_server, importing

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

KEPT = Path(__file__).with_name("imported")
PROGRAM = Path(__file__).with_name("mlflow_to_import.py")


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> None:
    """No broker carries messages: the tests call the worker."""
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8", "localhost"]


def logged(folder: Path, token: str, *stores: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *stores],
        env={
            **os.environ,
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def worked(row: RunImport) -> RunImport:
    importing.WORK.carry_out(row.pk)
    row.refresh_from_db()
    assert row.status == "ready", row.error
    return row


def whole(told: Any) -> dict[str, Any]:
    assert told is not None
    return dict(told)


def points(run: Run, name: str) -> list[tuple[int, float]]:
    [(_, found)] = metrics.points_of(run=run, names=[name])
    return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))


def is_whole(run: Run) -> None:
    """As the program logged it."""
    assert run.config["params"] == {"lr": 0.001, "opt": "adam"}
    assert (run.notes, run.tags, run.status) == ("Some *notes*", ["team: vision"], "finished")
    assert points(run, "train/loss") == [(step, 1 / (step + 1)) for step in range(5)]
    assert points(run, "val/accuracy") == [(step, step / 10) for step in range(5)]
    [(_, first), (_, second)] = points(run, "odd")
    assert math.isnan(first)
    assert second == math.inf
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.imported.about["experiment"] == "sorting"


def has_its_file(run: Run) -> None:
    [(_, [file])] = tracked_files.of_run(run)
    with tracked_files.open_file(file) as stream:
        assert (file.path, stream.read()) == ("deep/er/greeting.txt", b"hello")


class Working:
    """A worker in a thread, for clients that wait for one."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        while not self.over.wait(0.05):
            for row in RunImport.objects.unclaimed():
                importing.WORK.carry_out(row.pk)
        connection.close()

    def __enter__(self) -> "Working":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join(30)


@pytest.fixture
def working() -> Iterator[Working]:
    with Working() as found:
        yield found


def test_a_folder_and_a_server_of_mlflow(
    live_server: LiveServer, project: Project, erin: User, tmp_path: Path
) -> None:
    token = accounts.create_token(user=erin, name="laptop")[1]
    make.project("elsewhere", owner=erin)
    server = f"{live_server.url}/mlflow/elsewhere"
    logged(tmp_path, token, server, f"file://{tmp_path}/mlruns")

    packed = tmp_path / "packed.zip"
    packing.pack(tmp_path / "mlruns", packed, files=True)
    file = SimpleUploadedFile("mlruns.zip", packed.read_bytes())
    row = worked(run_imports.from_file(project=project, file=file, by=erin))
    assert (whole(row.report)["runs"], whole(row.report)["points"]) == (2, 13)
    assert sorted(one["files"] for one in whole(row.report)["found"]) == [0, 1]
    row = worked(run_imports.take(run_import=row, by=erin))
    assert whole(row.outcome)["files"] == 1
    is_whole(project.runs.get(name="first"))
    has_its_file(project.runs.get(name="first"))
    broken = project.runs.get(name="broken")
    assert (broken.status, whole(broken.error)["code"]) == ("failed", "failed")

    asked: dict[str, Any] = {"project": project, "server": server, "token": token, "by": erin}
    row = worked(run_imports.from_server(**asked))
    assert [one["points"] for one in whole(row.report)["found"]] == [None, None]
    assert token not in row.sealed
    assert token in secrets.unseal(row.sealed)
    keys = [one["key"] for one in whole(row.report)["found"] if one["name"] == "first"]
    row = worked(run_imports.take(run_import=row, keys=keys, by=erin))
    assert (whole(row.outcome)["new"], whole(row.outcome)["points"], row.sealed) == (1, 12, "")
    is_whole(project.runs.get(name="first", imported__key=keys[0]))
    has_its_file(project.runs.get(name="first", imported__key=keys[0]))
    once_more = run_imports.from_server(**asked, straight_on=True, experiments=["sorting"])
    row = worked(once_more)
    assert (
        whole(row.outcome)["new"],
        whole(row.outcome)["same"],
        whole(row.outcome)["points"],
        whole(row.outcome)["files"],
    ) == (1, 1, 1, 0)

    ours = Project.objects.get(slug="elsewhere")  # what its own program logs there is left to it
    row = worked(run_imports.from_server(**asked | {"project": ours}, straight_on=True))
    assert (whole(row.report)["known"], whole(row.outcome)["same"]) == (2, 2)
    assert ExperimentRun.objects.count() == ours.runs.count() == 2

    for wrong, code in (
        ({"token": "dh_nonsense"}, "refused"),
        ({"experiments": ["unknown"]}, "no_experiment"),
        ({"server": f"{live_server.url}/healthz"}, "not_mlflow"),
    ):
        row = run_imports.from_server(**asked | wrong)
        importing.WORK.carry_out(row.pk)
        row.refresh_from_db()
        assert whole(row.error)["code"] == code, row.error
        assert token not in str(row.error)


def test_the_database_of_mlflow(project: Project, erin: User) -> None:
    file = SimpleUploadedFile("mlflow.zip", (KEPT / "mlflow_db.zip").read_bytes())
    row = worked(run_imports.from_file(project=project, file=file, straight_on=True, by=erin))
    assert whole(row.outcome)["new"] == 1
    is_whole(Run.objects.get())


def test_the_client_packs_a_folder_and_sends_it(
    live_server: LiveServer, project: Project, erin: User, tmp_path: Path, working: Working
) -> None:
    token = accounts.create_token(user=erin, name="laptop")[1]
    home = tmp_path / "logs"
    (home / "artifacts").mkdir(parents=True)
    (home / "metrics.csv").write_text("step,loss\n0,1.0\n1,0.5\n")
    (home / "artifacts/other.csv").write_text("step,loss\n0,1.0\n")
    (home / "link.csv").symlink_to(home / "metrics.csv")
    hub = Hub(live_server.url, token).project("intents")
    found: Any = hub.import_runs(home, take=False).wait(seconds=60)
    assert found.told()["report"]["runs"] == 1
    assert found.take().wait(seconds=60).told()["outcome"]["new"] == 1
    assert Run.objects.get().name == "metrics"
    (home / "metrics.csv").unlink()
    with pytest.raises(packing.NothingFound, match="holds no runs"):
        hub.import_runs(home)


@pytest.mark.parametrize(
    "server",
    ["http://10.0.0.1", "https://169.254.169.254", "ftp://example.org", "https://a:b@example.org"],
)
def test_servers_that_nothing_is_sent_to(server: str, project: Project, erin: User) -> None:
    with pytest.raises(Invalid) as refused:
        run_imports.from_server(project=project, server=server, by=erin)
    assert "server" in refused.value.fields
    with pytest.raises(Unreadable):  # and again when it is asked
        import_server.Client(import_server.Server(server))
