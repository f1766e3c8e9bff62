import json
import math
import resource
from pathlib import Path

import pytest

from training.engine import journal
from training.engine.events import Finished, Halted, Logged, Measured
from training.engine.journal import Journal


def test_every_event_is_a_line_with_a_rising_number(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as book:
        book.write(Logged("one"))
        book.write(Halted(3))
    told = list(journal.read(path))
    assert [(line["seq"], line["type"]) for line in told] == [(1, "logged"), (2, "stopped")]
    assert all(line["at"] > 1e9 for line in told)


def test_a_reader_sees_an_event_as_soon_as_it_is_told(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as book:
        book.write(Logged("one"))
        assert len(list(journal.read(book.path))) == 1


def test_numbers_that_are_not_finite_become_words(tmp_path: Path) -> None:
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.5}
    with Journal(tmp_path / "journal.jsonl") as book:
        book.write(Measured(1, 0.5, values))
        book.write(Finished({"nested": [math.nan]}))
    first, second = journal.read(tmp_path / "journal.jsonl")
    assert first["values"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 1.5}
    assert second["summary"] == {"nested": ["NaN"]}


@pytest.mark.parametrize("torn", [b'{"seq":3,"at":1', b"{", b"\xe4", b""])
def test_a_torn_last_line_is_cut_and_counting_goes_on(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as book:
        book.write(Logged("one"))
        book.write(Logged("two"))
    with path.open("ab") as file:
        file.write(torn)
    with Journal(path) as book:
        book.write(Logged("three"))
    told = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["seq"] for line in told] == [1, 2, 3]


def test_a_line_for_which_a_disk_has_half_the_room_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path) as book:
        book.write(Logged("one"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                book.write(Logged("two"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        book.write(Logged("three"))
    told = [(line["seq"], line["text"]) for line in journal.read(path)]
    assert told == [(1, "one"), (2, "three")]


def test_a_journal_of_nothing_but_a_torn_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"seq":1')
    with Journal(path) as book:
        book.write(Logged("one"))
    assert [line["seq"] for line in journal.read(path)] == [1]


def test_replaying_a_journal_twice_tells_the_same(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as book:
        for step in range(5):
            book.write(Measured(step, 0.0, {"train/loss": 1.0}))
    once = list(journal.read(book.path))
    assert once == list(journal.read(book.path))
