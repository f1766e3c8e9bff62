"""A client generated from our OpenAPI description, as other teams have them, against a server."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from projects.models import User
from projects.services import accounts

GENERATOR = "openapi-python-client==0.29.1"
#: Kept between runs, apart from what we are installed with: the generator wants another typer.
HOME = Path(sys.prefix) / ".peers" / "openapi-python-client-0.29.1"

PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from distill_hub_client import AuthenticatedClient
from distill_hub_client.api.me import me_retrieve
from distill_hub_client.api.projects import projects_create, projects_list, projects_retrieve
from distill_hub_client.api.runs import projects_runs_list
from distill_hub_client.models import ProjectRequest

at = {"base_url": sys.argv[2], "token": sys.argv[3]}
client = AuthenticatedClient(**at, raise_on_unexpected_status=True)
me = me_retrieve.sync(client=client)
assert me.username == "alice", me
made = projects_create.sync(client=client, body=ProjectRequest(name="Parcels"))
assert made.slug == "parcels" and made.role.value == "owner", made
again = projects_retrieve.sync("parcels", client=client)
assert again.created_at == made.created_at and again.archived_at is None
listed = projects_list.sync(client=client, limit=10)
assert [one.slug for one in listed.results] == ["parcels"] and listed.next_ is None
runs = projects_runs_list.sync("parcels", client=client)
assert runs.results == []
missing = projects_retrieve.sync_detailed("nothing", client=client)
assert missing.status_code == 404 and missing.parsed.code == "not_found", missing
print("done")
"""


@pytest.fixture(scope="module")
def generator() -> Path:
    """An environment of its own with the generator, and with what its clients need."""
    made = HOME / "made"
    if not made.exists():
        venv.create(HOME, with_pip=True, clear=True)
        pip = [str(HOME / "bin" / "pip"), "install", "--quiet", GENERATOR]
        installed = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
        if installed.returncode:
            pytest.skip(f"the generator cannot be installed here: {installed.stderr[-200:]}")
        made.touch()
    return HOME / "bin"


@pytest.mark.django_db(transaction=True)
def test_a_generated_client_does_what_it_says(
    generator: Path, live_server: LiveServer, client: Client, alice: User, tmp_path: Path
) -> None:
    told = client.get("/api/schema/", headers={"Accept": "application/json"}).json()
    (tmp_path / "schema.json").write_text(json.dumps(told))
    command = [str(generator / "openapi-python-client"), "generate", "--path", "schema.json"]
    command += ["--meta", "none", "--output-path", "distill_hub_client"]
    plain = {"PATH": os.defpath, "HOME": str(tmp_path), "COLUMNS": "200"}
    made = subprocess.run(
        command, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=200, check=False
    )
    said = made.stdout + made.stderr
    assert made.returncode == 0, said
    # Pieces of a resumable upload are for tus clients; nothing else may be left out.
    left_out = {line for line in said.splitlines() if "will not be generated" in line}
    assert all(" /api/v1/uploads/" in line for line in left_out), left_out
    _, token = accounts.create_token(user=alice, name="generated")
    ran = subprocess.run(
        [generator / "python", "-c", PROGRAM, str(tmp_path), live_server.url, token],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout.strip() == "done", ran.stderr[-3000:]
