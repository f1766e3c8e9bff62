"""What the file of predictions tells of each row besides its answer."""

from pathlib import Path

import numpy as np
import pytest

from tests.engine import jobs
from training.engine import evaluate, measures, side_by_side, softened
from training.engine.data import Dataset
from training.engine.job_config import Problem

CHANCE = np.random.default_rng(0)


def test_few_labels_are_told_whole_and_add_up_to_one() -> None:
    student, teacher = CHANCE.normal(size=(2, 5, 4)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, -1])
    found = side_by_side.columns(student, teacher, labels, np.arange(6), "single_label")
    assert found["classes"].to_pylist() == [[0, 1, 2, 3]] * 5
    for who in ("student", "teacher"):
        shares = np.array(found[f"{who}_probabilities"].to_pylist())
        assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    kl = np.array(found["kl"].to_pylist())
    assert kl.mean() == pytest.approx(evaluate.fidelity(student, teacher)["kl"])
    assert (kl > 0).all()


def test_of_many_labels_the_likeliest_of_both_and_the_true_one_are_told() -> None:
    student, teacher = CHANCE.normal(size=(2, 3, 50)).astype(np.float32)
    labels = np.array([int(student[0].argmin()), 4, -1])
    found = side_by_side.columns(student, teacher, labels, np.arange(4), "single_label")
    for row, told in enumerate(found["classes"].to_pylist()):
        assert {int(student[row].argmax()), int(teacher[row].argmax())} <= set(told)
        assert len(told) <= 2 * side_by_side.MOST + 1
        wide = np.exp(evaluate.log_probabilities(student[row : row + 1]))[0]
        assert found["student_probabilities"][row].as_py() == pytest.approx(wide[told], rel=1e-5)
    assert labels[0] in found["classes"][0].as_py()


def test_rows_of_which_a_teacher_said_nothing_have_no_divergence() -> None:
    student, teacher = CHANCE.normal(size=(2, 3, 4)).astype(np.float32)
    teacher[1] = np.nan
    found = side_by_side.columns(student, teacher, np.zeros(3, int), np.arange(4), "single_label")
    assert [one is None for one in found["kl"].to_pylist()] == [False, True, False]
    told = found["teacher_probabilities"].to_pylist()
    assert [one is None for one in told] == [False, True, False]
    assert len(found["student_probabilities"][1].as_py()) == 4


def test_a_row_of_words_has_the_mean_divergence_of_its_words() -> None:
    student, teacher = CHANCE.normal(size=(2, 5, 4)).astype(np.float32)
    found = side_by_side.columns(
        student, teacher, np.zeros(5, int), np.array([0, 2, 2, 5]), "single_label"
    )
    apart = evaluate.divergences(student, teacher, "single_label")
    kl = found["kl"].to_pylist()
    assert kl[0] == pytest.approx(apart[:2].mean())
    assert kl[1] is None
    assert kl[2] == pytest.approx(apart[2:].mean())
    assert "classes" not in found


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression", "embedding"])
def test_every_problem_has_the_columns_that_make_sense_of_it(problem: Problem) -> None:
    student, teacher = CHANCE.normal(size=(2, 4, 3)).astype(np.float32)
    several = np.ones((4, 3), dtype=np.float32)
    labels = several if problem == "multi_label" else np.zeros(4, int)
    found = side_by_side.columns(student, teacher, labels, np.arange(5), problem)
    expected = {
        "single_label": {"kl", "classes", "student_probabilities", "teacher_probabilities"},
        "multi_label": {"kl", "classes", "student_probabilities", "teacher_probabilities"},
        "regression": set(),
        "embedding": {"cosine"},
    }
    assert set(found) == expected[problem]


def test_what_is_no_picture_has_no_size() -> None:
    assert np.isnan(measures._tried(measures._pixels, b"not a picture"))
    assert np.isnan(measures._tried(measures._seconds, b"not a sound"))
    assert np.isnan(measures._tried(measures._pixels, None))


@pytest.mark.parametrize(
    ("made", "column", "unit", "least", "most"),
    [
        (jobs.texts, "text", "characters", 5, 80),
        (jobs.images, "image", "pixels", 64, 64),
        (jobs.sounds, "audio", "seconds", 0.07, 0.13),
    ],
)
def test_rows_are_measured_in_their_own_unit(
    tmp_path: Path, made: object, column: str, unit: str, least: float, most: float
) -> None:
    path = tmp_path / "rows.parquet"
    made(path)  # type: ignore[operator]
    rows = np.arange(12, dtype=np.int64)
    dataset = Dataset(
        path=path, fingerprint="", names=(), row_ids=rows, labels=rows, labelled=rows > 0,
        splits={"test": rows}, place=rows,
    )  # fmt: skip
    found = measures.of(dataset, "test", column, np.arange(13))
    assert list(found) == [unit]
    assert (found[unit] >= least).all()
    assert (found[unit] <= most).all()


def test_softmax_of_the_kept_logits_is_what_the_teacher_says_at_a_temperature(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.parquet"
    jobs.texts(path)
    rows = np.arange(40, dtype=np.int64)
    dataset = Dataset(
        path=path, fingerprint="", names=("a", "b", "c"), row_ids=rows, labels=rows % 3,
        labelled=rows >= 0, splits={"test": rows}, place=rows,
    )  # fmt: skip
    logits = CHANCE.normal(scale=4, size=(40, 3)).astype(np.float32)
    found = softened.told(dataset, "test", "text", logits, rows % 3, np.arange(41), [3.0])
    assert found is not None
    assert [one["temperature"] for one in found["by_temperature"]] == [1, 2, 3, 4, 8, 20]
    entropies = [one["entropy"] for one in found["by_temperature"]]
    assert entropies == sorted(entropies)
    for one in found["rows"]:
        for temperature in (1.0, 3.0):
            kept = np.array([one["logits"]]) / temperature
            exact = logits[one["row_id"]][None] / temperature
            assert np.exp(evaluate.log_probabilities(kept)) == pytest.approx(
                np.exp(evaluate.log_probabilities(exact)), abs=1e-3
            )
        assert one["input"]
        assert one["label"] == ("a", "b", "c")[one["row_id"] % 3]
    assert softened.told(dataset, "test", "text", logits[:, :1], rows, np.arange(41), []) is None
