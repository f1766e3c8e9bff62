"""Runs of other trackers become tracked runs here: what their own libraries wrote is read."""

import io
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from distillhub.lib import leases
from projects.models import Project, User
from tests.conftest import api_of, signed_in
from training.models import ImportedRun, MetricSeries, Run, RunImport, TrackedFile
from training.services import metrics, run_imports, run_removal, tracked_files
from training.trackers import limits, run_files
from training.trackers.found import FoundFile, FoundRun, Writer, lines
from training.worker import dispatch, imported, importing

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("worker")]

KEPT = Path(__file__).with_name("imported")  # written by the libraries themselves
IMPORTS = "/api/v1/projects/intents/imports/"
CSV = b"run,step,train/loss,val/accuracy,note\na,0,1.0,0.1,x\na,1,0.5,,y\nb,0,nan,0.4,z\n"


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker carries messages: the tests call the worker."""
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)


def looked(project: Project, by: User, file_name: str, content: bytes, **more: Any) -> RunImport:
    """A file that a worker has looked into."""
    file = SimpleUploadedFile(file_name, content)
    return worked(run_imports.from_file(project=project, file=file, by=by, **more))


def worked(row: RunImport) -> RunImport:
    importing.WORK.carry_out(row.pk)
    row.refresh_from_db()
    return row


def taken(row: RunImport, by: User, keys: list[str] | None = None) -> dict[str, Any]:
    assert row.status == "ready", row.error
    row = worked(run_imports.take(run_import=row, keys=keys, by=by))
    assert row.status == "ready", row.error
    found: dict[str, Any] = row.outcome
    return found


def report(row: RunImport) -> dict[str, Any]:
    found: Any = row.report
    assert row.status == "ready", row.error
    return dict(found)


def points(run: Run, name: str) -> list[tuple[int, float]]:
    [(_, found)] = metrics.points_of(run=run, names=[name])
    return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_a_table_is_looked_into_and_its_runs_are_taken(project: Project, erin: User) -> None:
    row = looked(project, erin, "metrics.csv", CSV)
    assert report(row)["runs"] == 2
    assert report(row)["points"] == 5
    assert [one["name"] for one in report(row)["found"]] == ["a", "b"]
    assert report(row)["found"][0]["left_out"] == ["note: no numbers."]
    assert not Run.objects.exists()
    outcome = taken(row, erin)
    assert (outcome["new"], outcome["points"]) == (2, 5)
    first = Run.objects.get(name="a")
    assert (first.status, first.origin, first.metrics["train/loss"]) == (
        "finished",
        "tracked",
        0.5,
    )
    assert points(first, "train/loss") == [(0, 1.0), (1, 0.5)]
    assert "Imported from a table (metrics.csv)" in first.events.get().sentence


def test_importing_again_changes_nothing_and_adds_what_is_new(project: Project, erin: User) -> None:
    taken(looked(project, erin, "metrics.csv", CSV), erin)
    before = list(Run.objects.order_by("pk").values())
    again = looked(project, erin, "metrics.csv", CSV)
    assert report(again)["known"] == 2
    nothing = {"new": 0, "grown": 0, "points": 0, "files": 0, "runs": []}
    assert taken(again, erin) == nothing | {"same": 2}
    for now, was in zip(Run.objects.order_by("pk").values(), before, strict=True):
        assert {**now, "heard_at": None} == {**was, "heard_at": None}
    longer = taken(looked(project, erin, "metrics.csv", CSV + b"a,2,0.25,0.3,\n"), erin)
    assert (longer["new"], longer["grown"], longer["same"], longer["points"]) == (0, 1, 1, 2)
    assert points(Run.objects.get(name="a"), "train/loss") == [(0, 1.0), (1, 0.5), (2, 0.25)]


def test_only_what_is_chosen_is_taken(project: Project, erin: User) -> None:
    row = looked(project, erin, "metrics.csv", CSV)
    key = report(row)["found"][1]["key"]
    assert taken(row, erin, [key])["new"] == 1
    assert list(Run.objects.values_list("name", flat=True)) == ["b"]


def test_points_one_a_line_and_times_are_read(project: Project, erin: User) -> None:
    lines = [
        {"name": "loss", "step": step, "value": 1 / (step + 1), "time": 1_700_000_000 + step}
        for step in range(3)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    taken(looked(project, erin, "points.jsonl", content, name="from a cluster"), erin)
    run = Run.objects.get(name="from a cluster")
    assert run.started_at is not None
    assert run.started_at.timestamp() == 1_700_000_000
    assert run.finished_at is not None
    assert run.finished_at.timestamp() == 1_700_000_002
    assert [value for _, value in points(run, "loss")] == [1.0, 0.5, 1 / 3]


def test_steps_that_are_none_are_left_out_and_told(project: Project, erin: User) -> None:
    lines = b'{"step": 1e300, "loss": 1}\n{"step": -1, "loss": 2}\n{"step": 3, "loss": 1e999}\n'
    row = looked(project, erin, "odd.jsonl", lines)
    assert len(report(row)["found"][0]["left_out"]) == 2
    taken(row, erin)
    assert points(Run.objects.get(), "loss") == [(3, math.inf)]


def test_a_trainers_state_is_read(project: Project, erin: User) -> None:
    state = {
        "log_history": [{"epoch": 0.5, "loss": 2.0, "step": 10}, {"eval_loss": 1.0, "step": 20}]
    }
    taken(looked(project, erin, "trainer_state.json", json.dumps(state).encode()), erin)
    run = Run.objects.get()
    assert run.name == "trainer_state"
    assert points(run, "loss") == [(10, 2.0)]
    assert points(run, "eval_loss") == [(20, 1.0)]


def test_an_offline_run_of_weights_and_biases(project: Project, erin: User) -> None:
    content = (KEPT / "run-kypotta6.wandb").read_bytes()
    taken(looked(project, erin, "run-kypotta6.wandb", content), erin)
    run = Run.objects.get(name="brave-owl-1")
    assert run.config["params"] == {"lr": 0.001, "model.layers": 2, "opt": "adam"}
    assert (run.notes, run.tags, run.status) == ("A *first* try", ["small"], "finished")
    assert points(run, "val.accuracy")[3] == (3, 0.30000000000000004)
    assert points(run, "best") == [(4, 0.4)]  # told once, at the end
    assert run.imported.key == "wandb:sorting/kypotta6"
    torn = looked(project, erin, "run-kypotta6.wandb", content[:-50])
    assert report(torn)["found"][0]["status"] == "running"
    assert report(torn)["found"][0]["run"] == run.number


def test_event_files_of_tensorboard(project: Project, erin: User) -> None:
    content = (KEPT / "tensorboard.zip").read_bytes()
    row = looked(project, erin, "logs.zip", content)
    assert [one["name"] for one in report(row)["found"]] == ["small", "both_a", "both_b"]
    assert "Histograms: weights." in report(row)["found"][0]["left_out"]
    taken(row, erin)
    run = Run.objects.get(name="small")
    assert run.config["params"] == {"lr": 0.1, "opt": "adam", "big": 1}  # of add_hparams
    assert [step for step, _ in points(run, "train/loss")] == [0, 1, 2, 3]
    assert points(run, "train/loss")[2][1] == pytest.approx(1 / 3)
    assert points(run, "val/accuracy")[1][1] == pytest.approx(0.1)  # written the new way
    assert math.isnan(points(run, "odd")[0][1])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        moved = zipped(**{f"elsewhere/{one}": archive.read(one) for one in archive.namelist()})
    assert report(looked(project, erin, "moved.zip", moved))["known"] == 3


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("photo.png", b"\x89PNG....", "no_runs"),
        ("empty.csv", b"\n", "empty"),
        ("words.csv", b"a,b\nx,y\n", "no_numbers"),
        ("lines.jsonl", b'{"step": 1}\nnonsense\n', "not_json"),
        ("climbs.zip", zipped(**{"../../x/meta.yaml": b"run_id: 1"}), "unsafe_archive"),
        ("bomb.zip", zipped(**{"0/meta.yaml": b"a: &a [x,x]\nb: [*a,*a]\n"}), "not_yaml"),
        ("fake.db", b"SQLite format 3\x00" + b"\x00" * 200, "not_readable"),
        ("fake.wandb", b"nothing of it", "not_wandb"),
        ("long.csv", b"a,b\n" + b"1" * (1 << 20) + b",2\n", "long_line"),
        ("twice.csv", b"a,a\n1,2\n", "columns_twice"),
    ],
)
def test_what_cannot_be_read_is_said(
    name: str, content: bytes, code: str, project: Project, erin: User
) -> None:
    row = looked(project, erin, name, content)
    assert row.status == "failed"
    error: Any = row.error
    assert error["code"] == code, error
    assert error["detail"].endswith((".", '".'))


def test_what_fails_tells_the_project_and_what_is_taken_once(project: Project, erin: User) -> None:
    looked(project, erin, "photo.png", b"none")
    taken(looked(project, erin, "metrics.csv", CSV), erin)
    kinds = list(project.events.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["import.failed", "import.ready"]  # and nothing of each run


def test_a_worker_that_leaves_gives_it_back_and_nothing_is_taken_twice(
    project: Project, erin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = looked(project, erin, "metrics.csv", CSV)
    run_imports.take(run_import=row, by=erin)
    whole = imported.begin

    def one_and_leave(*args: Any) -> Any:
        leases.stopping.set()
        return whole(*args)

    monkeypatch.setattr(imported, "begin", one_and_leave)
    row = worked(row)
    assert row.status == "queued"
    assert Run.objects.count() == 1
    leases.stopping.clear()
    monkeypatch.undo()
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)
    row = worked(row)
    assert row.status == "ready"
    assert Run.objects.count() == 2
    assert MetricSeries.objects.count() == 4
    assert points(Run.objects.get(name="a"), "train/loss") == [(0, 1.0), (1, 0.5)]


def test_rest_looks_takes_and_forgets(project: Project, erin: User, vera: User) -> None:
    api = api_of(erin)
    made = api.post(IMPORTS, {"file": SimpleUploadedFile("m.csv", CSV)}, format="multipart")
    assert made.status_code == 202, made.json()
    one = f"{IMPORTS}{made.json()['id']}/"
    assert api.post(f"{one}take/", {}).status_code == 409  # not looked into yet
    importing.WORK.carry_out(made.json()["id"])
    assert api.get(one).json()["report"]["runs"] == 2
    assert api.post(f"{one}take/", {"runs": ["table:none"]}).status_code == 400
    assert api.post(f"{one}take/", {}).status_code == 202
    importing.WORK.carry_out(made.json()["id"])
    told = api.get(one).json()
    assert (told["status"], told["outcome"]["new"]) == ("ready", 2)
    assert api_of(vera).delete(one).status_code == 403
    assert api.delete(one).status_code == 204
    assert Run.objects.count() == 2
    straight = {"file": SimpleUploadedFile("m.csv", CSV), "take": "true"}
    made = api.post(IMPORTS, straight, format="multipart")
    importing.WORK.carry_out(made.json()["id"])
    assert api.get(f"{IMPORTS}{made.json()['id']}/").json()["outcome"]["same"] == 2
    assert api.post(IMPORTS, {}, format="json").status_code == 400


def test_pages_show_what_was_found_and_where_a_run_came_from(
    project: Project, erin: User, vera: User
) -> None:
    client = signed_in(erin)
    page = "/p/intents/runs/import/"
    assert "Upload and look" in client.get(page).content.decode()
    sent = client.post(page, {"file": SimpleUploadedFile("m.csv", CSV), "name": ""})
    row = RunImport.objects.get()
    assert sent["Location"] == f"{page}{row.pk}/"
    assert "waits for a worker" in client.get(sent["Location"]).content.decode()
    worked(row)
    found = client.get(sent["Location"]).content.decode()
    assert "2 runs found" in found
    assert "note: no numbers." in found
    key = report(RunImport.objects.get())["found"][0]["key"]
    client.post(f"{page}{row.pk}/take/", {"runs": [key]})
    worked(row)
    assert "Runs: 1 new; 3 points." in client.get(sent["Location"]).content.decode()
    run = Run.objects.get()
    shown = signed_in(vera).get(f"/p/intents/runs/{run.number}/").content.decode()
    assert "Imported from" in shown
    assert "m.csv" in shown
    assert "Upload and look" not in signed_in(vera).get(page).content.decode()
    assert client.post(page, {"name": ""}).status_code == 400
    client.post(f"{page}{row.pk}/discard/")
    assert not RunImport.objects.exists()
    assert ImportedRun.objects.get().by_import is None
    assert client.get(f"/p/intents/runs/{run.number}/").status_code == 200


def test_a_deleted_run_may_be_imported_anew(project: Project, alice: User) -> None:
    row = looked(project, alice, "metrics.csv", CSV)
    taken(row, alice)
    run_removal.delete(run=Run.objects.get(name="a"))
    assert taken(looked(project, alice, "metrics.csv", CSV), alice)["new"] == 1


RUN_ID = "0123456789abcdef" * 2
META = f"run_id: {RUN_ID}\nrun_name: small\nstatus: 3\nexperiment_id: '0'\n".encode()


def test_files_beside_a_run_are_kept_by_their_names_and_read_by_nobody(
    project: Project, alice: User
) -> None:
    home = f"mlruns/0/{RUN_ID}"
    files = {
        f"{home}/meta.yaml": META,
        f"{home}/metrics/loss": b"1000 0.5 1\n",
        f"{home}/artifacts/plots/a.png": b"picture",
        f"{home}/artifacts/meta.yaml": b"run_id: another",
        f"{home}/artifacts/old.wandb": b"no run of W&B",
        f"{home}/artifacts/weights.db": b"SQLite format 3\x00",
        f"{home}/other/artifacts/x": b"of nobody",
    }
    row = looked(project, alice, "mlruns.zip", zipped(**files))
    [found] = report(row)["found"]
    assert (found["name"], found["files"]) == ("small", 4)
    assert not TrackedFile.objects.exists()  # it only looked

    assert taken(row, alice)["files"] == 4
    run = Run.objects.get()
    told = {file.path for _, kept in tracked_files.of_run(run) for file in kept}
    assert told == {"meta.yaml", "old.wandb", "plots/a.png", "weights.db"}
    page = signed_in(alice).get(f"/p/intents/runs/{run.number}/?tab=artifacts").content.decode()
    [address] = [one for one in re.findall(r'href="([^"]*)"', page) if one.endswith("a.png")][:1]
    assert b"".join(signed_in(alice).get(address)) == b"picture"
    listed = api_of(alice).get(f"/api/v1/projects/intents/runs/{run.number}/artifacts/").json()
    assert len(listed["results"]) == 4

    files[f"{home}/artifacts/plots/a.png"] = b"another picture"
    again = taken(looked(project, alice, "mlruns.zip", zipped(**files)), alice)
    assert (again["grown"], again["files"]) == (1, 1)
    again = taken(looked(project, alice, "mlruns.zip", zipped(**files)), alice)
    assert (again["same"], again["files"]) == (1, 0)
    assert run_removal.losses(run=run).files == 4
    run_removal.delete(run=run)
    assert not TrackedFile.objects.exists()


def test_files_that_are_too_many_too_large_or_oddly_called_are_told() -> None:
    def nothing() -> Any:
        raise AssertionError

    sizes = {"large.bin": limits.FILE + 1, "../up": 1, "a//b": 1, "a\\b": 1, "x" * 1001: 1, "ok": 1}
    run = FoundRun(key=f"mlflow:{RUN_ID}", name="small")
    run_files.lay(run, [FoundFile(path, size, nothing) for path, size in sizes.items()])
    assert [file.path for file in run.files] == ["ok"]
    assert len(run.left_out) == 5
    run_files.lay(run, [FoundFile(f"n{number}", 1, nothing) for number in range(2000)])
    assert len(run.files) == limits.FILES_OF_RUN
    assert run.left_out[-1] == "Files beyond the first 1,000."


def test_a_file_longer_than_it_says_is_left_out(tmp_path: Path) -> None:
    run = FoundRun(key=f"mlflow:{RUN_ID}", name="small")
    run.files = [
        FoundFile("short", 3, lambda: io.BytesIO(b"abc")),
        FoundFile("long", 3, lambda: io.BytesIO(b"abcd")),
    ]
    with Writer(tmp_path, keeps=lambda run: True) as out:
        out.add(run)
    [line] = lines(tmp_path)
    assert [(file["path"], file["bytes"]) for file in line["files"]] == [("short", 3)]
    assert line["left_out"] == ["The file long: it is longer than it says."]
    assert [one.name for one in (tmp_path / "files").iterdir()] == ["0"]
