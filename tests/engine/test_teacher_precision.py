"""Teachers answer in bfloat16 only where their targets hardly move."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.engine import jobs
from training.engine import data, job_config, networks, teacher_precision
from training.engine.events import Logged
from training.engine.networks import Place
from training.engine.teacher_outputs import Teacher

EXACT = Place(torch.device("cpu"))
HALF = replace(EXACT, half=torch.bfloat16)


@pytest.fixture
def asked(texts: jobs.JSON, teacher: Path) -> Teacher:
    described = job_config.read_dataset(texts, None, [])
    dataset = data.open_dataset(Path(), described)
    network = networks.load("big@1", teacher, "text-classification")
    return Teacher(network, teacher, 1.0, dataset, EXACT)


def test_answers_of_another_precision_are_stored_apart(asked: Teacher) -> None:
    exact = asked.key("train")
    asked.place = HALF
    assert asked.key("train") != exact


def test_what_bfloat16_moves_is_measured(asked: Teacher, tmp_path: Path) -> None:
    found = teacher_precision.measure(asked, (EXACT, HALF), 2.0, tmp_path)
    assert 0 < found.nats < teacher_precision.TOLERANCE
    assert found.agreement == 1.0
    with torch.no_grad():  # a teacher of large logits, whose digits bfloat16 does not hold
        for weight in asked.network.module.parameters():
            weight.mul_(30.0)
    assert not teacher_precision.measure(asked, (EXACT, HALF), 1.0, tmp_path).is_little


def test_a_small_teacher_on_a_cpu_answers_in_float32_unless_asked_by_name(
    asked: Teacher, tmp_path: Path
) -> None:
    store, home = tmp_path / "store", tmp_path / "prepared"
    for precision in ("auto", "float32"):
        assert teacher_precision.choose(asked, 2.0, precision, store, home, ["train"]) == ""
        assert asked.place == EXACT
    asked.place = HALF
    said = teacher_precision.choose(asked, 2.0, "bfloat16", store, home, ["train"])
    assert said.startswith("big@1 answers in bfloat16: its targets move by")
    assert asked.place == HALF
    asked.place = EXACT  # a job that goes on asks what it noted, and measures nothing
    assert teacher_precision.choose(asked, 2.0, "bfloat16", store, home, ["train"]) == ""
    assert asked.place == HALF


def test_a_run_tells_how_precisely_its_teacher_answers(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, teachers=[str(teacher)], evaluate=False,
        training={"precision": "bfloat16", "epochs": 1},
    )  # fmt: skip
    told = [one.text for one in jobs.of(jobs.run(folder), Logged)]
    assert any("answers in bfloat16: its targets move by" in one for one in told)
