"""Who hears of what happened: topics, rules, defaults, what is read, and who hears nothing."""

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.test import Client

from projects.models import Event, Membership, Notification, Project, User, event_kinds
from projects.services import comments, favourites, notifications, subjects
from projects.services import projects as project_services
from projects.services.topics import BY_KIND, TOPICS
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Run


@pytest.fixture
def run(project: Project, erin: User) -> Run:
    """Launched by Erin."""
    return make.run(project, number=1, name="small", created_by=erin)


def told(project: Project, kind: str, **changes: object) -> Event:
    """An event as its table says; what it is about is run 1."""
    fields: dict[str, object] = {
        "kind": kind,
        "subject_kind": "run",
        "subject": "1",
        "title": "small",
        "sentence": f"{kind}.",
        "data": {},
    }
    return Event.objects.create(project=project, **fields | changes)


def heard(event: Event) -> dict[str, str]:
    """The topic by which each person hears of an event."""
    notifications.make(event)
    rows = Notification.objects.filter(event=event).select_related("user")
    return {one.user.username: one.topic for one in rows}


def test_every_topic_is_of_kinds_that_are_told() -> None:
    kinds = {kind for topic in TOPICS.values() for kind in topic.kinds}
    assert kinds <= set(event_kinds.KINDS), kinds - set(event_kinds.KINDS)
    assert all(key == topic.key for key, topic in TOPICS.items())


def test_one_hears_of_ones_own_run_and_nobody_else_does(project: Project, run: Run) -> None:
    assert heard(told(project, "run.finished")) == {"erin": "run_finished"}
    assert heard(told(project, "run.failed")) == {"erin": "run_failed"}
    assert heard(told(project, "run.started")) == {}
    assert heard(told(project, "nothing.known")) == {}


def test_nobody_hears_of_what_they_did_themselves(
    project: Project, run: Run, erin: User, alice: User
) -> None:
    assert heard(told(project, "report.published", by=erin)) == {
        "alice": "report_published",
        "vera": "report_published",
    }


def test_an_event_is_heard_of_once_however_often_it_is_told(project: Project, run: Run) -> None:
    event = told(project, "run.finished")
    for _ in range(3):
        with transaction.atomic():
            notifications.make(event)
    assert Notification.objects.count() == 1


def test_whom_a_comment_concerns(
    project: Project, run: Run, alice: User, erin: User, vera: User
) -> None:
    """Who launched the run, who talks there, and who is mentioned: that before all else."""
    subject = subjects.find(project=project, kind="run", reference="1")
    comments.add(project=project, subject=subject, text="Look.", by=alice)
    assert heard(Event.objects.latest("pk")) == {"erin": "comment"}
    comments.add(project=project, subject=subject, text="@erin, @vera: indeed.", by=alice)
    assert heard(Event.objects.latest("pk")) == {"erin": "mentioned", "vera": "mentioned"}
    comments.add(project=project, subject=subject, text="I see.", by=erin)
    assert heard(Event.objects.latest("pk")) == {"alice": "comment"}


def test_drift_and_reviews_are_everybodys_business(project: Project, run: Run) -> None:
    everybody = {"alice", "erin", "vera"}
    assert set(heard(told(project, "incident.opened"))) == everybody
    assert set(heard(told(project, "review.opened"))) == {"alice", "erin"}  # who may review
    assigned = told(project, "incident.assigned", data={"owner": "vera"})
    assert heard(assigned) == {"vera": "incident_assigned"}


def test_a_rule_of_a_project_goes_before_one_for_all_and_that_before_the_default(
    project: Project, run: Run, erin: User, vera: User
) -> None:
    def rule(user: User, of: Project | None, **said: object) -> None:
        notifications.set_rules(user=user, project=of, asked=[{"topic": "run_finished", **said}])

    rule(vera, None, whose="all")
    rule(erin, None, on_page=False)
    assert heard(told(project, "run.finished")) == {"vera": "run_finished"}
    rule(vera, project, whose="mine")
    rule(erin, project, on_page=True)
    assert heard(told(project, "run.finished")) == {"erin": "run_finished"}
    notifications.reset_rules(user=erin, project=project)
    assert heard(told(project, "run.finished")) == {}


def test_mail_is_due_only_where_there_is_a_server_and_an_address(
    project: Project, run: Run, erin: User, settings: LazySettings
) -> None:
    notifications.make(told(project, "run.failed"))
    assert Notification.objects.get().email_due_at is None
    settings.EMAIL_URL = "smtp://localhost"
    event = told(project, "run.failed")
    notifications.make(event)
    assert Notification.objects.get(event=event).email_due_at is not None  # by default
    event = told(project, "run.finished")
    notifications.make(event)
    assert Notification.objects.get(event=event).email_due_at is None
    User.objects.filter(pk=erin.pk).update(email="")
    event = told(project, "run.failed")
    notifications.make(event)
    assert Notification.objects.get(event=event).email_due_at is None


def test_who_left_or_is_off_hears_nothing_and_sees_nothing_of_it(
    project: Project, run: Run, alice: User, erin: User
) -> None:
    notifications.make(told(project, "run.failed"))
    assert notifications.unread(user=erin) == 1
    assert favourites.at_hand(user=erin).unread == 1
    project_services.remove_member(project=project, user=erin, by=alice)
    assert notifications.unread(user=erin) == 0
    assert favourites.at_hand(user=erin).unread == 0
    assert api_of(erin).get("/api/v1/notifications/").json()["results"] == []
    assert heard(told(project, "run.failed")) == {}
    Membership.objects.create(project=project, user=erin, role="editor")
    User.objects.filter(pk=erin.pk).update(is_active=False)
    assert heard(told(project, "run.failed")) == {}


def test_what_is_read_is_read_by_its_reader_alone(
    project: Project, run: Run, alice: User, erin: User, vera: User
) -> None:
    for _ in range(3):
        notifications.make(told(project, "incident.opened"))
    mine = list(notifications.listed(user=erin))
    theirs = notifications.listed(user=vera)[0]
    api = api_of(erin)
    assert api.get(f"/api/v1/notifications/{theirs.pk}/").status_code == 404
    answer = api.post(
        "/api/v1/notifications/read/", {"ids": [mine[0].pk, theirs.pk]}, format="json"
    )
    assert answer.json() == {"changed": 1, "unread": 2}
    assert (
        api.patch(f"/api/v1/notifications/{mine[0].pk}/", {"read": False}, format="json").json()[
            "read_at"
        ]
        is None
    )
    pages = signed_in(erin)
    assert pages.get("/notifications/unread/").json() == {"unread": 3}
    pages.post("/notifications/read/", {"ids": mine[1].pk})
    assert len(api.get("/api/v1/notifications/?unread=true").json()["results"]) == 2
    pages.post("/notifications/read/", {"all": "true"})
    assert pages.get("/notifications/unread/").json() == {"unread": 0}
    assert notifications.unread(user=vera) == 3


def test_the_page_tells_what_happened_and_leads_there(
    project: Project, run: Run, erin: User, django_assert_max_num_queries: object
) -> None:
    for number in range(20):
        notifications.make(told(project, "run.failed", sentence=f"Failure {number} <b>"))
    pages = signed_in(erin)
    pages.get("/notifications/")
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        page = pages.get("/notifications/").content.decode()
    assert "Failure 19 &lt;b&gt;" in page
    assert f"Run 1, {run.name} · A run fails" in page
    assert ">Today</h2>" in page
    assert f'href="/p/{project.slug}/runs/1/"' in page
    assert 'aria-label="Notifications, 20 unread"' in page
    assert "Nothing unread" in pages.get("/notifications/?show=unread&page=2").content.decode() or (
        "Failure" in page
    )


def test_rules_are_kept_on_a_page_and_through_rest(
    project: Project, erin: User, charlie: User, settings: LazySettings
) -> None:
    pages, api = signed_in(erin), api_of(erin)
    address = f"/account/notifications/?project={project.slug}"
    pages.post(address, {"run_finished-whose": "all", "run_finished-page": "true"})
    rules = {
        one["topic"]: one
        for one in api.get(f"/api/v1/notifications/rules/?project={project.slug}").json()
    }
    assert (rules["run_finished"]["whose"], rules["run_finished"]["on_page"]) == ("all", True)
    assert rules["run_failed"]["on_page"] is False  # not ticked
    assert rules["run_failed"]["is_own"] is True
    rules = {one["topic"]: one for one in api.get("/api/v1/notifications/rules/").json()}
    assert (rules["run_failed"]["on_page"], rules["run_failed"]["is_own"]) == (True, False)
    asked = {"rules": [{"topic": "run_failed", "by_email": True}]}
    changed = api.patch("/api/v1/notifications/rules/", asked, format="json")
    assert changed.status_code == 200
    assert (
        api.patch(
            "/api/v1/notifications/rules/", {"rules": [{"topic": "no"}]}, format="json"
        ).status_code
        == 400
    )
    assert (
        api_of(charlie).get(f"/api/v1/notifications/rules/?project={project.slug}").status_code
        == 404
    )
    assert pages.get(address).status_code == 200
    pages.post(address, {"reset": "true"})
    assert api.delete("/api/v1/notifications/rules/").status_code == 204
    for of in (None, project):
        assert not any(one.is_own for one in notifications.rules(user=erin, project=of))


def test_a_link_ends_e_mails_once_it_is_asked_to(
    project: Project, run: Run, erin: User, settings: LazySettings
) -> None:
    settings.EMAIL_URL = "smtp://localhost"
    notifications.make(told(project, "run.failed"))
    address = f"/notifications/unsubscribe/{notifications.unsubscribe_token(erin)}/"
    stranger = signed_in(make.user("stranger"))
    assert "No e-mails any more?" in stranger.get(address).content.decode()
    assert Notification.objects.get().email_due_at is not None  # a look changes nothing
    posted = {"List-Unsubscribe": "One-Click"}  # as mail programs do, without a cookie of ours
    answer = Client(enforce_csrf_checks=True).post(address, posted)
    assert answer.status_code == 200
    assert Notification.objects.get().email_due_at is None
    assert not any(one.by_email for one in notifications.rules(user=erin))
    assert all(one.on_page == one.topic.on_page for one in notifications.rules(user=erin))
    assert Client().post(f"{address[:-2]}x/").status_code == 404


def test_kinds_of_one_topic_each_have_it_first() -> None:
    assert [topic.key for topic in BY_KIND["comment.created"]] == ["mentioned", "comment"]
