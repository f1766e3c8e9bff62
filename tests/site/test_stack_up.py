"""`distillhub up` on this machine: started, used, stopped and killed as people do it."""

import contextlib
import http.client
import json
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.site import trained
from tests.site.processes import Command, Up, ask, ended, family, free_port, make_token, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home; whatever a test leaves running on it is ended."""
    folder = tmp_path / "home of Ada"
    yield folder
    for process in family(folder):
        with contextlib.suppress(psutil.Error):
            process.kill()


def visit(link: str) -> tuple[int, str]:
    parts = urlsplit(link)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Location", "")


def test_it_starts_signs_in_once_and_leaves_nothing_behind(home: Path) -> None:
    up = Up(home, "--no-demo")
    with ended(up):
        up.ready()
        assert ask(up.address, "/healthz")[0] == 200
        assert ask(up.address, "/readyz")[0] == 200
        assert visit(up.link) == (302, "/")
        assert visit(up.link)[0] == 404

        second = Command(home, "up", "--home", str(home))
        assert second.process.wait(timeout=30) == 1
        assert f"DistillHub already runs in {home}: {up.address}" in second.said
        assert "Traceback" not in second.said

        assert len(family(home)) == 3  # supervisor, web, worker with the scheduler
        assert up.stop(signal.SIGINT) == 0
        assert family(home) == []
        assert "Traceback" not in up.said
        for log in (home / "logs").glob("*.log"):
            assert "Traceback" not in log.read_text()


def test_it_takes_the_next_port_when_its_own_is_taken(home: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        up = Up(home, "--no-demo", port=port)
        with ended(up):
            up.ready()
            assert up.address != f"http://127.0.0.1:{port}"
            assert f"(port {port} was taken)" in up.said
            assert ask(up.address, "/healthz")[0] == 200


def test_killing_the_supervisor_takes_every_process_with_it(home: Path) -> None:
    up = Up(home, "--no-demo")
    with ended(up):
        up.ready()
        up.process.kill()
        up.process.wait()
        until(lambda: family(home) == [], seconds=5, what=lambda: str(family(home)))


def test_a_crashed_process_is_started_again_on_the_same_port(home: Path) -> None:
    up = Up(home, "--no-demo")
    with ended(up):
        up.ready()
        web = next(one for one in family(home) if "web" in one.cmdline())
        web.kill()
        up.until_said(r"The web process ended by signal 9; starting it again")
        # The supervisor holds the socket: a visitor waits, and is not refused.
        assert ask(up.address, "/healthz")[0] == 200


def test_stopping_before_it_is_ready_leaves_nothing_behind(home: Path) -> None:
    up = Up(home, "--no-demo")
    with ended(up):
        up.until_said("Making a new home")
        time.sleep(0.5)
        up.stop(signal.SIGINT)
        assert family(home) == []


def test_a_new_migration_is_applied_after_a_backup(home: Path) -> None:
    first = Command(home, "migrate", "--home", str(home))
    assert first.process.wait(timeout=90) == 0
    assert "Kept a copy" not in first.said
    back = Command(home, "migrate", "--home", str(home))
    assert back.process.wait(timeout=90) == 0
    assert "up to date" in back.said
    assert not (home / "backups").exists()


def test_a_training_run_goes_on_where_it_was_when_started_again(home: Path) -> None:
    up = Up(home, "--no-demo")
    with ended(up):
        up.ready()
        token = make_token(home)
        run = trained.launch(up.address, token, epochs=900)
        until(lambda: run()["progress"]["step"] > 40, what=lambda: json.dumps(run()))
        assert any("training.engine" in one.cmdline() for one in family(home))
        up.stop(signal.SIGINT)
        assert family(home) == []

    again = Up(home, "--no-demo")
    with ended(again):
        again.ready()
        run = trained.Watched(again.address, token)
        until(
            lambda: run()["status"] in {"finished", "failed"},
            seconds=120,
            what=lambda: json.dumps(run()),
        )
        told: dict[str, Any] = run()
        assert told["status"] == "finished", told
        status, answer = ask(
            again.address,
            f"{trained.RUN}/metrics/?names=train/loss&max_points=10000",
            token=token,
        )
        assert status == 200
        steps = answer["series"]["train/loss"]["steps"]
        assert steps == sorted(set(steps))
        with contextlib.closing(sqlite3.connect(home / "distillhub.sqlite3")) as rows:
            said = " ".join(
                one for (one,) in rows.execute("SELECT sentence FROM training_runevent")
            )
        went_on = re.search(r"it goes on from its checkpoint at step (\d+)", said)
        assert went_on, said
        assert int(went_on.group(1)) > 40
