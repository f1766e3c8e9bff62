"""The pages of a monitor: how it is in one sentence, what moved, and the rows behind it."""

import html
import re
from datetime import date, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training import alert_rows
from tests.training import monitor_rows as rows
from training.charts import drift
from training.models import InferenceBatch, Monitor, MonitorWindow
from training.services import monitor_words
from training.services.signals import Signal, all_of, group, words
from training.views import monitor_charts, monitor_parts

pytestmark = pytest.mark.django_db

CAVEAT = "far too high where rows are of a kind that the student never learned"
CEILING = 15  # queries of a page


@pytest.fixture
def moved(project: Project) -> Monitor:
    return rows.moved(project)


@pytest.fixture
def client(alice: User) -> Client:
    return signed_in(alice)


def here(monitor: Monitor, rest: str = "") -> str:
    return f"/p/{monitor.project.slug}/monitors/{monitor.name}/{rest}"


def read(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def test_health_says_in_one_sentence_what_moved_and_what_to_do(
    client: Client, moved: Monitor
) -> None:
    page = read(client, here(moved))
    assert "3 signals are beyond the limits in the newest window." in page
    assert "Length moved: " in page
    assert "Agreement with the teacher fell from 96.0 % to 84.0 %." in page
    assert "The student does worse than it did: read the rows, then retrain it on them." in page


def test_an_open_incident_stands_on_top_in_its_own_words(client: Client, moved: Monitor) -> None:
    incident = rows.incident(moved)
    page = read(client, here(moved))
    assert page.index(incident.sentence) < page.index("What moves")
    assert "incident 1, serious" in page
    assert "nobody has it" in page


def test_a_quiet_monitor_says_that_all_is_as_it_was(client: Client, project: Project) -> None:
    monitor = rows.fitted(project, rows=500)
    rows.window(monitor, 1)
    page = read(client, here(monitor))
    assert "All is as it was on the reference." in page
    assert "What to do" not in page


def test_a_share_that_chance_hardly_explains_is_not_called_as_it_was(
    client: Client, project: Project
) -> None:
    reference = {"accuracy": {"value": 0.9}}
    monitor = rows.fitted(project, rows=500, reference=reference)
    fell = {"accuracy": {"value": 0.583, "low": 0.32, "high": 0.81, "rows": 12}}
    rows.window(monitor, 1, facts=fell)
    page = read(client, here(monitor))
    assert "All is as it was" not in page
    assert "But accuracy was 58.3 % of 12 rows lately, 90.0 % on the reference." in page
    assert "Send more labels" in page


def test_a_number_that_newer_windows_do_not_have_says_so(client: Client, project: Project) -> None:
    """A teacher whose budget of the day is spent says nothing of what came since."""
    monitor = rows.fitted(project, rows=500)
    agreed = {"agreement": {"value": 0.773, "low": 0.7, "high": 0.85, "rows": 88}}
    rows.window(monitor, 1, facts=agreed)
    assert "before the newest" not in read(client, here(monitor))
    for number in range(2, 8):
        rows.window(monitor, number, facts={})
    assert "of 88 rows, before the newest 6 windows" in read(client, here(monitor))


def test_what_was_set_aside_is_told_of_with_what_to_do(client: Client, project: Project) -> None:
    monitor = rows.fitted(project, rows=500)
    rows.window(monitor, 1, moved=True)
    rows.incident(monitor)  # whatever else is the matter
    InferenceBatch.objects.create(
        monitor=monitor, kind="inferences", rows=3, body=b"", error="It cannot be read."
    )
    page = read(client, here(monitor))
    assert "was set aside. It cannot be read." in page
    assert "send it again under the same ids" in page
    assert "Delete what was set aside" in page


def test_what_was_set_aside_is_tried_again_or_deleted(project: Project, erin: User) -> None:
    monitor = rows.fitted(project, rows=500)
    batch = InferenceBatch(monitor=monitor, kind="labels", rows=3, body=b"", error="Torn.")
    batch.save()
    person, rest = signed_in(erin), api_of(erin)
    at = f"/api/v1/projects/{project.slug}/monitors/{monitor.name}/set-aside/"
    (told,) = rest.get(at).json()
    assert (told["id"], told["kind"], told["rows"], told["error"]) == (
        batch.pk,
        "labels",
        3,
        "Torn.",
    )
    assert rest.post(at).json() == {"accepted": 1}
    assert (monitor.inbox.get().pk, rest.get(at).json()) == (batch.pk, [])
    batch.save()
    assert person.post(f"{here(monitor)}set-aside/", {"do": "again"}).status_code == 302
    assert monitor.inbox.count() == 1
    person.post(f"{here(monitor)}set-aside/", {"do": "delete"})
    assert monitor.inbox.count() == 1  # what waits is not what was set aside
    batch.save()
    assert rest.delete(at).status_code == 204
    assert not InferenceBatch.every.exists()


def test_a_reference_of_traffic_to_come_is_waited_for(client: Client, project: Project) -> None:
    until = timezone.now() + timedelta(hours=1)
    coming = {"reference": None, "fitted_at": None, "rows": 60, "traffic_until": until}
    monitor = rows.fitted(project, **coming)
    page = read(client, here(monitor))
    assert "waiting for its reference" in page
    assert page.count("tells what is usual.") == 2  # the head's, and the sentence
    assert "is being read" not in page


def test_one_window_moving_says_no_harm_unless_somebody_surely_errs_more() -> None:
    """Silence of a few rows with label and answer is no proof that drift does no harm."""
    quiet = {"whose_fault": [{"facts": {"grew": [], "advice": ["It does no harm so far."]}}]}
    grew = {"whose_fault": [{"facts": {"grew": ["both_wrong"], "advice": ["The world is new."]}}]}
    assert monitor_words.fault_advice([quiet]) == []
    assert monitor_words.fault_advice([{}, quiet, grew]) == ["The world is new."]


def test_a_stream_that_rang_lately_is_harm_although_it_is_silent_now() -> None:
    """Where nothing is known of the reference, it is the only one that can say so."""
    length = Signal("described.length", "length", "Inputs", [2.0], {"detector": "psi"}, 2.0)
    errors = Signal("error_stream", "errors", "Labels", [3.0, 0.0, 0.0], {}, 0.0)
    assert "does worse than it did" in monitor_words.advice(Monitor(), [length, errors], [length])
    errors.levels[:] = [3.0, *[0.0] * 9]
    assert "does worse" not in monitor_words.advice(Monitor(), [length, errors], [length])


@pytest.mark.parametrize(
    ("signals", "says"),
    [
        ({"quality.missing": 2.0, "accuracy": 2.0}, "Look at the data first"),
        ({"described.length": 2.0, "agreement": 0.2}, "nothing to retrain for"),
        ({"described.length": 2.0}, "Send labels, or let the teacher be asked"),
        ({"volume": 2.0}, "ask who serves the model"),
        ({"accuracy": 1.5}, "retrain it on them"),
    ],
)
def test_what_to_do_depends_on_what_is_known(signals: dict[str, float], says: str) -> None:
    found = [
        Signal(key, words(key), group(key), [level], {"detector": "psi"}, level)
        for key, level in signals.items()
    ]
    assert says in monitor_words.advice(Monitor(), found, monitor_words.moving(found))


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ([0.93, 0.97], "nothing to retrain for"),
        ([0.62, 0.99], "too few rows"),  # a large fall could hide in it
        ([0.55, 0.80], "seems to do worse"),  # too small for an alert, and no proof of good health
    ],
)
def test_no_harm_is_said_only_where_it_would_have_been_seen(
    interval: list[float], says: str
) -> None:
    length = Signal("described.length", "length", "Inputs", [2.0], {"detector": "psi"}, 2.0)
    facts = {"agreement": 0.9, "interval": interval, "reference": 0.95}
    asked = Signal("agreement", "agreement", "Teacher", [0.4], {"facts": facts}, 0.4)
    assert says in monitor_words.advice(Monitor(), [length, asked], [length])


def test_labels_without_anything_to_compare_them_with_are_not_asked_for_again() -> None:
    length = Signal("described.length", "length", "Inputs", [2.0], {"detector": "psi"}, 2.0)
    asked = Signal("accuracy", "accuracy", "Labels and teacher", [None])
    assert "Labels came" in monitor_words.advice(Monitor(), [length, asked], [length])


def test_broken_data_are_told_by_their_column_and_share() -> None:
    facts = {"column": "input.job", "reference": 0.0}
    score = rows.score("quality", 0.115, facts=facts)
    unseen = Signal("quality.unseen", "unseen names", "Quality", [3.0], score, 3.0)
    told = monitor_words.changed(unseen)
    assert told == "Unseen names in job: 11.5 % of rows, 0.0 % on the reference."


def test_a_window_alone_has_an_axis_of_an_hour() -> None:
    alone = monitor_charts.with_room(
        drift.signal([drift.Told(drift.At(1, 5), 0.1, 0.2, 0.0)], name="PSI", unit="PSI")
    )
    first, last = alone["layout"]["xaxis"]["range"]
    assert last - first == 3_600_000
    two = [drift.Told(drift.At(n, n * 500), 0.1, 0.2, 0.0) for n in range(2)]
    drawn = drift.signal(two, name="PSI", unit="PSI")
    assert monitor_charts.with_room(drawn) is drawn


def test_traffic_alone_does_not_say_that_all_is_as_it_was(project: Project) -> None:
    monitor = rows.fitted(project, rows=100)
    few = {
        "described.length": [rows.score("psi", None)],
        "volume": [rows.score("volume", 0.0)],
    }
    windows = [rows.window(monitor, 1, rows=48, scores=few)]
    told = monitor_words.standing(monitor, windows, all_of(monitor, windows), None)
    assert "too few rows" in told.sentence


def test_where_no_policy_could_begin_a_retraining_none_is_shown(
    client: Client, project: Project
) -> None:
    page = read(client, here(alert_rows.monitor(project), "retraining/"))
    assert "served elsewhere: there is nothing to train here" in page
    assert "proposes one to people" not in page
    assert "No retraining yet" not in page


def test_empty_pages_say_what_to_do_next(client: Client, project: Project) -> None:
    never = rows.fitted(project, name="never")
    unfitted = rows.fitted(project, name="unfitted", reference=None, fitted_at=None, rows=5)
    paused = rows.fitted(project, name="paused", is_paused=True, rows=5)
    for tab in ("", "signals/", "windows/", "teacher/", "rows/"):
        assert "Nothing was sent yet" in read(client, here(never, tab)), tab
        assert "How to connect" in read(client, here(never, tab)), tab
    assert "Its reference is being read." in read(client, here(unfitted))
    assert "The reference is being read" in read(client, here(unfitted, "signals/"))
    assert "Paused: no window is judged until somebody resumes it." in read(client, here(paused))


def test_windows_that_no_signal_tells_of_make_no_empty_chart(
    client: Client, project: Project
) -> None:
    monitor = rows.fitted(project, rows=500, reference=None, fitted_at=None)
    rows.window(monitor, 1, scores={}, judged_at=None)
    page = read(client, here(monitor))
    assert 'data-chart-name="monitor-health"' not in page
    assert "The reference is being read" in page
    assert 'data-chart-name="monitor-volume"' in page
    assert "monitor-health" not in client.get(here(monitor, "live/")).json()["figures"]
    assert "No signal is told of yet" in read(client, here(monitor, "signals/"))


def test_a_teacher_whose_questions_of_the_day_are_spent_is_told_of(
    client: Client, project: Project
) -> None:
    teacher = make.model_version(project, name="big", role="teacher", labels=["no", "yes"])
    monitor = rows.fitted(project, rows=500, teacher=teacher, teacher_share=0.1, teacher_daily=50)
    rows.window(monitor, 1)
    address = f"/api/v1/projects/{project.slug}/monitors/{monitor.name}/"

    def asked(count: int, on: date) -> tuple[bool, bool, bool]:
        type(monitor).objects.filter(pk=monitor.pk).update(asked=count, asked_on=on)
        told = client.get(address).json()["is_daily_spent"]
        spent = "The teacher is not asked again today"
        return told, *(spent in read(client, here(monitor, tab)) for tab in ("", "teacher/"))

    today = timezone.now().date()
    assert asked(49, today) == (False, False, False)
    assert "49 were asked about today" in read(client, here(monitor, "teacher/"))
    assert asked(50, today) == (True, True, True)
    assert asked(50, today - timedelta(days=1)) == (False, False, False)


def test_the_estimated_accuracy_never_stands_without_its_caveat(
    client: Client, moved: Monitor
) -> None:
    for tab in ("", "teacher/"):
        page = read(client, here(moved, tab))
        assert page.index("estimated without labels") < page.index(CAVEAT), tab


def test_signals_are_sorted_by_what_is_asked(client: Client, moved: Monitor) -> None:
    page = read(client, here(moved, "signals/"))
    assert page.index(">length</a>") < page.index(">predictions</a>")
    assert "No row of this window has a label yet." in page
    page = read(client, here(moved, "signals/?sort=kind"))
    assert page.index(">embedding</a>") < page.index(">length</a>") < page.index(">accuracy</a>")


def test_a_signal_has_its_windows_beyond_the_limits_and_a_band_where_its_alert_was_open(
    client: Client, moved: Monitor
) -> None:
    rows.incident(moved)
    page = read(client, here(moved, "signals/?signal=described.length"))
    assert '"fillcolor": "rgba(220,60,60,0.10)"' in page
    assert "/rows/?window=4" in page
    assert "/rows/?window=3" not in page
    both = read(client, here(moved, "signals/?signal=vector"))
    assert "monitor-signal-pca_ks" in both
    assert "monitor-signal-mmd_features" in both
    assert client.get(here(moved, "signals/?signal=nothing")).status_code == 404


def test_a_window_says_what_moved_and_where_and_has_its_neighbours(
    client: Client, moved: Monitor
) -> None:
    page = read(client, here(moved, "windows/4/"))
    assert "Length moved: " in page
    assert "1.0 % missing" in page
    assert "monitor-slices" in page
    assert "monitor-calibration" in page
    assert "/windows/3/" in page
    assert "/windows/5/" not in page
    assert "<b>" not in page.replace("<b>What to do:</b>", "")  # of names that people sent
    assert client.get(here(moved, "windows/99/")).status_code == 404


def test_whose_fault_it_is_stands_beside_the_reference_and_what_it_asks_for(
    client: Client, moved: Monitor
) -> None:
    page = read(client, here(moved, "teacher/"))
    assert "student alone wrong" in page
    assert "Distil again, on rows like these." in page
    assert "/rows/?wrong=1&amp;disagreeing=1" in page
    assert "takes about 3" in page  # answers, to see a fall by .05 from .96
    assert "300 came in this stretch" in page


def test_pages_ask_nothing_new_until_there_is_something(client: Client, moved: Monitor) -> None:
    page = read(client, here(moved))
    mark = html.unescape(re.search(r'data-known="([^"]*)"', page)[1])  # type: ignore[index]
    assert client.get(here(moved, "live/"), {"known": mark}).status_code == 204
    rows.window(moved, 5)
    answer = client.get(here(moved, "live/"), {"known": mark}).json()
    assert answer["mark"] != mark
    assert "All is as it was on the reference." in answer["html"]
    assert len(answer["figures"]["monitor-health"]["data"][0]["x"]) == 6
    assert set(answer["figures"]) == set(re.findall(r'data-chart-name="([^"]*)"', page))


@pytest.mark.parametrize(
    "tab", ["", "live/", "signals/", "signals/?signal=vector", "windows/", "teacher/"]
)
def test_pages_ask_the_database_little_and_load_no_sums(
    client: Client, moved: Monitor, tab: str
) -> None:
    with CaptureQueriesContext(connection) as asked:
        read(client, here(moved, tab))
    assert len(asked) <= CEILING, [one["sql"][:90] for one in asked]
    sums = [one["sql"] for one in asked if '"sums"' in one["sql"]]
    assert sums == []


def test_a_stretch_without_windows_shows_all_there_are(client: Client, project: Project) -> None:
    monitor = rows.fitted(project, rows=500)
    rows.window(monitor, 1, starts_at=timezone.now() - timedelta(days=40))
    assert "What moves" in read(client, here(monitor))
    assert "What moves" not in read(client, here(monitor, "?range=24h"))


def test_older_windows_are_a_link_away(
    client: Client, moved: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_parts, "MOST", 2)
    page = read(client, here(moved, "windows/"))
    assert "/windows/4/" in page
    assert "/windows/2/" not in page
    until = re.search(r"until=(\d+)", page)[1]  # type: ignore[index]
    older = read(client, here(moved, f"windows/?until={until}"))
    assert "/windows/2/" in older
    assert "/windows/4/" not in older


def test_another_version_is_marked_where_it_began(client: Client, moved: Monitor) -> None:
    assert "tiny@2" in read(client, here(moved))
    windows = list(MonitorWindow.objects.filter(monitor=moved))
    assert [name for _, name in monitor_words.versions(windows)] == ["tiny@2"]


def test_others_monitors_are_not_there(charlie: User, moved: Monitor) -> None:
    stranger = signed_in(charlie)
    for tab in ("", "live/", "signals/", "windows/4/", "rows/", "rows/file/?id=a1", "teacher/"):
        assert stranger.get(here(moved, tab)).status_code == 404, tab


def test_a_mark_takes_no_room_for_its_words() -> None:
    hour = 3_600_000
    told = [drift.Told(drift.At(n, n * hour), 0.1, 0.2, 0.0) for n in range(11)]
    drawn = drift.signal(told, name="PSI", unit="PSI")
    early, late = drift.with_versions(drawn, [(2 * hour, "tiny@1"), (9 * hour, "tiny@2")])[
        "layout"
    ]["annotations"][-2:]
    assert (early["xanchor"], late["xanchor"]) == ("left", "right")
    start, end = drift.with_versions(drawn, [(9 * hour, "tiny@2")])["layout"]["xaxis"]["range"]
    assert -hour < start < 0
    assert 10 * hour < end < 11 * hour
    assert "range" not in drift.with_versions(drawn, [])["layout"]["xaxis"]
