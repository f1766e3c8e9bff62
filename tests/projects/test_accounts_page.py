"""A person's own account: profile and password."""

from datetime import UTC, datetime

from django.test import Client

from projects.models import User
from tests.conftest import api_of, signed_in

PASSWORD = "correct horse battery"
NEW = "seven lamps under water"


def test_a_person_changes_name_address_and_time_zone(alice: User) -> None:
    form = {
        "first_name": "Alice",
        "last_name": "Okafor",
        "email": "alice@new.example",
        "time_zone": "Europe/Zurich",
    }
    response = signed_in(alice).post("/account/", form, follow=True)
    assert "Your account is saved." in response.content.decode()
    alice.refresh_from_db()
    assert alice.display_name == "Alice Okafor"
    assert alice.email == "alice@new.example"
    assert alice.time_zone == "Europe/Zurich"


def test_an_address_of_somebody_else_is_refused_at_its_field(alice: User, erin: User) -> None:
    form = {"email": "ERIN@example.org", "time_zone": "UTC"}
    page = signed_in(alice).post("/account/", form).content.decode()
    assert "Somebody else uses this address." in page
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"


def test_several_people_may_have_no_address(alice: User, erin: User) -> None:
    for person in (alice, erin):
        form = {"email": "", "time_zone": "UTC"}
        assert signed_in(person).post("/account/", form).status_code == 302


def test_posting_privileges_to_the_account_has_no_effect(alice: User) -> None:
    form = {"time_zone": "UTC", "is_staff": "1", "is_superuser": "1", "username": "root"}
    signed_in(alice).post("/account/", form)
    api_of(alice).patch("/api/v1/me/", {"is_staff": True, "username": "root", "id": 999})
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser, alice.username) == (False, False, "alice")


def test_a_new_password_ends_the_sessions_elsewhere_and_keeps_this_one(alice: User) -> None:
    here, elsewhere = signed_in(alice), signed_in(alice)
    form = {"old_password": PASSWORD, "password": NEW, "repeated": NEW}
    assert here.post("/account/password/", form).status_code == 302
    assert here.get("/account/").status_code == 200
    assert elsewhere.get("/account/").status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(NEW)


def test_the_old_password_is_asked_for(alice: User) -> None:
    form = {"old_password": "wrong", "password": NEW, "repeated": NEW}
    page = signed_in(alice).post("/account/password/", form).content.decode()
    assert "This is not your current password." in page
    form = {"password": NEW, "repeated": NEW}
    assert signed_in(alice).post("/account/password/", form).status_code == 200
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_who_came_by_a_link_chooses_a_first_password(db: None) -> None:
    newcomer = User.objects.create_user("newcomer")
    client = signed_in(newcomer)
    assert "Current password" not in client.get("/account/password/").content.decode()
    assert client.post("/account/password/", {"password": NEW, "repeated": NEW}).status_code == 302
    newcomer.refresh_from_db()
    assert newcomer.check_password(NEW)


def test_weak_or_unequal_passwords_are_refused_at_their_field(alice: User) -> None:
    client = signed_in(alice)
    form = {"old_password": PASSWORD, "password": "password", "repeated": "password"}
    assert "too common" in client.post("/account/password/", form).content.decode()
    form = {"old_password": PASSWORD, "password": NEW, "repeated": NEW + "!"}
    assert "The two are not the same." in client.post("/account/password/", form).content.decode()


def test_pages_show_times_in_the_persons_own_zone(alice: User) -> None:
    alice.time_zone = "Asia/Tokyo"
    alice.date_joined = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)
    alice.save()
    page = signed_in(alice).get("/account/").content.decode()
    assert "2 March 2026" in page  # five in the morning there


def test_a_time_zone_this_machine_does_not_know_breaks_no_page(alice: User) -> None:
    User.objects.update(time_zone="Mars/Olympus")
    assert signed_in(alice).get("/account/").status_code == 200


def test_everything_typed_shows_as_text(alice: User) -> None:
    alice.first_name = "<script>alert(1)</script>"
    alice.save()
    page = signed_in(alice).get("/account/").content.decode()
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_anonymous_visitors_are_asked_to_sign_in(client: Client, db: None) -> None:
    for address in ("/account/", "/account/password/", "/account/tokens/", "/projects/new/"):
        assert client.get(address).headers["Location"] == f"/sign-in/?next={address}"
