"""The rows behind the points of a monitor's charts, and windows beside their reference: from real
parts, sketches and planes."""

import base64
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from django.test import Client
from django.utils import timezone
from PIL import Image

from distillhub.lib import storage
from distillhub.templatetags import ui
from projects.models import DatasetVersion, Project, User
from tests import make
from tests.conftest import signed_in
from tests.engine import watched_rows
from tests.training.log_parts import take_in
from training.engine.watching import counting, nearness
from training.models import Monitor, MonitorWindow
from training.services import inferences, window_scatter, window_shapes

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)


@pytest.fixture
def client(alice: User) -> Client:
    return signed_in(alice)


def sent(monitor: Monitor, folder: Path, *records: dict[str, Any]) -> Monitor:
    told = [{"time": NOW.isoformat(), "prediction": "no", **one} for one in records]
    inferences.receive(monitor=monitor, records_sent=told, by=monitor.created_by)
    take_in(monitor, folder)
    return monitor


def window(monitor: Monitor, number: int = 0, **fields: Any) -> MonitorWindow:
    times = {"starts_at": NOW - timedelta(seconds=1), "ends_at": NOW}
    return monitor.windows.create(number=number, **{"rows": 3, "sums": b"", **times, **fields})


def kept(name: str, folder: Path) -> dict[str, Any]:
    """A file of a reference, in storage."""
    blob = storage.put(folder / name)
    return {"name": name, "sha256": blob.sha256, "bytes": blob.bytes}


@pytest.fixture
def texts(project: Project, tmp_path: Path) -> Monitor:
    version = make.model_version(project, labels=["no", "yes"])
    slices = [{"name": "greetings", "query": {"q": "hello"}}]
    monitor = make.monitor(version, window_rows=3, slices=slices)
    answers = {"teacher": {"prediction": "yes"}, "probabilities": [0.8, 0.2], "latency_ms": 12.0}
    sent(
        monitor,
        tmp_path,
        {"id": "right", "input": "hello <b>you</b>", "label": "no", "tags": {"shop": "Oz"}},
        {"id": "wrong", "input": "good bye", "label": "yes", **answers},
        {"id": "open/?", "input": "what now", "prediction": "yes"},
    )
    window(monitor, facts={"most_foreign": ["wrong"], "foreign": [["wrong", 0.75]]})
    return monitor


def here(monitor: Monitor, rest: str = "") -> str:
    return f"/p/{monitor.project.slug}/monitors/{monitor.name}/rows/{rest}"


def read(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", {"hello", "bye", "now"}),
        ("?window=0", {"hello", "bye", "now"}),
        ("?wrong=1", {"bye"}),
        ("?disagreeing=1", {"bye"}),
        ("?prediction=yes", {"now"}),
        ("?slice=greetings", {"hello"}),
        ("?q=NOW", {"now"}),
        ("?foreign=1", {"bye"}),
        ("?slice=unknown", set()),
        ("?q=nothing", set()),
    ],
)
def test_rows_are_found_by_what_is_asked_of_them(
    client: Client, texts: Monitor, asked: str, found: set[str]
) -> None:
    page = read(client, here(texts, asked))
    assert {one for one in ("hello &lt;b&gt;", "good bye", "what now") if one in page} == {
        {"hello": "hello &lt;b&gt;", "bye": "good bye", "now": "what now"}[one] for one in found
    }


def test_a_line_says_what_student_label_and_teacher_say(client: Client, texts: Monitor) -> None:
    page = read(client, here(texts, "?wrong=1"))
    assert '<span class="wrong">no</span>' in page
    assert "80 %" in page
    assert '<span class="teacher-name">yes</span>' in page
    assert "12 ms" in page
    assert "0.75" in read(client, here(texts, "?foreign=1"))


def test_a_row_has_an_address_of_its_own_whatever_its_id(client: Client, texts: Monitor) -> None:
    page = read(client, here(texts, "?id=right"))
    assert "hello &lt;b&gt;you&lt;/b&gt;" in page
    assert "<dt>shop</dt>" in page
    assert "what now" in read(client, here(texts, "?id=open%2F%3F"))
    assert "This row is not here" in read(client, here(texts, "?id=nobody"))
    assert client.get(here(texts, "?window=77")).status_code == 404
    assert client.get(here(texts, "file/?id=right")).status_code == 404


def test_what_waits_for_a_worker_is_said(client: Client, texts: Monitor) -> None:
    more = {"id": "n", "time": NOW.isoformat(), "prediction": "no", "input": "x"}
    inferences.receive(monitor=texts, records_sent=[more], by=texts.created_by)
    assert "1 row came and wait" in read(client, here(texts))


def test_pictures_are_shown_made_anew(client: Client, project: Project, tmp_path: Path) -> None:
    version = make.model_version(project, "eyes", task="image-classification", labels=["no", "yes"])
    monitor = make.monitor(version)
    content = base64.b64encode(make.picture()).decode()
    sent(monitor, tmp_path, {"id": "a b", "input": {"base64": content}})
    page = read(client, here(monitor))
    assert 'src="/p/intents/monitors/live/rows/file/?id=a+b"' in page
    answer = client.get(here(monitor, "file/?id=a+b"))
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_what_cannot_be_decoded_or_is_too_large_is_not_here(
    client: Client, project: Project, tmp_path: Path, kind: str
) -> None:
    task = f"{kind}-classification"
    version = make.model_version(project, "eyes", task=task, labels=["no", "yes"])
    monitor = make.monitor(version, task=task)
    bomb = io.BytesIO()
    if kind == "image":
        Image.new("1", (6000, 6000)).save(bomb, "PNG")
    else:
        soundfile.write(bomb, np.zeros((100, 9)), 8000, format="WAV")
    for place, content in enumerate((b"<svg onload=alert(1)>", bomb.getvalue())):
        given = {"base64": base64.b64encode(content).decode()}
        sent(monitor, tmp_path, {"id": f"{place}", "input": given})
        assert client.get(here(monitor, f"file/?id={place}")).status_code == 404


def test_rows_of_a_window_become_a_version_of_its_dataset(
    client: Client, vera: User, texts: Monitor
) -> None:
    asked = {"window": "0"}
    refused = client.post(here(texts, "collect/"), asked, follow=True)
    assert "There is no dataset that these rows belong to" in refused.content.decode()
    columns = [{"name": "text", "role": "input", "kind": "text"}]
    texts.dataset_version = make.dataset_version(texts.project, "mails", columns=columns)
    texts.save()
    assert "Add to mails@1" in read(client, here(texts, "?window=0"))
    assert "Add to mails@1" not in read(signed_in(vera), here(texts, "?window=0"))
    answer = client.post(here(texts, "collect/"), asked)
    made = DatasetVersion.objects.get(dataset__name="mails", number=2)
    assert answer.headers["Location"] == "/p/intents/datasets/mails/2/"
    assert (made.operation or {})["operation"] == "live"
    assert client.post(here(texts, "collect/"), {"window": ""}).status_code == 404


# -- beside the reference -------------------------------------------------------------------------


@pytest.fixture
def tables(project: Project, tmp_path: Path) -> Monitor:
    """One window as the reference, one in which people are older and a place is new."""
    baseline = watched_rows.baseline()
    baseline.save(tmp_path / "baseline.json")
    version = make.model_version(project, labels=watched_rows.LABELS)
    monitor = make.monitor(
        version,
        task="tabular-classification",
        reference={"rows": 3000},
        fitted_at=NOW,
        reference_files=[kept("baseline.json", tmp_path)],
    )
    for number, shift in enumerate((0.0, 3.0)):
        table = watched_rows.rows(500, seed=number, shift=shift)
        sums = counting.count(counting.View.of(table, baseline), baseline)
        score = {"detector": "psi", "effect": shift, "value": shift, "corrected": 0.0}
        window(
            monitor,
            number,
            rows=500,
            sums=sums.to_bytes(),
            scores={"input.age": [score], "input.place": [score], "volume": [score]},
        )
    return monitor


def test_numbers_lie_where_they_are_also_beyond_the_reference(tables: Monitor) -> None:
    same, moved = (window_shapes.of(tables, "input.age", [number]) for number in (0, 1))
    assert same is not None
    assert moved is not None
    for one in (same, moved):
        assert sum(one.before) == pytest.approx(1, abs=1e-3)
        assert sum(one.now) == pytest.approx(1, abs=1e-3)
    centres = (np.array(moved.edges[1:]) + np.array(moved.edges[:-1])) / 2
    assert float(centres @ np.array(moved.before)) == pytest.approx(40, abs=2)
    assert float(centres @ np.array(moved.now)) == pytest.approx(70, abs=2)
    # Half of these rows lie beyond all that the reference knew, and are drawn as a bell there, too.
    assert max(moved.now) < 0.2
    assert 0.5 * sum(abs(a - b) for a, b in zip(same.before, same.now, strict=True)) < 0.15


def test_windows_are_added_up_and_what_is_no_distribution_has_no_shape(tables: Monitor) -> None:
    both = window_shapes.of(tables, "input.age", [0, 1])
    assert both is not None
    assert (both.rows, both.windows) == (1000, 2)
    place = window_shapes.of(tables, "input.place", [1])
    assert place is not None
    assert place.kind == "categories"
    assert set(place.names) == {"north", "south", "west"}
    assert window_shapes.of(tables, "confidence", [1]) is not None
    assert window_shapes.of(tables, "volume", [1]) is None
    told = window_shapes.shares_of_reference(tables)
    assert set(told) == {"believed", "faults", "predicted"}


def test_a_signal_is_drawn_beside_its_reference(client: Client, tables: Monitor) -> None:
    page = "/p/intents/monitors/live/signals/?signal=input.age&window=1"
    shown = read(client, page)
    assert "Reference and now" in shown
    assert "500 rows of 1 window" in shown
    assert f"{ui.grouped(1000)} rows of 2 windows" in read(client, page.replace("&window=1", ""))


def test_a_window_of_an_earlier_reference_is_not_held_against_the_present_one(
    client: Client, tables: Monitor, tmp_path: Path
) -> None:
    page = read(client, "/p/intents/monitors/live/windows/1/")
    assert "earlier reference" not in page
    watched_rows.baseline(watched_rows.rows(900, seed=5)).save(tmp_path / "baseline.json")
    tables.reference_files = [kept("baseline.json", tmp_path)]
    tables.save()
    assert "earlier reference" in read(client, "/p/intents/monitors/live/windows/1/")
    assert window_shapes.of(tables, "input.age", [0, 1]) is None


def test_without_its_file_a_reference_has_no_shape(client: Client, tables: Monitor) -> None:
    tables.reference_files = [{"name": "baseline.json", "sha256": "0" * 64, "bytes": 1}]
    tables.save()
    assert window_shapes.of(tables, "input.age", [1]) is None
    assert "Reference and now" not in read(
        client, "/p/intents/monitors/live/signals/?signal=input.age"
    )


def test_rows_are_placed_on_the_references_plane(
    client: Client, project: Project, tmp_path: Path
) -> None:
    chance = np.random.default_rng(0)
    vectors = chance.normal(0, 1, (50, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"r{one}" for one in range(50)]
    plane = nearness.Nearness.fit(vectors, ids)
    plane.save(tmp_path / nearness.NAME)
    points = plane.place(vectors)
    columns = {"id": ids, "x": points[:, 0], "y": points[:, 1], "text": ["as usual"] * 50}
    pq.write_table(pa.table(columns), tmp_path / "reference_rows.parquet")
    version = make.model_version(project, labels=["no", "yes"])
    files = [kept(name, tmp_path) for name in (nearness.NAME, "reference_rows.parquet")]
    monitor = make.monitor(version, reference_files=files, reference={"far": {"0.99": 0.5}})
    there = [float(one) for one in vectors[7]]
    sent(
        monitor,
        tmp_path,
        {"id": "near", "input": {"vector": there}},
        {"id": "far", "input": {"vector": [1.0, 0.0, 0.0, 0.0]}},
    )
    facts = {"sample": ["near", "far"], "foreign": [["far", 0.9]], "most_foreign": ["far"]}
    found = window_scatter.of(monitor, window(monitor, facts=facts))
    assert found is not None
    assert len(found.reference) == 50
    (near,), (far,) = found.live, found.foreign
    assert (near.id, far.id) == ("near", "far")
    assert (far.x, far.y) == pytest.approx(plane.place([[1.0, 0, 0, 0]])[0].tolist(), abs=1e-2)
    page = read(client, "/p/intents/monitors/live/windows/0/")
    assert "Rows by meaning" in page
    assert "/rows/?id=far" in page
    assert "stand nearer than 0.5" in page
