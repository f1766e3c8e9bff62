"""Who is asked to review: named, told, given the rows, and asked no more."""

import re
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from projects.models import (
    Event,
    Membership,
    Notification,
    NotificationRule,
    Project,
    Review,
    ReviewQueue,
    User,
)
from projects.services import notifications, people
from projects.services import projects as project_services
from tests import make
from tests.conftest import api_of, signed_in
from tests.projects.test_operations import upload
from tests.projects.test_reviews import BASE, SURE, begin, ids, say, take

PAGE = "/p/intents/reviews/"


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    upload(client, SURE)
    return client


def change(client: APIClient, queue: int, **asked: Any) -> Any:
    return client.patch(f"{BASE}{queue}/", asked, format="json")


def member(project: Project, username: str, role: str = "editor") -> User:
    made = make.user(username)
    Membership.objects.create(project=project, user=made, role=role)
    return made


def told(kind: str) -> list[Event]:
    return list(Event.objects.filter(kind=kind).order_by("pk"))


def heard(event: Event) -> dict[str, str]:
    notifications.make(event)
    rows = Notification.objects.filter(event=event).select_related("user")
    return {one.user.username: one.topic for one in rows}


# Naming ----------------------------------------------------------------------------------------


def test_people_are_asked_when_a_review_is_made_and_each_hears_once(
    client: APIClient, alice: User
) -> None:
    made = begin(client, many=2, name="Look", assignees=["alice", "alice"])
    assert (made["assignees"], made["only_assignees"]) == (["alice"], False)
    [opened], [asked] = told("review.opened"), told("review.assigned")
    assert asked.sentence == "erin asks alice to review the review “Look”: 2 rows of words@1."
    assert (asked.data["assigned"], asked.data["assignees"]) == (["alice"], ["alice"])
    assert heard(opened) == {}  # who is asked hears of that, and nobody else is
    assert heard(asked) == {"alice": "review_assigned"}


def test_who_may_help_hears_of_a_review_for_which_nobody_is_asked(client: APIClient) -> None:
    assert begin(client, many=2)["assignees"] == []
    assert told("review.assigned") == []
    assert heard(told("review.opened")[0]) == {"alice": "review_opened"}  # vera views only


def test_only_who_is_asked_anew_hears_of_a_change(client: APIClient, project: Project) -> None:
    member(project, "grace")
    queue = begin(client, many=2, assignees=["alice"])["id"]
    changed = change(client, queue, assignees=["grace", "alice"])
    assert changed.json()["assignees"] == ["alice", "grace"]
    assert change(client, queue, assignees=["grace"]).json()["assignees"] == ["grace"]
    first, second = told("review.assigned")
    assert (first.data["assigned"], second.data["assigned"]) == (["alice"], ["grace"])
    assert second.data["assignees"] == ["alice", "grace"]
    assert heard(second) == {"grace": "review_assigned"}


@pytest.mark.parametrize(
    ("username", "sentence"),
    [
        ("charlie", "charlie is no member of this project."),
        ("nobody", "nobody is no member of this project."),
        ("vera", "vera is a viewer here; editors and owners review."),
        ("grace", "grace is shut out, and can review nothing."),
    ],
)
def test_who_cannot_review_is_not_asked(
    client: APIClient, project: Project, charlie: User, username: str, sentence: str
) -> None:
    member(project, "grace")
    User.objects.filter(username="grace").update(is_active=False)
    asked = {"dataset": "words", "assignees": ["alice", username]}
    refused = client.post(BASE, asked, format="json")
    assert refused.status_code == 400
    assert refused.json()["fields"] == {"assignees": [sentence]}
    queue = begin(client, many=1)["id"]
    again = change(client, queue, assignees=[username])
    assert again.json()["fields"] == {"assignees": [sentence]}
    assert ReviewQueue.objects.count() == 1


def test_a_review_for_some_alone_names_somebody(client: APIClient) -> None:
    refused = client.post(BASE, {"dataset": "words", "only_assignees": True}, format="json")
    assert refused.json()["fields"] == {
        "only_assignees": ["Name who reviews, or let everybody help."]
    }
    queue = begin(client, many=1, assignees=["alice"], only_assignees=True)["id"]
    assert change(client, queue, assignees=[], only_assignees=True).status_code == 400
    freed = change(client, queue, assignees=[]).json()
    assert (freed["assignees"], freed["only_assignees"]) == ([], False)


def test_a_closed_review_asks_nobody_and_viewers_ask_nobody(client: APIClient, vera: User) -> None:
    queue = begin(client, many=1)["id"]
    assert change(api_of(vera), queue, assignees=["erin"]).status_code == 403
    client.post(f"{BASE}{queue}/close/")
    refused = change(client, queue, assignees=["erin"])
    assert (refused.status_code, refused.json()["code"]) == (409, "review_closed")


def test_reviews_are_found_by_who_is_asked(
    client: APIClient, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    mine = begin(client, many=1, assignees=["erin", "alice"])["id"]
    hers = begin(client, many=1, assignees=["alice"])["id"]
    begin(client, many=1)
    found = {
        asked: [one["id"] for one in client.get(f"{BASE}?assignee={asked}").json()["results"]]
        for asked in ("me", "alice", "vera", "nobody")
    }
    assert found == {"me": [mine], "alice": [hers, mine], "vera": [], "nobody": []}
    with django_assert_max_num_queries(7):
        listed = client.get(BASE).json()["results"]
    assert [one["assignees"] for one in listed] == [[], ["alice"], ["alice", "erin"]]
    assert [one["rows"] for one in client.get(f"{BASE}?assignee=me").json()["results"]] == [1]


# Whose rows they are ---------------------------------------------------------------------------


def test_others_help_unless_a_review_is_for_those_alone(client: APIClient, alice: User) -> None:
    queue = begin(client, many=4, how="first", assignees=["alice"])["id"]
    (row,) = ids(take(client, queue))
    said = say(client, queue, row, "accept")
    assert said.status_code == 200
    (held,) = ids(take(client, queue))
    assert change(client, queue, only_assignees=True).json()["only_assignees"]
    for answer in (
        client.post(f"{BASE}{queue}/take/", {}, format="json"),
        say(client, queue, held, "accept"),
        client.post(f"{BASE}{queue}/undo/"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_assigned")
        assert answer.json()["detail"] == "This review is for alice alone."
    assert held in ids(take(api_of(alice), queue, 4))  # at once, not after ten minutes
    assert client.get(f"{BASE}{queue}/verdicts/").json()["results"][0]["person"] == "erin"


@pytest.mark.parametrize("how", ["removed", "viewer", "left", "shut_out", "admin"])
def test_who_may_review_no_more_is_asked_no_more_at_once(
    client: APIClient, project: Project, alice: User, erin: User, how: str
) -> None:
    grace = member(project, "grace")
    queue = begin(client, many=3, assignees=["grace"], only_assignees=True)["id"]
    assert len(take(api_of(grace), queue, 3)) == 3
    match how:
        case "removed":
            project_services.remove_member(project=project, user=grace, by=alice)
        case "viewer":
            project_services.change_role(project=project, user=grace, role="viewer", by=alice)
        case "left":
            project_services.remove_member(project=project, user=grace, by=grace)
        case "shut_out":
            alice.is_superuser = True
            people.deactivate(user=grace, by=alice)
        case "admin":  # Django's own pages, which ask no service
            project.memberships.get(user=grace).delete()
            Review.objects.update(taken_until=timezone.now() - timedelta(seconds=1))
    assert client.get(f"{BASE}{queue}/").json()["assignees"] == []
    assert len(take(client, queue, 3)) == 3  # everybody may again, also those she held


def test_who_is_asked_elsewhere_stays_so(client: APIClient, project: Project, alice: User) -> None:
    grace = member(project, "grace")
    other = make.project("other", owner=alice, editor=grace)
    queue = begin(client, many=1, assignees=["grace"])["id"]
    project_services.remove_member(project=other, user=grace, by=alice)
    assert client.get(f"{BASE}{queue}/").json()["assignees"] == ["grace"]


# Pages -----------------------------------------------------------------------------------------


def test_people_are_asked_on_pages(client: APIClient, alice: User, erin: User) -> None:
    pages = signed_in(erin)
    new = "/p/intents/datasets/words/1/review/"
    form = pages.get(new).content.decode()
    assert 'value="alice"' in form
    assert 'value="vera"' not in form
    sent = {"kind": "labels", "how": "first", "many": 2, "reviews_per_row": 1, "seed": 0}
    wrong = pages.post(new, sent | {"only_assignees": "on"})
    assert wrong.status_code == 400
    assert "Name who reviews" in wrong.content.decode()
    asked = {"assignees": ["alice"], "only_assignees": "on", "name": "Look"}
    made = pages.post(new, sent | asked)
    queue = ReviewQueue.objects.get()
    assert made.headers["Location"] == f"{PAGE}{queue.pk}/"  # its rows are not for her
    page = pages.get(f"{PAGE}{queue.pk}/").content.decode()
    assert "and nobody else reviews it" in page
    assert "Review rows" not in page
    work = pages.get(f"{PAGE}{queue.pk}/rows/", follow=True)
    assert work.redirect_chain == [(f"{PAGE}{queue.pk}/", 302)]
    assert "This review is for alice alone." in work.content.decode()

    address = f"{PAGE}{queue.pk}/assign/"
    assert pages.post(address, {"assignees": ["erin", "alice"]}).status_code == 302
    assert [one.username for one in queue.asked] == ["alice", "erin"]
    assert not ReviewQueue.objects.get().only_assignees
    refused = pages.post(address, {"assignees": ["vera"]}, follow=True).content.decode()
    assert "vera is a viewer here; editors and owners review." in refused
    assert pages.post(address, {}).status_code == 302
    assert ReviewQueue.objects.get().asked == []


def test_the_list_shows_who_is_asked_and_what_is_given_to_me(
    client: APIClient, alice: User, erin: User, vera: User
) -> None:
    begin(client, many=1, name="Theirs", assignees=["alice"])
    pages = signed_in(erin)
    empty = pages.get(f"{PAGE}?assignee=me").content.decode()
    assert "Nothing is given to you" in empty
    begin(client, many=1, name="Hers", assignees=["erin", "alice"])
    mine = pages.get(f"{PAGE}?assignee=me").content.decode()
    assert "Hers" in mine
    assert "Theirs" not in mine
    whole = pages.get(PAGE).content.decode()
    assert re.findall(r'class="people-names[^>]*>([^<]*)<', whole) == ["alice and erin", "alice"]
    assert "Theirs" in pages.get(f"{PAGE}?assignee=alice").content.decode()
    strange = signed_in(vera).get(f"{PAGE}?assignee=<b>")
    assert "No review is like that" in strange.content.decode()
    assert signed_in(vera).get(f"{PAGE}?assignee=%00").status_code == 400


# What was before -------------------------------------------------------------------------------


def test_what_was_told_before_is_called_what_it_was(project: Project, alice: User) -> None:
    """The migration: `review.assigned` meant that rows wait."""
    migration = import_module("projects.migrations.0024_review_assignees")
    event = Event.objects.create(project=project, kind="review.assigned", data={})
    NotificationRule.objects.create(user=alice, topic="review_assigned", on_page=False)
    hook = make.webhook(project, events=["review.assigned"])
    migration.tell_opened_apart(apps, connection.schema_editor())
    event.refresh_from_db()
    hook.refresh_from_db()
    assert event.kind == "review.opened"
    assert NotificationRule.objects.get().topic == "review_opened"
    assert hook.events == ["review.assigned", "review.opened"]
