"""docs/settings.md names every environment variable that is read, and no other; the files for
Docker set only such variables."""

import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.db.utils import ConnectionHandler

from distillhub.cli import _parser
from distillhub.lib import env
from distillhub.settings import database
from tests.site import servers

ROOT = Path(__file__).resolve().parent.parent.parent
#: Read by others (boto, docker compose), not by our settings.
OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
COMPOSE_ONLY = {"POSTGRES_PASSWORD", "PORT", "DISTILLHUB_GPU_IMAGE"}


def read() -> set[str]:
    """Names handed to `env.text`, `env.integer`, … in the settings."""
    return {
        str(node.args[0].value)
        for file in (ROOT / "distillhub/settings").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and node.func.attr != "BadSetting"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def documented() -> set[str]:
    page = (ROOT / "docs/settings.md").read_text()
    return set(re.findall(r"^\| `([A-Z0-9_]+)` \|", page, re.MULTILINE))


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    assert documented() == read()


def compose() -> dict[str, dict[str, dict[str, object]]]:
    loaded: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(
        (ROOT / "docker-compose.yml").read_text()
    )
    return loaded


OURS = ["migrate", "web", "worker", "worker-gpu", "beat"]


def test_the_compose_file_has_every_process() -> None:
    assert set(compose()["services"]) == {*OURS, "postgres", "redis"}


@pytest.mark.parametrize("name", OURS)
def test_each_command_of_the_compose_file_exists(name: str) -> None:
    service = compose()["services"][name]
    command = service["command"]
    assert isinstance(command, list)
    assert command[0] == "distillhub"
    parsed = _parser().parse_args(command[1:])
    assert parsed.command == command[1]


def test_queues_of_the_compose_file_are_those_runs_ask_for() -> None:
    services = compose()["services"]
    queues = {
        _parser().parse_args(services[name]["command"][1:]).queues  # type: ignore[index]
        for name in ("worker", "worker-gpu")
    }
    assert queues == {"default", "gpu"}


def test_the_compose_file_sets_documented_variables_only() -> None:
    for name in OURS:
        environment = compose()["services"][name]["environment"]
        assert isinstance(environment, dict)
        assert set(environment) <= documented() | OTHERS


def test_every_variable_of_the_compose_file_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()))
    offered = set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.M))
    assert used == offered
    assert offered <= documented() | OTHERS | COMPOSE_ONLY


@pytest.mark.parametrize("name", ["web", "worker", "worker-gpu", "postgres", "redis"])
def test_what_others_wait_for_has_a_health_check(name: str) -> None:
    assert compose()["services"][name]["healthcheck"]


def test_the_image_copies_what_the_product_is_made_of() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for name in ("distillhub", "projects", "training", "templates", "static", "manage.py"):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", dockerfile, re.MULTILINE), name
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists(), name


def started_with(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distillhub.cli", "doctor", "--only", "settings"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DATABASE_URL", "mysql://localhost/hub", "DATABASE_URL must begin with postgres://"),
        ("DISTILLHUB_MAX_RUNS", "many", "DISTILLHUB_MAX_RUNS must be a whole number"),
        ("DEBUG", "perhaps", "DEBUG must be one of"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_in_one_sentence(
    name: str, value: str, sentence: str
) -> None:
    started = started_with(**{name: value})
    assert started.returncode == 1
    assert sentence in started.stderr
    assert "Traceback" not in started.stderr


def test_a_database_address_is_taken_apart() -> None:
    found = database.connection("postgres://ada:p%40ss@db:5433/hub")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "ada",
        "p@ss",
        "db",
        5433,
        "hub",
    )


def test_readings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILLHUB_PROBE", " a, b ,,c ")
    assert env.words("DISTILLHUB_PROBE") == ["a", "b", "c"]
    monkeypatch.setenv("DISTILLHUB_PROBE", "Off")
    assert env.boolean("DISTILLHUB_PROBE", True) is False
    monkeypatch.delenv("DISTILLHUB_PROBE")
    assert env.boolean("DISTILLHUB_PROBE", True) is True
    assert env.path("DISTILLHUB_PROBE", "~/x") == Path.home() / "x"


def test_only_connections_to_postgres_are_given_up_when_the_network_swallows_packets() -> None:
    found = database.connection("postgres://ada@db/hub?keepalives_idle=60&tcp_user_timeout=0")
    options = found["OPTIONS"]
    assert isinstance(options, dict)
    assert (options["keepalives_idle"], options["tcp_user_timeout"]) == ("60", "0")
    assert (options["keepalives"], options["keepalives_interval"]) == (1, 5)
    assert not database.KEEPALIVES.keys() & dict(database.connection("")["OPTIONS"]).keys()  # type: ignore[call-overload]


def test_a_connection_to_postgres_says_so_to_the_kernel() -> None:
    with servers.postgres() as address:
        there = ConnectionHandler({"default": database.connection(address)})["default"]
        link = there.get_new_connection(there.get_connection_params())
        with link, socket.socket(fileno=os.dup(link.fileno())) as sock:
            asked = {
                "idle": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                "every": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                "count": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                "unanswered": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            }
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert asked == {"idle": 20, "every": 5, "count": 3, "unanswered": 30_000}
