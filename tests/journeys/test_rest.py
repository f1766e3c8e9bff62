"""The same way through REST alone: a token, a dataset, a teacher, a student, a run and its
control, the numbers, the file."""

import io
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import APIRequestContext, Playwright
from safetensors.numpy import load

from tests.journeys.conftest import Stack

pytestmark = pytest.mark.slow

PATIENCE = 150.0  # seconds for what a worker does, on a busy machine


@pytest.fixture(scope="module")
def api(stack: Stack, playwright: Playwright) -> Iterator[APIRequestContext]:
    token = stack.command("create-token", "robot", "--create")
    client = playwright.request.new_context(
        base_url=f"{stack.address}/api/v1/",
        extra_http_headers={"Authorization": f"Bearer {token}"},
        timeout=60_000,
    )
    yield client
    client.dispose()


def post(api: APIRequestContext, path: str, **sent: Any) -> dict[str, Any]:
    answer = api.post(path, **sent)
    assert answer.status == 201, answer.text()
    made: dict[str, Any] = answer.json()
    return made


def settled(api: APIRequestContext, path: str) -> dict[str, Any]:
    """What is there once a worker is done with it."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        body: dict[str, Any] = api.get(path).json()
        if body["status"] in {"ready", "finished"}:
            return body
        assert body["status"] not in {"failed", "cancelled"}, body["error"]
        time.sleep(0.3)
    raise AssertionError(f"{path} is still {body['status']}.")


def register(api: APIRequestContext, name: str, role: str, **config: int) -> dict[str, Any]:
    source = {"kind": "architecture", "architecture": "bag_of_embeddings", "config": config}
    asked = {"name": name, "role": role, "task": "text-classification", "source": source}
    post(api, "projects/robots/models/", data=asked)
    return settled(api, f"projects/robots/models/{name}/versions/1/")


def launch(api: APIRequestContext, **configuration: Any) -> dict[str, Any]:
    training = {"epochs": 6, "learning_rate": 0.01}
    asked = {"task": "text-classification", "dataset": "intents", "training": training}
    return post(api, "projects/robots/runs/", data=asked | configuration)


def test_a_program_distils_a_text_classifier(api: APIRequestContext, texts: bytes) -> None:
    assert post(api, "projects/", data={"name": "Robots"})["slug"] == "robots"
    post(
        api,
        "projects/robots/datasets/",
        multipart={
            "name": "intents",
            "task": "text-classification",
            "file": {"name": "intents.csv", "mimeType": "text/csv", "buffer": texts},
        },
    )
    data = settled(api, "projects/robots/datasets/intents/versions/1/")
    assert data["rows"] == sum(split["rows"] for split in data["splits"].values())
    large = register(api, "large", "teacher", vocabulary=2000, dim=64)
    tiny = register(api, "tiny", "student", vocabulary=500, dim=4)
    assert large["parameters"] > 20 * tiny["parameters"]

    # A chain: the second run waits for the first one's model, and is let go by it.
    tuned = launch(api, student="large@1")
    distilled = launch(api, student="tiny@1", teachers=[f"run/{tuned['number']}"])
    assert distilled["status"] == "waiting"
    assert distilled["config"]["losses"][0]["kind"] == "soft_targets"  # the default with a teacher
    number = distilled["number"]
    done = settled(api, f"projects/robots/runs/{number}/")
    control = settled(api, f"projects/robots/runs/{number + 1}/")
    assert (done["output"], done["teachers"]) == ("tiny@2", ["large@2"])
    assert control["control_of"] == number
    assert control["output"] is None

    metrics = api.get(f"projects/robots/runs/{number}/metrics/").json()["series"]
    steps = metrics["train/loss"]["steps"]
    assert steps == sorted(set(steps))
    assert {"train/soft_targets", "train/hard_labels", "val/accuracy", "val/agreement"} <= set(
        metrics
    )
    comparison = compared(api, number)
    low, high = comparison["interval"]
    assert low <= comparison["difference"] <= high
    assert comparison["answer"] in {"helped", "no_evidence", "hurt"}

    version = api.get("projects/robots/models/tiny/versions/2/").json()
    assert version["run"] == number
    assert version["labels"] == data["labels"]
    packed = api.get("projects/robots/models/tiny/versions/2/download/")
    with zipfile.ZipFile(io.BytesIO(packed.body())) as archive:
        weights = load(archive.read("model.safetensors"))
    assert sum(tensor.size for tensor in weights.values()) == version["parameters"]


def compared(api: APIRequestContext, number: int) -> dict[str, Any]:
    """The comparison comes right after the later of the two runs."""
    for _ in range(50):
        found: dict[str, Any] | None = api.get(f"projects/robots/runs/{number}/").json()[
            "comparison"
        ]
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("The run was not compared with its control.")


def test_a_program_without_a_token_gets_nothing(stack: Stack, playwright: Playwright) -> None:
    nobody = playwright.request.new_context()
    answer = nobody.get(f"{stack.address}/api/v1/projects/")
    assert answer.status == 401
    assert set(answer.json()) == {"detail", "code", "fields"}
    nobody.dispose()
