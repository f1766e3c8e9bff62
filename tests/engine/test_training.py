"""Whole jobs on tiny data: what they tell, what they leave, and that numbers repeat."""

import hashlib
import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.engine import jobs
from training.engine import checkpoint, data, job_config, methods, networks, optimization
from training.engine.errors import ConfigError, DataError, DivergedError, ModelError
from training.engine.events import (
    Finished,
    Halted,
    Logged,
    Measured,
    Progress,
    Resumed,
    Saved,
    Stage,
)


def test_a_finished_job_leaves_a_model_its_evaluation_and_its_predictions(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(tmp_path, texts, teachers=[str(teacher)])
    told = jobs.run(folder)

    assert isinstance(told[-1], Finished)
    summary = told[-1].summary
    assert [one.name for one in jobs.of(told, Stage)] == [
        "preparing data",
        "training tokenizer",
        "asking the teacher",
        "training",
        "evaluating",
        "saving",
    ]
    assert summary["steps"] == summary["epochs"] * 6
    assert summary["split"] == "test"
    assert summary["rows"] == 12
    assert summary["compression"] > 1
    for who in ("student", "teacher"):
        assert set(summary[who]) >= {
            "name", "accuracy", "macro_f1", "log_loss", "ece", "parameters", "size_bytes",
            "latency_ms", "samples_per_second",
        }  # fmt: skip
        assert set(summary[who]["latency_ms"]) == {"1", "32"}

    saved = jobs.of(told, Saved)
    for one in saved:
        path = folder / one.path
        assert path.exists(), one
        if one.kind != "checkpoint":
            assert hashlib.sha256(path.read_bytes()).hexdigest() == one.sha256
            assert path.stat().st_size == one.bytes
    assert {Path(one.path).name for one in saved if one.kind == "model"} == {
        "config.json", "distillhub.json", "model.safetensors", "tokenizer.json",
    }  # fmt: skip

    evaluation = json.loads((folder / "output" / "evaluation.json").read_text())
    assert evaluation["labels"] == jobs.LABELS
    assert np.array(evaluation["student"]["confusion"]).sum() == 12
    assert sum(one["count"] for one in evaluation["student"]["reliability"]) == 12
    assert [one["label"] for one in evaluation["teacher"]["per_class"]] == jobs.LABELS

    table = pq.read_table(folder / "output" / "predictions.parquet").to_pylist()
    assert [row["row_id"] for row in table] == [i for i in range(120) if i % 10 == 9]
    right = np.mean([row["student"] == row["label"] for row in table])
    assert right == pytest.approx(summary["student"]["accuracy"])
    agree = np.mean([row["student"] == row["teacher"] for row in table])
    assert agree == pytest.approx(summary["agreement"])
    nll = np.mean([row["student_nll"] for row in table])
    assert nll == pytest.approx(summary["student"]["log_loss"])
    assert np.mean([row["kl"] for row in table]) == pytest.approx(summary["kl"])
    assert all(sum(row["teacher_probabilities"]) == pytest.approx(1, abs=1e-5) for row in table)
    assert all(row["characters"] > 5 for row in table)
    softened = evaluation["temperature"]
    assert softened["own"] == [2.0]
    assert {row["row_id"] for row in softened["rows"]} <= {row["row_id"] for row in table}


def test_each_step_and_each_epoch_is_measured_once(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    told = jobs.run(jobs.write(tmp_path, texts, teachers=[str(teacher)]))
    seen: dict[str, list[int]] = {}
    for event in jobs.of(told, Measured):
        for name in event.values:
            seen.setdefault(name, []).append(event.step)
    every = list(range(1, 13))
    for name in ("loss", "soft_targets", "hard_labels", "learning_rate", "samples_per_second"):
        assert seen[f"train/{name}"] == every
    for name in ("loss", "accuracy", "macro_f1", "agreement", "kl"):
        assert seen[f"val/{name}"] == [6, 12]
    for name in ("test/accuracy", "test/agreement", "test/kl"):
        assert seen[name] == [12]
    assert seen["teacher/val/accuracy"] == seen["teacher/test/accuracy"] == [0]


def test_progress_never_falls_and_ends_at_one(tmp_path: Path, texts: jobs.JSON) -> None:
    told = jobs.of(jobs.run(jobs.write(tmp_path, texts)), Progress)
    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert told[-1].eta_seconds == 0.0
    assert all(one < 1.0 for one in fractions[:-1])


def test_images_are_learned(image_teacher: Path) -> None:
    evaluation = json.loads((image_teacher.parent / "evaluation.json").read_text())
    assert evaluation["student"]["accuracy"] == 1.0
    assert all(one["input"] is None for one in evaluation["examples"])


def test_a_student_of_images_learns_from_its_teacher(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    folder = jobs.write(
        tmp_path, images, task="image-classification", architecture="mlp",
        options={"hidden": [8]}, teachers=[str(image_teacher)],
        training={"epochs": 6, "learning_rate": 0.01},
    )  # fmt: skip
    summary = jobs.run(folder)[-1].summary  # type: ignore[union-attr]
    assert summary["agreement"] == 1.0
    assert summary["retention"] == 1.0


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folder = jobs.write(tmp_path / name, texts, training={"seed": seed})
        jobs.run(folder)
        made.append(jobs.weights(folder))
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_stopping_and_resuming_changes_nothing(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    """Asked to stop after every few steps, in the middle of epochs: the weights are bit for bit
    those of an undisturbed job, and every step was measured once."""
    whole = jobs.write(tmp_path / "whole", texts, teachers=[str(teacher)], training={"epochs": 4})
    straight = jobs.run(whole)
    broken = jobs.write(tmp_path / "broken", texts, teachers=[str(teacher)], training={"epochs": 4})
    told: list[Any] = []
    for attempt, patience in enumerate((5, 9, 1, 8)):
        steps = iter(range(1000))
        told += jobs.run(
            broken,
            resuming=attempt > 0,
            asked_to_stop=lambda steps=steps, most=patience: next(steps) >= most,
        )
        assert isinstance(told[-1], Halted)
    told += jobs.run(broken, resuming=True)
    assert isinstance(told[-1], Finished)
    assert jobs.weights(broken) == jobs.weights(whole)
    for name in ("train/loss", "val/accuracy", "val/loss"):
        assert [
            (one.step, one.values[name]) for one in jobs.of(told, Measured) if name in one.values
        ] == [
            (one.step, one.values[name])
            for one in jobs.of(straight, Measured)
            if name in one.values
        ]


@pytest.mark.slow
def test_a_killed_job_resumes_bit_for_bit(tmp_path: Path, texts: jobs.JSON) -> None:
    training = {"epochs": 25, "checkpoint_every_steps": 7}
    whole = jobs.write(tmp_path / "whole", texts, training=training)
    jobs.run(whole)
    killed = jobs.write(tmp_path / "killed", texts, training=training)
    child = jobs.spawn(killed)
    until = time.monotonic() + 240
    while len(list((killed / "checkpoints").glob("0*"))) < 2 and time.monotonic() < until:
        time.sleep(0.005)
    child.kill()
    child.wait()
    assert not (killed / "output").exists(), "it was over before it could be killed"
    with (killed / "journal.jsonl").open("ab") as file:
        file.write(b'{"seq":99')
    second = jobs.spawn(killed)
    assert second.wait(timeout=240) == 0
    told = jobs.lines(killed)
    assert told[-1]["type"] == "finished"
    assert [line["seq"] for line in told] == list(range(1, len(told) + 1))
    resumed = [line for line in told if line["type"] == "resumed"]
    assert len(resumed) == 1
    assert resumed[0]["step"] >= 7
    assert jobs.weights(killed) == jobs.weights(whole)
    kept: list[tuple[int, str]] = []
    for line in told:
        if line["type"] == "resumed":
            kept = [one for one in kept if one[0] <= line["step"]]
        if line["type"] == "measured":
            kept += [(line["step"], name) for name in line["values"]]
    assert len(kept) == len(set(kept)), "a step of a metric was told twice"
    assert [step for step, name in kept if name == "train/loss"] == list(range(1, 151))


@pytest.mark.slow
def test_sigterm_checkpoints_and_leaves_and_a_finished_job_is_not_done_again(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    folder = jobs.write(tmp_path, texts, training={"epochs": 400})
    child = jobs.spawn(folder)
    until = time.monotonic() + 240
    while not jobs.lines(folder, "measured") and time.monotonic() < until:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    assert child.wait(timeout=60) == 0
    assert time.monotonic() - asked < 20  # well below 2 s where the machine is not busy
    last = jobs.lines(folder)[-1]
    assert last["type"] == "stopped"
    assert (folder / "checkpoints" / f"{last['step']:09d}").is_dir()

    raw = json.loads((folder / "config.json").read_text())
    done = tmp_path / "done"
    jobs.write(done, texts, training={"epochs": 1})
    (done / "journal.jsonl").write_text('{"seq":1,"at":1.0,"type":"finished","summary":{}}\n')
    assert raw["format"] == 1
    assert jobs.spawn(done).wait(timeout=240) == 0
    assert not (done / "output").exists()


def test_a_damaged_checkpoint_is_passed_over_for_an_older_whole_one(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    training = {"epochs": 3, "checkpoint_every_steps": 5}
    whole = jobs.write(tmp_path / "whole", texts, training=training)
    jobs.run(whole)
    folder = jobs.write(tmp_path / "damaged", texts, training=training)
    steps = iter(range(1000))
    jobs.run(folder, asked_to_stop=lambda: next(steps) >= 12)
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    weights = newest / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    told = jobs.run(folder, resuming=True)
    assert told[0] == Resumed(10)
    warned = [one.text for one in jobs.of(told, Logged) if one.level == "warning"]
    assert warned == ["The checkpoint of step 12 is not used: model.safetensors is not what was "
                      "written."]  # fmt: skip
    assert jobs.weights(folder) == jobs.weights(whole)


def test_three_checkpoints_are_kept_and_the_best_weights_are_in_each(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    folder = jobs.write(tmp_path, texts, training={"epochs": 3, "checkpoint_every_steps": 2})
    jobs.run(folder)
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["000000014", "000000016", "000000018"]
    for name in kept:
        assert checkpoint.verify(folder / "checkpoints" / name) is None


def test_the_best_epoch_is_what_is_kept(tmp_path: Path, texts: jobs.JSON) -> None:
    """The rate is so high that later epochs are worse: the output is scored as the best was."""
    folder = jobs.write(
        tmp_path,
        texts,
        training={"epochs": 6, "learning_rate": 0.5, "selection_metric": "val/loss"},
    )
    told = jobs.run(folder)
    scores = {
        one.step: one.values["val/loss"]
        for one in jobs.of(told, Measured)
        if "val/loss" in one.values
    }
    best = min(scores, key=lambda step: scores[step])
    summary = told[-1].summary  # type: ignore[union-attr]
    assert summary["best_step"] == best
    assert summary["best_value"] == scores[best]


def test_early_stopping_waits_for_its_patience(tmp_path: Path, texts: jobs.JSON) -> None:
    folder = jobs.write(
        tmp_path, texts, training={"epochs": 50, "learning_rate": 0.0, "early_stopping": 2}
    )
    told = jobs.run(folder)
    assert told[-1].summary["epochs"] == 3  # type: ignore[union-attr]
    assert any("Stopped early" in one.text for one in jobs.of(told, Logged))


def test_micro_batches_change_no_gradient(tmp_path: Path, texts: jobs.JSON, teacher: Path) -> None:
    """16 rows at once, and 4 times 4, with labels missing here and there: equal weights."""
    some = jobs.texts(tmp_path / "some.parquet", unlabelled=0.5)
    made = []
    for name, size, times in (("one", 16, 1), ("four", 4, 4)):
        folder = jobs.write(
            tmp_path / name, some, teachers=[str(teacher)],
            options={**jobs.SMALL_BAG, "dropout": 0.0, "word_dropout": 0.0},
            training={"batch_size": size, "gradient_accumulation": times, "epochs": 1,
                      "optimizer": "sgd", "learning_rate": 0.2},
        )  # fmt: skip
        jobs.run(folder)
        network = networks.load("tiny", folder / "output" / "model", "text-classification")
        made.append(network.module.state_dict())
    for name, value in made[0].items():
        assert torch.allclose(value, made[1][name], atol=1e-6), name


def test_rows_without_labels_teach_where_a_teacher_speaks(tmp_path: Path, teacher: Path) -> None:
    """The control, on the few labels alone, takes as many steps, and comes out behind."""
    some = jobs.texts(tmp_path / "some.parquet", unlabelled=0.95)
    training = {"epochs": 4}
    alone = jobs.write(tmp_path / "alone", some, training=training)
    taught = jobs.write(tmp_path / "taught", some, teachers=[str(teacher)], training=training)
    with_labels, with_teacher = jobs.run(alone)[-1], jobs.run(taught)[-1]
    assert isinstance(with_labels, Finished)
    assert isinstance(with_teacher, Finished)
    assert with_labels.summary["steps"] == with_teacher.summary["steps"] == 24
    losses = [one.summary["student"]["log_loss"] for one in (with_teacher, with_labels)]
    assert losses[0] < losses[1]


def test_a_loss_that_is_no_number_ends_the_job_and_says_what_to_do(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    folder = jobs.write(
        tmp_path, texts,
        training={"learning_rate": 100.0, "optimizer": "sgd", "max_grad_norm": None, "epochs": 60},
        losses=[{"kind": "hard_labels", "weight": 1e6}],
    )  # fmt: skip
    with pytest.raises(DivergedError, match="Lower the learning rate"):
        jobs.run(folder)


def test_a_changed_dataset_is_refused(tmp_path: Path, texts: jobs.JSON) -> None:
    folder = jobs.write(tmp_path, {**texts, "sha256": "0" * 64})
    with pytest.raises(DataError, match="has changed"):
        jobs.run(folder)


def test_a_teacher_of_other_labels_is_refused(tmp_path: Path, teacher: Path) -> None:
    dataset = jobs.texts(tmp_path / "some.parquet")
    folder = jobs.write(
        tmp_path, {**dataset, "labels": [*jobs.LABELS, "unheard"]}, teachers=[str(teacher)]
    )
    with pytest.raises(ModelError, match="does not know 1 of the dataset's labels"):
        jobs.run(folder)


def test_a_trained_student_continues_from_its_weights(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, path=str(teacher), training={"epochs": 1, "learning_rate": 0.0}
    )
    told = jobs.run(folder)
    assert jobs.weights(folder) == (teacher / "model.safetensors").read_bytes()
    assert "training tokenizer" not in [one.name for one in jobs.of(told, Stage)]


def test_a_trained_student_gets_a_new_last_layer_for_new_labels(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    table = pq.read_table(texts["path"])
    renamed = [f"new {label}" for label in table["label"].to_pylist()]
    path = tmp_path / "renamed.parquet"
    pq.write_table(table.set_column(2, "label", [renamed]), path)
    dataset = {"path": str(path), "labels": [f"new {label}" for label in jobs.LABELS]}
    folder = jobs.write(tmp_path / "job", dataset, path=str(teacher))
    told = jobs.run(folder)
    assert any("last layer starts anew" in one.text for one in jobs.of(told, Logged))
    described = json.loads((folder / "output" / "model" / "distillhub.json").read_text())
    assert described["labels"] == dataset["labels"]


def test_order_is_a_function_of_seed_and_epoch_and_shares_lengths() -> None:
    rows = np.arange(1000)
    lengths = np.random.default_rng(0).integers(1, 100, size=1000)
    once = data.epoch_order(rows, lengths, 16, seed=3, epoch=7)
    again = data.epoch_order(rows, lengths, 16, seed=3, epoch=7)
    other = data.epoch_order(rows, lengths, 16, seed=3, epoch=8)
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(once, other, strict=True))
    assert sorted(np.concatenate(once).tolist()) == rows.tolist()
    padded = sum(lengths[one].max() * len(one) for one in once)
    assert padded < 1.2 * lengths.sum()


def test_rows_that_are_asked_share_a_batch_where_they_are_of_like_length() -> None:
    rows = np.arange(1000)
    lengths = np.random.default_rng(0).integers(1, 100, size=1000)
    lengths[7] = 5000
    batches = data.steady_order(rows, lengths, 256)
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    assert max(map(len, batches)) <= 256
    for one in batches:
        assert lengths[one].max() <= 1.25 * lengths[one].min() or len(one) <= 16


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_an_unwatched_optimizer_takes_the_same_steps(kind: type[torch.optim.Optimizer]) -> None:
    one, other = (torch.nn.Parameter(torch.linspace(-1.0, 1.0, 12).view(3, 4)) for _ in range(2))
    usual = kind([one], lr=0.1)  # type: ignore[call-arg]
    quiet = optimization.unwatched(kind)([other], lr=0.1)  # type: ignore[call-arg]
    assert isinstance(quiet, kind)
    for number in range(3):
        one.grad = torch.sin(one.detach() + number)
        other.grad = one.grad.clone()
        usual.step()
        quiet.step()
    assert torch.equal(one, other)
    usual.load_state_dict(quiet.state_dict())


def test_tokens_of_a_batch_stand_in_their_own_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array([5, 6, 7, 8, 9, 3], dtype=np.int32))
    np.save(tmp_path / "offsets.npy", np.array([0, 2, 5, 5, 6]))
    batch = data.TextInputs(tmp_path, pad=1).batch(np.array([3, 1, 2, 0]))
    assert batch["input_ids"].tolist() == [[3, 1, 1], [7, 8, 9], [1, 1, 1], [5, 6, 1]]
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]]
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64


def test_a_job_configuration_names_every_fault() -> None:
    with pytest.raises(ConfigError) as caught:
        job_config.parse_job(
            {"format": 1, "task": "text-classification", "student": {"architecture": "x"}},
            methods.describe(),
        )
    fields = {fault.field for fault in caught.value.faults}
    assert fields == {"student.architecture", "dataset.labels"}
