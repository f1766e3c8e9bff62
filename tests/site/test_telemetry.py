"""/metrics, and lines of the log that say what they are about."""

import json
import logging
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from celery.signals import before_task_publish
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from distillhub.celery import app
from distillhub.lib import exposition, request_ids, told
from projects.models import Project
from tests import make
from tests.conftest import api_of
from training.models import InferenceBatch, Run
from training.worker import dispatch, reaper

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = re.compile(r'^([a-z_]+)\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\} (\S+)$')


def read(client: Client, **headers: str) -> dict[str, float]:
    """Every sample by its name with labels; each family has its help and type first."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found: dict[str, float] = {}
    told_of = ""
    for line in answer.content.decode().splitlines():
        if line.startswith("# TYPE "):
            told_of = line.split()[2]
        elif not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match, line
            assert match[1].startswith(told_of), line
            key = f"{match[1]}{{{match[2]}}}"
            assert key not in found, key
            found[key] = float(match[3])
    return found


def test_runs_queues_and_workers_are_told(client: Client, project: Project) -> None:
    make.run(project, queued_at=timezone.now() - timedelta(minutes=5))
    make.run(project)
    make.run(project, queue='gpu "a"\\b')
    make.run(project, status=Run.Status.FAILED)
    found = read(client)
    assert found['distillhub_runs{status="queued"}'] == 3
    assert found['distillhub_runs{status="failed"}'] == 1
    assert found['distillhub_runs{status="training"}'] == 0
    assert found['distillhub_queue_runs{queue="default"}'] == 2
    assert found['distillhub_queue_runs{queue="gpu \\"a\\"\\\\b"}'] == 1
    assert 290 < found['distillhub_queue_oldest_seconds{queue="default"}'] < 400
    assert found['distillhub_workers{state="online"}'] == 0
    assert found['distillhub_part_up{part="database"}'] == 1
    assert found['distillhub_jobs_waiting{kind="ingestion"}'] == 0
    assert found['distillhub_store_bytes{kind="datasets"}'] >= 0
    assert found["distillhub_home_free_bytes{}"] > 0
    assert found["distillhub_monitor_inbox_rows{}"] == 0


def test_what_monitors_wait_for_is_told(client: Client, project: Project) -> None:
    incident = make.incident(make.monitor(make.model_version(project)), severity="critical")
    for rows in (3, 4):
        InferenceBatch.objects.create(
            monitor=incident.monitor, kind="inferences", rows=rows, body=b""
        )
    found = read(client)
    assert found["distillhub_monitor_inbox_rows{}"] == 7
    assert 0 <= found["distillhub_monitor_inbox_oldest_seconds{}"] < 60
    assert found['distillhub_incidents_open{severity="critical"}'] == 1
    assert found['distillhub_incidents_open{severity="notice"}'] == 0


def test_a_thousand_runs_cost_no_more_queries_than_one(
    client: Client, project: Project, django_assert_max_num_queries: object
) -> None:
    for _ in range(20):
        make.run(project)
    most = 11 + len(reaper.WORKS)  # one for each kind of work
    with django_assert_max_num_queries(most):  # type: ignore[operator]
        read(client)


def test_latency_is_counted_by_kind_method_and_status(client: Client, project: Project) -> None:
    before = read(client)
    client.get("/sign-in/")
    client.get("/nothing-here/")
    client.post("/api/v1/projects/", {})
    api_of(project.created_by).get("/api/v1/projects/")
    client.get("/healthz")
    after = read(client)

    def more(name: str, labels: str) -> float:
        key = f"distillhub_http_request_seconds_{name}{{{labels}}}"
        return after.get(key, 0) - before.get(key, 0)

    page = 'kind="page",method="read",status="2xx"'
    assert more("count", page) == 1
    assert more("bucket", page + ',le="+Inf"') == 1
    assert more("sum", page) > 0
    assert more("count", 'kind="page",method="read",status="4xx"') == 1
    assert more("count", 'kind="rest",method="write",status="4xx"') == 1
    assert more("count", 'kind="rest",method="read",status="2xx"') == 1


def test_counts_of_all_processes_are_added_up_and_outlive_them(tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    ours = exposition.Tally(folder)
    ours.note("page", "read", 200, 0.02)
    script = (
        "import sys; from pathlib import Path; from distillhub.lib.exposition import Tally\n"
        "tally = Tally(Path(sys.argv[1]))\n"
        "for _ in range(3): tally.note('page', 'read', 200, 0.02)\n"
        "print('counted', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, folder],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"counted\n"
        assert sum(exposition._added_up(folder)) == pytest.approx(4 + 4 * 0.02)
        assert len(list(folder.glob("*-*"))) == 2
        other.kill()
    for _ in range(2):
        assert sum(exposition._added_up(folder)) == pytest.approx(4 + 4 * 0.02)
    assert len(list(folder.glob("*-*"))) == 1  # what the dead one counted is in one file for all
    ours.close()
    assert sum(exposition._added_up(folder)) == pytest.approx(4 + 4 * 0.02)
    assert not list(folder.glob("*-*"))


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 404),  # a proxy's visitor
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 404),
        ("203.0.113.9", {}, 404),
        ("", {}, 404),
        ("203.0.113.9", {"Authorization": "Bearer the-canary-token"}, 200),
        ("203.0.113.9", {"Authorization": "bearer the-canary-token", "X-Real-IP": "1.1.1.1"}, 200),
        ("127.0.0.1", {"Authorization": "Bearer another"}, 404),
        ("203.0.113.9", {"Authorization": "Basic the-canary-token"}, 404),
    ],
)
def test_metrics_are_read_by_address_or_token(
    db: None, settings: LazySettings, address: str, headers: dict[str, str], status: int
) -> None:
    settings.METRICS_TOKEN = "the-canary-token"
    settings.METRICS_ALLOW = ["127.0.0.0/8", "::1/128"]
    answer = Client().get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert answer.status_code == status
    text = answer.content.decode()
    for secret in ("the-canary-token", settings.SECRET_KEY):
        assert secret not in text


def test_without_a_token_no_token_is_good(db: None, settings: LazySettings) -> None:
    settings.METRICS_TOKEN, settings.METRICS_ALLOW = "", []
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
        assert Client().get("/metrics", headers=headers).status_code == 404


# Lines ----------------------------------------------------------------------------------------


def formatted(formatter: logging.Formatter, *arguments: object, **extra: object) -> str:
    record = logging.LogRecord(
        "training.worker.runs", logging.WARNING, __file__, 1, "%s is away", arguments, None
    )
    vars(record).update(extra)
    return formatter.format(record)


def test_a_line_tells_the_run_that_it_is_about() -> None:
    line, lines = told.Line(), told.Json()
    with told.about(run=12, attempt=2):
        assert "training.worker.runs: [run=12 attempt=2] It is away" in formatted(line, "It")
        with told.about(attempt=3):
            found = json.loads(formatted(lines, 'It "says"\nso', export=4, request=object()))
    assert found["message"] == 'It "says"\nso is away'
    assert (found["run"], found["attempt"], found["export"]) == (12, 3, 4)
    assert (found["level"], found["logger"]) == ("warning", "training.worker.runs")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert "request" not in found
    assert "run" not in json.loads(formatted(lines, "It"))


def test_a_trace_is_part_of_its_line() -> None:
    try:
        raise ValueError("surprise")
    except ValueError:
        found = formatted(told.Json(), "It", exc_info=sys.exc_info())
    assert "\n" not in found
    assert "ValueError: surprise" in json.loads(found)["trace"]


# Requests --------------------------------------------------------------------------------------


def test_an_answer_bears_the_name_of_its_request(client: Client, db: None) -> None:
    given = client.get("/healthz", headers={"X-Request-ID": "of-the-proxy-1"})
    assert given.headers["X-Request-ID"] == "of-the-proxy-1"
    made = client.get("/healthz").headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)
    assert client.get("/healthz").headers["X-Request-ID"] != made


@pytest.mark.parametrize(
    "name", ["", "short", "x" * 65, "a b c d e f g h", "[run=1] forged", "é" * 9]
)
def test_what_is_no_name_is_not_taken_over(client: Client, db: None, name: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": name})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])


def test_a_job_tells_which_request_sent_it() -> None:
    sent: dict[str, object] = {}

    @before_task_publish.connect(weak=False)
    def look(headers: dict[str, object], **_: object) -> None:
        sent.update(headers)

    lines: list[str] = []

    @app.task(name="tests.tells")
    def tells() -> None:
        lines.append(request_ids.current())

    try:
        with told.about(request="of-the-proxy-1"):
            dispatch.call("tests.tells")
        assert sent[request_ids.MESSAGE] == "of-the-proxy-1"
        assert request_ids.current() == ""
        tells.apply(headers={request_ids.MESSAGE: "of-the-proxy-1"})
        tells.apply(headers={request_ids.MESSAGE: "[forged]"})
        tells.apply()
    finally:
        before_task_publish.disconnect(look)
        app.tasks.pop("tests.tells")
    assert lines == ["of-the-proxy-1", "", ""]


# Grafana and Prometheus ------------------------------------------------------------------------

NAMES = re.compile(r"distillhub_[a-z_]+")
LABELS = re.compile(r"(distillhub_[a-z_]+)\{([^}]*)\}")


def told_names(client: Client) -> dict[str, set[str]]:
    """Every name that /metrics tells, with its labels; those of a histogram by each ending."""
    found: dict[str, set[str]] = {}
    for sample in read(client):
        match = re.match(r"([a-z_]+)\{(.*)\}$", sample, re.DOTALL)
        assert match
        found.setdefault(match[1], set()).update(re.findall(r'([a-z_]+)="', match[2]))
    return found


def expressions() -> list[str]:
    board = json.loads((ROOT / "docs/grafana/distillhub.json").read_text())
    asked = [one["expr"] for panel in board["panels"] for one in panel.get("targets", [])]
    rules = yaml.safe_load((ROOT / "docs/grafana/alerts.yml").read_text())
    return asked + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_the_dashboard_and_the_rules_ask_for_what_is_told_and_for_all_of_it(
    client: Client, project: Project
) -> None:
    client.get("/sign-in/")  # so that there is a latency to tell
    make.run(project, queued_at=timezone.now())
    make.worker()
    known = told_names(client)
    asked: set[str] = set()
    for expression in expressions():
        asked |= set(NAMES.findall(expression))
        for name, filters in LABELS.findall(expression):
            labels = set(re.findall(r"([a-z_]+)(?:=|!=|=~|!~)\"", filters)) - {"job", "instance"}
            assert labels <= known[name], expression
    assert asked <= known.keys()
    assert known.keys() - asked == set()


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    board = json.loads((ROOT / "docs/grafana/distillhub.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
