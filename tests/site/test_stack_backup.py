"""A backup taken while a run trains, brought back into an empty box: the run goes on there."""

import contextlib
import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.site import servers, trained
from tests.site.processes import (
    ROOT,
    Up,
    ask,
    clean_environment,
    ended,
    family,
    make_token,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The box that is lost, and the empty one."""
    folders = tmp_path / "lost", tmp_path / "empty"
    yield folders
    for folder in folders:
        for process in family(folder):
            with contextlib.suppress(psutil.Error):
                process.kill()


def distillhub(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distillhub.cli", *arguments, "--home", str(home)],
        cwd=ROOT,
        env=clean_environment(home, **env),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_a_run_in_training_goes_on_in_the_box_that_it_was_restored_into(
    homes: tuple[Path, Path], tmp_path: Path
) -> None:
    lost, empty = homes
    kept = tmp_path / "hub.tar"
    up = Up(lost, "--no-demo")
    with ended(up):
        up.ready()
        token = make_token(lost)
        run = trained.launch(up.address, token, epochs=800)
        until(lambda: run()["progress"]["step"] > 60, what=lambda: str(run()))
        made = distillhub(lost, "backup", str(kept))
        assert made.returncode == 0, made.stdout + made.stderr
        assert run()["status"] == "training"
        refused = distillhub(lost, "restore", str(kept))
        assert refused.returncode == 1
        assert "is not empty" in refused.stderr
        up.process.kill()

    restored = distillhub(empty, "restore", str(kept))
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert "Run shapes/1: Restored from the backup of" in restored.stdout
    assert (empty / "secret_key").read_text() == (lost / "secret_key").read_text()
    assert not (empty / ".restoring").exists()

    again = Up(empty, "--no-demo")
    with ended(again):
        again.ready()
        run = trained.Watched(again.address, token)  # tokens are those of then
        until(
            lambda: run()["status"] in {"finished", "failed"},
            seconds=300,
            what=lambda: str(run()),
        )
        assert run()["status"] == "finished", run()
        address = f"{trained.RUN}/metrics/?names=train/loss&max_points=100000"
        steps = ask(again.address, address, token=token)[1]["series"]["train/loss"]["steps"]
        assert steps == sorted(set(steps))
        gaps = {later - earlier for earlier, later in itertools.pairwise(steps)}
        assert len(gaps) == 1, gaps  # none is missing where the copy was taken
        again.stop()
    with contextlib.closing(sqlite3.connect(empty / "distillhub.sqlite3")) as rows:
        told = " ".join(one for (one,) in rows.execute("SELECT sentence FROM training_runevent"))
    assert "it goes on from its newest checkpoint" in told
    assert "begins again" not in told


def test_on_postgresql_it_is_a_dump_that_is_restored_into_an_empty_database(
    homes: tuple[Path, Path], tmp_path: Path
) -> None:
    lost, empty = homes
    kept = tmp_path / "hub"
    with servers.postgres() as first, servers.postgres() as second:
        assert distillhub(lost, "migrate", DATABASE_URL=first).returncode == 0
        make_token(lost, clean_environment(lost, DATABASE_URL=first))
        made = distillhub(lost, "backup", str(kept), DATABASE_URL=first)
        assert made.returncode == 0, made.stdout + made.stderr
        assert (kept / "database.dump").stat().st_size > 1000

        other = distillhub(empty, "restore", str(kept))
        assert other.returncode == 1
        assert "The backup is of postgresql" in other.stderr
        full = distillhub(empty, "restore", str(kept), DATABASE_URL=first)
        assert full.returncode == 1
        assert "The database is not empty" in full.stderr

        restored = distillhub(empty, "restore", str(kept), DATABASE_URL=second)
        assert restored.returncode == 0, restored.stdout + restored.stderr
        there = distillhub(empty, "create-token", "ada", DATABASE_URL=second)
        assert there.returncode == 0, there.stderr  # she is known
        for said in (made, other, full, restored):
            assert "Traceback" not in said.stderr
