"""While the database is away, every page and REST answer 503 with a word, whoever asks."""

import psycopg
import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import Error, InternalError, OperationalError
from django.test import Client

from projects.models import User
from tests.conftest import signed_in

SAID = "The database does not answer just now"
ENDED = psycopg.errors.IdleInTransactionSessionTimeout("terminating connection")


@pytest.fixture
def client(alice: User) -> Client:
    found = signed_in(alice)
    found.raise_request_exception = False
    return found


@pytest.mark.parametrize("address", ["/", "/sign-in/", "/p/shapes/runs/", "/nowhere/"])
def test_who_asks_cannot_be_known_and_the_page_says_why(
    client: Client, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(store: SessionStore) -> None:
        raise OperationalError("connection failed")

    monkeypatch.setattr(SessionStore, "load", away)
    answer = client.get(address)
    assert answer.status_code == 503
    assert SAID in answer.content.decode()


@pytest.mark.parametrize("address", ["/api/v1/me/", "/account/"])
@pytest.mark.parametrize(
    ("cause", "status"), [(ENDED, 503), (psycopg.errors.InFailedSqlTransaction("aborted"), 500)]
)
def test_a_session_that_postgresql_ended_is_503_and_a_fault_of_ours_is_not(
    client: Client,
    address: str,
    cause: psycopg.Error,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise raised(cause)

    monkeypatch.setattr("projects.api.me._described", fails)
    monkeypatch.setattr("projects.views.accounts.ProfileForm.__init__", fails)
    answer = client.get(address)
    assert answer.status_code == status
    assert (SAID in answer.content.decode()) == (status == 503)


def raised(cause: psycopg.Error) -> Error:
    """As Django tells of it."""
    error = InternalError(*cause.args)
    error.__cause__ = cause
    return error
