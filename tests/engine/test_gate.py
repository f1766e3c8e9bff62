"""A teacher is asked before it teaches; what it said is stored, counted, and freed by policy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from tests.engine import jobs, writings
from training.engine import features, gate, networks, options, softness, stored
from training.engine.answers import Wanted
from training.engine.errors import ConfigError, ModelError
from training.engine.events import Logged, Measured
from training.engine.students import ARCHITECTURES, Shape

TEXT = "text-classification"


def write(folder: Path, model: Path, dataset: jobs.JSON, **others: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    said = json.loads((model / "distillhub.json").read_text())
    raw: jobs.JSON = {
        "format": 1,
        "task": said["task"],
        "model": {"name": "big@1", "path": str(model)},
        "dataset": dataset,
        "teacher_outputs": {"mode": "auto", "store": str(folder / "store")},
        "threads": 1,
        **others,
    }
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory, teacher: Path, texts: jobs.JSON) -> Any:
    """The folder of a gate of the session's teacher, and its report."""
    folder = write(tmp_path_factory.mktemp("gate"), teacher, texts)
    return folder, gate.gate(folder)["report"]


def logits(rows: int = 40, classes: int = 5, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 3, (rows, classes)).astype(np.float32)


# -- softness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_entropy_is_scipys(temperature: float) -> None:
    said = logits()
    shares = torch.softmax(torch.from_numpy(said).double() / temperature, dim=1).numpy()
    found = softness.softness(said, temperature, "single_label")
    assert found["entropy"] == pytest.approx(float(entropy(shares, axis=1).mean()), abs=1e-9)
    assert found["other_mass"] == pytest.approx(float(1 - shares.max(axis=1).mean()), abs=1e-9)


def test_several_labels_are_as_soft_as_a_yes_and_a_no() -> None:
    said = logits(classes=1)
    two = np.concatenate([said, np.zeros_like(said)], axis=1)
    several = softness.softness(said, 2.0, "multi_label")
    assert several == pytest.approx(softness.softness(two, 2.0, "single_label"), abs=1e-9)


@pytest.mark.parametrize("problem", ["single_label", "multi_label"])
def test_a_higher_temperature_is_softer(problem: Any) -> None:
    found = softness.by_temperature(logits(), problem)
    for name in ("entropy", "other_mass"):
        values = [one[name] for one in found]
        assert values == sorted(values)
        assert all(value >= 0 for value in values)


def test_numbers_have_no_softness() -> None:
    assert softness.softness(logits(classes=1), 1.0, "regression") == {}
    assert softness.hardness(logits(classes=1), 1.0, "regression") == ""


def test_nearly_hard_targets_are_told_with_a_temperature_that_shows_more() -> None:
    said = logits() * 0.1
    said[np.arange(len(said)), 2] += 12.0
    sentence = softness.hardness(said, 1.0, "single_label")
    better = softness.proposed(said, "single_label", 1.0)
    assert better is not None
    assert f"Temperature {better['temperature']:g} shows" in sentence
    assert softness.softness(said, better["temperature"], "single_label")["other_mass"] >= 0.05
    assert softness.hardness(said, better["temperature"], "single_label") == ""
    assert "No usual temperature" in softness.hardness(said * 100, 1.0, "single_label")


def test_extreme_logits_stay_numbers() -> None:
    said = np.array([[65504.0, -65504.0, 0.0]], dtype=np.float32)
    for problem in ("single_label", "multi_label"):
        assert all(np.isfinite(one) for one in softness.softness(said, 1.0, problem).values())


def test_the_baseline_knows_the_labels_shares_alone() -> None:
    training, judged = np.array([0, 1, 1, 2, -1]), np.array([1, 1, 0, -1])
    assert softness.baseline(training, judged, "single_label") == {
        "metric": "accuracy", "value": pytest.approx(2 / 3), "label": 1,
    }  # fmt: skip
    numbers = np.array([[1.0], [3.0], [np.nan]], dtype=np.float32)
    least = softness.baseline(numbers, numbers, "regression")
    assert least == {"metric": "rmse", "value": pytest.approx(1.0), "label": None}
    several = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], dtype=np.float32)
    shares = several.mean(axis=0)
    least = softness.baseline(several, several, "multi_label")
    assert least is not None
    assert least["value"] == pytest.approx(float(entropy([shares, 1 - shares], axis=0).mean()))
    assert softness.baseline(np.array([-1]), judged, "single_label") is None
    assert softness.beaten(None, {})
    assert softness.beaten(least, {"log_loss": 0.1})
    assert not softness.beaten(least, {"log_loss": 2.0})


@pytest.mark.parametrize(("mass", "hard"), [((0.004, 0.024), True), ((0.04, 0.12), False)])
def test_a_good_teacher_whose_answers_are_nearly_hard_is_no_green_light(
    mass: tuple[float, float], hard: bool
) -> None:
    found = {
        "labelled": 100,
        "metric": "accuracy",
        "metrics": {"accuracy": 0.88, "ece": 0.02},
        "baseline": {"metric": "accuracy", "value": 0.1, "label": 0},
        "softness": [
            {"temperature": one, "entropy": 0.1, "other_mass": part}
            for one, part in zip((1.0, 2.0), mass, strict=True)
        ],
        "proposed": {"temperature": 8.0, "entropy": 0.4, "other_mass": 0.07},
    }
    said = gate.verdict(found, ("a", "b"))
    assert said["recommended"]
    assert said["nearly_hard"] is hard
    assert ("Temperature 8 shows 7 %" in said["sentence"]) is hard


# -- the gate -------------------------------------------------------------------------------------


def test_a_gate_scores_validation_rows(asked: Any, texts: jobs.JSON) -> None:
    _, report = asked
    assert (report["split"], report["rows"], report["labelled"]) == ("validation", 12, 12)
    assert report["metric"] == "accuracy"
    assert set(report["metrics"]) == {"accuracy", "macro_f1", "log_loss", "ece"}
    assert report["metrics"]["accuracy"] > report["baseline"]["value"]
    assert report["recommended"]
    assert "right on" in report["sentence"]
    assert sum(one["count"] for one in report["reliability"]) == 12
    assert sum(map(sum, report["confusion"])) == 12
    assert [one["temperature"] for one in report["softness"]] == [1.0, 2.0, 4.0, 8.0]
    json.dumps(report, allow_nan=False)


def test_a_run_after_a_gate_asks_nothing(
    asked: Any, tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    folder, report = asked
    assert report["stored"] == {"asked": 120, "found": 0}
    store = {"mode": "auto", "store": str(folder / "store")}
    run = jobs.write(tmp_path, texts, teachers=[str(teacher)], teacher_outputs=store)
    told = [one.text for one in jobs.of(jobs.run(run), Logged) if "big@1" in one.text]
    assert sum("had answered before (stored)" in text for text in told) == 3
    assert not any("answered 1" in text for text in told)


def test_a_second_gate_finds_all_and_counts_it(
    asked: Any, tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    folder, report = asked
    before = {one.key: one.reused for one in stored.entries(folder / "store")}
    how = {"mode": "auto", "store": str(folder / "store")}
    again = gate.gate(write(tmp_path, teacher, texts, teacher_outputs=how))["report"]
    assert again["stored"] == {"asked": 0, "found": 120}
    assert again["rows_per_second"] is None
    assert again["metrics"] == report["metrics"]
    after = stored.entries(folder / "store")
    assert {one.key: one.reused - 1 for one in after} == before
    assert {one.split for one in after} == {"train", "validation", "test"}
    assert {(one.kind, one.teacher_name) for one in after} == {("logits", "big@1")}


def test_a_teacher_that_knows_nothing_is_told_as_such(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    network = networks.load("big@1", teacher, TEXT)
    with torch.no_grad():
        for one in network.module.parameters():
            one.zero_()
        network.module.get_parameter("head.bias")[1] = 40.0
    networks.save(network, tmp_path / "dull")
    report = gate.gate(write(tmp_path / "gate", tmp_path / "dull", texts))["report"]
    assert not report["recommended"]
    assert "It has nothing to teach here" in report["sentence"]
    assert "nearly hard" in report["sentence"]

    run = jobs.write(tmp_path / "run", texts, teachers=[str(tmp_path / "dull")])
    told = jobs.run(run)
    warnings = [one.text for one in jobs.of(told, Logged) if one.level == "warning"]
    assert any("nothing to teach" in text for text in warnings)
    assert any("nearly hard: at temperature 2" in text for text in warnings)


def test_a_run_measures_calibration_and_softness_of_its_teacher(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    told = jobs.run(jobs.write(tmp_path, texts, teachers=[str(teacher)], training={"epochs": 1}))
    first = jobs.of(told, Measured)[0].values
    assert {"teacher/val/ece", "teacher/val/entropy", "teacher/val/other_mass"} <= set(first)
    assert 0 < first["teacher/val/other_mass"] < 1


def test_a_network_that_writes_has_a_gate(tmp_path: Path) -> None:
    dataset = writings.texts(tmp_path / "texts.parquet")
    run = jobs.write(
        tmp_path / "run", dataset, task="text-generation", architecture="gru_language_model",
        options=writings.SMALL, training=writings.TRAINING,
    )  # fmt: skip
    jobs.run(run)
    model = run / "output" / "model"
    report = gate.gate(write(tmp_path / "gate", model, dataset))["report"]
    assert report["metrics"]["perplexity"] > 1
    assert report["softness"][0]["entropy"] > 0
    assert report["baseline"] is None
    (validation,) = [
        one for one in stored.entries(tmp_path / "gate/store") if one.split == "validation"
    ]
    assert validation.covered_mass == 1.0
    assert validation.bytes > 0


def test_other_labels_and_broken_configurations_are_refused(
    tmp_path: Path, teacher: Path, texts: jobs.JSON
) -> None:
    with pytest.raises(ModelError):
        gate.gate(write(tmp_path / "a", teacher, {**texts, "labels": ["pay", "x", "cancel"]}))
    with pytest.raises(ConfigError):
        gate.gate(write(tmp_path / "b", teacher, texts, task="juggling"))


def test_the_verb_writes_a_result(tmp_path: Path, teacher: Path, texts: jobs.JSON) -> None:
    folder = write(tmp_path, teacher, texts)
    assert jobs.spawn(folder, "gate").wait(120) == 0
    found = json.loads((folder / "result.json").read_text())
    assert found["report"]["rows"] == 12
    assert [line["name"] for line in jobs.lines(folder, "stage")] == [
        "reading the model", "asking the teacher", "scoring",
    ]  # fmt: skip


# -- the store ------------------------------------------------------------------------------------


def entry(store: Path, key: str, size: int, last_used: float) -> Path:
    folder = store / key[:2] / key
    folder.mkdir(parents=True)
    (folder / "logits.npy").write_bytes(b"x" * size)
    manifest = {"kind": "logits", "split": "train", "rows": 3, "made_at": last_used}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    for number, key in enumerate(("aa1", "aa2", "bb3")):
        entry(tmp_path, key, 1000, 100.0 + number)
    sizes = sum(one.bytes for one in stored.entries(tmp_path))
    freed = stored.collect(tmp_path, most_bytes=sizes - 1, unused_for=0)
    assert [one.key for one in freed] == ["aa1"]
    assert [one.key for one in stored.entries(tmp_path)] == ["aa2", "bb3"]
    freed = stored.collect(tmp_path, most_bytes=0, unused_for=50.0, now=151.5)
    assert [one.key for one in freed] == ["aa2"]
    assert stored.collect(tmp_path, most_bytes=0, unused_for=0) == []


def test_nothing_in_use_is_freed(tmp_path: Path) -> None:
    folder = entry(tmp_path, "aa1", 1000, 100.0)
    held = stored.Hold(folder)
    assert not stored.free(tmp_path, "aa1")
    assert stored.collect(tmp_path, most_bytes=1, unused_for=1.0) == []
    assert folder.is_dir()
    del held
    assert stored.free(tmp_path, "aa1")
    assert not folder.exists()
    assert stored.free(tmp_path, "aa1")  # twice is no fault


def test_parts_that_nobody_goes_on_with_are_swept(tmp_path: Path) -> None:
    part = tmp_path / "aa" / ".aa1.part"
    part.mkdir(parents=True)
    (part / "logits.npy").write_bytes(b"x")
    now = part.stat().st_mtime
    stored.collect(tmp_path, most_bytes=0, unused_for=100.0, now=now + 50)
    assert part.is_dir()
    stored.collect(tmp_path, most_bytes=0, unused_for=100.0, now=now + 200)
    assert not part.exists()


def test_a_broken_manifest_is_no_entry(tmp_path: Path) -> None:
    folder = entry(tmp_path, "aa1", 10, 1.0)
    (folder / "manifest.json").write_text("{")
    assert stored.entries(tmp_path) == []


# -- what preflight relies on ----------------------------------------------------------------------


@pytest.mark.parametrize("task", [TEXT, "text-generation"])
def test_a_saved_network_reads_the_tokens_it_says(tmp_path: Path, teacher: Path, task: str) -> None:
    folder = teacher
    if task == "text-generation":
        said = writings.texts(tmp_path / "texts.parquet")
        run = jobs.write(
            tmp_path / "run", said, task=task, architecture="gru_language_model",
            options=writings.SMALL, training=writings.TRAINING | {"epochs": 1},
        )  # fmt: skip
        jobs.run(run)
        folder = run / "output" / "model"
    described = json.loads((folder / "distillhub.json").read_text())
    loaded = networks.load("it", folder, described["task"])
    assert described["tokenizer"]["sha256"] == loaded.preprocessing.digest
    assert described["tokenizer"] == networks.tokenizer(loaded)


@pytest.mark.parametrize("key", ["bert", "big_bird", "deberta", "fnet", "gpt2", "distilbert"])
def test_an_architecture_shows_what_the_catalog_says(key: str) -> None:
    architecture = ARCHITECTURES[key]
    config, _ = options.check(options.describe(architecture.Options), {})
    module = architecture.build(config, Shape(classes=3, vocabulary=60, max_length=12)).eval()
    ids = torch.randint(5, 50, (2, 8))
    shown = []
    for name in ("hidden", "attention", "relations", "embedding"):
        try:
            with torch.no_grad(), features.watch(module, Wanted(**{name: True})) as seen:
                module(input_ids=ids, attention_mask=torch.ones_like(ids))
        except ConfigError:
            continue
        found = getattr(seen, name)
        if found is not None and len(found) and all(one is not None for one in found):
            shown.append(name)
    assert shown == list(architecture.shows)
