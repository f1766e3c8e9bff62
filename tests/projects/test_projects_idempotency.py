"""A POST with an Idempotency-Key is one creation, however often it is sent."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from projects.models import IdempotencyKey, Project, User
from projects.services import idempotency
from tests.conftest import api_of


def post(user: User, body: dict[str, object], key: str = "k1") -> Any:
    return api_of(user).post("/api/v1/projects/", body, headers={"Idempotency-Key": key})


def test_the_second_post_is_answered_like_the_first(alice: User) -> None:
    first, again = (post(alice, {"name": "a"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Project.objects.count() == 1


def test_the_same_key_with_another_body_is_a_conflict(alice: User) -> None:
    post(alice, {"name": "a"})
    refused = post(alice, {"name": "b"})
    assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_conflict")
    assert Project.objects.count() == 1


def test_keys_belong_to_people(alice: User, erin: User) -> None:
    assert post(alice, {"name": "a"}).json()["slug"] == "a"
    assert post(erin, {"name": "a"}).json()["slug"] == "a-2"


def test_a_refused_post_frees_its_key(alice: User) -> None:
    assert post(alice, {"name": ""}).status_code == 400
    assert IdempotencyKey.objects.count() == 0
    assert post(alice, {"name": "a"}).status_code == 201


def test_while_the_first_is_in_progress_the_second_is_told_to_wait(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(alice, {"name": "a"})
    IdempotencyKey.objects.update(status=None)
    monkeypatch.setattr(idempotency, "PATIENCE", 0.1)
    refused = post(alice, {"name": "a"})
    assert (refused.status_code, refused.json()["code"]) == (409, "in_progress")
    assert refused.headers["Retry-After"] == "1"


def test_what_a_dead_process_left_in_progress_is_taken_over(alice: User) -> None:
    post(alice, {"name": "a"})
    Project.objects.all().delete()  # its transaction never happened
    long_ago = timezone.now() - idempotency.ABANDONED - timedelta(seconds=1)
    IdempotencyKey.objects.update(status=None, created_at=long_ago)
    assert post(alice, {"name": "a"}).status_code == 201
    assert Project.objects.count() == 1


def test_old_keys_are_forgotten(alice: User) -> None:
    post(alice, {"name": "a"})
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=8))
    assert post(alice, {"name": "a"}).json()["slug"] == "a-2"


def test_a_key_that_is_too_long_is_refused(alice: User) -> None:
    assert post(alice, {"name": "a"}, key="k" * 201).status_code == 400
    assert Project.objects.count() == 0


def test_two_bodies_cannot_pose_as_one() -> None:
    assert idempotency.digest([b"ab", b"c"]) != idempotency.digest([b"a", b"bc"])
