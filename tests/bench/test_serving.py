"""Printed, not asserted: what predictions take, cold and warm, alone and together, and the memory
of the process that answers.

Goals: a warm answer of a small model in under 5 ms (median, REST apart); 32 inputs in one request
at least twice as fast as 32 requests; 32 callers at once at least as fast as a loop of one.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import LazySettings

from distillhub.lib import storage
from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from tests.engine import jobs
from tests.engine.test_serving import made
from training.worker import predictor
from training.worker.predictor import Model

pytestmark = [pytest.mark.bench, pytest.mark.django_db]

KINDS = {
    "bag of embeddings": ("bag_of_embeddings", {"dim": 64, "vocabulary": 60}),
    "transformer of 4 layers of 256": (
        "bert",
        {
            "hidden_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
        },
    ),
}
TEXT = "please help me with the card that my order was to be paid with now"
CALLS, ROUNDS, CALLERS = 300, 20, 32


@pytest.fixture
def home(own_files: None, tmp_path: Path, settings: LazySettings) -> Iterator[None]:
    settings.DISTILLHUB_HOME = tmp_path / "home"
    yield
    predictor.hang_up()


def stored(folder: Path, architecture: str, asked: jobs.JSON) -> Model:
    dataset = jobs.texts(folder / "dataset.parquet")
    home = made(folder, dataset, "text-classification", architecture, asked)
    files = []
    for path in sorted(home.iterdir()):
        blob = storage.put(path)
        files.append({"name": path.name, "sha256": blob.sha256, "bytes": blob.bytes})
    return Model("bench@1", "text-classification", tuple(files))


def spread(times: list[float]) -> str:
    ordered = sorted(times)
    p95 = ordered[int(0.95 * len(ordered))]
    return f"median {1e3 * statistics.median(times):.2f} ms, p95 {1e3 * p95:.2f} ms"


def timed(work: Callable[[], object], many: int) -> list[float]:
    found = []
    for _ in range(many):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("home")
def test_predictions(kind: str, tmp_path: Path, project: Project, vera: User) -> None:
    model = stored(tmp_path, *KINDS[kind])
    one = [{"text": TEXT}]

    began = time.perf_counter()
    predictor.predict(model, one)
    cold = time.perf_counter() - began
    status = predictor.status()
    assert status is not None
    print(f"\n{kind}, {sum(one['bytes'] for one in model.files) / 1e6:.1f} MB")
    print(f"cold: {cold:.2f} s until the first answer, the process's start included")

    single = timed(lambda: predictor.predict(model, one), CALLS)
    warm = statistics.median(single)
    print(f"warm, one input: {spread(single)}; cold is {cold / warm:,.0f} times as long")
    batch = timed(lambda: predictor.predict(model, one * 32), ROUNDS)
    ratio = 32 * warm / statistics.median(batch)
    print(f"32 inputs in one request: {spread(batch)}; {ratio:.1f} times as fast as 32 requests")

    def caller(found: list[float]) -> None:
        found += timed(lambda: predictor.predict(model, one), ROUNDS)

    before = predictor.status()
    assert before is not None
    times: list[float] = []
    threads = [threading.Thread(target=caller, args=(times,)) for _ in range(CALLERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    joined = CALLERS * ROUNDS / (time.perf_counter() - began)
    after = predictor.status()
    assert after is not None
    held, then = after["models"][-1], before["models"][-1]
    together = (held["requests"] - then["requests"]) / (held["batches"] - then["batches"])
    print(
        f"{CALLERS} callers at once: {joined:,.0f} requests a second, {spread(times)}; a loop of "
        f"one: {1 / warm:,.0f}, {joined * warm:.2f} times; "
        f"{together:.1f} requests a batch"
    )
    files = [dict(file) for file in model.files]
    labels = list(jobs.LABELS)
    make.model_version(project, "bench", files=files, labels=labels, source={"kind": "run"})
    client, path = api_of(vera), "/api/v1/projects/intents/models/bench/versions/1/predict/"
    rest = timed(lambda: client.post(path, {"inputs": [TEXT]}, format="json"), 100)
    print(f"through REST (without the network): {spread(rest)}")
    used = psutil.Process(status["pid"]).memory_info()
    print(f"memory: {used.rss / 1e6:.0f} MB in all, with {held['bytes'] / 1e6:.1f} MB of weights")
