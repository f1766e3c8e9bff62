"""What holds for every answer of REST: limits with their headers, chosen fields, entity tags."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from distillhub.lib import rates, storage
from projects.models import Project, User
from projects.services import accounts
from tests import make
from tests.conftest import api_of
from tests.site import servers

ME = "/api/v1/me/"


def with_token(raw: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {raw}"})


# Limits ----------------------------------------------------------------------------------------


def test_an_answer_tells_what_is_left_and_429_when_to_come_back(
    settings: LazySettings, alice: User
) -> None:
    settings.RATE_LIMIT_READ, settings.RATE_LIMIT_WRITE = 3, 1
    _, raw = accounts.create_token(user=alice, name="loop")
    client = with_token(raw)
    left = []
    for _ in range(3):
        answer = client.get(ME)
        assert answer.headers["RateLimit-Policy"] == '"read";q=3;w=60'
        left.append(answer.headers["RateLimit"].split(";")[1])
    assert left == ["r=2", "r=1", "r=0"]
    refused = client.get(ME)
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    # Writes are counted apart, and so is every other token.
    assert client.patch(ME, {"first_name": "A"}).status_code == 200
    assert client.patch(ME, {"first_name": "B"}).status_code == 429
    _, other = accounts.create_token(user=alice, name="other")
    assert with_token(other).get(ME).status_code == 200


def test_nought_is_no_limit(settings: LazySettings, alice: User) -> None:
    settings.RATE_LIMIT_READ = 0
    assert "RateLimit" not in api_of(alice).get(ME).headers


def test_whoever_rests_may_take_a_windows_worth_and_then_its_rate(tmp_path: Path) -> None:
    table = rates.Table(tmp_path / "rates")
    share, window = 6.0, 60.0  # ten a minute
    taken = [table.take(7, share, window, 1000.0)[1] for _ in range(12)]
    assert taken == [True] * 10 + [False] * 2
    assert table.take(7, share, window, 1005.0)[1] is False
    assert table.take(7, share, window, 1006.1)[1] is True
    assert table.take(7, share, window, 1006.2)[1] is False
    assert table.take(8, share, window, 1006.2)[0] == pytest.approx(6.0)
    assert [table.take(7, share, window, 2000.0)[1] for _ in range(11)] == [True] * 10 + [False]


def test_more_keys_than_slots_forget_who_has_rested_longest(tmp_path: Path) -> None:
    table = rates.Table(tmp_path / "rates")
    for key in range(1, 12):  # neighbours of one another, and more than there are places
        table.take(key * rates.SLOTS + 1, 1.0, 60.0, 1000.0 + key)
    assert table.take(11 * rates.SLOTS + 1, 1.0, 60.0, 1011.0)[0] == pytest.approx(2.0)


def test_processes_share_one_limit(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from distillhub.lib import rates; "
        "table = rates.Table(pathlib.Path(sys.argv[1])); "
        "print(sum(table.take(7, 0.6, 60.0, 1000.0)[1] for _ in range(80)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "rates")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(one.communicate(timeout=60)[0]) for one in both) == 100


def test_redis_counts_the_same_and_its_absence_refuses_nobody(
    settings: LazySettings, tmp_path: Path
) -> None:
    limit = rates.Limit("read", 5)
    with servers.redis(tmp_path / "redis") as address:
        settings.REDIS_URL = address
        taken = [rates.take(limit, "me") for _ in range(7)]
        assert [one.is_allowed for one in taken if one] == [True] * 5 + [False] * 2
        assert [one.remaining for one in taken if one] == [4, 3, 2, 1, 0, 0, 0]
        assert taken[6] is not None
        assert 1 <= taken[6].wait <= 12
        assert rates.take(limit, "you")
    assert rates.take(limit, "me") is None


# Chosen fields ---------------------------------------------------------------------------------


def test_fields_are_chosen_of_one_thing_and_of_each_of_a_list(
    project: Project, alice: User
) -> None:
    run = make.run(project, number=1)
    client = api_of(alice)
    one = client.get("/api/v1/projects/intents/runs/1/?fields=number,status,progress.fraction")
    assert one.json() == {
        "number": 1,
        "status": run.status,
        "progress": {"fraction": one.json()["progress"]["fraction"]},
    }
    many = client.get("/api/v1/projects/intents/runs/?fields=name&limit=1")
    assert set(many.json()) == {"results", "next", "previous"}
    assert many.json()["results"] == [{"name": run.name}]
    whole = client.get("/api/v1/projects/intents/runs/1/").json()
    assert {"number": whole["number"]} == client.get(
        "/api/v1/projects/intents/runs/1/?fields=number"
    ).json()


@pytest.mark.parametrize("asked", ["nonsense", "progress.nonsense", ",".join(["name"] * 51)])
def test_a_field_that_is_not_there_is_refused_by_name(
    asked: str, project: Project, alice: User
) -> None:
    make.run(project, number=1)
    for address in ("runs/1/", "runs/"):
        answer = api_of(alice).get(f"/api/v1/projects/intents/{address}", {"fields": asked})
        assert answer.status_code == 400, address
        assert answer.json()["fields"]["fields"]


# Entity tags -----------------------------------------------------------------------------------


def test_what_has_not_changed_is_not_sent_again(project: Project, alice: User) -> None:
    client = api_of(alice)
    address = f"/api/v1/projects/{project.slug}/"
    first = client.get(address)
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    again = client.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == tag
    assert again.headers["RateLimit"]
    client.patch(address, {"description": "another"})
    changed = client.get(address, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert "private" in changed.headers["Cache-Control"]
    assert "Authorization" in changed.headers["Vary"]


def test_a_file_is_known_by_its_sha256(project: Project, alice: User) -> None:
    file = storage.working_folder("making") / "rows.parquet"
    file.write_bytes(b"PAR1")
    blob = storage.put(file)
    make.dataset_version(project, "texts", file_sha256=blob.sha256, file_bytes=blob.bytes)
    address = f"/api/v1/projects/{project.slug}/datasets/texts/versions/1/download/"
    whole = api_of(alice).get(address)
    assert whole.headers["ETag"] == f'"{blob.sha256}"'
    assert whole.getvalue() == b"PAR1"
    again = api_of(alice).get(address, headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status_code == 304


def test_another_person_with_the_same_tag_is_still_a_stranger(
    project: Project, alice: User, charlie: User
) -> None:
    address = f"/api/v1/projects/{project.slug}/"
    tag = api_of(alice).get(address).headers["ETag"]
    assert api_of(charlie).get(address, headers={"If-None-Match": tag}).status_code == 404


def test_a_repetition_with_a_key_counts_like_any_request(
    settings: LazySettings, alice: User
) -> None:
    settings.RATE_LIMIT_WRITE = 5
    headers: dict[str, Any] = {"Idempotency-Key": "one"}
    made = api_of(alice).post("/api/v1/projects/", {"name": "Once"}, headers=headers)
    again = api_of(alice).post("/api/v1/projects/", {"name": "Once"}, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert made.headers["RateLimit"] != again.headers["RateLimit"]
