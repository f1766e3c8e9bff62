"""Direct preference optimization: its numbers, its pairs, and a student that learns from them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from tests.engine import jobs, writings
from tests.engine.oracles import pairs as recorded_pairs
from tests.engine.spoken import Case
from training.engine import config, head_loss, methods, networks, pairs
from training.engine.answers import Answer
from training.engine.data import NO_UNIT, of_rationale
from training.engine.errors import ConfigError, DataError
from training.engine.events import Finished, Halted, Measured
from training.engine.heads import Head, Unmultiplied
from training.engine.language import LanguagePreprocessing
from training.engine.losses import preference
from training.engine.losses.preference import Preference

JSON = dict[str, Any]
RECORDED: list[JSON] = json.loads(
    (Path(__file__).parent / "oracles" / "recorded_preferences.json").read_text(encoding="utf-8")
)
DPO: JSON = {
    "scheme": "preferences",
    "losses": [{"kind": "preference", "weight": 1.0, "beta": 0.5}],
    "training": {"epochs": 8, "learning_rate": 0.02},
}


# The numbers -------------------------------------------------------------------------------------


def units(inputs: JSON, *, order: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """(labels, the places of the units) of recorded pairs, each chosen answer before its rejected
    one, the pairs in this order."""
    tokens, counts = recorded_pairs.answers(inputs)
    many = inputs["pairs"]
    labels, places = [], []
    for pair in order or range(many):
        for row in (pair, many + pair):
            told = torch.from_numpy(tokens[row][counts[row]])
            labels.append(told if row < many else torch.as_tensor(of_rationale(told)))
            places.append(torch.from_numpy(np.flatnonzero(counts[row]) + row * inputs["time"]))
    return torch.cat(labels), torch.cat(places)


def of(logits: Tensor, places: Tensor) -> Answer:
    return Answer(logits.reshape(-1, logits.shape[-1])[places])


@pytest.mark.parametrize("record", RECORDED, ids=lambda one: str(one["settings"]["beta"]))
def test_loss_and_gradient_are_those_of_trl(record: JSON) -> None:
    """`oracles/record_preferences.py` says by which command they were recorded. TRL means over
    pairs, and so does a lesson, which divides by the pairs of a whole step."""
    inputs = record["inputs"]
    labels, places = units(inputs)
    said, held = (torch.tensor(one) for one in recorded_pairs.logits(inputs))
    said.requires_grad_(True)
    term = Case("preference").term(**record["settings"])
    spoken = term.speaks(labels)
    assert int(spoken.sum()) == inputs["pairs"]
    values = term.values(of(said, places), of(held, places), labels)
    assert values[~spoken].abs().max() == 0.0
    loss = values.sum() / inputs["pairs"]
    assert float(loss.detach()) == pytest.approx(record["value"], rel=1e-10)
    (gradient,) = torch.autograd.grad(loss, said)
    assert float(gradient.norm()) == pytest.approx(record["gradient_norm"], rel=1e-9)
    along = (gradient * torch.tensor(recorded_pairs.towards(inputs))).sum()
    assert float(along) == pytest.approx(record["gradient_along"], rel=1e-8)
    margins = preference.margins(of(said, places), of(held, places), labels).values
    assert float((margins > 0).double().mean()) == pytest.approx(record["preferred"])


def test_smoothing_takes_a_share_of_pairs_the_other_way_round() -> None:
    margins = torch.tensor([1.5, -0.5], dtype=torch.float64)
    term = Case("preference").term(beta=2.0, label_smoothing=0.1)
    assert isinstance(term, Preference)
    for value, margin in zip(term.of(margins).tolist(), margins.tolist(), strict=True):
        right, wrong = (math.log1p(math.exp(-sign * 2.0 * margin)) for sign in (1, -1))
        assert value == pytest.approx(0.9 * right + 0.1 * wrong)


def test_the_order_of_pairs_changes_nothing_and_parts_add_up() -> None:
    inputs = RECORDED[1]["inputs"]
    said, held = (torch.tensor(one) for one in recorded_pairs.logits(inputs))
    term = Case("preference").term()
    labels, places = units(inputs)
    straight = term.values(of(said, places), of(held, places), labels)
    labels, places = units(inputs, order=[2, 0, 1])
    turned = term.values(of(said, places), of(held, places), labels)
    assert float(turned.sum()) == pytest.approx(float(straight.sum()), rel=1e-12)
    parts = 0.0
    for pair in range(3):
        labels, places = units(inputs, order=[pair])
        parts += float(term.values(of(said, places), of(held, places), labels).sum())
    assert parts == pytest.approx(float(straight.sum()), rel=1e-12)


def test_a_large_vocabulary_a_few_tokens_at_a_time_gives_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = torch.Generator().manual_seed(0)
    labels = torch.tensor([3, 1, -4, -2, -7, 0, -3])
    hidden, weight = torch.randn(7, 6, generator=chance), torch.randn(9, 6, generator=chance)
    held = Answer(torch.randn(7, 9, generator=chance))
    found = []
    for size in (None, 2):
        if size:
            monkeypatch.setattr(head_loss, "tokens_at_once", lambda *_: 2)
        leaves = [one.clone().requires_grad_(True) for one in (hidden, weight)]
        said = Unmultiplied(Head(leaves[0], leaves[1]))
        value = Case("preference").term().values(said, held, labels).sum()
        assert said.made is None
        found.append([value, *torch.autograd.grad(value, leaves)])
    plain = Answer(hidden @ weight.T)
    assert float(found[0][0].detach()) == pytest.approx(
        float(Case("preference").term().values(plain, held, labels).sum())
    )
    for whole, parts in zip(*found, strict=True):
        assert torch.allclose(whole, parts, rtol=1e-5, atol=1e-7)


def test_units_without_another_answer_are_no_pair() -> None:
    labels = torch.tensor([-1, 4, 5, 2, -3, -1, -9, 7, -1, 8, -2])
    pair, rejected = preference.pairs(labels)
    assert pair.tolist() == [-1, 0, 0, 0, 0, -1, 0, 1, -1, 1, 1]
    assert rejected.tolist() == [one < -1 for one in labels.tolist()]
    for alone in ([3, 4], [-1, -1], [-5], []):
        given = torch.tensor(alone, dtype=torch.int64)
        term = Case("preference").term()
        assert not term.speaks(given).any()
        logits = torch.zeros(len(alone), 9)
        assert term.values(Answer(logits), Answer(logits), given).tolist() == [0.0] * len(alone)


# Rows as pairs -----------------------------------------------------------------------------------


def preprocessing(folder: Path, dataset: JSON, **changes: Any) -> LanguagePreprocessing:
    job = writings.write(folder, dataset, training={"epochs": 1}, **changes)
    jobs.run(job)
    found = networks.load("tiny", job / "output" / "model", "text-generation").preprocessing
    assert isinstance(found, LanguagePreprocessing)
    return found


def test_a_row_becomes_its_chosen_and_its_rejected_answer(tmp_path: Path) -> None:
    dataset = writings.preferred(tmp_path / "rows.parquet")
    said = preprocessing(tmp_path / "job", dataset)
    found = pairs.read(Path(dataset["path"]), said)
    table = pq.read_table(dataset["path"]).to_pylist()
    assert [one is None for one in found] == [not row["rejected"] for row in table]
    pair = found[2]
    assert pair is not None
    for one, text in zip(pair, (table[2]["text"], table[2]["rejected"]), strict=True):
        assert said.decode(one.ids[one.counts].tolist()) == text
        assert len(one.ids) <= said.max_length + 1
    both = [one for one in found[2:4] if one is not None]
    batch = pairs.batch(both, said.pad)
    assert batch["input_ids"].shape[0] == 4
    labels = batch["targets"][batch["targets"] != NO_UNIT]
    assert (labels[: both[0][0].counts.sum()] >= 0).all()
    assert preference.pairs(labels)[0].max() == 1


def test_chats_are_pairs_of_conversations_and_long_prompts_lose_their_beginning(
    tmp_path: Path,
) -> None:
    def chat(answer: str) -> str:
        return json.dumps(
            [
                {"role": "user", "content": "say it see " * 6},
                {"role": "assistant", "content": answer},
            ]
        )

    texts = [chat("yes") for _ in range(10)]
    dataset = writings.rows(tmp_path / "rows.parquet", texts, rejected=[chat("see yes")] * 10)
    said = preprocessing(tmp_path / "job", dataset)
    pair = pairs.read(Path(dataset["path"]), said)[4]
    assert pair is not None
    for one, answer in zip(pair, ("yes", "see yes"), strict=True):
        assert len(one.ids) <= said.max_length + 1
        assert said.decode(one.ids[one.counts].tolist()).endswith(answer)
    counted = int(np.flatnonzero(pair[0].counts)[0])
    assert pair[0].ids[:counted].tolist() == pair[1].ids[:counted].tolist()


# A student ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> JSON:
    return writings.preferred(tmp_path_factory.mktemp("pairs") / "rows.parquet", 60)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, dataset: JSON) -> str:
    """A student that writes something already."""
    folder = writings.write(tmp_path_factory.mktemp("begun"), dataset, training={"epochs": 2})
    jobs.run(folder)
    return str(folder / "output" / "model")


def test_a_student_comes_to_prefer_what_people_chose_and_resumes_bit_for_bit(
    tmp_path: Path, dataset: JSON, begun: str
) -> None:
    whole = writings.write(tmp_path / "whole", dataset, path=begun, **DPO)
    told = jobs.run(whole)
    assert isinstance(told[-1], Finished)
    summary = told[-1].summary
    assert summary["selection_metric"] == "val/loss"
    assert summary["preferred"] > 0.75
    values: dict[str, list[float]] = {}
    for one in jobs.of(told, Measured):
        for name, value in one.values.items():
            values.setdefault(name, []).append(value)
    assert values["train/preference"][0] == pytest.approx(math.log(2), abs=0.02)
    assert values["val/loss"][-1] < 0.9 * math.log(2)
    assert values["test/preferred"] == [summary["preferred"]]

    broken = writings.write(tmp_path / "broken", dataset, path=begun, **DPO)
    for attempt, patience in enumerate((3, 4)):
        steps = iter(range(1000))
        halted = jobs.run(
            broken,
            resuming=attempt > 0,
            asked_to_stop=lambda steps=steps, most=patience: next(steps) >= most,
        )
        assert isinstance(halted[-1], Halted)
    assert isinstance(jobs.run(broken, resuming=True)[-1], Finished)
    assert jobs.weights(broken) == jobs.weights(whole)


def test_a_teacher_may_be_the_reference_and_hard_labels_stand_beside(
    tmp_path: Path, dataset: JSON, begun: str
) -> None:
    """Held to its own beginning by name, the first losses are those without a teacher."""
    losses = [*DPO["losses"], {"kind": "hard_labels", "weight": 0.2}]
    folders = [
        writings.write(tmp_path / name, dataset, path=begun, teachers=teachers,
                       **DPO | {"losses": losses, "training": {"epochs": 1}})
        for name, teachers in (("alone", None), ("held", [begun]))
    ]  # fmt: skip
    alone, held = (
        [one.values for one in jobs.of(jobs.run(folder), Measured) if "train/loss" in one.values]
        for folder in folders
    )
    for ours, theirs in zip(alone, held, strict=True):
        for name in ("train/preference", "train/hard_labels", "train/loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)


def test_accumulation_changes_no_gradient(tmp_path: Path, dataset: JSON, begun: str) -> None:
    made = []
    for name, size, times in (("one", 8, 1), ("four", 2, 4)):
        training = {"epochs": 1, "batch_size": size, "gradient_accumulation": times}
        how = DPO | {"training": DPO["training"] | training}
        folder = writings.write(tmp_path / name, dataset, path=begun, **how)
        losses = [
            one.values["train/preference"]
            for one in jobs.of(jobs.run(folder), Measured)
            if "train/preference" in one.values
        ]
        made.append(losses)
    assert made[0] == pytest.approx(made[1], rel=1e-4)


def test_what_cannot_be_is_refused_with_a_sentence(tmp_path: Path, dataset: JSON) -> None:
    def faults(**changes: Any) -> str:
        with pytest.raises(ConfigError) as refused:
            jobs.run(writings.write(tmp_path / "job", dataset, **DPO | changes))
        return str(refused.value)

    assert 'the scheme "preferences" alone' in faults(scheme="offline")
    assert "a term of its own: preference" in faults(losses=[{"kind": "hard_labels"}])
    both = [*DPO["losses"], {"kind": "rationale", "weight": 1.0}]
    assert "nothing to read" in faults(losses=both)
    plain = writings.questions(tmp_path / "plain.parquet")
    with pytest.raises(ConfigError, match="reads a column rejected"):
        jobs.run(writings.write(tmp_path / "plain", plain, **DPO))
    none = writings.rows(tmp_path / "none.parquet", ["a b"] * 10, rejected=[""] * 10)
    with pytest.raises(DataError, match="No training row has a chosen and a rejected answer"):
        jobs.run(writings.write(tmp_path / "none", none, **DPO))


def test_a_run_of_pairs_is_selected_by_their_loss() -> None:
    asked = {"task": "text-generation", "dataset": "d@1", "student": "s@1"} | DPO
    found = config.parse(asked, methods.describe())
    assert found.training.selection_metric == "val/loss"
    named = asked | {"training": {"selection_metric": "val/preferred"}}
    assert config.parse(named, methods.describe()).training.selection_metric == "val/preferred"
