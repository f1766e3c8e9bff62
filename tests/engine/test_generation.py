"""Networks that write, trained end to end: from labels, from a teacher's probabilities however they
are kept, from what the student writes itself, and from what its teacher wrote."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.engine import jobs, shipping, writings
from training.engine import data, head_loss, networks
from training.engine.answers import NOTHING
from training.engine.data import NO_UNIT
from training.engine.errors import ConfigError, Stopped
from training.engine.events import Finished, Halted, Logged, Measured
from training.engine.language_teacher import Kept, LanguageTeacher, choose
from training.engine.losses import LOSSES
from training.engine.networks import Place
from training.engine.schemes import SCHEMES

CPU = Place(torch.device("cpu"))
OWN = [one.key for one in SCHEMES if one.tasks == ("text-generation",) and not one.brings_teacher]
JSD: list[dict[str, Any]] = [{"kind": "jsd", "weight": 1.0}]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return writings.texts(tmp_path_factory.mktemp("texts") / "dataset.parquet")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, Any]) -> Path:
    """The model folder of a network that has learned them; its job folder is two above."""
    folder = writings.write(
        tmp_path_factory.mktemp("teacher"), texts, options=writings.LARGER, training={"epochs": 4}
    )
    jobs.run(folder)
    return folder / "output" / "model"


def taught(folder: Path, texts: dict[str, Any], teacher: Path, **how: Any) -> Path:
    asked = {"losses": writings.SOFT, "teachers": [str(teacher)], **how}
    return writings.write(folder, texts, **asked)


def test_a_teacher_learns_and_what_it_is_worth_stands_in_its_evaluation(teacher: Path) -> None:
    folder = teacher.parent.parent
    said = json.loads((folder / "output" / "evaluation.json").read_text())
    student = said["student"]
    assert student["perplexity"] < 12  # of 15 characters
    bits = student["bits_per_character"]
    assert bits == pytest.approx(math.log2(student["perplexity"]), rel=1e-6)  # a token is a letter
    assert 0 < student["token_accuracy"] < 1
    assert student["exact_match"] is None
    assert student["tokens_per_second"] > 0
    assert said["headline"] == "perplexity"
    assert len(said["samples"]) == 6
    assert set(said["samples"][0]) == {"row_id", "prompt", "reference", "student"}


def test_the_report_agrees_with_whole_logits(texts: dict[str, Any], teacher: Path) -> None:
    folder = teacher.parent.parent
    said = json.loads((folder / "output" / "evaluation.json").read_text())["student"]
    network = networks.load("big", teacher, "text-generation")
    network.module.eval()
    inputs = network.preprocessing.prepare(Path(texts["path"]), folder / "prepared")
    dataset = inputs.divided(writings.opened(texts))  # type: ignore[attr-defined]
    nll, right = [], []
    for row in dataset.splits["test"]:
        batch = inputs.batch(np.array([row]))
        labels = batch["targets"][batch["targets"] != NO_UNIT]
        with torch.no_grad():
            logs = CPU.logits(network, batch).double().log_softmax(-1)
        nll.append(-logs.gather(1, labels[:, None]).squeeze(1))
        right.append(logs.argmax(1) == labels)
    mean = float(torch.cat(nll).mean())
    assert said["perplexity"] == pytest.approx(math.exp(mean), rel=1e-5)
    assert said["token_accuracy"] == pytest.approx(float(torch.cat(right).double().mean()))


def test_rows_of_the_file_are_predicted_not_windows(texts: dict[str, Any], teacher: Path) -> None:
    table = pq.read_table(teacher.parent / "predictions.parquet").to_pydict()
    dataset = writings.opened(texts)
    assert table["row_id"] == dataset.row_ids[dataset.splits["test"]].tolist()
    for nll, value, tokens, letters in zip(
        table["student_nll"], table["student_value"], table["tokens"], table["characters"],
        strict=True,
    ):  # fmt: skip
        assert tokens == letters
        assert value == pytest.approx(nll / math.log(2))


@pytest.mark.parametrize(
    ("kept", "losses"),
    [
        ("logits", [*writings.SOFT, {"kind": "hard_labels", "weight": 0.1}]),
        ("hidden_states", [{"kind": "soft_targets", "weight": 1.0, "temperature": 2.0}]),
        ("top_k", [{"kind": "soft_targets", "weight": 1.0, "temperature": 3.0}]),
        ("top_k", JSD),
    ],
)
def test_stored_answers_train_the_same_weights_as_a_live_teacher(
    tmp_path: Path, texts: dict[str, Any], teacher: Path, kept: str, losses: list[dict[str, Any]]
) -> None:
    """Stored once, shared by the next run; and each term's share of the gradient is measured."""
    outputs = {"mode": kept, "k": 4, "store": str(tmp_path / "store")}
    folders = [
        taught(tmp_path / name, texts, teacher, losses=losses, teacher_outputs=outputs)
        for name in ("first", "second")
    ]
    told = [jobs.run(folder) for folder in folders]
    heard = [one.text for one in jobs.of(told[1], Logged)]
    assert any("had answered before" in one for one in heard)
    assert any("equal live ones" in one for one in heard)
    assert jobs.weights(folders[0]) == jobs.weights(folders[1])
    if kept == "top_k":
        assert any("of its probability word by word (4 words a token)" in one for one in heard)
        return
    live = taught(
        tmp_path / "live", texts, teacher, losses=losses, teacher_outputs={"mode": "live"}
    )
    jobs.run(live)
    one, two = (
        networks.load("s", folder / "output" / "model", "text-generation").module.state_dict()
        for folder in (folders[0], live)
    )
    for name in one:
        assert torch.allclose(one[name], two[name], atol=2e-3), name
    if len(losses) > 1:
        shares = [
            sum(value for name, value in line.values.items() if name.endswith("_share"))
            for line in jobs.of(told[0], Measured)
            if "train/soft_targets_share" in line.values
        ]
        assert shares
        assert all(one == pytest.approx(1.0, rel=1e-4) for one in shares)


def test_the_covered_mass_stands_in_the_manifest(
    tmp_path: Path, texts: dict[str, Any], teacher: Path
) -> None:
    outputs = {"mode": "top_k", "k": 4, "store": str(tmp_path / "store")}
    jobs.run(taught(tmp_path / "job", texts, teacher, teacher_outputs=outputs))
    said = [json.loads(one.read_text()) for one in (tmp_path / "store").rglob("manifest.json")]
    assert {one["split"] for one in said} == {"train", "validation", "test"}
    assert all(one["kind"] == "top_k" and one["k"] == 4 for one in said)
    assert all(0.3 < one["covered_mass"] < 1.0 for one in said)
    assert all(one["bytes"] > 0 for one in said)


def test_the_students_tokens_are_its_teachers_and_its_closeness_is_told(
    tmp_path: Path, texts: dict[str, Any], teacher: Path
) -> None:
    folder = taught(tmp_path, texts, teacher)
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    summary = told[-1].summary
    assert summary["teacher"]["perplexity"] < summary["student"]["perplexity"]
    assert summary["kl"] >= 0
    assert 0 <= summary["agreement"] <= 1
    assert summary["retention"] == pytest.approx(
        summary["teacher"]["bits_per_character"] / summary["student"]["bits_per_character"]
    )
    student, big = (
        networks.load("x", one, "text-generation") for one in (folder / "output/model", teacher)
    )
    assert student.preprocessing.digest == big.preprocessing.digest
    last = [one.values for one in jobs.of(told, Measured) if "val/loss" in one.values][-1]
    assert last["val/kl"] == pytest.approx(last["val/loss"], rel=1e-4)  # soft targets at T = 1
    evaluation = json.loads((folder / "output" / "evaluation.json").read_text())
    assert set(evaluation["samples"][0]) == {
        *("row_id", "prompt", "reference", "student", "teacher")
    }
    assert {one["kind"] for one in evaluation["examples"]} <= {"lost", "beat"}


def test_micro_batches_change_nothing(tmp_path: Path, texts: dict[str, Any], teacher: Path) -> None:
    whole = taught(tmp_path / "whole", texts, teacher, training={"batch_size": 8, "epochs": 1})
    parts = taught(
        tmp_path / "parts", texts, teacher,
        training={"batch_size": 2, "gradient_accumulation": 4, "epochs": 1},
    )  # fmt: skip
    for folder in (whole, parts):
        jobs.run(folder)
    one, two = (
        networks.load("s", folder / "output" / "model", "text-generation").module.state_dict()
        for folder in (whole, parts)
    )
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-5), name


WITH: dict[str, list[dict[str, Any]]] = {
    "on_policy": JSD,
    "sequence_level": [{"kind": "hard_labels", "weight": 1.0}],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "on_policy": {"share": 0.7, "max_new_tokens": 6, "prompt_tokens": 4},
    "sequence_level": {"samples": 2, "own_share": 0.3, "prompt_tokens": 4},
}


@pytest.mark.parametrize("key", OWN)
def test_own_schemes_stopped_and_resumed_end_with_the_same_weights(
    tmp_path: Path, texts: dict[str, Any], teacher: Path, key: str
) -> None:
    """What is written depends on the seed and the step alone."""
    how = {"scheme": {"kind": key, **OPTIONS[key]}, "losses": WITH[key]}
    whole = taught(tmp_path / "whole", texts, teacher, **how)
    told = jobs.run(whole)
    assert isinstance(told[-1], Finished)
    broken = taught(tmp_path / "broken", texts, teacher, **how)
    ended: list[type] = []
    for patience in (1, 7, 5, 1000):
        steps = iter(range(10_000))
        told = jobs.run(
            broken,
            resuming=bool(ended),
            asked_to_stop=lambda steps=steps, most=patience: next(steps) >= most,
        )
        ended.append(type(told[-1]))
    assert ended[0] is Halted
    assert ended[-1] is Finished
    assert jobs.weights(broken) == jobs.weights(whole)


def test_what_a_student_writes_has_no_labels_and_its_teacher_is_asked_live(
    tmp_path: Path, texts: dict[str, Any], teacher: Path
) -> None:
    scheme = {"kind": "on_policy", "share": 1.0}
    losses = [*JSD, {"kind": "hard_labels", "weight": 1.0}]
    told = jobs.run(taught(tmp_path, texts, teacher, scheme=scheme, losses=losses))
    values = [one.values for one in jobs.of(told, Measured) if "train/loss" in one.values]
    assert all("train/hard_labels" not in one for one in values)
    assert all(one["train/loss"] == pytest.approx(one["train/jsd"]) for one in values)


def test_only_a_student_with_a_term_that_listens_may_be_corrected(
    tmp_path: Path, texts: dict[str, Any], teacher: Path
) -> None:
    hard = [{"kind": "hard_labels", "weight": 1.0}]
    with pytest.raises(ConfigError, match="no term listens to the teacher"):
        jobs.run(taught(tmp_path / "a", texts, teacher, scheme="on_policy", losses=hard))
    with pytest.raises(ConfigError, match="only words come from the teacher"):
        jobs.run(taught(tmp_path / "b", texts, teacher, scheme="sequence_level"))
    with pytest.raises(ConfigError, match="needs a teacher"):
        jobs.run(writings.write(tmp_path / "c", texts, scheme="sequence_level", losses=hard))


def test_a_teacher_of_other_tokens_can_still_be_learned_from_by_its_words(
    tmp_path: Path, texts: dict[str, Any], teacher: Path
) -> None:
    own = {**writings.SMALL, "tokenizer": "bpe", "vocabulary": 280}
    begun = writings.write(tmp_path / "begun", texts, options=own, training={"epochs": 1})
    jobs.run(begun)
    path = str(begun / "output" / "model")
    with pytest.raises(ConfigError, match="reads its inputs in another way"):
        jobs.run(taught(tmp_path / "refused", texts, teacher, path=path))
    folder = taught(
        tmp_path / "job", texts, teacher, path=path, scheme="sequence_level",
        losses=WITH["sequence_level"],
    )  # fmt: skip
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    assert told[-1].summary["kl"] is None  # no common tokens to compare
    assert told[-1].summary["teacher"]["bits_per_character"] > 0


def test_a_stored_top_k_refuses_terms_that_want_every_logit(
    tmp_path: Path, texts: dict[str, Any], teacher: Path
) -> None:
    folder = taught(
        tmp_path, texts, teacher, losses=[{"kind": "logit_mse", "weight": 1.0}],
        teacher_outputs={"mode": "top_k", "k": 4, "store": str(tmp_path / "store")},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="logit_mse needs the teacher's logit of every word"):
        jobs.run(folder)


def test_completions_are_judged_by_whole_answers(tmp_path: Path) -> None:
    asked = writings.questions(tmp_path / "questions.parquet", 60)
    folder = writings.write(
        tmp_path / "job", asked, options={**writings.LARGER, "max_length": 32},
        training={"epochs": 30, "learning_rate": 0.03},
    )  # fmt: skip
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    student = told[-1].summary["student"]
    assert student["exact_match"] > 0.5
    said = json.loads((folder / "output" / "evaluation.json").read_text())["samples"]
    right = [one["student"] == one["reference"] for one in said]
    table = pq.read_table(folder / "output" / "predictions.parquet").to_pydict()
    whole = dict(
        zip(
            table["row_id"],
            [a == b for a, b in zip(table["right_tokens"], table["tokens"], strict=True)],
            strict=True,
        )
    )
    assert right == [whole[one["row_id"]] for one in said]  # greedy writing is what it measures


def test_chats_train_and_write_answers(tmp_path: Path) -> None:
    asked = writings.chats(tmp_path / "chats.parquet")
    folder = writings.write(tmp_path / "job", asked, options={**writings.SMALL, "max_length": 96})
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    said = json.loads((folder / "output" / "evaluation.json").read_text())["samples"]
    assert said[0]["reference"] in ("yes", "no", "maybe", "so")


def loaded(teacher: Path, texts: dict[str, Any], home: Path) -> LanguageTeacher:
    network = networks.load("big", teacher, "text-generation")
    one = LanguageTeacher(network, teacher, 1.0, writings.opened(texts), CPU)
    one.prepare(home / "prepared")
    one.seat(writings.opened(texts))
    return one


def test_a_teacher_that_was_interrupted_goes_on_where_it_was(
    tmp_path: Path, texts: dict[str, Any], teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.engine.generation.TOKENS_AT_ONCE", 64)
    one = loaded(teacher, texts, tmp_path)
    store = tmp_path / "store"
    steps = iter(range(1000))
    with pytest.raises(Stopped):
        list(one.ask("train", store, tmp_path, lambda: next(steps) >= 5))
    asked: list[int] = []
    inner = LanguageTeacher._ask_some

    def counted(self: LanguageTeacher, *given: Any) -> None:
        asked.append(1)
        inner(self, *given)

    monkeypatch.setattr(LanguageTeacher, "_ask_some", counted)
    again = loaded(teacher, texts, tmp_path)
    batches = list(again.ask("train", store, tmp_path, lambda: False))
    assert 0 < len(asked) < len(batches) - 1
    fresh = loaded(teacher, texts, tmp_path)
    list(fresh.ask("train", tmp_path / "other", tmp_path, lambda: False))
    rows = fresh.dataset.splits["train"]
    said = [it.answer(rows, "train", NOTHING).logits for it in (again, fresh)]
    assert torch.equal(*said)


def test_auto_keeps_what_loses_nothing_and_is_smallest_unless_it_is_too_large(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = networks.load("big", teacher, "text-generation")
    assert choose("auto", 64, [1.0], network, 1000, tmp_path).kind == "logits"  # 17 words, width 24
    monkeypatch.setattr("training.engine.language_teacher.MOST_BYTES", 1000)
    assert choose("auto", 2, [1.0, 7.0], network, 1000, tmp_path) == Kept(
        "top_k", 2, (1.0, 2.0, 4.0, 7.0)
    )
    assert choose("live", 2, [1.0], network, 1000, tmp_path).kind == "logits"


def test_a_vocabulary_in_chunks_trains_as_one_in_whole(
    tmp_path: Path, texts: dict[str, Any], teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunked = taught(tmp_path / "chunked", texts, teacher)
    monkeypatch.setattr(head_loss, "AT_ONCE", 1)
    jobs.run(chunked)
    monkeypatch.undo()
    whole = taught(tmp_path / "whole", texts, teacher)
    monkeypatch.setattr(head_loss, "fits", lambda *given: "not now")
    jobs.run(whole)
    one, two = (
        networks.load("s", folder / "output" / "model", "text-generation").module.state_dict()
        for folder in (chunked, whole)
    )
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-4), name


def test_windows_share_batches_by_length(texts: dict[str, Any], teacher: Path) -> None:
    one = loaded(teacher, texts, teacher.parent)
    assert one.inputs is not None
    order = data.epoch_order(one.dataset.splits["train"], one.inputs.lengths, 8, 0, 0)
    spreads = [np.ptp(one.inputs.lengths[rows]) for rows in order]
    assert np.median(spreads) == 0


LLAMA: dict[str, Any] = {
    "tokenizer": "character", "vocabulary": 64, "max_length": 16, "hidden_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip
# Pairs of answers have their own rows: test_preferences.py.
OFFERED = [one.key for one in LOSSES if "text-generation" in one.tasks and not one.scheme]
SHARED = [
    one.key
    for one in SCHEMES
    if "text-generation" in one.tasks and one.key not in (*OWN, "preferences")
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, Any]) -> Path:
    folder = writings.write(
        tmp_path_factory.mktemp("llama"), texts, architecture="llama-lm",
        options={**LLAMA, "hidden_size": 24}, training={"epochs": 1},
    )  # fmt: skip
    jobs.run(folder)
    return folder / "output" / "model"


@pytest.mark.parametrize("key", OFFERED)
def test_every_term_that_is_offered_trains_a_network_that_writes(
    tmp_path: Path, texts: dict[str, Any], llama: Path, key: str
) -> None:
    if LOSSES[key].needs_column:
        texts = writings.reasoned(tmp_path / "reasoned.parquet")
    losses = [{"kind": key, "weight": 0.5}]
    if key != "hard_labels":
        losses.append({"kind": "hard_labels", "weight": 0.5})
    folder = taught(
        tmp_path, texts, llama, architecture="llama-lm", options=LLAMA, losses=losses,
        training={"epochs": 1, "learning_rate": 0.002},
    )  # fmt: skip
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    values = [one.values for one in jobs.of(told, Measured) if "train/loss" in one.values]
    assert all(math.isfinite(one[f"train/{key}"]) for one in values if f"train/{key}" in one)
    assert any(f"train/{key}" in one for one in values)


@pytest.mark.parametrize("key", SHARED)
def test_every_scheme_that_is_offered_trains_a_network_that_writes(
    tmp_path: Path, texts: dict[str, Any], llama: Path, key: str
) -> None:
    scheme = SCHEMES[key]
    both = [*writings.SOFT, {"kind": "hard_labels", "weight": 0.5}]
    how: dict[str, Any] = {"losses": both}
    if key == "staged":
        how = {"stages": [{"losses": [{"kind": "logit_mse"}], "epochs": 1}, {"losses": both}]}
    folder = writings.write(
        tmp_path, texts, architecture="llama-lm", options=LLAMA, scheme=key,
        teachers=[] if scheme.brings_teacher else [str(llama)],
        training={"epochs": 1, "learning_rate": 0.002}, **how,
    )  # fmt: skip
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    assert told[-1].summary["student"]["perplexity"] < 40


def test_shipped_it_is_held_against_itself_on_windows_of_validation_rows(
    tmp_path: Path, texts: dict[str, Any], teacher: Path
) -> None:
    report = shipping.ship(tmp_path, teacher, texts, {"format": "safetensors"})
    assert report["agreement"] == 1.0
    assert "tokenizer.json" in report["files"]
    assert report["rows"] > 6  # windows of six texts
