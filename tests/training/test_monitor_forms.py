"""Monitors through pages and REST: the list, the form that says what it means, the settings."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from projects.models import DatasetVersion, ModelVersion, Project, User
from projects.services import registry, removal
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Incident, Monitor, MonitorLook, MonitorWindow
from training.services import monitors

pytestmark = pytest.mark.django_db

LABELS = ["no", "yes"]
FILES = [{"name": "model.safetensors", "sha256": "a" * 64, "bytes": 10}]
REST = "/api/v1/projects/intents/monitors/"
PAGES = "/p/intents/monitors/"
ASKED: dict[str, Any] = {
    "name": "live", "model": "small@production", "reference": "messages@1:test",
    "window": {"rows": 500},
}  # fmt: skip


@pytest.fixture
def rows(project: Project) -> DatasetVersion:
    return make.dataset_version(project, "messages", labels=("no", "yes"))


@pytest.fixture
def shipped(project: Project, rows: DatasetVersion) -> ModelVersion:
    """In production, taught by a big one."""
    given: dict[str, Any] = {"labels": LABELS, "files": FILES}
    teacher = make.model_version(project, "big", role="teacher", **given)
    version = make.model_version(project, "small", source={"kind": "run", "run": 1}, **given)
    make.run(project, dataset_version=rows, output=version).teachers.add(teacher)
    registry.set_alias(
        model=version.model, name="production", version=version, by=project.created_by
    )
    return version


@pytest.fixture
def monitor(project: Project, shipped: ModelVersion) -> Monitor:
    made = monitors.create(project=project, asked=ASKED, by=project.created_by)
    MonitorLook.objects.update(status="ready")
    Monitor.objects.update(reference={"rows": 10}, fitted_at=timezone.now(), rows=3)
    return monitors.find(project=project, name=made.name)


@pytest.fixture
def erins(erin: User) -> Client:
    return signed_in(erin)


def windows(monitor: Monitor, *severities: str) -> None:
    now = timezone.now()
    for number, severity in enumerate(severities):
        MonitorWindow.objects.create(
            monitor=monitor, number=number, starts_at=now, ends_at=now, rows=500, sums=b"",
            severity=severity, judged_at=now,
        )  # fmt: skip


# -- the list -------------------------------------------------------------------------------------


def test_an_empty_list_explains_what_a_monitor_is(
    project: Project, erins: Client, vera: User
) -> None:
    page = erins.get(PAGES).content.decode()
    assert "Monitor a model" in page
    assert "asks the teacher about a sample" in page
    assert "Monitor a model" not in signed_in(vera).get(PAGES).content.decode()


def test_a_list_shows_health_windows_and_the_open_incident(
    monitor: Monitor, erins: Client, django_assert_max_num_queries: Any
) -> None:
    windows(monitor, *([""] * 28), "notice", "critical")
    Incident.objects.create(
        project=monitor.project, number=7, monitor=monitor, severity="critical", sentence="Dark.",
        since=timezone.now(), opened_at=timezone.now(),
    )  # fmt: skip
    for name in ("b", "c"):
        make.monitor(monitor.version, name=name)  # type: ignore[arg-type]
    with django_assert_max_num_queries(12):
        page = erins.get(PAGES).content.decode()
    assert page.count('class="cell-') == 24
    assert page.count("cell-bad") == 1
    assert "critical" in page
    assert "#7" in page
    assert 'href="/p/intents/monitors/live/"' in page


# -- the form -------------------------------------------------------------------------------------


def test_the_form_begins_with_the_champion_and_the_rows_it_was_tested_on(
    shipped: ModelVersion, erins: Client
) -> None:
    page = erins.get(f"{PAGES}new/").content.decode()
    assert 'value="small@production" selected' in page
    assert 'value="messages@1:test" selected' in page
    assert "big@1 is asked about 20 % of rows" in page
    assert "448 answers" in page
    assert "A window is 500 rows" in page


def test_the_sentences_follow_what_is_typed(shipped: ModelVersion, erins: Client) -> None:
    typed = {
        "model": "small@1", "reference": "messages@1:test", "window": "hours", "window_hours": "6",
        "teacher": "none", "name": "",
    }  # fmt: skip
    page = erins.get(f"{PAGES}new/", typed).content.decode()
    assert "A window is 6 hours" in page
    assert "No teacher is asked" in page
    page = erins.get(f"{PAGES}new/", typed | {"window_hours": "many"}).content.decode()
    assert "It must be a number from 0.05 to 744." in page


def test_a_form_makes_what_rest_would(
    project: Project, shipped: ModelVersion, erins: Client
) -> None:
    typed = {
        "name": "live", "model": "small@production", "reference": "messages@1:test",
        "window": "hours", "window_hours": "2", "teacher": "default", "teacher_percent": "5",
        "detectors.numbers": "wasserstein", "detectors.embeddings": "several",
        "detectors.confidence": "", "opens": "1", "quiet_from": "22:00", "quiet_until": "07:00",
        "quiet_zone": "Europe/Berlin", "kept_percent": "50", "privacy": "redacted",
    }  # fmt: skip
    for _ in range(2):  # a double click
        answer = erins.post(f"{PAGES}new/", typed | {"form_key": "once"})
        assert (answer.status_code, answer["Location"]) == (302, "/p/intents/monitors/live/")
    made = monitors.find(project=project, name="live")
    assert (made.window_hours, made.alias, made.teacher_share) == (2.0, "production", 0.05)
    assert [one["kind"] for one in made.detectors["numbers"]] == ["wasserstein"]
    assert len(made.detectors["embeddings"]) == 2
    assert made.detectors["confidence"] == []
    assert made.rules == {"*": {"opens": 1}}
    assert made.alerting["quiet_hours"]["zone"] == "Europe/Berlin"
    assert (made.kept_share, made.privacy) == (0.5, "redacted")


def test_a_refused_form_keeps_what_was_typed(shipped: ModelVersion, erins: Client) -> None:
    typed = {"name": "no spaces", "model": "small@1", "reference": "messages@1:test",
             "window": "rows", "window_rows": "7", "slices": "[{"}  # fmt: skip
    answer = erins.post(f"{PAGES}new/", typed)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'value="no spaces"' in page
    assert "3 things to put right" in page
    assert not Monitor.objects.exists()


def test_a_model_elsewhere_asks_for_its_labels(
    project: Project, shipped: ModelVersion, erins: Client
) -> None:
    typed = {
        "name": "vendor", "model": "elsewhere", "external": "vendor/one",
        "external_task": "text-classification", "external_labels": "no\nyes",
        "reference": "traffic next", "traffic_hours": "24", "window": "rows", "window_rows": "100",
    }  # fmt: skip
    assert "Classes, one a line" in erins.get(f"{PAGES}new/", typed).content.decode()
    assert erins.post(f"{PAGES}new/", typed).status_code == 302
    made = monitors.find(project=project, name="vendor")
    assert (made.external, made.labels) == ("vendor/one", LABELS)


# -- settings -------------------------------------------------------------------------------------


def form_of(client: Client, monitor: Monitor) -> dict[str, str]:
    """What a browser would send of the settings page."""
    draft = client.get(f"{PAGES}{monitor.name}/settings/").context["draft"]
    rows = {f"detectors.{one.key}": one.now for one in draft.choices.detector_rows}
    return {**draft.texts, **rows}


def test_settings_that_nobody_touched_change_nothing(monitor: Monitor, erins: Client) -> None:
    typed = form_of(erins, monitor)
    answer = erins.post(f"{PAGES}live/settings/", typed)
    assert answer.status_code == 302
    after = monitors.find(project=monitor.project, name="live")
    assert after.is_fitted
    assert after.marks == monitor.marks
    erins.post(f"{PAGES}live/settings/", typed | {"teacher_percent": "30", "notes": "more"})
    after = monitors.find(project=monitor.project, name="live")
    assert (after.teacher_share, after.is_fitted) == (0.3, True)


def test_times_of_a_reference_are_whole_seconds_and_stay_as_they_were_unless_they_are_edited(
    monitor: Monitor, erins: Client
) -> None:
    span = {"from": "2026-11-01T10:00:00.123456+00:00", "until": "2026-11-02T10:00:59.999999+00:00"}
    monitors.edit(monitor=monitor, asked={"reference": {"traffic": span}}, by=monitor.created_by)
    MonitorLook.objects.update(status="ready")
    Monitor.objects.update(reference={"rows": 10}, fitted_at=timezone.now())
    typed = form_of(erins, monitor)
    page = erins.get(f"{PAGES}live/settings/").content.decode()
    assert 'value="2026-11-01T10:00:00Z"' in page
    assert 'value="2026-11-02T10:00:59Z"' in page
    erins.post(f"{PAGES}live/settings/", typed | {"notes": "more"})
    after = monitors.find(project=monitor.project, name="live")
    assert (after.notes, after.is_fitted) == ("more", True)
    assert after.traffic_from == datetime.fromisoformat(span["from"])
    later = {"traffic_until": "2026-11-02T11:00:00Z"}
    assert erins.post(f"{PAGES}live/settings/", typed | later).status_code == 302
    after.refresh_from_db()
    assert after.traffic_from == datetime.fromisoformat(span["from"])
    assert after.traffic_until == datetime.fromisoformat(later["traffic_until"])
    assert not after.is_fitted


def test_settings_outlive_the_dataset_and_the_alias(
    monitor: Monitor, erins: Client, erin: User, rows: DatasetVersion
) -> None:
    assert monitor.model is not None
    registry.remove_alias(model=monitor.model, name="production", by=erin)
    rows.runs.all().delete()
    removal.delete_dataset(dataset=rows.dataset, by=erin)
    make.dataset_version(monitor.project, "others", labels=("no", "yes"))
    page = erins.get(f"{PAGES}live/settings/").content.decode()
    assert "small@production, which is gone" in page
    assert "its rows are gone" in page
    erins.post(f"{PAGES}live/settings/", form_of(erins, monitor) | {"notes": "more"})
    after = monitors.find(project=monitor.project, name="live")
    assert (after.notes, after.is_fitted, after.version) == ("more", True, monitor.version)


def test_settings_leave_alerts_to_their_own_page(monitor: Monitor, erins: Client) -> None:
    monitor.rules, monitor.alerting = {"*": {"opens": 1}}, {"least": "serious"}
    monitor.save()
    page = erins.get(f"{PAGES}live/settings/").content.decode()
    assert 'name="opens"' not in page
    assert page.count('href="/p/intents/monitors/live/alerts/"') == 2  # the tab, and the words
    typed = form_of(erins, monitor) | {"opens": "3", "notes": "more"}
    erins.post(f"{PAGES}live/settings/", typed)
    after = monitors.find(project=monitor.project, name="live")
    assert (after.rules, after.alerting) == ({"*": {"opens": 1}}, {"least": "serious"})
    assert after.notes == "more"


def test_a_new_one_takes_rules_of_all_signals(shipped: ModelVersion, erins: Client) -> None:
    ruled = {"opens": "1", "least": "serious", "quiet_from": "22:00", "quiet_until": "07:00"}
    typed = {"name": "live", "model": "small@production", "reference": "messages@1:test"}
    known = {"window": "rows", "window_rows": "500", "teacher": "default"}
    erins.post(f"{PAGES}new/", typed | known | ruled)
    made = Monitor.objects.get()
    assert (made.rules, made.alerting["least"]) == ({"*": {"opens": 1}}, "serious")
    assert made.alerting["quiet_hours"]["from"] == "22:00"


def test_the_suggested_name_follows_the_model_until_it_is_typed(
    shipped: ModelVersion, erins: Client
) -> None:
    at = f"{PAGES}new/?model=small@production&name="
    assert 'value="small"' in erins.get(f"{at}big").content.decode()
    assert 'value="mine"' in erins.get(f"{at}mine").content.decode()


def test_settings_are_shown_to_who_may_not_change_them(monitor: Monitor, vera: User) -> None:
    page = signed_in(vera).get(f"{PAGES}live/settings/").content.decode()
    assert "disabled" in page
    assert "Save" not in page
    assert "Delete it for good" not in page
    assert "made it" in page


def test_pausing_resuming_and_deleting_by_page(
    monitor: Monitor, erins: Client, alice: User
) -> None:
    assert erins.post(f"{PAGES}live/pause/").status_code == 302
    assert "Resume" in erins.get(f"{PAGES}live/settings/").content.decode()
    assert erins.post(f"{PAGES}live/resume/").status_code == 302
    assert erins.post(f"{PAGES}live/refit/").status_code == 302
    monitor.refresh_from_db()
    assert [one["what"] for one in monitor.marks] == ["made", "paused", "resumed", "refit"]
    assert erins.post(f"{PAGES}live/delete/").status_code == 403
    assert signed_in(alice).post(f"{PAGES}live/delete/")["Location"] == PAGES
    assert not Monitor.objects.exists()


def test_a_version_says_who_watches_it(monitor: Monitor, erins: Client) -> None:
    page = erins.get("/p/intents/models/small/1/").content.decode()
    assert "monitors/new/?model=small@production" in page
    assert 'href="/p/intents/monitors/live/"' in page


def test_the_overview_shows_what_is_in_service(monitor: Monitor, erins: Client) -> None:
    page = erins.get("/p/intents/").content.decode()
    assert "In service" in page
    assert "1 healthy" in page
    assert "1 monitor" in erins.get("/").content.decode()


# -- REST -----------------------------------------------------------------------------------------


def test_rest_makes_tells_changes_and_deletes(
    shipped: ModelVersion, erin: User, alice: User
) -> None:
    rest = api_of(erin)
    made = rest.post(REST, ASKED, format="json")
    assert made.status_code == 201
    told = made.json()
    assert (told["model"], told["version"]) == ("small@production", "small@1")
    assert (told["teacher"], told["teacher_sample_rate"]) == ("big@1", 0.2)
    assert told["detectors"]["categories"][0]["kind"] == "chi_square"
    assert told["health"]["state"] == "fitting"
    (listed,) = rest.get(REST).json()["results"]
    one = rest.get(f"{REST}live/").json()
    assert {key: one[key] for key in listed} == listed
    changed = rest.patch(f"{REST}live/", {"privacy": "hashed"}, format="json")
    assert changed.json()["privacy"] == "hashed"
    wrong = rest.patch(f"{REST}live/", {"colour": 1}, format="json")
    assert (wrong.status_code, list(wrong.json()["fields"])) == (400, ["colour"])
    assert rest.post(f"{REST}live/pause/").json()["is_paused"]
    assert not rest.post(f"{REST}live/resume/").json()["is_paused"]
    assert rest.post(f"{REST}live/refit/").status_code == 202
    assert rest.delete(f"{REST}live/").status_code == 403
    assert api_of(alice).delete(f"{REST}live/").status_code == 204
    assert rest.get(f"{REST}live/").status_code == 404


def test_the_same_key_makes_one_monitor(shipped: ModelVersion, erin: User) -> None:
    rest = api_of(erin)
    first, second = (
        rest.post(REST, ASKED, format="json", headers={"Idempotency-Key": "once"}) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (201, 201)
    assert second["Idempotent-Replayed"] == "true"
    assert rest.post(REST, ASKED, format="json").status_code == 409
    assert Monitor.objects.count() == 1


def test_a_list_by_rest_costs_the_same_however_many_there_are(
    monitor: Monitor, erin: User, django_assert_max_num_queries: Any
) -> None:
    for name in ("b", "c", "d"):
        make.monitor(monitor.version, name=name)  # type: ignore[arg-type]
    rest = api_of(erin)
    with django_assert_max_num_queries(12):
        assert len(rest.get(REST).json()["results"]) == 4
