"""PostgreSQL behind PgBouncer, which lends a connection for one transaction: everything works, and
nothing is left in a session that the next transaction of somebody else would find."""

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.site import servers, trained
from tests.site.processes import (
    Command,
    ask,
    clean_environment,
    ended,
    free_port,
    make_token,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]

CONNECTIONS = 4  # fewer than ask at once


@contextlib.contextmanager
def pooled() -> Iterator[tuple[servers.Postgres, servers.PgBouncer]]:
    with servers.postgres_server() as postgres:
        with psycopg.connect(postgres.address) as direct:
            # What a session begins with is not what ours need, so that each says what it needs.
            direct.execute("ALTER DATABASE hub SET timezone = 'Asia/Kathmandu'")
        with servers.pgbouncer_server(postgres, connections=CONNECTIONS) as pool:
            yield postgres, pool


def test_of_two_machines_that_start_at_once_one_migrates(tmp_path: Path) -> None:
    with pooled() as (postgres, pool):
        both = [
            Command(home, "migrate", env=clean_environment(home, DATABASE_URL=pool.address))
            for home in (tmp_path / "one", tmp_path / "other")
        ]
        with ended(*both):
            assert [one.process.wait(timeout=120) for one in both] == [0, 0], both[0].said
        said = sorted(one.said.splitlines()[0] for one in both)
        assert "Applied" in said[0]
        assert "up to date" in said[1]
        assert no_lock_is_left(postgres)


def test_a_run_trains_while_pages_are_asked_for_through_few_lent_connections(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with pooled() as (postgres, pool):
        env = clean_environment(home, DATABASE_URL=pool.address)
        up = Command(
            home, "up", "--home", str(home), "--port", str(free_port()), "--no-demo", env=env
        )
        with ended(up):
            up.until_said("Ctrl-C stops everything")
            address = up.until_said(r"Address +(\S+)").group(1)
            token = make_token(home, env)
            run = trained.launch(address, token, epochs=40)

            def read(path: str) -> int:
                return ask(address, f"{trained.RUN}/{path}", token=token)[0]

            paths = ["", "metrics/", "logs/", "events/", "artifacts/"] * 8
            with ThreadPoolExecutor(10) as readers:
                assert set(readers.map(read, paths)) == {200}
            until(lambda: run()["status"] in {"finished", "failed"}, what=lambda: json.dumps(run()))
            assert run()["status"] == "finished", run()
            ago = datetime.now(UTC) - datetime.fromisoformat(run()["finished_at"])
            assert timedelta(0) < ago < timedelta(minutes=5)
            steps = ask(address, f"{trained.RUN}/metrics/?names=train/loss", token=token)[1]
            assert steps["series"]["train/loss"]["steps"]
            assert up.stop() == 0
        for log in (home / "logs").glob("*.log"):
            assert "Traceback" not in log.read_text(), log.read_text()
        assert "WARNING" not in pool.log.read_text()
        assert "ERROR" not in pool.log.read_text()
        assert no_lock_is_left(postgres)


def no_lock_is_left(postgres: servers.Postgres) -> bool:
    with psycopg.connect(postgres.address) as direct:
        locks = direct.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        return locks.fetchone() == (0,)
