"""Rows scored from the file of predictions, as the evaluation scored them when it knew more."""

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.engine import jobs, writings
from tests.engine.test_words import TASK as WORDS
from tests.engine.test_words import tagged  # noqa: F401 - a fixture
from training.engine import row_scores

BAG = {"dim": 8, "bigrams": 0, "vocabulary": 100}
TABLE = "tabular-classification"
COLUMNS = {"task": TABLE, "architecture": "tabular_mlp"}
TAGS = {"task": WORDS, "architecture": "bilstm", "options": {"dim": 8, "hidden": 8}}
KINDS = ["single_label", "multi_label", "regression", WORDS, "text-generation"]
QUICK = {"epochs": 2, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, Path, jobs.JSON]:
    """(task, problem, the folder of a student that learned from a teacher, its summary)"""
    kind = request.param
    there = tmp_path_factory.mktemp(kind)
    how: jobs.JSON = {"training": QUICK}
    if kind == "text-generation":
        dataset = writings.questions(there / "rows.parquet")
        teacher = writings.write(there / "teacher", dataset, **how)
        jobs.run(teacher)
        folder = writings.write(
            there / "student", dataset, teachers=[str(teacher / "output/model")],
            losses=[{"kind": "soft_targets", "weight": 1.0}], **how,
        )  # fmt: skip
    else:
        if kind == "single_label":
            dataset = jobs.texts(there / "rows.parquet", unlabelled=0.2)
            how |= {"options": BAG}
        elif kind == WORDS:
            dataset = request.getfixturevalue("tagged")
            how |= TAGS
        else:
            problem = "regression" if kind == "regression" else "single_label"
            dataset = jobs.tables(there / "rows.parquet", problem=problem)
            how |= COLUMNS
            if kind == "multi_label":
                dataset |= {"problem": kind, "separator": ";"}
        teacher = jobs.write(there / "teacher", dataset, **how)
        jobs.run(teacher)
        close = [{"kind": "logit_mse", "weight": 1.0}] if kind == "regression" else None
        folder = jobs.write(
            there / "student", dataset, teachers=[str(teacher / "output/model")], losses=close,
            **how,
        )  # fmt: skip
    jobs.run(folder)
    told = json.loads((folder / "output" / "evaluation.json").read_text())
    task = how.get("task", kind if kind == "text-generation" else "text-classification")
    return task, told["problem"], folder, told


def answers(folder: Path, form: str, who: row_scores.Who) -> row_scores.Answers:
    table = pq.read_table(folder / "output" / "predictions.parquet")
    found = row_scores.Answers.of(table, who, form)
    assert found is not None
    return found


@pytest.mark.parametrize("finished", KINDS, indirect=True)
def test_all_rows_score_as_the_whole_evaluation_does(
    finished: tuple[str, str, Path, jobs.JSON],
) -> None:
    task, problem, folder, told = finished
    form = row_scores.form_of(task, problem)
    pair = [answers(folder, form, who) for who in ("student", "teacher")]
    for who, one in zip(("student", "teacher"), pair, strict=True):
        found = row_scores.score(one, form, told["labels"])
        assert found is not None
        assert found.metrics
        first = row_scores.metric_of(one, form)
        assert next(iter(found.metrics)) == first
        for name, value in found.metrics.items():
            if told[who][name] is not None:
                assert value == pytest.approx(told[who][name], rel=1e-4, abs=1e-6), (who, name)
        low, high = found.interval or [math.nan, math.nan]
        assert low <= found.metrics[first] <= high
    assert set(told["student"]) & {"accuracy", "rmse", "perplexity"} <= set(
        row_scores.score(pair[0], form, told["labels"]).metrics  # type: ignore[union-attr]
    )
    close = row_scores.closeness(pair[0], pair[1], form, told["labels"])
    for name, value in close.items():
        assert value == pytest.approx(told[name], rel=1e-4, abs=1e-6)
    gap = row_scores.difference(pair[0].value[pair[0].known], pair[0].value[pair[0].known], first)
    assert gap["difference"] == 0
    assert gap["answer"] == "no_evidence"
