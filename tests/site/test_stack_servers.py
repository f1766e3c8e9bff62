"""The same processes as docker-compose.yml starts, by hand, on real PostgreSQL and Redis."""

import json
import subprocess
import sys
from pathlib import Path

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

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


def test_web_worker_and_beat_on_postgres_and_redis_train_a_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        servers.postgres() as database,
        servers.redis(tmp_path / "redis") as broker,
    ):
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        env = clean_environment(
            home, DATABASE_URL=database, REDIS_URL=broker, SITE_URL=address, LOG_LEVEL="INFO"
        )
        migrated = Command(home, "migrate", env=env)
        assert migrated.process.wait(timeout=120) == 0, migrated.said

        web = Command(home, "web", "--port", str(port), "--processes", "2", env=env)
        worker = Command(home, "worker", "--queues", "default", env=env)
        beat = Command(home, "beat", env=env)
        with ended(web, worker, beat):
            worker.until_said(r"celery.apps.worker: \S+ ready")
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

            assert worker.stop() == 0
            web.stop()
            beat.stop()
            for command in (web, worker, beat):
                assert "Traceback" not in command.said
        assert not (home / "distillhub.sqlite3").exists()


def _answers(address: str) -> bool:
    try:
        return ask(address, "/readyz")[0] == 200
    except OSError:
        return False
