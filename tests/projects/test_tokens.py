"""API tokens: made on a page or through REST, shown once, scoped, expiring, revocable."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from distillhub.lib.errors import Invalid
from projects.models import ApiToken, Project, User
from projects.services import accounts
from tests import make
from tests.conftest import api_of, signed_in


def bearer(raw: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    return client


def test_a_token_made_on_the_page_is_shown_once_and_works(alice: User) -> None:
    client = signed_in(alice)
    form = {"name": "nightly", "scope": "write", "life": "30"}
    made = client.post("/account/tokens/", form)
    assert "no-store" in made.headers["Cache-Control"]
    raw = re.findall(r'value="(dh_[^"]+)"', made.content.decode())[0]
    assert raw not in client.get("/account/tokens/").content.decode()
    assert bearer(raw).get("/api/v1/me/").json()["username"] == "alice"
    row = ApiToken.objects.get()
    assert raw not in str(ApiToken.objects.values().get())
    assert row.expires_at is not None
    assert timedelta(days=29) < row.expires_at - timezone.now() <= timedelta(days=30)


def test_a_revoked_token_opens_nothing(alice: User) -> None:
    row, raw = accounts.create_token(user=alice, name="old")
    signed_in(alice).post(f"/account/tokens/{row.pk}/revoke/")
    refused = bearer(raw).get("/api/v1/me/")
    assert refused.status_code == 401
    assert refused.json() == {
        "detail": "This token is unknown, expired or revoked.",
        "code": "authentication_failed",
        "fields": {},
    }
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_an_expired_token_opens_nothing(alice: User) -> None:
    _, raw = accounts.create_token(
        user=alice, name="old", expires_at=timezone.now() + timedelta(hours=1)
    )
    assert bearer(raw).get("/api/v1/me/").status_code == 200
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert bearer(raw).get("/api/v1/me/").status_code == 401


def test_a_token_of_somebody_who_was_shut_out_opens_nothing(alice: User) -> None:
    _, raw = accounts.create_token(user=alice, name="old")
    User.objects.update(is_active=False)
    assert bearer(raw).get("/api/v1/me/").status_code == 401


def test_a_reading_token_changes_nothing(alice: User, project: Project) -> None:
    _, raw = accounts.create_token(user=alice, name="dashboard", scope="read")
    client = bearer(raw)
    assert client.get("/api/v1/projects/intents/").status_code == 200
    for refused in (
        client.post("/api/v1/projects/", {"name": "more"}),
        client.patch("/api/v1/projects/intents/", {"name": "other"}),
        client.delete("/api/v1/projects/intents/"),
        client.post("/api/v1/tokens/", {"name": "wider", "scope": "write"}),
    ):
        assert refused.status_code == 403
        assert refused.json()["detail"] == "This token may only read."


def test_somebody_elses_token_cannot_be_revoked(alice: User, charlie: User) -> None:
    row, raw = accounts.create_token(user=alice, name="mine")
    assert signed_in(charlie).post(f"/account/tokens/{row.pk}/revoke/").status_code == 404
    assert api_of(charlie).delete(f"/api/v1/tokens/{row.pk}/").status_code == 404
    assert bearer(raw).get("/api/v1/me/").status_code == 200


def test_a_token_is_made_listed_and_revoked_through_rest(alice: User) -> None:
    client = api_of(alice)
    made = client.post("/api/v1/tokens/", {"name": "script", "scope": "read"})
    assert made.status_code == 201
    raw = made.json()["token"]
    listed = client.get("/api/v1/tokens/").json()["results"]
    assert [row["name"] for row in listed] == ["script"]
    assert "token" not in listed[0]
    assert bearer(raw).get("/api/v1/me/").json()["token"]["name"] == "script"
    assert client.delete(f"/api/v1/tokens/{made.json()['id']}/").status_code == 204
    assert bearer(raw).get("/api/v1/me/").status_code == 401
    assert client.get("/api/v1/tokens/").json()["results"] == []


def test_a_repeated_post_makes_one_token_and_does_not_store_it(alice: User) -> None:
    client = api_of(alice)
    first = client.post("/api/v1/tokens/", {"name": "once"}, headers={"Idempotency-Key": "k1"})
    again = client.post("/api/v1/tokens/", {"name": "once"}, headers={"Idempotency-Key": "k1"})
    assert again.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == {**first.json(), "token": None}
    assert ApiToken.objects.count() == 1


def test_a_token_made_with_a_token_does_not_outlive_it(alice: User) -> None:
    ends = timezone.now() + timedelta(hours=1)
    _, raw = accounts.create_token(user=alice, name="short", expires_at=ends)
    made = bearer(raw).post("/api/v1/tokens/", {"name": "child"}).json()
    assert ApiToken.objects.get(pk=made["id"]).expires_at == ends


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a", "scope": "admin"}, "scope"),
        ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "expires_at": "tomorrow"}, "expires_at"),
        ({}, "name"),
    ],
)
def test_a_bad_token_is_refused_at_its_field(alice: User, body: dict[str, str], field: str) -> None:
    refused = api_of(alice).post("/api/v1/tokens/", body)
    assert refused.status_code == 400
    assert list(refused.json()["fields"]) == [field]


def test_nobody_hoards_tokens(alice: User) -> None:
    ApiToken.objects.bulk_create(
        ApiToken(user=alice, name="n", digest=str(n)) for n in range(accounts.MOST_TOKENS)
    )
    with pytest.raises(Invalid):
        accounts.create_token(user=alice, name="one more")


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Bearer \xff", "bearer nonsense"])
def test_a_malformed_header_is_401(client: Client, db: None, header: str) -> None:
    refused = client.get("/api/v1/me/", headers={"Authorization": header})
    assert refused.status_code == 401
    assert set(refused.json()) == {"detail", "code", "fields"}


def test_a_token_in_the_address_opens_nothing(client: Client, alice: User) -> None:
    _, raw = accounts.create_token(user=alice, name="leaky")
    assert client.get("/api/v1/me/", {"token": raw, "access_token": raw}).status_code == 401


def test_using_a_token_notes_when(alice: User) -> None:
    row, raw = accounts.create_token(user=alice, name="used")
    bearer(raw).get("/api/v1/me/")
    row.refresh_from_db()
    assert row.last_used_at is not None


def test_a_token_of_the_page_opens_one_project_alone_and_no_foreign_one(
    project: Project, erin: User, charlie: User
) -> None:
    make.project("other", owner=erin)
    foreign = make.project("foreign", owner=charlie)
    form = {"name": "narrow", "scope": "write", "life": "30"}
    page = signed_in(erin).post("/account/tokens/", form | {"project": project.pk})
    assert f"in {project.name} alone" in page.content.decode()
    assert erin.api_tokens.get().project == project
    refused = signed_in(erin).post("/account/tokens/", form | {"project": foreign.pk})
    assert "is not one of the available choices" in refused.content.decode()
    assert erin.api_tokens.count() == 1


def test_a_misspelt_end_of_a_token_is_refused(alice: User, project: Project) -> None:
    for address in ("tokens/", f"projects/{project.slug}/tokens/"):
        body = {"name": "nightly", "expires": "2027-01-01T00:00:00Z"}
        refused = api_of(alice).post(f"/api/v1/{address}", body)
        assert refused.status_code == 400
        assert list(refused.json()["fields"]) == ["expires"]
    assert not ApiToken.objects.exists()
