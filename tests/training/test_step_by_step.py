"""Distilling step by step, the whole way as people go it: questions and people's reasons are two
files, joined by id; a teacher behind an API writes reasons, too; students learn answers alone, or
answers beside reasons, in as many steps, and are held against each other.

Small, so that it is quick. The whole, as in docs/results.md:

    STEP_ROWS=3000 STEP_TEST=950 STEP_SEEDS=3 STEP_EPOCHS=8 \\
        pytest tests/training/test_step_by_step.py -s -m slow
"""

import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from distillhub.lib import storage
from projects.models import DatasetVersion, Project, User
from tests.bench.results import Ran, difference
from tests.conftest import api_of
from tests.training.api_server import Body, Service, prompt_of, serving
from tests.training.test_annotate import make_all
from tests.training.test_asking_apis import teacher as api_teacher
from training.engine import networks, sampling
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Place
from training.models import Artifact, Run
from training.worker import folders
from training.worker import networks as inspection
from training.worker import runs as executing

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

BASE = "/api/v1/projects/intents/"
ROWS = int(os.environ.get("STEP_ROWS", "80"))  # that students learn from; the teacher from others
TEST = int(os.environ.get("STEP_TEST", "40"))
SEEDS = int(os.environ.get("STEP_SEEDS", "1"))
EPOCHS = int(os.environ.get("STEP_EPOCHS", "1"))  # of answers and reasons; twice of answers alone
WHOLE = ROWS > 1000
GRU: dict[str, Any] = {"vocabulary": 2000, "max_length": 128, "dim": 64, "hidden": 128}
PUPIL = GRU if WHOLE else GRU | {"vocabulary": 300, "dim": 8, "hidden": 16}
TEACHER = GRU | {"dim": 128, "hidden": 384} if WHOLE else PUPIL
MOST = 40  # tokens of a reason
WARM = 0.7  # temperature: at 0 it says the same few sentences of everything
QUESTION = "{text}\n{question.choices | list}"
WHY = "\n\nThe right answer is:\n{answerKey}\n\nSay why."  # as `annotate` asks a service


@pytest.fixture(autouse=True)
def on_loopback(settings: LazySettings) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as one:
        yield one


def lines(folder: Path, name: str, first: int, end: int | None) -> bytes:
    home = folder / "cos_e_rationales"
    return b"\n".join((home / name).read_bytes().splitlines()[first:end])


def upload(client: APIClient, name: str, text: str, content: bytes, test: bytes = b"") -> None:
    body = {
        "name": name,
        "task": "text-generation",
        "file": SimpleUploadedFile("train.jsonl", content),
        "columns": json.dumps({"text": text, "id": "id"}),
    }
    if test:
        body["test_file"] = SimpleUploadedFile("test.jsonl", test)
    made = client.post(f"{BASE}datasets/", body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()


def change(client: APIClient, name: str, **asked: Any) -> DatasetVersion:
    made = client.post(f"{BASE}datasets/{name}/versions/", asked, format="json")
    assert made.status_code == 201, made.data
    make_all()
    version = DatasetVersion.objects.get(dataset__name=name, number=made.data["version"])
    assert version.is_ready, version.error
    return version


def ran(
    client: APIClient, dataset: str, network: dict[str, Any], losses: list[Any], **training: Any
) -> Run:
    name = f"net-{Run.objects.count()}"
    source = {"kind": "architecture", "architecture": "gru_language_model", "config": network}
    asked = {"name": name, "role": "student", "task": "text-generation", "source": source}
    made = client.post(f"{BASE}models/", asked, format="json")
    assert made.status_code == 201, made.data
    version = Project.objects.get().models.get(name=name).versions.get()
    inspection.WORK.carry_out(version.pk)
    common = {"batch_size": 16, "learning_rate": 5e-3, "schedule": "cosine"}
    configuration = {
        "task": "text-generation",
        "dataset": dataset,
        "student": f"{name}@1",
        "losses": losses,
        "control": False,
        "training": common | {"selection_metric": "val/perplexity"} | training,
    }
    started = client.post(f"{BASE}runs/", configuration, format="json")
    assert started.status_code == 201, started.data
    run = Run.objects.get(number=started.json()["number"])
    executing.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "finished", run.error
    return run


def writer(run: Run, folder: Path) -> Callable[[Body], str]:
    """The run's network as a service: it says why, as it learned to."""
    assert run.output is not None, run.error
    folders.place_files(run.output, folder)
    network = networks.load("teacher", folder, "text-generation")
    own = network.preprocessing
    assert isinstance(own, LanguagePreprocessing)
    place, one_at_a_time = Place.choose("float32"), threading.Lock()

    def says(body: Body) -> str:
        asked = "".join(prompt_of(body).partition(WHY[-8:])[:2])  # behind it: how to answer
        with one_at_a_time:
            (written,) = sampling.write(
                network.module, place, [own.prompt(asked)], most=MOST,
                window=own.max_length + 1, temperature=WARM, end=own.end,
                chance=sampling.chance_of(zlib.crc32(asked.encode())),
            )  # fmt: skip
        ended = bool(written) and written[-1] == own.end
        said = own.decode(written[:-1] if ended else written)
        return json.dumps({"rationale": said.strip() or "?"})

    return says


def values(run: Run) -> tuple[Ran, Ran]:
    """Of the test rows in their order: whether the whole answer is foreseen, and bits a
    character."""
    artifact = Artifact.objects.get(run=run, kind="predictions")
    with storage.open_blob(artifact.sha256) as file:
        table = pq.read_table(file)
    order = np.argsort(table["row_id"].to_numpy())
    right = (table["right_tokens"].to_numpy() == table["tokens"].to_numpy())[order].astype(float)
    bits = table["student_value"].to_numpy()[order]
    return tuple(Ran(0.0, 0.0, 0, test=float(one.mean()), values=one) for one in (right, bits))  # type: ignore[return-value]


@pytest.mark.slow
def test_questions_and_reasons_are_joined_a_teacher_gives_reasons_and_both_ways_are_compared(
    project: Project, erin: User, shared_data: Path, service: Service, tmp_path: Path
) -> None:
    client = api_of(erin)
    questions, reasons = "train_rand_split.jsonl", "cose_train_v1.0_processed.jsonl"
    dev, dev_reasons = "dev_rand_split.jsonl", "cose_dev_v1.0_processed.jsonl"
    test = lines(shared_data, dev, 0, TEST)
    upload(client, "quiz", "question.stem", lines(shared_data, questions, 0, ROWS), test)
    upload(client, "other", "question.stem", lines(shared_data, questions, ROWS, 2 * ROWS), test)
    both = lines(shared_data, reasons, 0, None) + b"\n" + lines(shared_data, dev_reasons, 0, None)
    upload(client, "why", "explanation.open-ended", both)

    # The template is the project's, with a version; questions get their choices and their reasons.
    made = client.post(f"{BASE}templates/", {"name": "choose", "text": QUESTION})
    assert made.status_code == 201, made.data
    for name in ("quiz", "other"):
        change(client, name, operation="join", other="why",
               take=["explanation.open-ended"], unmatched="leave_out")  # fmt: skip
    change(client, "quiz", operation="template", template="choose", into="prompt")
    given = change(
        client, "quiz", operation="columns",
        roles={"text": "answerKey", "rationale": "explanation.open-ended"},
    )  # fmt: skip
    assert {one["role"]: one["name"] for one in given.columns}["rationale"] == "rationale"
    page = client.get(f"{BASE}datasets/quiz/versions/{given.number}/rows/?limit=1").json()
    first = page["results"][0]
    assert first["prompt"].splitlines()[1].startswith("A: ")
    assert first["text"] in "ABC"
    assert first["rationale"]

    # A teacher that learned to say why of other questions is asked about these.
    change(client, "other", operation="template", into="prompt", text=QUESTION + WHY)
    change(client, "other", operation="columns", roles={"text": "explanation.open-ended"})
    hard = [{"kind": "hard_labels", "weight": 1.0}]
    explainer = ran(client, "other", TEACHER, hard, epochs=EPOCHS)
    service.answer = writer(explainer, tmp_path / "teacher")
    teacher = api_teacher(project, service, timeout=60.0)
    bare = change(
        client, "quiz", operation="columns", version=3,
        roles={"text": "answerKey"}, drop=["explanation.open-ended"],
    )  # fmt: skip
    told = change(client, "quiz", operation="annotate", version=bare.number, split="train",
                  teacher=teacher.reference, write=["rationale"])  # fmt: skip
    report = told.statistics["operation"]
    assert (report["answered"], report["reasons"]) == (report["rows"], {})
    assert report["rows"] == told.splits["train"]["rows"]
    assert float(report["cost"]) > 0
    address = f"{BASE}datasets/quiz/versions/{told.number}/rows/?split=train&limit=500"
    said = [row["rationale"] for row in client.get(address).json()["results"]]
    assert all(said)
    if WHOLE:
        assert len(set(said)) > len(said) / 2  # it says something of each question
    measured = {name: explainer.metrics[name] for name in ("test/bits_per_character",)}
    print(f"\nteacher {explainer.summary['student']['parameters']:,} weights, {measured}, {report}")
    print(*said[:5], sep="\n", flush=True)

    presets = client.get("/api/v1/methods/").json()["presets"]
    steps = next(one["losses"] for one in presets if one["key"] == "step_by_step")
    arms = {
        "answers alone": (given.reference, hard, 2 * EPOCHS),
        "people's reasons": (given.reference, steps, EPOCHS),
        "the teacher's reasons": (told.reference, steps, EPOCHS),
    }
    found: dict[str, list[tuple[Ran, Ran]]] = {name: [] for name in arms}
    for seed in range(SEEDS):
        for name, (dataset, losses, epochs) in arms.items():
            run = ran(client, dataset, PUPIL, losses, epochs=epochs, seed=seed)
            found[name].append(values(run))
            right, bits = found[name][-1]
            print(f"seed {seed}, {name}: right {right.test:.4f}, bits a character {bits.test:.4f}, "
                  f"{run.summary['steps']} steps, {run.summary['student']['parameters']:,} weights",
                  flush=True)  # fmt: skip
    for name in list(arms)[1:]:
        for place, (what, falls) in enumerate((("right", False), ("bits a character", True))):
            pair = [[one[place] for one in found[arm]] for arm in (name, "answers alone")]
            if SEEDS > 1:
                print(f"{name} against answers alone, {what}:", difference(*pair, falls=falls))
            assert all(np.isfinite(one.test) for one in pair[0])
