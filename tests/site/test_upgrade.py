"""Databases of older versions, with rows that those versions wrote, are brought up to date."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.site import servers
from tests.site.processes import ROOT, clean_environment

pytestmark = pytest.mark.slow

OLDER = Path(__file__).with_name("older")

#: What a person of then sees now, told by the code of now.
LOOK = """
import json, django
django.setup()
from django.core.management import call_command
from django.test import Client
from projects.models import User
from training.models import Run
from training.worker import line

call_command("makemigrations", check=True, dry_run=True, verbosity=0)
ada = User.objects.get(username="ada")
client = Client(SERVER_NAME="localhost")
client.force_login(ada)
base = "/api/v1/projects/intents"
runs = client.get(f"{base}/runs/?limit=10").json()["results"]
finished = next(one for one in runs if one["status"] == "finished" and one["comparison"])
series = client.get(f"{base}/runs/{finished['number']}/metrics/").json()["series"]
pages = ["/", "/p/intents/", "/p/intents/runs/", "/p/intents/datasets/", "/p/intents/students/",
         "/p/intents/teachers/", "/workers/", "/queue/"]
pages += [f"/p/intents/runs/{one['number']}/" for one in runs]
print(json.dumps({
    "runs": sorted(one["status"] for one in runs),
    "score": finished["metrics"]["test/accuracy"],
    "points": sum(len(one["steps"]) for one in series.values()),
    "pages": {page: client.get(page).status_code for page in pages},
    "waiting": len(line.waiting()),
    "lost": Run.objects.running().count(),
}))
"""


def python(home: Path, *arguments: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean_environment(home, DJANGO_SETTINGS_MODULE="distillhub.settings", **env),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def looked(home: Path, **env: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(python(home, "-c", LOOK, **env).splitlines()[-1])
    return found


def is_as_it_was(found: dict[str, Any]) -> None:
    assert found["runs"] == ["finished", "finished", "queued", "training"]
    assert found["score"] == pytest.approx(0.88)
    assert found["points"] > 10
    assert set(found["pages"].values()) == {200}, found["pages"]
    assert (found["waiting"], found["lost"]) == (1, 1)


def tables(home: Path) -> dict[str, Any]:
    """What the database of a home is made of: each table's columns, in no order; all else as it was
    written."""
    with closing(sqlite3.connect(home / "distillhub.sqlite3")) as database:
        made = database.execute("SELECT type, name, sql FROM sqlite_master WHERE sql > ''")
        return {
            f"{kind} {name}": sorted(re.split(r",\s*(?![^()]*\))", sql[sql.index("(") + 1 : -1]))
            if kind == "table"
            else sql
            for kind, name, sql in made
        }


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody who begins today."""
    home = tmp_path_factory.mktemp("new") / "home"
    home.mkdir()
    python(home, "-m", "distillhub.cli", "migrate")
    return home


@pytest.mark.parametrize("rows", sorted(OLDER.glob("*.sqlite.sql")), ids=lambda path: path.stem)
def test_a_home_of_an_older_version_is_brought_up_to_date(
    tmp_path: Path, rows: Path, new: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "distillhub.sqlite3")) as database:
        database.executescript(rows.read_text())
    told = python(tmp_path, "-m", "distillhub.cli", "migrate")
    assert re.search(r"Kept a copy of the database: \S+", told)
    assert re.search(r"Applied \d+ migrations", told)
    is_as_it_was(looked(tmp_path))
    assert tables(tmp_path) == tables(new)


def test_a_postgresql_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    rows = next(OLDER.glob("*.postgresql.sql"))
    with servers.postgres() as address:
        loading = ["psql", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", address]
        subprocess.run(
            [*loading, "--file", rows],
            check=True,
            capture_output=True,
            env=os.environ | {"PGOPTIONS": "--client-min-messages=warning"},
        )
        told = python(tmp_path, "-m", "distillhub.cli", "migrate", DATABASE_URL=address)
        assert re.search(r"Applied \d+ migrations", told)
        is_as_it_was(looked(tmp_path, DATABASE_URL=address))
