"""A person at a terminal and a program in a notebook, with the hub elsewhere: `distillhub login`,
`upload`, `run --watch`, `download`, `predict`, and the same in Python."""

import json
import os
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from distillhub.client import Failed, Hub, Refused, TrackedRun, Unreachable, credentials
from tests.journeys.conftest import ROOT, Stack

pytestmark = pytest.mark.slow

Shell = Callable[..., "subprocess.CompletedProcess[str]"]

RUN = """\
name: by hand
task: text-classification
dataset: intents
student: tiny@1
training: {epochs: 3, learning_rate: 0.01}
"""


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return stack.command("create-token", "terminal", "--create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, texts: bytes) -> Path:
    made = tmp_path_factory.mktemp("terminal")
    (made / "intents.csv").write_bytes(texts)
    (made / "run.yaml").write_text(RUN)
    return made


@pytest.fixture(scope="module")
def shell(stack: Stack, token: str, folder: Path) -> Shell:
    """`distillhub ...` of a person who logged in, on a machine without a home of the hub's."""

    def command(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        ours = ("DISTILLHUB_HOME", "DISTILLHUB_URL", "DISTILLHUB_TOKEN", "DJANGO_SETTINGS_MODULE")
        env = {name: value for name, value in os.environ.items() if name not in ours}
        return subprocess.run(
            [sys.executable, "-m", "distillhub.cli", *words],
            cwd=folder,
            env=env | {"XDG_CONFIG_HOME": str(folder / "config"), "PYTHONPATH": str(ROOT)},
            input=typed,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    done = command("login", stack.address, typed=f"{token}\n")
    assert done.returncode == 0, done.stderr
    assert "as terminal" in done.stdout
    assert token not in done.stdout + done.stderr
    return command


@pytest.fixture(scope="module")
def remote(stack: Stack, token: str) -> Hub:
    return Hub(stack.address, token)


def test_a_token_is_kept_for_its_owner_alone(shell: Shell, folder: Path) -> None:
    kept = folder / "config/distillhub/hubs.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_wrong_token_is_not_kept(shell: Shell, stack: Stack, folder: Path) -> None:
    before = (folder / "config/distillhub/hubs.json").read_text()
    done = shell("login", stack.address, typed="dh_wrong\n")
    assert done.returncode == 1
    assert "unknown, expired or revoked" in done.stderr
    assert (folder / "config/distillhub/hubs.json").read_text() == before


def test_a_person_at_a_terminal_has_a_student_trained(
    shell: Shell, remote: Hub, folder: Path
) -> None:
    remote.create_project("Terminal")
    done = shell("projects")
    assert "terminal" in done.stdout

    more = ("--project", "terminal")
    done = shell("upload", "intents.csv", "--name", "intents", *more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("intents@1: ")
    source = {
        "kind": "architecture",
        "architecture": "bag_of_embeddings",
        "config": {"vocabulary": 300, "dim": 8},
    }
    remote.project("terminal").register(
        "tiny", role="student", task="text-classification", source=source
    ).wait()

    done = shell("run", "run.yaml", "--watch", *more)
    assert done.returncode == 0, done.stderr
    assert "run/1 100 %: finished" in done.stderr
    assert "test/accuracy" in done.stdout
    done = shell("runs", *more)
    assert done.stdout.splitlines()[1].split()[:4] == ["1", "by", "hand", "finished"]

    done = shell("download", "run/1", "--output", "student.zip", *more)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "student.zip") as archive:
        assert "model.safetensors" in archive.namelist()
    done = shell("predict", "run/1", "my card is gone", "I want a new pin", *more)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 2
    assert all(0 <= max(one["probabilities"].values()) <= 1 for one in answers)
    done = shell("download", "intents@1", "--dataset", *more)
    assert (folder / "intents@1.parquet").read_bytes()[:4] == b"PAR1"


def test_what_the_hub_refuses_is_told_at_its_field(shell: Shell, remote: Hub, folder: Path) -> None:
    (folder / "wrong.yaml").write_text(RUN.replace("epochs: 3", "epochs: many"))
    done = shell("run", "wrong.yaml", "--project", "terminal")
    assert done.returncode == 1
    assert "epochs" in done.stderr
    assert "Traceback" not in done.stderr
    done = shell("watch", "99", "--project", "terminal")
    assert (done.returncode, done.stderr) == (1, "There is no run 99 in this project.\n")
    done = shell("upload", "none.csv", "--project", "terminal", "--name", "a", "--task", "x")
    assert (done.returncode, done.stderr) == (1, "none.csv: No such file or directory.\n")
    done = shell("runs", "--project", "elsewhere")
    assert (done.returncode, done.stderr) == (1, "There is no such project.\n")


def test_a_training_of_ones_own_is_told_of_and_ends_with_its_block(remote: Hub) -> None:
    project = remote.project("terminal")
    with project.track("elsewhere", params={"lr": 0.1}, steps=200) as run:
        for step in range(200):
            run.log({"train/loss": 2.0 / (step + 1), "odd": float("nan")}, step=step)
        run.say("all epochs done")
        run.describe(params={"seed": 3}, notes="By a notebook.")
    found = project.find_run(run.number)
    assert (found.status, found.told["config"]["params"]) == ("finished", {"lr": 0.1, "seed": 3})
    series = found.metrics("train/loss", "odd")
    assert series["train/loss"]["steps"] == list(range(200))
    assert series["odd"]["count"] == 200
    assert [line["text"] for line in found.logs()] == ["all epochs done"]


def test_a_training_that_breaks_is_told_as_failed(remote: Hub) -> None:
    with pytest.raises(ZeroDivisionError), remote.project("terminal").track("breaks") as run:
        run.log({"train/loss": 1 / 0}, step=0)
    found = remote.project("terminal").find_run(run.number)
    assert found.status == "failed"
    assert found.told["error"]["detail"] == "ZeroDivisionError: division by zero"
    with pytest.raises(Failed, match="division by zero"):
        found.wait()


def test_a_cancelled_run_tells_its_training(remote: Hub) -> None:
    run: TrackedRun = remote.project("terminal").track("stopped")
    remote.project("terminal").find_run(run.number).cancel()
    run.log({"train/loss": 1.0}, step=0)
    give_up = time.monotonic() + 30
    while not run.is_cancelled and time.monotonic() < give_up:
        time.sleep(0.05)
    assert run.is_cancelled
    run.end("cancelled")


def test_an_upload_goes_on_where_it_was_cut_off(
    remote: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = remote.connection
    monkeypatch.setattr("distillhub.client.connection.PIECE", 5_000)
    piece, cuts = connection._piece, iter([False, True, False, True])

    def cut(place: str, offset: int, content: bytes) -> int:
        arrived = piece(place, offset, content)
        if next(cuts, False):  # it arrived, and its answer did not
            raise Unreachable("cut")
        return arrived

    monkeypatch.setattr(connection, "_piece", cut)
    moved: list[tuple[int, int | None]] = []
    identity = connection.upload(
        folder / "intents.csv", moved=lambda done, whole: moved.append((done, whole))
    )
    size = (folder / "intents.csv").stat().st_size
    assert moved[-1] == (size, size)
    assert [done for done, _ in moved] == sorted({done for done, _ in moved})
    told = connection.get(f"uploads/{identity}/")
    assert (told["received"], told["bytes"]) == (size, size)


def test_a_download_that_breaks_off_leaves_nothing(remote: Hub, tmp_path: Path) -> None:
    class Cuts(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")

        def log_message(self, *args: object) -> None: ...

    target = tmp_path / "files" / "student.zip"
    target.parent.mkdir()
    with HTTPServer(("127.0.0.1", 0), Cuts) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cut = Hub(f"http://127.0.0.1:{server.server_port}", "dh_x").connection
        with pytest.raises(Unreachable, match="9 of 100 bytes"):
            cut.download("projects/terminal/models/tiny/versions/2/download/", target)
        server.shutdown()
    with pytest.raises(Refused, match="no model"):
        remote.connection.download("projects/terminal/models/no/versions/1/download/", target)
    assert list(target.parent.iterdir()) == []


@pytest.fixture
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("DISTILLHUB_URL", "DISTILLHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_login_it_says_what_to_do(no_credentials: None) -> None:
    with pytest.raises(credentials.Unknown, match="distillhub login"):
        Hub()
    with pytest.raises(ValueError, match="no address"):
        Hub("hub.example.org", "dh_x")


@pytest.mark.parametrize(
    ("detail", "fields", "said"),
    [
        ("There is none.", {}, "There is none."),
        ("No such column.", {"file": ["No such column."]}, "file: No such column."),
        ("file: Empty.", {"file": ["Empty."]}, "file: Empty."),
        ("Two faults.", {"a": ["One."], "b": ["Two."]}, "Two faults.\n  a: One.\n  b: Two."),
    ],
)  # fmt: skip
def test_one_fault_is_said_once(detail: str, fields: dict[str, list[str]], said: str) -> None:
    assert str(Refused(400, "invalid", detail, fields)) == said


def test_a_token_is_never_sent_to_another_place(remote: Hub) -> None:
    with pytest.raises(Unreachable, match="is not at"):
        remote.connection._open("GET", "http://127.0.0.1:9/api/v1/me/")
    assert "dh_" not in repr(remote) + repr(credentials.Credentials("http://x", "dh_secret"))
