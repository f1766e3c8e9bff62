"""Labels of words: read, learned, distilled between tokenizers that cut words differently."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engine import jobs
from training.engine import tokenization
from training.engine.data import NO_UNIT
from training.engine.errors import DataError
from training.engine.events import Finished
from training.engine.words import WordPreprocessing

TASK = "token-classification"
NAMES = ["city", "name", "other"]
CITIES, PEOPLE = ["Paris", "Oslo", "Lima", "Rome"], ["Ada", "Alan", "Grace", "Linus"]


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> jobs.JSON:
    """Sentences in which names and cities stand at any place; a few have no labels."""
    chance = np.random.default_rng(0)
    filler = ["went", "to", "from", "yesterday", "and", "saw", "the", "sea", "with"]
    texts, labels = [], []
    for row in range(150):
        words = [str(one) for one in chance.choice(filler, size=int(chance.integers(3, 8)))]
        words += [str(chance.choice(CITIES)), str(chance.choice(PEOPLE))]
        words = [str(one) for one in chance.permutation(words)]
        tags = ["city" if w in CITIES else "name" if w in PEOPLE else "other" for w in words]
        texts.append(" ".join(words))
        labels.append(None if row == 3 else " ".join(tags))
    splits = [
        "test" if i % 10 == 9 else "validation" if i % 10 == 8 else "train" for i in range(150)
    ]
    path = tmp_path_factory.mktemp("tagged") / "dataset.parquet"
    table = pa.table(
        {
            "row_id": pa.array(range(150), pa.int64()),
            "split": splits,
            "label": pa.array(labels, pa.string()),
            "text": texts,
        }
    )
    pq.write_table(table, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": sha256, "fingerprint": sha256, "labels": NAMES}


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory, tagged: jobs.JSON) -> Path:
    folder = jobs.write(
        tmp_path_factory.mktemp("tagger"), tagged, task=TASK, architecture="bilstm",
        options={"dim": 16, "hidden": 16, "vocabulary": 100},
        training={
            "epochs": 6, "learning_rate": 0.02, "selection_metric": "val/span_f1"
        },
    )  # fmt: skip
    told = jobs.run(folder)
    assert isinstance(told[-1], Finished)
    assert told[-1].summary["best_value"] > 0.95
    assert told[-1].summary["student"]["accuracy"] > 0.95
    return folder / "output" / "model"


def test_a_student_that_cuts_words_otherwise_learns_from_a_tagger(
    tmp_path: Path, tagged: jobs.JSON, tagger: Path
) -> None:
    folder = jobs.write(
        tmp_path, tagged, task=TASK, architecture="bert-tokens", teachers=[str(tagger)],
        options={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                 "intermediate_size": 32, "vocab_size": 60, "max_length": 64},
        training={"epochs": 6, "learning_rate": 0.01},
    )  # fmt: skip
    told = jobs.run(folder)
    summary = told[-1].summary  # type: ignore[union-attr]
    assert summary["student"]["accuracy"] > 0.8
    assert summary["agreement"] > 0.8
    rows = pq.read_table(folder / "output" / "predictions.parquet").to_pylist()
    assert len(rows) == 15
    for row in rows:
        right = np.mean(
            [a == b for a, b in zip(row["label"].split(), row["student"].split(), strict=True)]
        )
        assert row["student_value"] == pytest.approx(right)
    evaluation = json.loads((folder / "output" / "evaluation.json").read_text())
    words = sum(len(row["label"].split()) for row in rows)
    assert np.array(evaluation["student"]["confusion"]).sum() == words
    spans = evaluation["student"]["per_span"]
    assert [one["label"] for one in spans] == NAMES
    assert sum(one["spans"] for one in spans) == words
    for who in ("student", "teacher"):  # each word is a span, so both are the same
        assert summary[who]["span_f1"] == pytest.approx(summary[who]["accuracy"])


def test_the_same_seed_and_a_resumed_tagger_give_the_same_numbers(
    tmp_path: Path, tagged: jobs.JSON, tagger: Path
) -> None:
    made = []
    for name, stops in (("whole", False), ("broken", True)):
        folder = jobs.write(
            tmp_path / name, tagged, task=TASK, architecture="bilstm", teachers=[str(tagger)],
            options={"dim": 8, "hidden": 8, "vocabulary": 100},
        )  # fmt: skip
        if stops:
            steps = iter(range(1000))
            jobs.run(folder, asked_to_stop=lambda steps=steps: next(steps) >= 14)
        jobs.run(folder, resuming=stops)
        made.append(jobs.weights(folder))
    assert made[0] == made[1]


def words_of(pieces: str) -> WordPreprocessing:
    wish = tokenization.Wish(kind=pieces, vocabulary=40, max_length=16, framed=True)
    made = tokenization.learn(lambda: ["Ada went to Paris", "Oslo"], wish)
    return WordPreprocessing(
        tokenizer=made.tokenizer, max_length=made.max_length, pad=0, names=tuple(NAMES)
    )


@pytest.mark.parametrize("pieces", ["word", "wordpiece", "bpe"])
def test_the_first_token_of_a_word_speaks_for_it(pieces: str) -> None:
    numbers = {name: place for place, name in enumerate(NAMES)}
    _, targets = words_of(pieces).of_row(0, "Ada went to Zanzibar", "name other x city", numbers)
    assert [one for one in targets if one != NO_UNIT] == [1, 2, -1, 0]
    _, silent = words_of(pieces).of_row(0, "", None, numbers)
    assert set(silent) <= {NO_UNIT}


def test_a_row_whose_labels_do_not_fit_its_words_is_named() -> None:
    with pytest.raises(DataError, match="Row 7 has 2 words and 1 labels"):
        words_of("word").of_row(7, "Ada went", "name", {})
    with pytest.raises(DataError, match="more than 16 tokens"):
        words_of("word").of_row(7, "a " * 30, "x " * 30, {})
