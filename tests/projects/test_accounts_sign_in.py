"""Ways in: password, one-time link; and the way out."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from projects.models import SignInLink, User
from projects.services import accounts
from tests.conftest import signed_in

PASSWORD = "correct horse battery"


def post_sign_in(client: Client, username: str, password: str, **more: str) -> object:
    return client.post("/sign-in/", {"username": username, "password": password, **more})


def test_a_person_signs_in_and_lands_at_home(client: Client, alice: User) -> None:
    response = client.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert response.status_code == 302
    assert response.headers["Location"] == "/"
    assert client.get("/account/").status_code == 200


def test_after_signing_in_the_page_that_was_asked_for_opens(client: Client, alice: User) -> None:
    sent_away = client.get("/account/tokens/")
    assert sent_away.headers["Location"] == "/sign-in/?next=/account/tokens/"
    page = client.get("/sign-in/?next=/account/tokens/").content.decode()
    assert 'name="next" value="/account/tokens/"' in page
    data = {"username": "alice", "password": PASSWORD, "next": "/account/tokens/"}
    assert client.post("/sign-in/", data).headers["Location"] == "/account/tokens/"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "https:///evil.example",
        "http://testserver@evil.example/",
        "\thttps://evil.example",
    ],
)
def test_an_open_redirect_is_refused(client: Client, alice: User, elsewhere: str) -> None:
    data = {"username": "alice", "password": PASSWORD, "next": elsewhere}
    assert client.post("/sign-in/", data).headers["Location"] == "/"
    assert client.get("/sign-in/", {"next": elsewhere}).headers["Location"] == "/"


def test_unknown_and_mistyped_and_inactive_people_get_the_same_answer(
    client: Client, alice: User, erin: User
) -> None:
    erin.is_active = False
    erin.save()
    answers = set()
    for username, password in [("alice", "wrong"), ("nobody", "wrong"), ("erin", PASSWORD)]:
        response = client.post("/sign-in/", {"username": username, "password": password})
        assert response.status_code == 200
        body = response.content.decode()
        assert "This username and password do not match." in body
        without_what_varies = body.replace(username, "").split("</form>")[0].split("csrf")[0]
        answers.add(without_what_varies)
    assert len(answers) == 1


def test_signing_in_changes_the_session_key(client: Client, alice: User) -> None:
    client.get("/sign-in/")
    session = client.session
    session["planted"] = True
    session.save()
    planted = session.session_key
    post_sign_in(client, "alice", PASSWORD)
    assert client.session.session_key != planted


def test_signing_out_takes_a_post(alice: User) -> None:
    client = signed_in(alice)
    assert client.get("/sign-out/").status_code == 405
    assert client.get("/account/").status_code == 200
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert client.get("/account/").status_code == 302


def test_signing_out_twice_is_no_error(client: Client, db: None) -> None:
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"


def test_a_link_signs_in_once(client: Client, alice: User) -> None:
    token = accounts.make_sign_in_link(user=alice)
    response = client.get(f"/sign-in/link/{token}/")
    assert response.headers["Location"] == "/"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert client.get("/account/").status_code == 200

    other = Client()
    again = other.get(f"/sign-in/link/{token}/")
    assert again.status_code == 404
    assert "has been used or has expired" in again.content.decode()
    assert other.get("/account/").status_code == 302


def test_who_opens_the_same_link_again_is_still_signed_in(client: Client, alice: User) -> None:
    token = accounts.make_sign_in_link(user=alice)
    client.get(f"/sign-in/link/{token}/")
    assert client.get(f"/sign-in/link/{token}/").headers["Location"] == "/"


def test_looking_at_a_link_without_following_it_does_not_spend_it(
    client: Client, alice: User
) -> None:
    token = accounts.make_sign_in_link(user=alice)
    assert client.head(f"/sign-in/link/{token}/").status_code == 405
    assert client.get(f"/sign-in/link/{token}/").status_code == 302


def test_an_expired_link_is_refused(client: Client, alice: User) -> None:
    token = accounts.make_sign_in_link(user=alice, life=timedelta(minutes=1))
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(f"/sign-in/link/{token}/").status_code == 404


def test_a_link_of_somebody_who_was_shut_out_is_refused(client: Client, alice: User) -> None:
    token = accounts.make_sign_in_link(user=alice)
    User.objects.update(is_active=False)
    assert client.get(f"/sign-in/link/{token}/").status_code == 404


def test_only_the_digest_of_a_link_is_stored(alice: User) -> None:
    token = accounts.make_sign_in_link(user=alice)
    stored = SignInLink.objects.values().get()
    assert token not in str(stored)


def test_passwords_are_kept_with_argon2() -> None:
    from distillhub import settings

    assert settings.PASSWORD_HASHERS[0].endswith("Argon2PasswordHasher")
