"""A teacher that is nothing but columns of a dataset teaches what the one that wrote them would."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.engine import jobs, spoken
from tests.engine.spoken import Case
from training.engine import annotation, data, gate, job_config, methods
from training.engine import lesson as lessons
from training.engine.answers import Answer
from training.engine.errors import ConfigError, DataError, ModelError
from training.engine.events import Event, Finished, Halted, Logged, Measured, Saved
from training.engine.job_config import DatasetInput
from training.engine.losses import LOSSES
from training.engine.networks import Place
from training.engine.recorded import NEAREST, Recorded

CASES = [
    case
    for case in spoken.cases()
    if LOSSES[case.key].needs_teacher
    and not case.term().wants
    and case.key != "logit_mse"  # sees the constant of a row, which probabilities do not tell
    and case.problem in ("single_label", "multi_label")
]
COLUMNS = {label: f"p_{label}" for label in jobs.LABELS}


def with_columns(dataset: jobs.JSON, path: Path, columns: dict[str, Any]) -> jobs.JSON:
    """The same rows with further columns."""
    table = pq.read_table(dataset["path"])
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    return {**dataset, "path": str(path), "sha256": "", "fingerprint": path.name + path.parent.name}


def read(dataset: jobs.JSON, folder: Path, **recorded: Any) -> Recorded:
    opened = data.open_dataset(folder, DatasetInput(**dataset), needs=())
    return Recorded("said@1", 1.0, recorded, opened, folder)


def said_by(teacher: Path, dataset: jobs.JSON, folder: Path) -> dict[str, list[float]]:
    """The columns that the annotation of all rows makes."""
    folder.mkdir(parents=True)
    raw = {
        "task": "text-classification",
        "model": {"name": "big@1", "path": str(teacher)},
        "dataset": dataset,
        "teacher_outputs": {"store": str(folder / "store")},
    }
    (folder / "config.json").write_text(json.dumps(raw))
    annotation.annotate(folder)
    rows = pq.read_table(folder / annotation.ANSWERS).to_pylist()
    return {
        f"p_{label}": [row["probabilities"][place] for row in rows]
        for place, label in enumerate(jobs.LABELS)
    }


@pytest.fixture(scope="module")
def chances(
    tmp_path_factory: pytest.TempPathFactory, teacher: Path, texts: jobs.JSON
) -> dict[str, list[float]]:
    return said_by(teacher, texts, tmp_path_factory.mktemp("said") / "job")


def write(
    folder: Path, dataset: jobs.JSON, *teachers: jobs.JSON, path: str = "", **how: Any
) -> Path:
    """A job that is taught by the network at `path`, where one is named, and recorded teachers."""
    how.setdefault("losses", jobs.SOFT)
    jobs.write(folder, dataset, teachers=[path] if path else [], **how)
    raw = json.loads((folder / "config.json").read_text())
    raw["teachers"] += [{"name": "said@1", "weight": 1.0, **one} for one in teachers]
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


def summary_of(told: list[Event]) -> jobs.JSON:
    last = told[-1]
    assert isinstance(last, Finished)
    return last.summary


SAID: jobs.JSON = {"recorded": {"probabilities": COLUMNS}}


# -- the law --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_term_says_the_same_of_recorded_probabilities_as_of_the_live_teacher(
    case: Case, tmp_path: Path
) -> None:
    student, live = case.answer(0), case.answer(1)
    several = case.problem == "multi_label"
    shares = live.logits.double().sigmoid() if several else live.logits.double().softmax(dim=1)
    names = [f"c{place}" for place in range(shares.shape[1])]
    columns = {name: pa.array(shares[:, at].float().numpy()) for at, name in enumerate(names)}
    rows = len(shares)
    table = pa.table(
        {
            "row_id": pa.array(range(rows), pa.int64()),
            "split": ["train"] * rows,
            "label": pa.array([None] * rows, pa.string()),
            **columns,
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    described: jobs.JSON = {
        "path": "rows.parquet", "sha256": "", "fingerprint": "f", "labels": tuple(names),
        "problem": case.problem,
    }  # fmt: skip
    said = read(described, tmp_path, probabilities=dict(zip(names, names, strict=True)))
    term, _ = case.fitted(student, live)
    heard = term.values(student, said.answer(np.arange(rows), "train", term.wants), case.labels)
    expected = term.values(student, live, case.labels)
    assert torch.allclose(heard, expected, rtol=2e-4, atol=1e-5)


def test_a_student_of_the_columns_is_the_student_of_the_teacher_that_wrote_them(
    tmp_path: Path, texts: jobs.JSON, teacher: Path, chances: dict[str, list[float]]
) -> None:
    dataset = with_columns(texts, tmp_path / "said.parquet", chances)
    told = {}
    for name, how in (("live", {"path": str(teacher)}), ("columns", {})):
        given = [] if how else [SAID]
        folder = write(tmp_path / name, dataset, *given, training={"epochs": 3}, **how)
        told[name] = jobs.run(folder)
    live, columns = (
        [one.values for one in jobs.of(told[name], Measured) if "val/loss" in one.values]
        for name in ("live", "columns")
    )
    assert len(live) == 3
    for one, other in zip(live, columns, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5)
    live_summary, summary = (summary_of(told[name]) for name in ("live", "columns"))
    assert summary["teacher"]["accuracy"] == live_summary["teacher"]["accuracy"]
    assert summary["agreement"] == live_summary["agreement"]
    assert summary["kl"] == pytest.approx(live_summary["kl"], rel=1e-3)
    assert summary["teacher"]["recorded"]
    assert "parameters" not in summary["teacher"]
    assert summary["compression"] is None
    assert summary["retention"] == live_summary["retention"]


# -- rows without an answer -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaps(
    tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON, chances: dict[str, list[float]]
) -> tuple[jobs.JSON, Any]:
    """Two rows in three have an answer; no row of the test split has."""
    split = pq.read_table(texts["path"])["split"].to_pylist()
    there = np.array([row % 3 > 0 and split[row] != "test" for row in range(len(split))])
    columns = {
        name: [one if said else None for one, said in zip(values, there, strict=True)]
        for name, values in chances.items()
    }
    path = tmp_path_factory.mktemp("gaps") / "gaps.parquet"
    return with_columns(texts, path, columns), there


def test_rows_without_an_answer_learn_from_their_label_alone(
    tmp_path: Path, gaps: tuple[jobs.JSON, Any]
) -> None:
    folder = write(tmp_path, gaps[0], SAID)
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    said = " ".join(one.text for one in jobs.of(told, Logged))
    expected = "answers to 64 of 96 train, 8 of 12 validation, 0 of 12 test rows"
    assert f"said@1 is recorded: {expected}" in said
    assert "32 training rows have no answer of said@1" in said
    summary = summary_of(told)
    assert summary["teacher"]["rows"] == 0
    assert summary["agreement"] is None or np.isnan(summary["agreement"])
    assert summary["retention"] is None
    predictions = pq.read_table(folder / "output/predictions.parquet")
    assert predictions["teacher"].null_count == len(predictions)
    assert {one.kind for one in jobs.of(told, Saved)} >= {"model", "evaluation"}


def test_a_silent_row_adds_nothing_to_a_term_that_hears_a_teacher(
    tmp_path: Path, gaps: tuple[jobs.JSON, Any]
) -> None:
    dataset, there = gaps
    folder = write(tmp_path, dataset, SAID)
    raw = json.loads((folder / "config.json").read_text())
    config = job_config.parse_job(raw, methods.describe())
    opened = data.open_dataset(folder, config.dataset)
    scheme = lessons.scheme_of(config)
    lesson = lessons.Lesson(config, opened, scheme, scheme.plan(config.losses, (), 1)[0])
    lesson.enter(folder, Place.choose("float32"), None)
    rows = opened.splits["train"][:30]
    said = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.from_numpy(opened.labels[rows])
    taught = lesson.target(rows, "train", labels)
    counts = lesson.counts(labels, 30, lesson.heard_of(rows))
    assert counts == {"soft_targets": int(there[rows].sum()), "hard_labels": 30}
    worth = lessons.Worth(torch.rand(30), torch.rand(30))
    for weighed in (None, replace(worth, units=worth.rows)):
        weights = {"soft_targets": 1.0, "hard_labels": 0.0}
        total, _ = lesson.total(Answer(said), taught, labels, counts, weights, weighed)
        heard = torch.from_numpy(there[rows])
        values = LOSSES["soft_targets"](lesson.terms[0][1].options).values(
            Answer(said[heard]), Answer(taught.logits[heard]), labels[heard]
        )
        values = values if weighed is None else values * weighed.rows[heard]
        assert float(total.detach()) == pytest.approx(float(values.detach().mean()), rel=1e-6)
        (gradient,) = torch.autograd.grad(total, said)
        assert bool((gradient[~heard] == 0).all())
        assert bool(gradient[heard].abs().sum() > 0)
        assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("accumulation", [1, 4])
def test_terms_that_see_a_whole_step_see_the_rows_that_were_answered(
    tmp_path: Path, gaps: tuple[jobs.JSON, Any], accumulation: int
) -> None:
    losses = [{"kind": "dist", "weight": 1.0}, {"kind": "hard_labels", "weight": 0.5}]
    training = {"batch_size": 8, "gradient_accumulation": accumulation}
    told = jobs.run(write(tmp_path, gaps[0], SAID, losses=losses, training=training))
    assert isinstance(told[-1], Finished)
    values = [one.values for one in jobs.of(told, Measured) if "train/dist" in one.values]
    assert all(np.isfinite(one["train/dist"]) for one in values)


def test_a_live_teacher_speaks_alone_of_rows_that_the_recorded_one_left_out(
    tmp_path: Path, gaps: tuple[jobs.JSON, Any], teacher: Path, texts: jobs.JSON
) -> None:
    """The recorded one is the live one, so that their mean is the live one on every row."""
    training = {"epochs": 1}
    both = jobs.run(write(tmp_path / "b", gaps[0], SAID, path=str(teacher), training=training))
    live = jobs.run(write(tmp_path / "l", gaps[0], path=str(teacher), training=training))
    joined, alone = (
        next(one.values for one in jobs.of(told, Measured) if "val/loss" in one.values)
        for told in (both, live)
    )
    assert joined == pytest.approx(alone, rel=1e-3, abs=1e-5)
    summary = summary_of(both)["teacher"]
    assert summary["name"] == "big@1 + said@1"
    assert "parameters" not in summary


def test_a_teacher_without_any_answer_to_a_training_row_is_refused(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    nothing = {name: pa.nulls(120, pa.float64()) for name in COLUMNS.values()}
    dataset = with_columns(texts, tmp_path / "none.parquet", nothing)
    with pytest.raises(DataError, match="said nothing of any training row"):
        jobs.run(write(tmp_path / "job", dataset, SAID))


@pytest.mark.parametrize("views", [None, 2])
def test_what_it_said_of_a_picture_holds_for_the_picture_moved(
    tmp_path: Path, images: jobs.JSON, views: int | None
) -> None:
    dataset = with_columns(images, tmp_path / "rows.parquet", {"said": jobs.of_rows(60)})
    training = {"augmentation": "light", "augmentation_views": views, "learning_rate": 0.01}
    folder = write(
        tmp_path / "job", dataset, {"recorded": {"label": "said"}}, task="image-classification",
        architecture="small_convnet", options=jobs.SMALL_CONVNET, training=training,
    )  # fmt: skip
    told = jobs.run(folder)
    assert summary_of(told)["teacher"]["accuracy"] == 1.0
    said = " ".join(one.text for one in jobs.of(told, Logged))
    assert "it is taken to say the same" in said
    assert "could be asked once" not in said


def test_stopped_and_resumed_it_ends_with_the_same_weights(
    tmp_path: Path, gaps: tuple[jobs.JSON, Any]
) -> None:
    whole = write(tmp_path / "whole", gaps[0], SAID)
    jobs.run(whole)
    broken = write(tmp_path / "broken", gaps[0], SAID)
    steps = iter(range(1000))
    told = jobs.run(broken, asked_to_stop=lambda: next(steps) >= 5)
    assert isinstance(told[-1], Halted)
    jobs.run(broken, resuming=True)
    assert jobs.weights(broken) == jobs.weights(whole)


# -- what stands in the columns -------------------------------------------------------------------


def test_a_column_of_labels_is_sure_of_each_at_any_temperature(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    labels = [*jobs.of_rows(119), None]
    dataset = with_columns(texts, tmp_path / "rows.parquet", {"said": labels})
    said = read(dataset, tmp_path, label="said")
    logits = said.logits(np.arange(120))
    assert logits[119].isnan().all()
    for temperature in (1.0, 4.0, 8.0):
        shares = (logits[:119] / temperature).softmax(dim=1)
        assert (shares.argmax(dim=1) == torch.arange(119) % 3).all()
        assert float(shares.max(dim=1).values.min()) > 0.9999
    told = jobs.run(write(tmp_path / "job", dataset, {"recorded": {"label": "said"}}))
    assert summary_of(told)["teacher"]["accuracy"] == 1.0


def test_probabilities_are_scaled_and_those_of_0_stay_as_good_as_0(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    rows = {"p_cancel": [50.0] * 120, "p_pay": [25.0] * 120, "p_refund": [0.0] * 60 + [None] * 60}
    dataset = with_columns(texts, tmp_path / "rows.parquet", rows)
    said = read(dataset, tmp_path, probabilities=COLUMNS)
    shares = said.logits(np.arange(120)).softmax(dim=1)
    assert torch.allclose(shares, torch.tensor([2 / 3, 1 / 3, 0.0]).expand(120, 3))
    assert said.zeros == 120


def test_several_labels_keep_their_probabilities_and_are_never_quite_sure(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    rows = {"p_cancel": [0.25] * 120, "p_pay": [1.0] * 120, "p_refund": [0.0] * 120}
    dataset = {**with_columns(texts, tmp_path / "rows.parquet", rows), "problem": "multi_label"}
    shares = read(dataset, tmp_path, probabilities=COLUMNS).logits(np.arange(3)).sigmoid()
    assert torch.allclose(shares[0], torch.tensor([0.25, 1.0 - NEAREST, NEAREST]))


def test_rows_with_several_labels_are_taught_where_each_label_has_its_probability(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    truth = jobs.of_rows(120)
    rows = {
        f"p_{label}": [
            None if at % 4 == 0 and label == "pay" else 0.9 if one == label else 0.05
            for at, one in enumerate(truth)
        ]
        for label in jobs.LABELS
    }
    dataset = {**with_columns(texts, tmp_path / "rows.parquet", rows), "problem": "multi_label"}
    training = {"epochs": 12, "learning_rate": 0.005}
    told = jobs.run(write(tmp_path / "job", dataset, SAID, training=training))
    summary = summary_of(told)
    assert summary["teacher"]["accuracy"] == 1.0
    assert 0.0 < summary["kl"] < 0.5
    counted = "answers to 72 of 96 train, 6 of 12 validation, 12 of 12 test rows"
    assert any(counted in one.text for one in jobs.of(told, Logged))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([-0.5] * 120, "of row 0 is negative or infinite"),
        ([float("inf")] * 120, "of row 0 is negative or infinite"),
        (["much"] * 120, "holds something else than numbers"),
    ],
)
def test_what_is_no_probability_is_refused(
    tmp_path: Path, texts: jobs.JSON, values: list[Any], sentence: str
) -> None:
    rows = {"p_cancel": values, "p_pay": [0.5] * 120, "p_refund": [0.5] * 120}
    dataset = with_columns(texts, tmp_path / "rows.parquet", rows)
    with pytest.raises(DataError, match=sentence):
        read(dataset, tmp_path, probabilities=COLUMNS)


def test_a_label_that_the_dataset_does_not_know_is_refused(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    dataset = with_columns(texts, tmp_path / "rows.parquet", {"said": ["pay", "fly"] * 60})
    with pytest.raises(DataError, match="'fly' of row 1"):
        read(dataset, tmp_path, label="said")


def test_a_dataset_without_the_columns_is_refused(tmp_path: Path, texts: jobs.JSON) -> None:
    with pytest.raises(DataError, match="no column 'p_cancel'"):
        jobs.run(write(tmp_path, texts, SAID))


# -- what cannot learn from it --------------------------------------------------------------------


def test_terms_about_layers_are_refused_by_name(
    tmp_path: Path, texts: jobs.JSON, chances: dict[str, list[float]]
) -> None:
    dataset = with_columns(texts, tmp_path / "said.parquet", chances)
    losses = [{"kind": "embeddings", "weight": 1.0, "of": "rows"}]
    with pytest.raises(ConfigError, match="compares layers, and said@1 is recorded answers"):
        jobs.run(write(tmp_path / "job", dataset, SAID, losses=losses))


def test_terms_about_the_size_of_logits_are_refused_where_probabilities_are_0(
    tmp_path: Path, texts: jobs.JSON, chances: dict[str, list[float]]
) -> None:
    losses = [{"kind": "logit_mse", "weight": 1.0}]
    soft = {name: [0.1 + 0.7 * one for one in values] for name, values in chances.items()}
    dataset = with_columns(texts, tmp_path / "said.parquet", soft)
    assert isinstance(jobs.run(write(tmp_path / "a", dataset, SAID, losses=losses))[-1], Finished)
    sure = with_columns(texts, tmp_path / "sure.parquet", {"said": jobs.of_rows(120)})
    labels = {"recorded": {"label": "said"}}
    with pytest.raises(ConfigError, match="240 probabilities of said@1 are exactly 0"):
        jobs.run(write(tmp_path / "b", sure, labels, losses=losses))


def test_it_is_a_teacher_of_jobs_and_no_student() -> None:
    raw = {"format": 1, "student": {"recorded": {"label": "x"}}}
    with pytest.raises(ConfigError, match=r"student\.architecture"):
        job_config.parse_job(raw, methods.describe())


# -- asked first ----------------------------------------------------------------------------------


def asked(folder: Path, dataset: jobs.JSON, recorded: jobs.JSON) -> Path:
    folder.mkdir()
    raw = {
        "format": 1,
        "task": "text-classification",
        "model": {"name": "said@1", "recorded": recorded},
        "dataset": dataset,
    }
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


def test_a_gate_scores_what_was_recorded_of_validation_rows(
    tmp_path: Path, gaps: tuple[jobs.JSON, Any]
) -> None:
    folder = asked(tmp_path / "gate", gaps[0], {"probabilities": COLUMNS})
    report = gate.gate(folder)["report"]
    assert report["rows"] == 8
    assert report["labelled"] == 8
    assert report["metrics"]["accuracy"] > 0.5
    assert report["stored"] == {"asked": 0, "found": 72, "lacking": 48}
    assert report["rows_per_second"] is None
    assert report["softness"]


def test_a_gate_without_an_answer_to_a_validation_row_says_so(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    split = pq.read_table(texts["path"])["split"].to_pylist()
    said = [
        label if one == "train" else None
        for one, label in zip(split, jobs.of_rows(120), strict=True)
    ]
    dataset = with_columns(texts, tmp_path / "rows.parquet", {"said": said})
    with pytest.raises(ModelError, match="said nothing of any validation row"):
        gate.gate(asked(tmp_path / "gate", dataset, {"label": "said"}))
