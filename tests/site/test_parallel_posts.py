"""Against a real server with its own database file: what must happen once happens once, however
many ask at the same moment."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

MAKE = """
import django
django.setup()
from projects.models import User
from projects.services import accounts
alice = User.objects.create_user("alice")
print(accounts.create_token(user=alice, name="test")[1])
print(accounts.make_sign_in_link(user=alice))
"""
COUNT = """
import django
django.setup()
from projects.models import Project
print(Project.objects.count())
"""


@dataclass
class Server:
    port: int
    token: str
    link: str
    environment: dict[str, str]

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def python(self, script: str) -> str:
        return _python(script, self.environment)


def _python(script: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {
        "DISTILLHUB_HOME": str(home),
        "DJANGO_SETTINGS_MODULE": "distillhub.settings",
    }
    for name in ("DATABASE_URL", "REDIS_URL"):
        environment.pop(name, None)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True
    )
    token, link = _python(MAKE, environment).split()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    web = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "distillhub.asgi:application", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    made = Server(port, token, link, environment)
    try:
        give_up = time.monotonic() + 60
        while True:
            try:
                made.ask("GET", "/healthz")
                break
            except OSError:
                assert time.monotonic() < give_up
                time.sleep(0.1)
        yield made
    finally:
        web.terminate()
        web.wait(30)


@pytest.mark.slow
def test_fifty_posts_with_one_key_are_one_project(server: Server) -> None:
    headers = {
        "Authorization": f"Bearer {server.token}",
        "Content-Type": "application/json",
        "Idempotency-Key": "one and the same",
    }

    def post(_: int) -> tuple[int, str]:
        for _ in range(20):
            status, body = server.ask("POST", "/api/v1/projects/", '{"name": "One"}', **headers)
            if status != 409:
                break
            assert '"in_progress"' in body  # told to come back, and does
            time.sleep(1)
        return status, body

    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(post, range(50)))
    assert len(answers) == 1, answers
    [(status, body)] = answers
    assert (status, '"slug":"one"' in body) == (201, True)
    assert server.python(COUNT).strip() == "1"


@pytest.mark.slow
def test_of_twenty_who_follow_one_link_at_once_one_is_signed_in(server: Server) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(
            lambda _: server.ask("GET", f"/sign-in/link/{server.link}/")[0], range(20)
        )
    assert Counter(answers) == {302: 1, 404: 19}
