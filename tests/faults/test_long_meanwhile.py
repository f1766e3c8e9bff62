"""What people do while something trains, or on a disk that is full: nothing is lost, and nothing
of it stays where it does not belong. `make faults`."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import check_finished, check_nothing_left, check_told
from tests.faults.conftest import Struck, ready, strike_at
from tests.faults.stack import PROJECT, Stack, Watched, after, send, started, table, visited
from tests.site import servers
from tests.site.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.xdist_group("faults-long")]

DAYS = 2 * 86_400.0
LONGER = {"training": {"epochs": 100}}  # than a backup or a restart takes
TABS = ("overview", "curves", "evaluation", "logs", "machine", "configuration", "artifacts")


# -- a metric that is no number ------------------------------------------------------------------


def of_numbers() -> bytes:
    """Sentences with a number each; in validation it is always the same, so that no rank
    correlation can be told."""
    lines = ["text,label,split"]
    for row, line in enumerate(table().decode().splitlines()[1:]):
        split = ("train", "validation", "test")[0 if row % 10 < 8 else row % 10 - 7]
        number = 3.0 if split == "validation" else (row * 7 % 50) / 10
        lines.append(f"{line.rsplit(',', 1)[0]},{number},{split}")
    return "\n".join(lines).encode()


def test_a_metric_that_is_no_number_says_so_everywhere_and_training_goes_on(
    embedded: Struck,
) -> None:
    stack = embedded.stack
    columns = json.dumps({"text": "text", "label": "label", "split": "split"})
    stack.add_dataset(
        "steady", "text-classification", "steady.csv", of_numbers(),
        problem="regression", columns=columns,
    )  # fmt: skip
    run = stack.launch(dataset="steady@1")
    assert run.until_over() == "finished", str(run)
    check_told(run, "Finished")

    series = strict(send(stack, f"{run.path}/metrics/"))["series"]
    assert set(series["val/spearman"]["values"]) == {"NaN"}
    assert len(series["val/spearman"]["steps"]) == len(series["val/rmse"]["steps"]) == 20
    assert all(isinstance(one, float) for one in series["val/rmse"]["values"])
    read = strict(send(stack, f"{run.path}/"))
    assert read["metrics"]["val/spearman"] == "NaN"
    assert strict(send(stack, f"{run.path}/evaluation/"))

    for tab in TABS:
        status, page = stack.page(f"/p/faults/runs/{run.number}/?tab={tab}")
        assert status == 200
        for figure in page.split('type="application/json"')[1:]:
            strict_json(figure[figure.index(">") + 1 : figure.index("</script>")])
    assert "spearman" in stack.page(f"/p/faults/runs/{run.number}/?tab=curves")[1].lower()
    status, live = stack.page(f"/p/faults/runs/{run.number}/live/")
    assert status == 200
    assert set(strict_json(live)["series"]["val/spearman"]["values"]) == {"NaN"}
    ordered = strict(send(stack, f"{PROJECT}/runs/?order=-metrics.val/spearman"))["results"]
    assert run.number in {one["number"] for one in ordered}


def strict(answer: tuple[int, Any, bytes]) -> Any:
    status, _, content = answer
    assert status == 200, content
    return strict_json(content)


def strict_json(content: str | bytes) -> Any:
    """JSON as browsers read it, which know no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {content[:500]!r}")

    return json.loads(content, parse_constant=refuse)


# -- deleting ------------------------------------------------------------------------------------


def delete(stack: Stack, path: str) -> tuple[int, Any]:
    status, _, content = send(stack, f"{path}/", method="DELETE")
    return status, json.loads(content or b"null")


def test_a_run_in_training_is_not_deleted_and_keeps_what_it_shares_with_a_deleted_one(
    embedded: Struck, chance: random.Random
) -> None:
    """Two equal runs have one file of weights between them."""
    stack = embedded.stack
    over, run = stack.launch(), stack.launch()
    assert over.until_over() == "finished", str(over)
    strike_at(run, embedded, chance)
    refused, answer = delete(stack, run.path)
    assert (refused, answer["code"]) == (409, "not_over"), answer
    assert "cancel it first" in answer["detail"]
    assert delete(stack, over.path)[0] == 204
    assert stack.ask(f"{over.path}/")[0] == 404
    run.until_over()
    nothing_of(over)
    check_finished(run, embedded.undisturbed)


@pytest.mark.parametrize("moment", ["queued", "training"])
def test_cancelled_and_deleted_at_once_leaves_nothing(
    embedded: Struck, chance: random.Random, moment: str
) -> None:
    stack = embedded.stack
    before = stack.launch() if moment == "queued" else None
    run = stack.launch()
    if moment == "training":
        strike_at(run, embedded, chance)
    status, answer = run.cancel()
    assert status == 200, answer
    refusals = Counter[str]()
    while (found := delete(stack, run.path))[0] != 204:
        assert found[0] == 409, found
        refusals[found[1]["code"]] += 1
        after(0.05)
    assert set(refusals) <= {"not_over"}
    nothing_of(run)
    if before is not None:
        check_finished(before, embedded.undisturbed)


def test_a_project_that_is_archived_while_it_trains_loses_nothing(
    embedded: Struck, chance: random.Random
) -> None:
    stack = embedded.stack
    runs = [stack.launch() for _ in range(2)]
    strike_at(runs[0], embedded, chance)
    assert delete(stack, PROJECT)[0] == 204
    try:
        for run in runs:
            check_finished(run, embedded.undisturbed)
    finally:
        send(stack, f"{PROJECT}/", {"archived": False}, method="PATCH")
    assert stack.get(f"{PROJECT}/")["archived_at"] is None


def nothing_of(run: Watched) -> None:
    """No row names a deleted run, and its folder goes when it is old enough."""
    stack = run.stack
    for name in ("runevent", "logchunk", "artifact", "checkpoint", "metricseries"):
        query = f"SELECT count(*) FROM training_{name} WHERE run_id = ?"
        assert stack.rows(query, run.pk) == [(0,)], name
    orphans = "SELECT count(*) FROM training_metricseries WHERE run_id IS NULL"
    until(lambda: stack.rows(orphans) == [(0,)], what=lambda: str(stack.rows(orphans)))
    folder = stack.home / "jobs" / str(run.pk)
    if folder.exists():
        old = time.time() - DAYS
        os.utime(folder, (old, old))
        worker = stack.workers[0]
        worker.stop()
        stack.replace(worker)  # one that starts looks around
        until(lambda: not folder.exists(), what=lambda: str(list(folder.iterdir())))
    check_nothing_left(stack)


# -- a full disk ---------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder on a disk of its own with hardly any room. Where nobody may mount, it is left
    out."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here; tests/site/test_bodies.py limits files instead")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("where", ["uploading", "files", "ingesting"])
def test_a_dataset_that_is_uploaded_onto_a_full_disk_is_refused_and_sent_again(
    embedded: Struck, where: str
) -> None:
    """On its way, in storage, and while a worker makes rows of it."""
    stack = embedded.stack
    name = f"full-{where}"
    form = {"name": name, "task": "text-classification", "file": ("a.csv", table(rows=40_000))}
    address = f"{PROJECT}/datasets/{name}"
    with small_disk(stack.home / where) as disk:
        status, answer = stack.ask(f"{PROJECT}/datasets/", form=form)
        if where == "ingesting":
            assert status == 201, answer
            path = f"{address}/versions/1/"
            until(lambda: stack.get(path)["status"] == "failed", what=lambda: str(stack.get(path)))
            answer = stack.get(path)["error"]
        else:
            assert status == 503, answer
            assert stack.ask(f"{address}/")[0] == 404
        assert answer["code"] == "disk_full"
        assert "disk" in answer["detail"]
        assert "full" in answer["detail"]
        until(
            lambda: [one for one in disk.rglob("*") if one.is_file()] == [],
            what=lambda: str(list(disk.rglob("*"))),
        )
    made = stack.post(f"{PROJECT}/datasets/", form=form)
    stack.until_ready(f"{address}/versions/{made['version']}/")
    assert stack.get(f"{address}/versions/{made['version']}/")["rows"] == 40_000


# -- deployment and loss -------------------------------------------------------------------------


def test_every_process_is_replaced_under_load_and_nobody_notices(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("rolling")
    with (
        servers.postgres_server() as database,
        servers.redis_server(folder / "redis") as broker,
        started(
            Stack(folder, database=database, broker=broker, web_processes=2), [{}, {}]
        ) as stack,
    ):
        struck = ready(stack, **LONGER)
        runs = [stack.launch(**LONGER) for _ in range(4)]
        strike_at(runs[0], struck, chance)
        with visited(stack, runs[0]) as answers:
            told = len(answers)
            stack.web.process.send_signal(signal.SIGHUP)
            for worker in list(stack.workers):
                another = stack.add_worker(**worker.options).ready()
                stack.retire(worker)
                assert another.process.poll() is None
            stack.beat.stop()
            stack.others.remove(stack.beat)
            stack.beat = stack.run("beat")
            launched = stack.launch(**LONGER)
            for run in [*runs, launched]:
                check_finished(run, struck.undisturbed)
                assert run.column("times_lost") == 0
        statuses = Counter(status for status, _ in answers)
        assert set(statuses) == {200}, statuses
        print(f"{len(answers) - told} requests were answered meanwhile")


@pytest.mark.parametrize("kind", ["embedded", "served"])
def test_a_backup_made_while_three_train_is_restored_into_an_empty_box(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("backup")
    kept = folder / "hub.tar"
    with contextlib.ExitStack() as around:

        def box(name: str) -> Stack:
            (folder / name).mkdir()
            if kind == "embedded":
                return Stack(folder / name)
            database = around.enter_context(servers.postgres_server())
            broker = around.enter_context(servers.redis_server(folder / name / "redis"))
            return Stack(folder / name, database=database, broker=broker)

        workers: list[dict[str, Any]] = [{}, {}] if kind == "served" else [{}]
        with started(box("lost"), workers) as lost:
            struck = ready(lost, **LONGER)
            runs = [lost.launch(**LONGER) for _ in range(3)]
            strike_at(runs[0], struck, chance)
            lost.command("backup", str(kept))
            lost.lose()
        empty = box("empty")
        empty.token = lost.token  # tokens are those of then
        said = empty.command("restore", str(kept))
        assert f"Run faults/{runs[0].number}: Restored from the backup of" in said
        around.callback(empty.end)
        empty.open(workers)
        for place, run in enumerate(runs):
            says = ["Restored from the backup of"] if place == 0 else []
            check_finished(Watched(empty, run.number), struck.undisturbed, *says)
