"""The worst of a paid labelling: a service that fails a third of the time, and a worker that is
killed in the middle. Every row is labelled, and nothing is paid for twice."""

import csv
import io
import json
import random
from decimal import Decimal
from pathlib import Path

import pytest

from tests.faults.stack import PROJECT, Stack, started
from tests.site.processes import until
from tests.training.api_server import Body, Service, prompt_of, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("annotate-killed")]

ROWS = 500
KNOWN = 100  # rows that have a label
FAULTS = ("429", "500", "cut", "broken", "503", "no json")


def questions(shared_data: Path) -> list[tuple[str, str]]:
    """(text, label) of unlike questions to a bank, shuffled by a seed."""
    with (shared_data / "banking77/train.csv").open(encoding="utf-8") as file:
        rows = {row["text"].strip(): row["category"] for row in csv.DictReader(file)}
    found = [(text, label) for text, label in rows.items() if "\n" not in text]
    random.Random(5).shuffle(found)
    return found[: KNOWN + ROWS]


def table(rows: list[tuple[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["text", "label"])
    writer.writerows((text, label if at < KNOWN else "") for at, (text, label) in enumerate(rows))
    return out.getvalue().encode()


def test_five_hundred_rows_are_labelled_once_whatever_fails(
    shared_data: Path, tmp_path: Path
) -> None:
    rows = questions(shared_data)
    truth = dict(rows)
    labels = sorted({label for _, label in rows[:KNOWN]})

    def text_of(body: Body) -> str | None:
        said = prompt_of(body).split("\n\n")
        return said[1] if said[0].startswith("Which label") else None

    def knows(body: Body) -> str:
        known = truth.get(text_of(body) or "", "")
        return known if known in labels else labels[0]

    failed: set[str] = set()

    def fails(number: int, body: Body) -> str | None:
        """Every second row once, so that of three requests one fails."""
        text = text_of(body)
        if text is None or text in failed or sum(text.encode()) % 2:
            return None
        failed.add(text)
        return FAULTS[len(failed) % len(FAULTS)]

    service = Service(answer=knows, fault=fails, seconds=0.05, key="sk-right")
    allowed = {"DISTILLHUB_OUTGOING_ALLOW": "127.0.0.0/8"}
    with serving(service), started(Stack(tmp_path, settings=allowed)) as stack:
        source = {
            "kind": "api",
            "api": "openai-chat",
            "base_url": service.base_url,
            "model": "big",
            "key": "sk-right",
            "input_price": "1.00",
            "output_price": "2.00",
            "concurrency": 32,
        }
        asked = {"name": "gpt", "role": "teacher", "task": "text-classification", "source": source}
        stack.post(f"{PROJECT}/models/", asked)
        stack.until_ready(f"{PROJECT}/models/gpt/versions/1/")
        stack.add_dataset("bank", "text-classification", "bank.csv", table(rows))

        body = {"operation": "annotate", "teacher": "gpt", "budget": "1.00"}
        foreseen = stack.post(f"{PROJECT}/datasets/bank/estimate/", body)
        assert (foreseen["rows"], foreseen["asked"], foreseen["cached"]) == (ROWS, ROWS, 0)
        before = len(service.seen)
        stack.post(f"{PROJECT}/datasets/bank/versions/", body)
        until(lambda: len(service.seen) - before > ROWS // 3)
        (worker,) = stack.workers
        worker.kill()
        at_kill = len(service.seen)
        stack.replace(worker)
        stack.until_ready(f"{PROJECT}/datasets/bank/versions/2/")
        made = stack.get(f"{PROJECT}/datasets/bank/versions/2/")

    charged = {
        json.loads(one)["messages"][-1]["content"]: times for one, times in service.charges.items()
    }
    mine = {said: times for said, times in charged.items() if said.startswith("Which label")}
    assert len(mine) == ROWS
    assert set(mine.values()) == {1}
    assert ROWS // 3 < at_kill - before < ROWS + len(failed)
    labelled = sum(sum(one["label_counts"].values()) for one in made["splits"].values())
    assert labelled == KNOWN + ROWS
    report = made["statistics"]["operation"]
    assert (report["answered"], report["reasons"], report["stopped"]) == (ROWS, {}, None)
    assert report["cached"] > 0  # what was asked before the kill
    assert Decimal(report["cost"]) <= Decimal(foreseen["most"]) <= Decimal("1.00")
    print(f"{len(service.seen) - before} requests, {len(failed)} failed, {report}")
