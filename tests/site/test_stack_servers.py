"""The same processes as docker-compose.yml starts, by hand, on real PostgreSQL and Redis; and what
is said and done while either is away."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.site import servers, trained
from tests.site.processes import (
    ROOT,
    Command,
    ask,
    clean_environment,
    ended,
    free_port,
    make_token,
    until,
)

SECOND = {
    "name": "again",
    "task": "image-classification",
    "dataset": "stripes@1",
    "student": "tiny@1",
    "training": {"epochs": 1, "batch_size": 16},
}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


def test_web_worker_and_beat_on_postgres_and_redis_train_a_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        servers.postgres_server() as postgres,
        servers.redis_server(tmp_path / "redis") as redis,
    ):
        database, broker = postgres.address, redis.address
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        env = clean_environment(
            home,
            DATABASE_URL=database,
            REDIS_URL=broker,
            SITE_URL=address,
            LOG_LEVEL="INFO",
            LOG_FORMAT="json",
        )
        migrated = Command(home, "migrate", env=env)
        assert migrated.process.wait(timeout=120) == 0, migrated.said

        web = Command(home, "web", "--port", str(port), "--processes", "2", env=env)
        worker = Command(home, "worker", "--queues", "default", env=env)
        beat = Command(home, "beat", env=env)
        with ended(web, worker, beat):
            worker.until_said(r'"message": "\S+ ready')
            beat.until_said(r"beat: Starting")
            token = make_token(home, env)
            until(lambda: _answers(address), what=lambda: web.said)

            run = trained.launch(address, token, epochs=2)
            until(lambda: run()["status"] in {"finished", "failed"}, what=lambda: json.dumps(run()))
            assert run()["status"] == "finished", run()
            assert run()["metrics"]["test/accuracy"] > 0.3

            status, workers = ask(address, "/api/v1/workers/", token=token)
            assert status == 200
            assert [one["queues"] for one in workers["results"]] == [["default"]]

            examined = subprocess.run(
                [sys.executable, "-m", "distillhub.cli", "doctor"],
                cwd=ROOT,
                env=env,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            assert examined.returncode == 0, examined.stdout
            assert "FAIL" not in examined.stdout
            assert "postgresql" in examined.stdout

            assert len(_lines(worker, run=1)) >= 2  # its beginning and its end
            assert _lines(worker, run=1, request=trained.REQUEST)
            status, numbers = ask(address, "/metrics")
            assert status == 200
            assert 'distillhub_runs{status="finished"} 1' in numbers
            assert 'distillhub_workers{state="online"} 1' in numbers
            assert "distillhub_http_request_seconds_bucket" in numbers

            _without_redis(address, token, redis)
            _without_postgres(address, token, postgres)

            assert worker.stop() == 0
            web.stop()
            beat.stop()
            for command in (web, worker, beat):
                _lines(command)
                if command is not web:  # which tells why the database did not answer
                    assert "Traceback" not in command.said
        assert not (home / "distillhub.sqlite3").exists()


def _without_redis(address: str, token: str, redis: servers.Redis) -> None:
    """Pages work and say it, what is launched is kept, and begins when it is back."""
    redis.kill()
    # Of two web processes each finds out by itself, within seconds.
    found = until(lambda: _is_degraded(ask(address, "/readyz")))
    assert found == (200, "ok")
    until(lambda: ask(address, "/readyz?strict=1")[0] == 503)
    status, again = ask(address, f"{trained.PROJECT}/runs/", token=token, body=SECOND)
    assert status == 201, again
    redis.start()
    until(lambda: ask(address, "/readyz")[1]["broker"] == "ok")
    second = f"{trained.PROJECT}/runs/{again['number']}/"
    until(
        lambda: ask(address, second, token=token)[1]["status"] == "finished",
        what=lambda: str(ask(address, second, token=token)),
    )


def _is_degraded(answer: tuple[int, Any]) -> tuple[int, str] | None:
    """The status of an answer that misses the broker, and its word about the database."""
    status, told = answer
    if (told["status"], told["broker"]) != ("degraded", "away"):
        return None
    return status, told["database"]


def _without_postgres(address: str, token: str, postgres: servers.Postgres) -> None:
    """Pages and REST answer 503 with a word and when to come again, never 500."""
    postgres.kill()
    try:
        for path in ("/", "/sign-in/", "/api/v1/projects/", "/p/shapes/runs/", "/readyz"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(
                    urllib.request.Request(
                        address + path,
                        headers={
                            "Authorization": f"Bearer {token}",
                            "Cookie": "distillhub_session=abcdefghijklmnopqrstuvwxyz012345",
                        },
                    ),
                    timeout=60,
                )
            with refused.value as answer:
                assert answer.code == 503, path
                assert int(answer.headers["Retry-After"]) > 0
                text = answer.read().decode()
            assert "Traceback" not in text
            if path == "/readyz":
                assert json.loads(text)["database"] == "away"
            else:
                assert "The database does not answer just now" in text
        assert ask(address, "/healthz")[0] == 200
        status, numbers = ask(address, "/metrics")
        assert status == 200
        assert 'distillhub_part_up{part="database"} 0' in numbers
    finally:
        postgres.start()
    until(lambda: _answers(address))
    assert ask(address, "/api/v1/projects/", token=token)[0] == 200


def _lines(command: Command, **facts: Any) -> list[dict[str, Any]]:
    """What a process said, each line an object; those with these facts."""
    said = [line for line in command.said.splitlines() if line.strip()]
    # Celery writes its last words from a signal's handler, past all logging.
    found = [json.loads(line) for line in said if not line.startswith("worker: ")]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in found)
    return [line for line in found if facts.items() <= line.items()]


def _answers(address: str) -> bool:
    try:
        return ask(address, "/readyz")[0] == 200
    except OSError:
        return False
