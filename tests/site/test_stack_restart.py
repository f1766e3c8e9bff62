"""A restart one process after the other, under a small real load: nobody is refused or cut off."""

import contextlib
import http.client
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.site import trained
from tests.site.processes import (
    Command,
    Up,
    ask,
    clean_environment,
    ended,
    family,
    free_port,
    make_token,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


class Load:
    """Visitors who ask one request after the other: some over one connection, some over a new one
    each time."""

    def __init__(self, address: str, token: str) -> None:
        self.netloc = urlsplit(address).netloc
        self.headers = {"Authorization": f"Bearer {token}"}
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.enough = threading.Event()
        self.visitors = [
            threading.Thread(target=self._visit, args=(keeps,)) for keeps in (True, True, False)
        ]

    def __enter__(self) -> "Load":
        for visitor in self.visitors:
            visitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        for visitor in self.visitors:
            visitor.join(timeout=60)

    def _visit(self, keeps: bool) -> None:
        paths = ["/healthz", "/readyz", "/sign-in/", "/api/v1/projects/"]
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        number = 0
        while not self.enough.is_set():
            path = paths[number % len(paths)]
            number += 1
            try:
                connection.request("GET", path, headers=self.headers)
                answer = connection.getresponse()
                answer.read()
                self.answers[answer.status] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{path}: {error!r}")
                connection.close()
            if not keeps:
                connection.close()
            time.sleep(0.002)
        connection.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    for process in family(folder):
        with contextlib.suppress(psutil.Error):
            process.kill()


def test_up_restarts_under_load_without_a_failed_request_and_a_run_goes_on(home: Path) -> None:
    up = Up(home, "--no-demo", "--web-processes", "2")
    with ended(up):
        up.ready()
        token = make_token(home)
        run = trained.launch(up.address, token, epochs=120)
        until(lambda: run()["progress"]["step"] > 40, what=lambda: str(run()))
        before = {one.pid for one in family(home)} - {up.process.pid}
        with Load(up.address, token) as load:
            restarted = Command(home, "restart", "--home", str(home))
            assert restarted.process.wait(timeout=120) == 0, restarted.said + up.said
        assert restarted.said.endswith(f"Restarted: {up.address}\n")
        assert "Every process was replaced" in up.said
        assert load.failures == [], load.failures
        assert set(load.answers) == {200}
        assert sum(load.answers.values()) > 100
        assert not before & {one.pid for one in family(home)}

        until(
            lambda: run()["status"] in {"finished", "failed"},
            seconds=120,
            what=lambda: str(run()),
        )
        assert run()["status"] == "finished", run()
        up.stop()
    assert family(home) == []


def test_several_web_processes_are_replaced_one_after_the_other(home: Path) -> None:
    assert Command(home, "migrate", "--home", str(home)).process.wait(timeout=90) == 0
    port = free_port()
    env = clean_environment(home)
    token = make_token(home, env)
    web = Command(home, "web", "--port", str(port), "--processes", "2", env=env)
    with ended(web):
        address = f"http://127.0.0.1:{port}"
        until(lambda: _answers(address), what=lambda: web.said)
        children = {
            one.pid
            for one in psutil.Process(web.process.pid).children()
            if any("spawn_main" in part for part in one.cmdline())
        }
        assert len(children) == 2
        with Load(address, token) as load:
            web.process.send_signal(signal.SIGHUP)
            until(lambda: not any(psutil.pid_exists(pid) for pid in children))
        assert load.failures == [], load.failures
        assert set(load.answers) == {200}
        web.stop()


def test_a_web_process_that_is_stopped_answers_what_it_has_begun(home: Path) -> None:
    """As one of two behind a proxy, which sends nothing new, and is cut off from nothing."""
    assert Command(home, "migrate", "--home", str(home)).process.wait(timeout=90) == 0
    port = free_port()
    web = Command(home, "web", "--port", str(port), env=clean_environment(home))
    with ended(web):
        until(lambda: _answers(f"http://127.0.0.1:{port}"), what=lambda: web.said)
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(kept):
            asked, told = 0, None
            while told is None:  # until it knows that it has to leave, and says so
                kept.request("GET", "/healthz")
                answer = kept.getresponse()
                assert answer.status == 200
                assert answer.read()
                told = answer.headers["Connection"]
                if not asked:
                    web.process.send_signal(signal.SIGTERM)
                asked += 1
            assert told == "close"
        assert web.process.wait(timeout=20) == 0 or web.process.returncode == -signal.SIGTERM
        with pytest.raises(OSError, match="refused"):
            ask(f"http://127.0.0.1:{port}", "/healthz")


def _answers(address: str) -> bool:
    try:
        return ask(address, "/readyz")[0] == 200
    except OSError:
        return False
