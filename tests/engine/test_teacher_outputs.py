import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine import jobs
from training.engine import data, networks
from training.engine.data import Dataset
from training.engine.errors import Stopped
from training.engine.events import Logged
from training.engine.job_config import DatasetInput
from training.engine.networks import Place
from training.engine.teacher_outputs import Teacher

CPU = Place(torch.device("cpu"))


@pytest.fixture
def dataset(texts: jobs.JSON) -> Dataset:
    return data.open_dataset(
        Path("/"),
        DatasetInput(path=texts["path"], sha256="", fingerprint="f", labels=tuple(texts["labels"])),
    )


def asked(teacher: Path, dataset: Dataset) -> Teacher:
    network = networks.load("big@1", teacher, "text-classification")
    return Teacher(network, teacher, 1.0, dataset, CPU)


def ask(one: Teacher, folder: Path) -> bool:
    """Ask for all training rows; whether the teacher had to answer."""
    heard = list(one.ask("train", folder / "store", folder / "prepared", lambda: False))
    assert sum(heard) in (0, len(one.dataset.splits["train"]))
    return bool(heard)


def test_stored_answers_equal_a_live_teacher(
    tmp_path: Path, teacher: Path, dataset: Dataset
) -> None:
    live, stored = asked(teacher, dataset), asked(teacher, dataset)
    live.prepare(tmp_path / "prepared")
    assert ask(stored, tmp_path)
    rows = dataset.splits["train"][[5, 3, 40, 7]]
    assert torch.allclose(
        live.logits(rows, "train"), stored.logits(rows, "train"), rtol=2e-3, atol=1e-4
    )


def test_a_second_run_pays_no_teacher(tmp_path: Path, texts: jobs.JSON, teacher: Path) -> None:
    said = []
    for name in ("one", "two"):
        folder = jobs.write(
            tmp_path / name, texts, teachers=[str(teacher)],
            teacher_outputs={"mode": "auto", "store": str(tmp_path / "store")},
        )  # fmt: skip
        said.append([one.text for one in jobs.of(jobs.run(folder), Logged) if "big@1" in one.text])
    assert said[1].pop(1) == "Stored answers of big@1 equal live ones on a sample."
    assert all("answered" in text and "before" not in text for text in said[0])
    assert all("had answered before" in text for text in said[1])
    assert jobs.weights(tmp_path / "one") == jobs.weights(tmp_path / "two")


def test_a_live_teacher_trains_the_same_student(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    scores = []
    for mode in ("auto", "live"):
        folder = jobs.write(
            tmp_path / mode, texts, teachers=[str(teacher)],
            teacher_outputs={"mode": mode, "store": str(tmp_path / f"store-{mode}")},
        )  # fmt: skip
        scores.append(jobs.run(folder)[-1].summary)  # type: ignore[union-attr]
    assert scores[0]["student"]["log_loss"] == pytest.approx(
        scores[1]["student"]["log_loss"], rel=1e-3
    )


def test_a_damaged_answer_is_asked_again(tmp_path: Path, teacher: Path, dataset: Dataset) -> None:
    first = asked(teacher, dataset)
    ask(first, tmp_path)
    rows = dataset.splits["train"]
    before = first.logits(rows, "train").clone()
    [path] = (tmp_path / "store").rglob("logits.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.unlink()
    path.write_bytes(bytes(content))
    again = asked(teacher, dataset)
    assert ask(again, tmp_path)
    assert torch.equal(again.logits(rows, "train"), before)


def test_another_teacher_or_dataset_has_another_address(
    tmp_path: Path, teacher: Path, dataset: Dataset
) -> None:
    one = asked(teacher, dataset)
    assert one.key("train") != one.key("test")
    assert one.key("train") == asked(teacher, dataset).key("train")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in teacher.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    said = json.loads((copy / "distillhub.json").read_text())
    (copy / "distillhub.json").write_text(json.dumps({**said, "note": 1}))
    assert asked(copy, dataset).key("train") != one.key("train")


def test_two_at_once_ask_once(tmp_path: Path, teacher: Path, dataset: Dataset) -> None:
    answers: list[bool] = []

    def go() -> None:
        answers.append(ask(asked(teacher, dataset), tmp_path))

    both = [threading.Thread(target=go) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(answers) == [False, True]
    assert not list((tmp_path / "store").rglob("*.part"))


def test_one_that_waits_for_another_can_be_stopped(
    tmp_path: Path, teacher: Path, dataset: Dataset
) -> None:
    import fcntl

    waiting = asked(teacher, dataset)
    key = waiting.key("train")
    lock = tmp_path / "store" / key[:2] / f"{key}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Stopped):
            next(waiting.ask("train", tmp_path / "store", tmp_path, lambda: True))


def test_labels_in_another_order_are_matched_by_name(
    tmp_path: Path, teacher: Path, dataset: Dataset
) -> None:
    straight = asked(teacher, dataset)
    straight.prepare(tmp_path)
    network = networks.load("big@1", teacher, "text-classification")
    turned = replace(dataset, fingerprint="g", names=dataset.names[::-1])
    other = Teacher(network, teacher, 1.0, turned, CPU)
    other.prepare(tmp_path)
    rows = np.array([0, 1, 2])
    assert torch.equal(straight.logits(rows, "x").flip(1), other.logits(rows, "x"))
