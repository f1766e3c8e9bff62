"""A backup taken while a run trains, brought back into an empty box: the run goes on there."""

import contextlib
import hashlib
import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from tests.site import servers, trained
from tests.site.buckets import make_bucket
from tests.site.processes import (
    ROOT,
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


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The box that is lost, and the empty one."""
    folders = tmp_path / "lost", tmp_path / "empty"
    yield folders
    for folder in folders:
        for process in family(folder):
            with contextlib.suppress(psutil.Error):
                process.kill()


#: Tells of a monitor all that a backup has to bring back: rows of its tables, and files.
TOLD = """
import hashlib
from django.core import serializers
from distillhub.lib import storage
from training.models import InferencePart, Monitor, MonitorWindow
rows = [*Monitor.objects.all(), *MonitorWindow.objects.all(), *InferencePart.objects.all()]
print(serializers.serialize("json", rows))
files = [one["sha256"] for one in Monitor.objects.get().reference_files]
for sha256 in files + [one.sha256 for one in InferencePart.objects.all()]:
    with storage.open_blob(sha256) as stream:
        print(hashlib.sha256(stream.read()).hexdigest() == sha256)
"""
MONITOR = f"""
from datetime import date
from pathlib import Path
from distillhub.lib import storage
from projects.models import User
from tests import make
from tests.training import monitor_rows
from training.models import InferencePart, Monitor
ada = User.objects.get(username="ada")
monitor = monitor_rows.moved(make.project("watched", owner=ada))
kept = []
for name in ("baseline.json", "rows.parquet"):
    path = storage.working_folder("making") / name
    path.write_text(name)
    blob = storage.put(path)
    kept.append({{"name": name, "sha256": blob.sha256, "bytes": blob.bytes}})
Monitor.objects.update(reference_files=kept[:1])
monitor.parts.create(
    kind="rows", day=date(2026, 11, 27), rows=3, sha256=kept[1]["sha256"], size_bytes=12
)
{TOLD}
"""


def said_by(program: str, home: Path, **env: str) -> str:
    """Of a program that runs in that box."""
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", program],
        cwd=ROOT,
        env=clean_environment(home, **env),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True\n") == 2, done.stdout
    return done.stdout


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
        watched = said_by(MONITOR, lost, DATABASE_URL=first)
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
        assert said_by(TOLD, empty, DATABASE_URL=second) == watched
        for said in (made, other, full, restored):
            assert "Traceback" not in said.stderr


def test_files_of_a_bucket_are_kept_and_brought_back_into_another_or_into_a_folder(
    homes: tuple[Path, Path], tmp_path: Path, s3_server: str
) -> None:
    lost, empty = homes
    kept, trial = tmp_path / "hub.tar", tmp_path / "trial"
    first, second = (make_bucket(s3_server, name) for name in ("lost", "new"))
    where = ["--home", str(lost), "--port", str(free_port()), "--no-demo"]
    up = Command(lost, "up", *where, env=clean_environment(lost, **first))
    with ended(up):
        address = up.until_said(r"Address +(\S+)").group(1)
        token = make_token(lost, clean_environment(lost, **first))
        run = trained.launch(address, token, epochs=1)
        until(lambda: run()["status"] in {"finished", "failed"}, what=lambda: str(run()))
        assert run()["status"] == "finished", run()
        made = distillhub(lost, "backup", str(kept), **first)
        assert made.returncode == 0, made.stdout + made.stderr
        up.stop()
    stored = names_in(first)
    assert stored
    assert not (lost / "files").exists()

    restored = distillhub(empty, "restore", str(kept), **second)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert names_in(second) == stored
    for one in bucket(second).objects.all():
        content = one.get()["Body"].read()
        assert hashlib.sha256(content).hexdigest() == one.key.rpartition("/")[2]
    assert "beside these" not in restored.stdout

    # Without a bucket they lie in the home, so that a restore may be tried.
    folder = distillhub(trial, "restore", str(kept))
    assert folder.returncode == 0, folder.stdout + folder.stderr
    files = trial / "files"
    assert {
        one.relative_to(files).as_posix() for one in files.rglob("*") if one.is_file()
    } == stored

    # What was stored since, by others for all that is known, is told.
    bucket(first).put_object(Key="blobs/later", Body=b"later")
    lying = distillhub(tmp_path / "same", "restore", str(kept), **first)
    assert lying.returncode == 0, lying.stdout + lying.stderr
    assert "The storage holds 1 files beside these." in lying.stdout


def test_a_file_of_a_bucket_that_is_damaged_is_named(
    homes: tuple[Path, Path], tmp_path: Path, s3_server: str
) -> None:
    home, _ = homes
    where = make_bucket(s3_server, "damaged")
    assert distillhub(home, "migrate", **where).returncode == 0
    bucket(where).put_object(Key="blobs/ab/ab12", Body=b"not what its name says")
    made = distillhub(home, "backup", str(tmp_path / "hub"), **where)
    assert made.returncode == 1
    assert "Damaged in storage, and kept as it is: blobs/ab/ab12" in made.stderr
    assert (tmp_path / "hub/files/blobs/ab/ab12").read_bytes() == b"not what its name says"


def bucket(where: dict[str, str]) -> Any:
    service: Any = boto3.resource(
        "s3",
        endpoint_url=where["S3_ENDPOINT_URL"],
        region_name=where["S3_REGION"],
        aws_access_key_id=where["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=where["AWS_SECRET_ACCESS_KEY"],
    )
    return service.Bucket(where["S3_BUCKET"])


def names_in(where: dict[str, str]) -> set[str]:
    return {one.key for one in bucket(where).objects.all()}
