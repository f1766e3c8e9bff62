"""Answers that are texts: what describes them, how alike two are, and labels that come when no text
is kept any more."""

import json
import time
import zlib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engine import jobs, writings
from tests.engine.test_inference_log import NOW, row
from training.engine.errors import DataError
from training.engine.watching import canaries, counting, job, scoring, written
from training.engine.watching.baseline import Baseline
from training.engine.watching.writers import Writer

JSON = dict[str, Any]
MONITOR: JSON = {
    "task": written.TASK, "labels": [], "window_rows": 1000, "window_hours": None, "rows": 0,
    "salt": "pepper", "privacy": "raw", "kept_share": 1.0, "input": "text", "slices": [],
    "grace_minutes": 0, "detectors": {}, "correction": "holm", "minimum_rows": 1,
}  # fmt: skip


class Looks:
    """Whole looks one after another, without a model and without a reference."""

    def __init__(self, folder: Path, **monitor: Any) -> None:
        self.folder, self.monitor = folder, MONITOR | monitor
        self.parts: list[JSON] = []

    def files(self, sha256s: Iterable[str]) -> dict[str, Path | None]:
        return {one: self.folder / one for one in sha256s}

    def windows(self, numbers: Iterable[int]) -> dict[int, None]:
        return dict.fromkeys(numbers)

    def look(self, kind: str, lines: list[JSON]) -> JSON:
        """What it adds to the facts of its window."""
        folder = self.folder / f"look-{len(list(self.folder.glob('look-*')))}"
        (folder / "output").mkdir(parents=True)
        raw = b"\n".join(json.dumps(one).encode() for one in lines)
        (folder / "0.batch").write_bytes(zlib.compress(raw))
        batches = [{"id": 0, "kind": kind, "rows": len(lines), "path": "0.batch"}]
        config = {
            "now": NOW, "monitor": self.monitor, "model": None, "batches": batches,
            "parts": self.parts, "newest": None, "history": [],
        }  # fmt: skip
        told = job.look(config, folder, self)  # type: ignore[arg-type]
        self.parts = [one for one in self.parts if one["sha256"] not in told["replaced"]]
        for one in told["parts"]:
            path = folder / "output" / one["name"]
            name = sha256(path.read_bytes()).hexdigest()
            path.rename(self.folder / name)
            waits = one["kind"] == "said" and one["first_at"] is None
            self.parts.append(one | {"sha256": name, "waits": waits})
        return told["windows"][0]["facts"] if told["windows"] else {}

    def rows(self, kind: str = "rows") -> dict[str, JSON]:
        found: list[JSON] = []
        for one in self.parts:
            if one["kind"] == kind:
                found += pq.read_table(self.folder / one["sha256"]).to_pylist()
        return {one["id"]: one for one in found}


def answered(identity: str, text: str, **more: Any) -> JSON:
    return row(identity, prediction=text, **more)


def test_how_alike_two_texts_are_is_told_by_their_words() -> None:
    assert written.alike("the cat sat", "The cat, sat!") == 1
    # SQuAD's F1: two shared words, precision 2/4 and recall 2/3
    assert written.alike("a cat a dog", "the cat a") == pytest.approx(4 / 7)
    assert written.alike("x x x", "x") == pytest.approx(0.5)  # each counts as often as it stands
    assert written.alike("東京都", "京都") == pytest.approx(0.8)
    assert (written.alike("", ""), written.alike("", "a"), written.alike("?!", "?!")) == (1, 0, 1)
    assert written.plain("  Yes,\n it IS. ") == written.plain("“yes, it is!".strip("“"))
    assert written.plain("x + 1") != written.plain("x - 1")


def test_what_an_answer_says_again_is_counted_in_groups_of_words() -> None:
    assert written.repeated("one two three") == 0
    assert written.repeated("a b c d e f") == 0
    assert written.repeated("a b c d a b c d") == pytest.approx(1 - 4 / 5)
    assert written.repeated("no " * 50) == pytest.approx(1 - 1 / 47)


def test_answers_are_described_where_they_are_there() -> None:
    said = ["Wo ist meine Karte geblieben?", "", "  ", None, "é"]
    rows = written.described(pa.table({"prediction": pa.array(said, pa.string())}))
    assert rows["answered.length"].to_pylist() == [29, 0, 2, None, 1]
    assert rows["answered.empty"].to_pylist() == ["no", "yes", "yes", None, "no"]
    assert rows["answered.language"].to_pylist()[:2] == ["de", None]
    assert "answered.tokens" not in rows.column_names


def test_what_is_asked_and_answered_is_told_of_completions_and_chats() -> None:
    assert written.asked({"prompt": ["a"], "text": ["b"]}) == (["a"], ["b"])
    turns = [{"role": role, "content": role[0]} for role in ("user", "assistant", "user")]
    chats = [json.dumps(turns), json.dumps(turns[:2]), None]
    prompts, answers = written.asked({"text": chats})
    assert [one and len(json.loads(one)) for one in prompts] == [3, 1, None]
    assert answers == [None, "a", None]
    assert written.spoken(prompts[0]) == "u\n\na\n\nu"
    with pytest.raises(DataError, match="plain texts"):
        written.asked({"text": ["once upon a time"]})


@pytest.mark.parametrize(
    ("privacy", "late", "alike"),
    [("raw", 3, 3), ("redacted", 3, 3), ("hashed", 3, 0), ("described", 0, 0)],
)
def test_a_label_that_comes_later_is_held_against_what_is_kept(
    privacy: str, late: int, alike: int, tmp_path: Path
) -> None:
    looks = Looks(tmp_path, privacy=privacy)
    sent = [answered(f"r{at}", f"It is number {at}.") for at in range(4)]
    sent.append(answered("mail", "to a@b.example", label="To A@b.example", tokens=5))
    together = looks.look("inferences", sent)
    assert together["accuracy"]["value"] == 1
    assert together["overlap"]["accuracy"] == {"value": 1, "rows": 1}

    labels = ["it is number 0", "IT IS NUMBER 1", "it was number 3"]
    told = looks.look("labels", [{"id": f"r{at}", "label": one} for at, one in enumerate(labels)])
    assert told["rows_with_label"] == 3
    assert told.get("accuracy", {"rows": 0})["rows"] == late
    assert told.get("overlap", {"accuracy": {"rows": 0}})["accuracy"]["rows"] == alike
    if late:
        assert told["accuracy"]["value"] == pytest.approx(2 / 3)
        assert looks.rows("said")["r2"]["label_same"] == 0
    if alike:
        assert told["overlap"]["accuracy"]["value"] == pytest.approx((2 + 0.5) / 3)
    # Said again, it changes nothing.
    again = looks.look("labels", [{"id": "r0", "label": "another"}])
    assert not again or again["rows_with_label"] == 0

    kept = looks.rows()["mail"]
    assert ("example" in str(kept)) == (privacy == "raw")
    assert kept["tokens"] == 5
    assert kept["label_alike"] == 1
    assert ("answered.words" in kept) == (privacy != "hashed")
    if privacy == "hashed":
        assert kept["prediction"] == kept["label"]
        assert written.DIGEST.fullmatch(kept["label"])


@pytest.mark.parametrize("privacy", ["raw", "redacted", "hashed", "described"])
def test_a_label_or_an_answer_of_the_teacher_may_come_before_its_row(
    privacy: str, tmp_path: Path
) -> None:
    looks = Looks(tmp_path, privacy=privacy)
    looks.look("labels", [{"id": "a", "label": "Call +49 170 1234567 now"}])
    teacher = {"prediction": "call me now", "share": 0.5}
    looks.look("teacher", [{"id": "a", "teacher": teacher}])
    told = looks.look("inferences", [answered("a", "call +49 170 1234567 now!")])
    if privacy == "described":
        assert "accuracy" not in told
        assert "agreement" not in told
        return
    assert told["accuracy"]["value"] == 1
    assert told["agreement"]["value"] == 0
    assert "faults" not in told  # two texts that are not the same may both be right
    if privacy != "hashed":
        assert 0.3 < told["overlap"]["agreement"]["value"] < 0.7


def test_a_network_writes_the_same_to_a_prompt_whatever_stands_beside_it(tmp_path: Path) -> None:
    said = writings.questions(tmp_path / "data.parquet", 20)
    made = writings.write(tmp_path / "job", said, training={"epochs": 1})
    jobs.run(made)
    writer = Writer.open({"name": "x", "path": "output/model", "task": written.TASK}, made)
    texts = ["red", None, "blue green pink " * 20, "", "red"]
    forever = time.monotonic() + 600
    several = writer.write(texts, forever)
    assert several[1] is None
    for text, one in zip(texts, several, strict=True):
        if one is not None:
            (alone,) = writer.write([text], forever)
            assert alone is not None
            assert (one.text, one.tokens) == (alone.text, alone.tokens)
            assert one.log_probability == pytest.approx(alone.log_probability, abs=1e-4)
            assert one.log_probability <= 0
    assert several[2] is not None
    assert several[2].tokens >= 1
    assert writer.write(texts, time.monotonic() - 1) == [None] * 5
    vectors = writer.vectors(texts)
    assert vectors is not None
    assert vectors[0].tolist() == vectors[4].tolist()
    assert not (vectors[[0, 2]] != vectors[[0, 2]]).any()
    assert (vectors[1] != vectors[1]).all()
    assert writer.vectors([None]) is None


def test_slices_tell_how_answers_changed_in_them() -> None:
    chance = np.random.default_rng(3)

    def came(rows: int, most: int) -> pa.Table:
        """Answers to questions about refunds have at most so many words, others at most nine."""
        asked = [("refund" if at % 2 else "card") for at in range(rows)]
        said = [
            " ".join(["word"] * int(chance.integers(1, 1 + (most if one == "refund" else 9))))
            for one in asked
        ]
        ids = [str(at) for at in range(rows)]
        return written.described(pa.table({"id": ids, "text": asked, "prediction": said}))

    slices = [{"name": "refunds", "query": "refund"}, {"name": "cards", "query": "card"}]
    usual = Baseline.fit(
        came(600, 9), task=written.TASK, labels=[], reads="text", slices=slices, columns={}
    )
    sums = counting.count(counting.View.of(came(400, 40), usual), usual)
    found = scoring.slices(sums, usual, scoring.Asked())
    p = {name: one["scores"]["answered.words"][0]["p"] for name, one in found.items()}
    assert p["refunds"] < 1e-6 < 0.001 < p["cards"]
    assert {"answered.length", "answered.empty", "answered.language"} <= set(
        found["cards"]["scores"]
    )


def test_what_a_service_wrote_to_the_reference_is_compared_by_words() -> None:
    rows = pa.table({"id": ["a", "b", "c"], "prediction": ["It is.", "no way", None]})
    bare = Baseline.none(task=written.TASK, labels=[], reads="text", slices=[])
    found = canaries.told_of(bare, rows, {"a": "it is", "b": "no", "c": "x"}).sums
    assert (found.tallies["agreement"].rows, found.tallies["agreement"].share) == (2, 0.5)
    assert found.overlaps["agreement"].value == pytest.approx((1 + 2 / 3) / 2)
    assert found.faults.rows == 0
