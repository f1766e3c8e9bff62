"""Batches become rows once each, whatever order they come in, and are kept as the monitor says."""

import base64
import json
import random
import zlib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import make
from training.engine.watching import known, parts, privacy, taking

JSON = dict[str, Any]
NOW = 1_795_780_800.0  # 2026-11-27T12:00:00Z
HOUR = 3_600_000_000
MONITOR: JSON = {
    "task": "text-classification", "labels": ["no", "yes"], "window_rows": None,
    "window_hours": 1.0, "rows": 0, "salt": "pepper", "privacy": "raw", "kept_share": 1.0,
    "input": "text",
}  # fmt: skip


class Store:
    """Looks one after another, as a worker has them done: parts are stored by their sha256."""

    def __init__(self, folder: Path, **monitor: Any) -> None:
        self.folder, self.monitor = folder, MONITOR | monitor
        self.parts: list[JSON] = []
        self.asked: list[str] = []
        self.looks = 0

    def files(self, sha256s: Iterable[str]) -> dict[str, Path | None]:
        found: dict[str, Path | None] = {}
        for one in sha256s:
            self.asked.append(one)
            path = self.folder / one
            found[one] = path if path.exists() else None
        return found

    def look(self, *batches: tuple[str, list[JSON]]) -> taking.Taken:
        self.looks += 1
        self.asked.clear()
        folder = self.folder / f"look-{self.looks}"
        folder.mkdir()
        told = []
        for at, (kind, lines) in enumerate(batches):
            raw = b"\n".join(json.dumps(one).encode() for one in lines)
            (folder / f"{at}.batch").write_bytes(zlib.compress(raw))
            told.append({"id": at, "kind": kind, "rows": len(lines), "path": f"{at}.batch"})
        config = {
            "now": NOW, "monitor": self.monitor, "model": None, "batches": told, "parts": self.parts
        }  # fmt: skip
        taken = taking.take(config, folder, self)
        self.monitor = self.monitor | {"rows": self.monitor["rows"] + len(taken.rows)}
        made = taking.keep(taken, taken.rows, config, folder)
        self.parts = [one for one in self.parts if one["sha256"] not in taken.forgotten]
        for one in made:
            path = folder / "output" / one["name"]
            name = sha256(path.read_bytes()).hexdigest()
            path.rename(self.folder / name)
            waits = one["kind"] == "said" and one["first_at"] is None
            self.parts.append(one | {"sha256": name, "waits": waits})
        for path in (folder / "output").glob("blobs/*"):
            path.rename(self.folder / path.name)
        return taken

    def of(self, kind: str) -> list[JSON]:
        return [one for one in self.parts if one["kind"] == kind]

    def rows(self, kind: str = "rows") -> list[JSON]:
        found: list[JSON] = []
        for one in self.of(kind):
            found += pq.read_table(self.folder / one["sha256"]).to_pylist()
        return found

    def ids(self) -> list[str]:
        return sorted(one["id"] for one in self.rows())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def row(identity: str, hours: float = 0.0, **more: Any) -> JSON:
    time = int(NOW * 1e6 - hours * HOUR)
    return {"id": identity, "time": time, "text": "hello", "prediction": "yes"} | more


def test_rows_stand_in_parts_of_their_day_with_their_windows(store: Store) -> None:
    late = row("a", hours=30, probabilities=[0.2, 0.8], latency_ms=3.5, tags={"b": 1, "a": "x"})
    taken = store.look(("inferences", [late, row("b")]))
    assert taken.rows["id"].to_pylist() == ["a", "b"]
    assert [one["day"] for one in store.of("rows")] == ["2026-11-26", "2026-11-27"]
    first = store.rows()[0]
    assert first["window"] == (int(NOW) - 30 * 3600) // 3600
    assert first["tags"] == '{"a":"x","b":1}'
    assert first["probabilities"] == pytest.approx([0.2, 0.8])
    assert first["hash"] == known.hashed("a")
    assert first["described.length"] == 5
    assert store.of("rows")[0]["first_at"] == NOW - 30 * 3600
    assert "label" not in first  # nothing stands in it


def test_windows_of_rows_are_numbered_in_the_order_they_come(tmp_path: Path) -> None:
    store = Store(tmp_path, window_hours=None, window_rows=2)
    store.look(("inferences", [row("a"), row("b"), row("c")]))
    taken = store.look(("inferences", [row("a"), row("d", hours=5), row("e")]))
    assert taken.rows["window"].to_pylist() == [1, 2]


def test_an_id_counts_once_in_a_batch_a_look_and_ever(store: Store) -> None:
    first = store.look(
        ("inferences", [row("a"), row("b"), row("a")]), ("inferences", [row("b"), row("c")])
    )
    assert (len(first.rows), first.repeated) == (3, 2)
    again = store.look(("inferences", [row("c", hours=50), row("d"), row("a")]))
    assert (len(again.rows), again.repeated) == (1, 2)
    assert store.ids() == ["a", "b", "c", "d"]


def test_rows_sent_in_any_order_and_often_are_the_same_rows(tmp_path: Path) -> None:
    chance = random.Random(3)
    rows = [row(f"id-{one}", hours=chance.random() * 70) for one in range(300)]
    sent = rows + chance.sample(rows, 150)
    chance.shuffle(sent)
    (tmp_path / "shuffled").mkdir()
    (tmp_path / "plain").mkdir()
    shuffled, plain = Store(tmp_path / "shuffled"), Store(tmp_path / "plain")
    for begin in range(0, len(sent), 45):
        shuffled.look(("inferences", sent[begin : begin + 45]))
    plain.look(("inferences", rows))

    def of(store: Store) -> list[tuple[str, int]]:
        return sorted((one["id"], one["window"]) for one in store.rows())

    assert of(shuffled) == of(plain)


def test_a_late_label_finds_its_row_and_counts_once(store: Store) -> None:
    store.look(("inferences", [row("a", hours=30, probabilities=[0.2, 0.8]), row("b")]))
    taken = store.look(("labels", [{"id": "a", "label": "no"}]))
    (said,) = taken.said.to_pylist()
    assert (said["id"], said["label"], said["label_is_new"], said["answer_is_new"]) == (
        "a", "no", True, False
    )  # fmt: skip
    assert said["probabilities"] == pytest.approx([0.2, 0.8])
    (kept,) = store.rows("said")
    assert (kept["id"], kept["label"]) == ("a", "no")
    assert store.of("said")[0]["day"] == "2026-11-26"
    again = store.look(("labels", [{"id": "a", "label": "yes"}]))
    assert again.said.to_pylist()[0]["label"] == "yes"
    assert not again.said.to_pylist()[0]["label_is_new"]


def test_a_label_and_a_teachers_answer_meet_at_one_row(store: Store) -> None:
    store.look(("inferences", [row("a")]))
    answer = {"prediction": "no", "probabilities": [0.9, 0.1]}
    store.look(("teacher", [{"id": "a", "teacher": answer}]))
    taken = store.look(("labels", [{"id": "a", "label": "no"}]))
    (said,) = taken.said.to_pylist()
    assert said["teacher_prediction"] == "no"
    assert (said["label_is_new"], said["answer_is_new"]) == (True, False)
    assert said["teacher_share"] == 1.0


def test_only_parts_that_hold_a_row_in_question_are_read(store: Store) -> None:
    store.look(("inferences", [row(f"{day}", hours=24 * day) for day in range(10)]))
    store.look(("labels", [{"id": "7", "label": "no"}]))
    indexes = {one["sha256"] for one in store.of("index")}
    read = [one for one in store.asked if one not in indexes]
    assert read == [one["sha256"] for one in store.of("rows") if one["day"] == "2026-11-20"]


def test_what_is_said_before_a_row_comes_waits_for_it(store: Store) -> None:
    taken = store.look(("labels", [{"id": "a", "label": "no"}, {"id": "never", "label": "no"}]))
    assert (taken.unknown, len(taken.said)) == (2, 0)
    taken = store.look(("inferences", [row("a"), row("b")]))
    assert taken.rows["label"].to_pylist() == ["no", None]
    taken = store.look(("labels", [{"id": "c", "label": "yes"}]), ("inferences", [row("c")]))
    assert taken.rows["label"].to_pylist() == ["yes"]


def test_what_is_forgotten_is_in_no_part_and_in_no_index(store: Store) -> None:
    store.look(("inferences", [row("a"), row("b"), row("c", hours=40)]))
    store.look(("labels", [{"id": "a", "label": "no"}, {"id": "b", "label": "no"}]))
    taken = store.look(
        ("inferences", [row("d"), row("e")]), ("forget", [{"id": "a"}, {"id": "d"}, {"id": "x"}])
    )
    assert taken.removed == 1
    assert store.ids() == ["b", "c", "e"]
    assert [one["id"] for one in store.rows("said")] == ["b"]
    every = b"".join((store.folder / one["sha256"]).read_bytes() for one in store.parts)
    assert known.hashed("a").to_bytes(8, "little") not in every
    again = store.look(("inferences", [row("a"), row("b")]))
    assert again.rows["id"].to_pylist() == ["a"]  # a new row; the other is known


def test_small_parts_of_a_day_become_one_and_nothing_is_lost(store: Store) -> None:
    most = 0
    for at in range(40):
        lines = [row(f"{at}-{one}", hours=one * 20) for one in range(3)]
        store.look(("inferences", lines), ("labels", [{"id": f"{at}-0", "label": "no"}]))
        store.look(("labels", [{"id": f"{at}-1", "label": "yes"}]))
        most = max(most, len(store.of("rows")))
    assert len(store.ids()) == len(set(store.ids())) == 120
    assert most < 25
    assert len(store.of("index")) == len(store.of("rows"))
    assert {one["id"] for one in store.rows("said")} == {f"{at}-1" for at in range(40)}
    taken = store.look(("inferences", [row("3-2"), row("new")]))
    assert taken.rows["id"].to_pylist() == ["new"]


def test_labels_of_many_days_leave_few_parts(store: Store) -> None:
    store.look(("inferences", [row(f"{day}", hours=24 * day) for day in range(20)]))
    for at in range(12):
        store.look(("labels", [{"id": f"{day}", "label": str(at)} for day in range(20)]))
    assert len(store.of("said")) <= 20 * (parts.LEFT + 1)
    assert [one["label"] for one in store.rows("said") if one["id"] == "7"][-1] == "11"


def test_what_was_said_last_of_a_row_stays_last_however_parts_are_joined(store: Store) -> None:
    chance = random.Random(5)
    ids = [f"{one}" for one in range(300)]
    store.look(("inferences", [row(one, hours=int(one) % 50) for one in ids]))
    last: dict[str, str] = {}
    for at in range(40):
        some = chance.sample(ids, chance.choice([1, 3, 200]))
        gone = [("forget", [{"id": ids[at]}])] if at % 13 == 12 else []
        store.look(("labels", [{"id": one, "label": f"{at}"} for one in some]), *gone)
        last |= dict.fromkeys(some, f"{at}")
    here = set(store.ids())
    assert len(here) == 297
    found = {one["id"]: one["label"] for one in store.rows("said") if one["id"] in here}
    assert found == {one: label for one, label in last.items() if one in here}


@pytest.mark.parametrize(("bound", "most"), [("MOST_BYTES", 100), ("MOST_WINDOWS", 2)])
def test_what_is_too_much_for_one_look_is_left_to_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(taking, bound, most)
    batches = [("inferences", [row(f"{at}-{n}", hours=n) for n in range(3)]) for at in range(3)]
    assert store.look(*batches).taken == [0]
    assert store.look(*batches[1:]).taken == [0]
    assert len(store.ids()) == 6


def test_a_torn_batch_is_set_aside_by_name_and_the_others_are_taken(store: Store) -> None:
    folder = store.folder / "torn"
    folder.mkdir()
    (folder / "0").write_bytes(b"no zlib")
    (folder / "1").write_bytes(zlib.compress(json.dumps(row("a")).encode()))
    batches = [{"id": at, "kind": "inferences", "rows": 1, "path": str(at)} for at in range(2)]
    config = {"now": NOW, "monitor": MONITOR, "model": None, "batches": batches, "parts": []}
    taken = taking.take(config, folder, store)
    assert (taken.taken, taken.refused[0]["batch"]) == ([1], 0)
    assert taken.rows["id"].to_pylist() == ["a"]


SECRET = "Write to erika.muster@example.org or +49 170 1234567, IBAN DE89 3704 0044 0532 0130 00"


@pytest.mark.parametrize("mode", ["raw", "redacted", "hashed", "described"])
def test_each_privacy_keeps_what_it_says(tmp_path: Path, mode: str) -> None:
    store = Store(tmp_path, privacy=mode)
    sent = [row("a", text=SECRET), row("b", text=SECRET), row("c", text="other")]
    taken = store.look(("inferences", sent))
    assert taken.rows["text"].to_pylist()[0] == SECRET  # still raw, to be counted
    kept = store.rows()
    every = b"".join((store.folder / one["sha256"]).read_bytes() for one in store.parts)
    described = kept[0].get("described.length")
    if mode == "raw":
        assert kept[0]["text"] == SECRET
    else:
        assert b"erika" not in every
        assert b"1234567" not in every
    if mode == "redacted":
        assert kept[0]["text"] == "Write to [e-mail] or [phone], IBAN [IBAN]"
    if mode in ("hashed", "described"):
        assert not {"text", "cells", "blob"} & set(kept[0])
    if mode == "hashed":
        assert kept[0]["input_hash"] == kept[1]["input_hash"] != kept[2]["input_hash"]
    assert (described is None) == (mode == "hashed")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("card 4111 1111 1111 1111 ok", "card [card] ok"),
        ("order 4111 1111 1111 1112", "order [phone]"),
        ("call (030) 901820-33 now", "call [phone] now"),
        ("ref 123456789", "ref [number]"),
        ("abc1234567x", "abc[number]x"),
        ("on 2026-11-27 I paid 1200", "on 2026-11-27 I paid 1200"),
        ("see https://me:pw@x.org/a?key=1#z", "see https://x.org/a[...]"),
        ("https://x.org/reset/9f86d081884c7d659a2fe", "https://x.org/reset/[token]"),
        ("gb82west12345698765432", "[IBAN]"),
        ("plain words stay, 3.50 too", "plain words stay, 3.50 too"),
    ],
)
def test_details_of_a_person_are_taken_out_and_the_rest_stays(text: str, kept: str) -> None:
    assert privacy.redacted(text) == kept


@pytest.mark.parametrize("text", ["1 " * 50_000, "a." * 50_000 + "@", "www." + "a?" * 40_000])
def test_no_text_takes_longer_than_its_length_asks_for(text: str) -> None:
    privacy.redacted(text)


def test_written_answers_are_as_private_as_inputs(tmp_path: Path) -> None:
    store = Store(tmp_path, privacy="redacted", labels=[], task="text-generation")
    store.look(("inferences", [row("a", prediction="Dear erika@example.org", label="12.5")]))
    (kept,) = store.rows()
    assert (kept["prediction"], kept["label"]) == ("Dear [e-mail]", "12.5")


def test_of_a_share_of_rows_all_is_kept_and_of_others_what_counts(tmp_path: Path) -> None:
    store = Store(tmp_path, kept_share=0.3)
    store.look(("inferences", [row(f"{at}", probabilities=[0.5, 0.5]) for at in range(400)]))
    kept = store.rows()
    whole = [one for one in kept if one["text"] is not None]
    assert len(kept) == 400
    assert 80 < len(whole) < 160
    assert all((one["probabilities"] is None) == (one["text"] is None) for one in kept)
    assert all(one["prediction"] == "yes" for one in kept)


def test_a_picture_is_a_file_of_its_own_and_may_be_named_again(tmp_path: Path) -> None:
    store = Store(tmp_path, input="image", task="image-classification")
    picture = make.picture()
    name = sha256(picture).hexdigest()
    sent = {"id": "a", "time": int(NOW * 1e6), "prediction": "yes"}
    store.look(("inferences", [sent | {"base64": base64.b64encode(picture).decode()}]))
    assert store.rows()[0]["blob"] == name
    assert (tmp_path / name).read_bytes() == picture
    stranger = sha256(b"another project's").hexdigest()
    (tmp_path / stranger).write_bytes(b"another project's")
    taken = store.look(
        (
            "inferences",
            [sent | {"id": "b", "sha256": name}, sent | {"id": "c", "sha256": stranger}],
        )
    )
    assert taken.rows["content"].to_pylist() == [picture, None]
    assert taken.rows["blob"].to_pylist() == [name, None]
    assert taken.rows["described.brightness"].to_pylist()[0] is not None


def test_a_vector_alone_is_an_input_and_others_of_another_width_are_left_out(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path, input="vector", task="feature-extraction")
    sent = {"time": int(NOW * 1e6), "prediction": "yes"}
    vectors = [[3.0, 4.0], [1.0], [0.0, 2.0]]
    lines = [sent | {"id": str(at), "vector": one} for at, one in enumerate(vectors)]
    taken = store.look(("inferences", lines))
    kept = [
        None if one is None else np.array(one, float) for one in taken.rows["vector"].to_pylist()
    ]
    assert kept[1] is None
    assert kept[0] == pytest.approx([0.6, 0.8], abs=1e-3)


def test_an_index_is_asked_by_hash_and_refuses_what_is_none(tmp_path: Path) -> None:
    ids = [f"row {one}" for one in range(1000)]
    of = known.hashes(ids)
    known.write(tmp_path / "x", "ab" * 32, of, np.arange(1000, dtype=np.int64))
    index = known.Index.read(tmp_path / "x", "cd" * 32, "2026-11-27")
    asked = known.Known([index])
    assert asked.are(known.hashes(["row 7", "nobody", "row 999"])).tolist() == [True, False, True]
    found = asked.find(known.hashes(["row 7"]))[known.hashed("row 7")]
    assert (found.sha256, found.place, found.window) == ("ab" * 32, 7, 7)
    (tmp_path / "x").write_bytes(b"something else, long enough to have a head of some bytes")
    with pytest.raises(ValueError, match="no index"):
        known.Index.read(tmp_path / "x", "cd" * 32, "2026-11-27")


def test_rows_are_taken_from_a_part_by_their_places(tmp_path: Path) -> None:
    table = pa.table({"id": [str(one) for one in range(20)]})
    pq.write_table(table, tmp_path / "p", row_group_size=6)
    found = parts.taken(tmp_path / "p", [19, 0, 7, 7, 13])
    assert found["id"].to_pylist() == ["19", "0", "7", "7", "13"]
