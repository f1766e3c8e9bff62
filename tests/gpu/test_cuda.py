"""What only a GPU shows: precisions, pinned batches, memory, power, and that nothing is left on
the CPU by mistake."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.bench import test_generation_head as head
from tests.engine import jobs, writings
from tests.engine import test_schemes as schemes
from training.engine import ahead, config, energy, head_loss, networks, optimization
from training.engine.errors import ConfigError
from training.engine.events import Finished, Halted, Logged, Measured
from training.engine.heads import Head
from training.engine.networks import Place
from training.engine.ranks import Several

PRECISIONS = ("float32", "bfloat16", "float16")
GPU = torch.device("cuda", 0)
STUDENTS: list[tuple[str, str, jobs.JSON]] = [
    ("text-classification", "bag_of_embeddings", {**jobs.SMALL_BAG, "dropout": 0.0}),
    ("text-classification", "text_cnn", {"dim": 8, "vocabulary": 60}),
    ("text-classification", "bilstm", {"dim": 8, "hidden": 8, "vocabulary": 60}),
    ("text-classification", "distilbert", {}),
    ("image-classification", "small_convnet", jobs.SMALL_CONVNET),
    ("image-classification", "mlp", {}),
    ("image-classification", "resnet", {}),
    ("audio-classification", "spectrogram_convnet", {}),
]


def last_loss(folder: Path) -> float:
    told = jobs.run(folder)
    losses = [one.values["train/loss"] for one in jobs.of(told, Measured) if "train/loss" in
              one.values]  # fmt: skip
    assert jobs.of(told, Finished)
    assert all(np.isfinite(losses))
    return float(losses[-1])


@pytest.mark.parametrize(("task", "architecture", "options"), STUDENTS, ids=lambda one: str(one))
def test_students_learn_alike_in_every_precision(
    task: str, architecture: str, options: jobs.JSON, tmp_path: Path,
    texts: jobs.JSON, images: jobs.JSON, sounds: jobs.JSON,
) -> None:  # fmt: skip
    dataset = {"text": texts, "image": images, "audio": sounds}[task.split("-")[0]]
    losses = {
        precision: last_loss(
            jobs.write(
                tmp_path / precision, dataset, task=task, architecture=architecture,
                options=options, training={"precision": precision, "learning_rate": 0.002},
            )
        )
        for precision in PRECISIONS
    }  # fmt: skip
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1, abs=0.02)
    assert losses["float16"] == pytest.approx(losses["float32"], rel=0.1, abs=0.02)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stopped_job_goes_on_as_if_it_had_not_been(
    precision: str, tmp_path: Path, texts: jobs.JSON, teacher: str
) -> None:
    """Bit for bit, the loss scale of float16 and the GPU's own chance (dropout) included."""
    how: dict[str, Any] = {"teachers": [teacher], "training": {"precision": precision}}
    whole = jobs.write(tmp_path / "whole", texts, **how)
    parts = jobs.write(tmp_path / "parts", texts, **how)
    jobs.run(whole)
    asked = iter(range(100))
    assert jobs.of(jobs.run(parts, asked_to_stop=lambda: next(asked) >= 7), Halted)
    jobs.run(parts, resuming=True)
    assert jobs.weights(parts) == jobs.weights(whole)


def test_an_overflow_of_float16_is_a_skipped_step_and_no_divergence(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    folder = jobs.write(tmp_path, texts, training={"precision": "float16", "epochs": 4})
    told = jobs.run(folder)
    scales = [one.values.get("train/loss_scale") for one in jobs.of(told, Measured)]
    assert any(scales)
    assert jobs.of(told, Finished)


def test_stored_answers_equal_live_ones(tmp_path: Path, texts: jobs.JSON, teacher: str) -> None:
    found = {}
    for mode in ("live", "auto"):
        folder = jobs.write(
            tmp_path / mode, texts, teachers=[teacher], training={"precision": "float32"},
            teacher_outputs={"mode": mode, "store": str(tmp_path / "store")},
        )  # fmt: skip
        found[mode] = last_loss(folder)
    assert found["auto"] == pytest.approx(found["live"], abs=1e-3)


@pytest.mark.parametrize("scheme", schemes.EVERY)
def test_every_scheme_trains(
    scheme: str, tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    folder = schemes.asked(tmp_path, images, image_teacher, scheme)
    assert jobs.of(jobs.run(folder), Finished)


def test_a_network_that_writes_learns_and_is_judged(tmp_path: Path) -> None:
    dataset = writings.texts(tmp_path / "dataset.parquet")
    teacher = writings.write(tmp_path / "teacher", dataset, options=writings.LARGER)
    assert jobs.of(jobs.run(teacher), Finished)
    path = str(teacher / "output" / "model")
    for scheme in ("offline", "on_policy", "sequence_level"):
        losses = [{"kind": "hard_labels", "weight": 1.0}]
        folder = writings.write(
            tmp_path / scheme, dataset, scheme=scheme, teachers=[path],
            losses=losses if scheme == "sequence_level" else writings.SOFT,
        )  # fmt: skip
        assert jobs.of(jobs.run(folder), Finished), scheme


def test_layers_and_relations_are_compared_on_the_gpu(
    tmp_path: Path, texts: jobs.JSON, teacher: str
) -> None:
    losses = [
        *jobs.SOFT,
        {"kind": "embeddings", "weight": 1.0},
        {"kind": "relational", "weight": 1.0},
        {"kind": "contrastive", "weight": 0.5},
    ]
    folder = jobs.write(tmp_path, texts, teachers=[teacher], losses=losses)
    assert np.isfinite(last_loss(folder))


def test_rows_compared_over_micro_batches_keep_the_gpus_chance(
    tmp_path: Path, texts: jobs.JSON, teacher: str
) -> None:
    losses = [{"kind": "contrastive", "weight": 0.5}, *jobs.SOFT]
    folder = jobs.write(
        tmp_path, texts, teachers=[teacher], losses=losses,
        training={"batch_size": 8, "gradient_accumulation": 2},
    )  # fmt: skip
    assert np.isfinite(last_loss(folder))


def test_compiled_training_gives_nearly_the_same_numbers(tmp_path: Path, images: jobs.JSON) -> None:
    found = {}
    for compiled in (False, True):
        folder = jobs.write(
            tmp_path / str(compiled), images, task="image-classification",
            architecture="small_convnet", options={**jobs.SMALL_CONVNET, "dropout": 0.0},
            training={"compile": compiled, "precision": "float32"},
        )  # fmt: skip
        found[compiled] = last_loss(folder)
    assert found[True] == pytest.approx(found[False], rel=1e-2)


def test_batches_made_ahead_are_pinned() -> None:
    coming = ahead.for_device(lambda rows: {"x": torch.from_numpy(rows)}, GPU)
    assert coming is not None
    rows = np.arange(4)
    coming.expect([rows])
    assert coming.take(rows)["x"].is_pinned()
    coming.close()


def test_the_gpus_power_is_counted_where_it_tells() -> None:
    meter = energy.Meter(GPU, 10.0)
    torch.randn(4000, 4000, device=GPU).matmul(torch.randn(4000, 4000, device=GPU)).sum().item()
    assert meter.joules() > 0
    assert "GPU's power read" in meter.source


def test_one_process_of_nccl_sums_to_its_own_numbers() -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29617")
    dist.init_process_group("nccl", rank=0, world_size=1)
    try:
        alone = Several(0, 1, GPU)
        weight = torch.nn.Parameter(torch.ones(3, device=GPU))
        idle = torch.nn.Parameter(torch.ones(2, device=GPU))
        weight.grad = torch.full((3,), 2.0, device=GPU)
        alone.sum_gradients([weight, idle])
        assert weight.grad.tolist() == [2.0, 2.0, 2.0]
        assert idle.grad is None
        assert alone.sum_counts({"a": 3}) == {"a": 3}
        assert alone.sum_values({"a": 1.5}) == {"a": 1.5}
        assert alone.told(lambda: {"a": 1.0}) == {"a": 1.0}
        assert alone.agree(True)
        with alone.in_turn():
            pass
    finally:
        dist.destroy_process_group()


def test_two_processes_on_one_gpu_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", str(torch.cuda.device_count()))
    with pytest.raises(ConfigError, match="GPU"):
        Place.choose("float32")


def test_fused_optimizers_take_the_same_steps_as_plain_ones() -> None:
    found = []
    for device in (GPU, torch.device("cpu")):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 50).to(device))
        optimizer = optimization.optimizer([weight], config.Training())
        for _ in range(5):
            weight.grad = (weight.detach() * 3.0 + 1.0).clone()
            optimizer.step()
        found.append(weight.detach().cpu())
    assert torch.allclose(found[0], found[1], atol=1e-6)


def peak_of(reckon: Any, student: Head, teacher: Head, labels: torch.Tensor) -> int:
    student.hidden.grad = student.weight.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    reckon(student, teacher, labels)
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)


def test_the_chunked_head_takes_an_eighth_of_the_memory_at_most() -> None:
    student, teacher, labels = head.made()
    ours = Head(
        student.hidden.detach().to(GPU).requires_grad_(True),
        student.weight.detach().to(GPU).requires_grad_(True),
    )
    theirs = replace(teacher, hidden=teacher.hidden.to(GPU), weight=teacher.weight.to(GPU))
    labels = labels.to(GPU)
    plain = peak_of(plainly, ours, theirs, labels)
    chunked = peak_of(head.chunked, ours, theirs, labels)
    assert chunked * 8 <= plain


def plainly(student: Head, teacher: Head, labels: torch.Tensor) -> None:
    logits = student.hidden @ student.weight.T
    with torch.no_grad():
        taught = teacher.hidden @ teacher.weight.T
    total = torch.zeros((), device=GPU)
    for _, by, loss in head.terms():
        total = total + by * loss.per_row(logits, taught, labels).mean()
    total.backward()  # type: ignore[no-untyped-call]


def test_the_chunked_head_says_the_same_as_the_plain_one() -> None:
    student, teacher, labels = head.made()
    found = []
    for device in (torch.device("cpu"), GPU):
        ours = Head(
            student.hidden.detach()[:256].to(device).requires_grad_(True),
            student.weight.detach().to(device).requires_grad_(True),
        )
        theirs = replace(
            teacher, hidden=teacher.hidden[:256].to(device), weight=teacher.weight.to(device)
        )
        chosen = head.terms()
        counts = {kind: 256 for kind, _, _ in chosen}
        total, _ = head_loss.total(
            ours, theirs, labels[:256].to(device), chosen, counts, bfloat16=False
        )
        total.backward()  # type: ignore[no-untyped-call]
        assert ours.hidden.grad is not None
        found.append((total.item(), ours.hidden.grad.cpu()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)


def test_what_a_run_needed_of_the_gpu_is_told(tmp_path: Path, texts: jobs.JSON) -> None:
    folder = jobs.write(tmp_path, texts)
    told = jobs.run(folder)
    assert any(torch.cuda.get_device_name(GPU) in one.text for one in jobs.of(told, Logged))
    said = json.loads((folder / "output" / "evaluation.json").read_text())
    assert "GPU's power read" in json.dumps(said)


def test_a_model_trained_here_answers_the_same_on_a_cpu(tmp_path: Path, texts: jobs.JSON) -> None:
    folder = jobs.write(tmp_path, texts, training={"precision": "float32"})
    jobs.run(folder)
    network = networks.load("tiny", folder / "output" / "model", "text-classification")
    network.module.eval()
    inputs = network.preprocessing.prepare(Path(texts["path"]), tmp_path / "again")
    batch = inputs.batch(np.arange(10))
    with torch.no_grad():
        here = Place(torch.device("cpu")).logits(network, batch)
        place = Place(GPU)
        place.settle(network)
        there = place.logits(network, batch).cpu()
    assert torch.allclose(here, there, atol=1e-4)
