"""The teacher is asked about a sample of what comes: which rows, how many, and what they stand for;
and whether a hosted one still says what it said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engine import jobs
from training.engine.detectors.tallies import Tally
from training.engine.watching import asking, canaries, counting
from training.engine.watching.baseline import Baseline

TASK = "text-classification"
NOON = 43_200.0


def config(teacher: Path | None, **monitor: Any) -> jobs.JSON:
    said = {
        "task": TASK, "labels": jobs.LABELS, "input": "text", "slices": [], "salt": "s",
        "privacy": "raw", "teacher_share": 0.3, "teacher_daily": 1000,
    }  # fmt: skip
    named = {"name": "big@1", "path": str(teacher), "task": TASK} if teacher else None
    return {"monitor": said | monitor, "teacher": named, "asks": teacher is None, "now": NOON}


def rows(texts: jobs.JSON, many: int = 120) -> pa.Table:
    written = pq.read_table(texts["path"])["text"].to_pylist()[:many]
    ids = [f"row-{at}" for at in range(len(written))]
    return pa.table({"id": ids, "text": written, "prediction": ["pay"] * len(written)})


def test_a_share_of_rows_is_asked_about_the_same_ones_every_time(
    texts: jobs.JSON, teacher: Path, tmp_path: Path
) -> None:
    said, asked = asking.ask(rows(texts), config(teacher), tmp_path)
    again, _ = asking.ask(rows(texts), config(teacher), tmp_path)
    assert said.equals(again)
    answers = said["teacher_prediction"].to_pylist()
    assert sum(one is not None for one in answers) == asked
    assert 20 < asked < 55
    assert said["teacher_share"].drop_null().to_pylist() == pytest.approx([0.3] * asked)
    sure = [one for one in said["teacher_probabilities"].to_pylist() if one is not None]
    assert len(sure) == asked
    assert np.sum(sure, axis=1) == pytest.approx(1)
    more, _ = asking.ask(rows(texts), config(teacher, teacher_share=0.6), tmp_path)
    kept = [one for one, new in zip(answers, more["teacher_prediction"].to_pylist(), strict=True)
            if one is not None and new == one]  # fmt: skip
    assert len(kept) == asked  # a larger share asks about the same rows, and more


def test_a_row_that_came_with_an_answer_keeps_it(
    texts: jobs.JSON, teacher: Path, tmp_path: Path
) -> None:
    table = rows(texts, 10)
    told = pa.array(["cancel", *[None] * 9], pa.string())
    table = table.append_column("teacher_prediction", told)
    said, asked = asking.ask(table, config(teacher, teacher_share=1.0), tmp_path)
    assert asked == 9
    assert said["teacher_prediction"][0].as_py() == "cancel"
    assert said["teacher_prediction"].null_count == 0


def test_a_slice_is_asked_about_more_often_and_its_rows_stand_for_fewer(
    texts: jobs.JSON, teacher: Path, tmp_path: Path
) -> None:
    slices = [{"name": "refunds", "query": {"q": "refund"}, "share": 1.0}]
    asked = config(teacher, teacher_share=0.1, slices=slices)
    said, _ = asking.ask(rows(texts), asked, tmp_path)
    for text, share in zip(
        said["text"].to_pylist(), said["teacher_share"].to_pylist(), strict=True
    ):
        assert (share == 1.0) == ("refund" in text)
    bare = Baseline.none(task=TASK, labels=jobs.LABELS, reads="text", slices=())
    tally = counting.count(counting.View.of(said, bare), bare).tallies["agreement"]
    assert tally.weight == pytest.approx(120, rel=0.35)


def test_a_days_rows_are_spread_over_the_day_and_never_passed() -> None:
    assert asking.allowed(300, 0, 0.0) == 100
    assert asking.allowed(300, 100, 0.0) == 0
    assert asking.allowed(300, 100, NOON) == 100
    assert asking.allowed(300, 0, 86_399.0) == 300
    assert asking.allowed(300, 400, NOON) == 0
    assert asking.allowed(0, 0, NOON) == 0


def test_where_more_rows_are_chosen_than_may_be_asked_each_still_stands_for_its_share() -> None:
    chance = np.random.default_rng(0)
    totals = []
    for _ in range(400):
        shares = np.where(np.arange(600) < 100, 0.9, 0.2)
        found = asking.within(shares, chance.random(600), 40)
        assert (found > 0).sum() == 40
        assert (found <= shares).all()
        totals.append((1 / found[found > 0]).sum())
    assert np.mean(totals) == pytest.approx(600, rel=0.03)
    assert not asking.within(np.full(5, 0.5), np.zeros(5), 0).any()
    assert (asking.within(np.full(5, 0.5), np.zeros(5), 9) == 0.5).all()


def test_for_a_service_questions_are_written_down_as_private_as_the_monitor_is(
    texts: jobs.JSON, tmp_path: Path
) -> None:
    table = rows(texts, 4)
    table = table.set_column(1, "text", pa.array([f"mail me at a.b{one}@c.de" for one in range(4)]))

    def questions(folder: Path, **monitor: Any) -> list[jobs.JSON]:
        folder.mkdir()
        said, asked = asking.ask(table, config(None, teacher_share=1.0, **monitor), folder)
        assert "teacher_prediction" not in said.column_names
        path = folder / "output" / asking.QUESTIONS
        lines = path.read_text().splitlines() if path.exists() else []
        assert len(lines) == asked
        return [json.loads(one) for one in lines]

    plain = questions(tmp_path / "raw")
    assert plain[1] == {"id": "row-1", "share": 1.0, "text": "mail me at a.b1@c.de"}
    assert questions(tmp_path / "redacted", privacy="redacted")[1]["text"] == "mail me at [e-mail]"
    assert questions(tmp_path / "hashed", privacy="hashed") == []
    assert questions(tmp_path / "described", privacy="described") == []


def test_a_teacher_that_cannot_be_read_costs_no_rows(texts: jobs.JSON, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    said, asked = asking.ask(rows(texts, 10), config(tmp_path / "none"), tmp_path)
    assert asked == 0
    assert said.num_rows == 10


def check(at: float, same: int, many: int = 50) -> jobs.JSON:
    return {"at": at, "rows": many, "same": same}


def test_a_service_that_answers_otherwise_is_told_of_and_one_that_is_only_unsteady_is_not() -> None:
    steady = [check(day, 49) for day in range(5)]
    assert canaries.scores(steady[:1], 10.0) == []
    [one] = canaries.scores(steady, 10.0)
    assert one["p"] > 0.1
    assert one["facts"]["advice"][0].endswith("what it always said.")
    [one] = canaries.scores([*steady, check(5, 30)], 10.0)
    assert one["p"] < 1e-6
    assert one["effect"] > 0.3
    assert "changed its model" in one["facts"]["advice"][0]
    assert one["reference_rows"] == 250
    [one] = canaries.scores([*steady, check(5, 30), check(6, 31)], 10.0)
    assert one["p"] < 1e-6  # what was told of does not become usual
    [one] = canaries.scores([*steady, check(5, 30)], 4.5)
    assert one["p"] > 0.1  # a window that ended before


def test_what_a_service_said_of_the_reference_is_what_agreement_is_compared_with(
    texts: jobs.JSON,
) -> None:
    bare = Baseline.none(task=TASK, labels=jobs.LABELS, reads="text", slices=())
    shown = pa.table(
        {"id": ["1", "2", "3", "4"], "prediction": ["pay", "pay", "refund", None],
         "label": ["pay", "cancel", None, "pay"]}
    )  # fmt: skip
    told = canaries.told_of(bare, shown, {"1": "pay", "2": "cancel", "3": "refund", "4": "pay"})
    assert told.sums.tallies["agreement"] == Tally.counted(3, 2)
    assert told.sums.faults.student_wrong == 1
    assert told.sums.faults.both_right == 1
    assert told.key == bare.key
    assert canaries.told_of(bare, shown, {}) is bare
