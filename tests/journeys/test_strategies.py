"""Which way is worth it? A study of strategies on real questions, begun by the form of a new run
and read until it concludes; and a smaller one through REST."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIRequestContext, Page, Playwright, expect

from tests.journeys.conftest import Stack
from tests.journeys.test_rest import post, settled

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOME = "projects/questions"
INTENTS, ROWS, LABELLED = 5, 60, 4  # of each intent so many rows, of which so many have a label
OVER = 150_000  # ms: thirteen short runs on a busy machine


@pytest.fixture(scope="module")
def api(stack: Stack, playwright: Playwright) -> Iterator[APIRequestContext]:
    """The person who signs in, as a program."""
    client = playwright.request.new_context(
        base_url=f"{stack.address}/api/v1/",
        extra_http_headers={"Authorization": f"Bearer {stack.command('create-token', 'admin')}"},
        timeout=60_000,
    )
    yield client
    client.dispose()


def questions(data: Path, labelled: int) -> dict[str, Any]:
    """Of some intents of banking77; few training rows keep their label."""
    with (data / "banking77" / "train.csv").open(newline="", encoding="utf-8") as file:
        every = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    out = io.StringIO()
    write = csv.writer(out)
    write.writerow(("text", "label", "split"))
    for label in sorted({label for _, label in every})[:INTENTS]:
        for place, (text, _) in enumerate([row for row in every if row[1] == label][:ROWS]):
            split = "test" if place % 4 == 3 else "validation" if place % 8 == 2 else "train"
            hidden = split == "train" and place > 2 * labelled
            write.writerow((text, "" if hidden else label, split))
    return {"name": "q.csv", "mimeType": "text/csv", "buffer": out.getvalue().encode()}


@pytest.fixture(scope="module")
def ready(api: APIRequestContext, shared_data: Path) -> None:
    """All labels for the teacher, who learns from them; few for its students."""
    post(api, "projects/", data={"name": "Questions"})
    for name, labelled in (("all", ROWS), ("few", LABELLED)):
        file = questions(shared_data, labelled)
        sent = {"name": name, "task": "text-classification", "file": file}
        post(api, f"{HOME}/datasets/", multipart=sent)
        settled(api, f"{HOME}/datasets/{name}/versions/1/")
    for name, role, dim in (("large", "teacher", 48), ("tiny", "student", 8)):
        source = {"kind": "architecture", "architecture": "bag_of_embeddings"}
        source |= {"config": {"dim": dim, "vocabulary": 1000}}  # type: ignore[dict-item]
        asked = {"name": name, "role": role, "task": "text-classification", "source": source}
        post(api, f"{HOME}/models/", data=asked)
        settled(api, f"{HOME}/models/{name}/versions/1/")
    training = {"epochs": 25, "learning_rate": 0.01}
    asked = {"task": "text-classification", "dataset": "all", "student": "large@1"}
    run = post(api, f"{HOME}/runs/", data={**asked, "training": training})
    settled(api, f"{HOME}/runs/{run['number']}/")


def test_one_form_compares_the_ways_and_concludes_in_words(
    visitor: Page, stack: Stack, ready: None
) -> None:
    visitor.goto(
        f"{stack.address}/p/questions/runs/new/?repeat=strategies&dataset=few@1&student=tiny@1"
        "&teacher=large@2"
    )
    visitor.locator("[name='training.epochs']").fill("15")
    visitor.locator("[name='training.learning_rate']").fill("0.01")
    expect(visitor.locator("#id_repeat")).to_have_value("strategies")
    expect(visitor.locator("#run-summary .problems")).to_have_count(0)
    visitor.get_by_role("button", name="Start the study").click()
    expect(visitor.get_by_role("progressbar", name="Progress of the study")).to_be_visible()
    expect(visitor.get_by_text("has no weights yet")).to_be_visible()
    concluded = visitor.get_by_role("region", name="Which way is best?")
    expect(concluded).to_contain_text("On validation rows", timeout=OVER)
    expect(concluded).to_contain_text("training on labels alone")
    table = visitor.get_by_role("region", name="Ways of training")
    for way in ("Labels alone", "Labels that the teacher names", "Distilled", "trained first"):
        expect(table).to_contain_text(way)
    expect(visitor.get_by_role("figure").filter(has_text="Test accuracy and time")).to_be_visible()


def test_a_program_asks_the_same_in_one_post(api: APIRequestContext, ready: None) -> None:
    training = {"epochs": 15, "learning_rate": 0.01}
    base = {
        "task": "text-classification", "dataset": "few@1", "student": "tiny@1",
        "teachers": ["large@2"], "training": training,
    }  # fmt: skip
    asked = {"kind": "strategies", "base": base, "seeds": 1, "arms": ["pseudo_labels"]}
    made = post(api, f"{HOME}/studies/", data=asked)
    told = settled(api, f"{HOME}/studies/{made['number']}/")
    assert [one["arm"] for one in told["table"]] == ["control", "pseudo_labels", "distilled"]
    assert told["conclusion"]["best"] in {"control", "pseudo_labels", "distilled"}
    assert told["verdict"]["answer"] in {"helped", "no_evidence", "hurt"}
    assert all(one["cost"]["energy_wh"] > 0 for one in told["table"])
