"""Two versions compared by hashes, held to the same comparison by the rows themselves."""

import io
import random
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projects.ingest import comparing

COLUMNS = [
    {"name": "row_id", "type": "integer", "role": "id"},
    {"name": "split", "type": "string", "role": "split"},
    {"name": "label", "type": "string", "role": "label"},
    {"name": "text", "type": "string", "role": "input"},
    {"name": "source", "type": "string", "role": "source"},
    {"name": "note", "type": "string", "role": "extra"},
    {"name": "amount", "type": "number", "role": "extra"},
]
NAMES = ["split", "label", "text", "note", "amount"]
Rows = list[tuple[Any, ...]]


def side(rows: Rows, *, key: str = "") -> comparing.Side:
    table = pa.table(
        {
            "row_id": pa.array(range(len(rows)), pa.int64()),
            **{
                name: pa.array(
                    [row[place] for row in rows],
                    pa.float64() if name == "amount" else pa.string(),
                )
                for place, name in enumerate(NAMES)
            },
            "source": [str(place) for place in range(len(rows))],
        }
    )
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=7)
    columns = [one | ({"role": "key"} if one["name"] == key else {}) for one in COLUMNS]
    return comparing.Side(stream, columns)


def drawn(chance: random.Random, many: int) -> Rows:
    texts = ["", "a", "aa", "ab", "ba", "é", "a" * 400, "line\nbreak", "\x00"]
    return [
        (
            chance.choice(["train", "test"]),
            chance.choice(["x", "y", None]),
            chance.choice(texts),
            chance.choice(["", None, "n", "N"]),
            chance.choice([0.0, -0.0, 1.5, None]),
        )
        for _ in range(many)
    ]


def naively(old: Rows, new: Rows) -> tuple[int, int, int, int]:
    """(same, added, removed, changed), a row being found again by its text."""
    same = (Counter(old) & Counter(new)).total()
    paired = (Counter(row[2] for row in old) & Counter(row[2] for row in new)).total()
    return same, len(new) - paired, len(old) - paired, paired - same


@pytest.mark.parametrize("seed", range(20))
def test_hashes_find_what_rows_would(seed: int) -> None:
    chance = random.Random(seed)
    old, new = drawn(chance, chance.randrange(1, 60)), drawn(chance, chance.randrange(1, 60))
    if seed % 2:
        new = [*old[: len(old) // 2], *new]
    found = comparing.compared(side(old), side(new))
    told = found.same, len(found.added), len(found.removed), len(found.changed)
    assert told == naively(old, new)
    for before, after in found.changed.tolist():
        assert old[before] != new[after]
        assert old[before][2] == new[after][2]
    for place, name in enumerate(NAMES):
        many = sum(old[one][place] != new[other][place] for one, other in found.changed.tolist())
        assert found.columns.get(name, 0) == many


def test_ids_find_rows_whatever_they_say() -> None:
    old = [("train", "x", f"text {n}", f"id{n}", 1.0) for n in range(50)]
    new = [("train", "x", f"other {n}", f"id{n}", 1.0) for n in range(49, 9, -1)]
    found = comparing.compared(side(old, key="note"), side(new, key="note"))
    assert found.by == "note"
    assert (len(found.changed), len(found.added), len(found.removed)) == (40, 0, 10)
    assert found.columns == {"text": 40}
    assert all(before == 49 - after for before, after in found.changed.tolist())


def test_a_version_is_like_itself_and_unlike_nothing() -> None:
    rows = drawn(random.Random(1), 3000)
    found = comparing.compared(side(rows), side(rows))
    assert (found.same, len(found.changed)) == (3000, 0)
    assert not len(found.added)
    assert not len(found.removed)


def test_short_texts_have_different_hashes() -> None:
    words = [a + b + c for a in "ab01" for b in "ab01" for c in "ab01"] * 20
    texts = [word * times for word in words[:64] for times in range(1, 80)]
    unlike = len(set(texts))
    hashes = comparing._of_column(pa.array(texts))
    assert len(set(hashes.tolist())) == unlike
