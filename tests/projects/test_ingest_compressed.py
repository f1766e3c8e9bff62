"""What is inside of a gzip file is read as if it had come alone, within bounds."""

import collections
import gzip
import io
import zlib
from pathlib import Path

import pytest

from projects.ingest import compressed, registry
from projects.ingest.formats import BadFile, Plan, Row

ROWS = b"text,label\n" + b"".join(
    b"some words %d,%s\n" % (i, b"ab"[i % 2 :][:1]) for i in range(50)
)


def test_a_compressed_table_gives_the_rows_of_the_table() -> None:
    file = io.BytesIO(gzip.compress(ROWS))
    form = registry.recognise(file, "rows.csv.gz")
    assert form.key == "table"
    inside = compressed.opened(file)
    dialect = form.sniff(inside, "rows.csv.gz")
    plan = Plan(columns={"text": "text", "label": "label"})
    rows = list(form.rows(inside, "rows.csv.gz", dialect, plan))
    assert rows == list(form.rows(io.BytesIO(ROWS), "rows.csv", dialect, plan))
    assert all(isinstance(one, Row) for one in rows)


def test_the_stream_can_be_moved_in_like_a_file() -> None:
    content = bytes(range(256)) * 5000
    inside = compressed.opened(io.BytesIO(gzip.compress(content)))
    assert inside.read(1000) == content[:1000]
    assert inside.seek(500_000) == 500_000
    assert inside.read(7) == content[500_000:500_007]
    assert inside.seek(10) == 10
    assert inside.read(5) == content[10:15]
    assert inside.seek(0, 2) == len(content)
    assert inside.seek(-3, 2) == len(content) - 3
    assert inside.read() == content[-3:]


def test_members_one_behind_the_other_are_one_file() -> None:
    inside = compressed.opened(io.BytesIO(gzip.compress(ROWS) + gzip.compress(b"more,a\n")))
    assert inside.read() == ROWS + b"more,a\n"


def test_the_number_of_rows_is_estimated_without_unpacking_all() -> None:
    content = b"text,label\n" + b"".join(b"%d and %d,x\n" % (i, i * i) for i in range(300_000))
    inside = compressed.opened(io.BytesIO(gzip.compress(content)))
    look = registry.get("table").look(
        inside,
        "x.csv",
        {"encoding": "utf-8", "delimiter": ",", "quoting": "double", "header": True},
    )
    assert not look.complete
    assert 200_000 < look.estimated < 450_000


def refusal(content: bytes) -> str:
    file = compressed.opened(io.BytesIO(content))
    with pytest.raises(BadFile) as caught:
        collections.deque(iter(lambda: file.read(1 << 20), b""), maxlen=0)
    return caught.value.detail


def test_a_file_that_is_cut_off_says_where() -> None:
    assert "cut off" in refusal(gzip.compress(ROWS * 100)[:-20])


def test_a_file_that_is_damaged_says_where() -> None:
    packed = bytearray(gzip.compress(ROWS * 100))
    packed[-6] ^= 255  # of the checksum
    assert "damaged" in refusal(bytes(packed))


def test_a_bomb_is_refused() -> None:
    squeezed = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = b"".join(squeezed.compress(bytes(1 << 20)) for _ in range(200)) + squeezed.flush()
    assert "unpacks to more than" in refusal(content)


def test_a_pointer_that_is_called_gz_is_called_by_its_name(shared_data: Path) -> None:
    path = shared_data / "nasty" / "git_lfs_pointer_named_test.jsonl.gz"
    with path.open("rb") as file, pytest.raises(BadFile, match="Git LFS pointer"):
        registry.recognise(file, path.name)


def test_gzip_within_gzip_is_refused() -> None:
    twice = io.BytesIO(gzip.compress(gzip.compress(ROWS)))
    with pytest.raises(BadFile, match="compressed with gzip"):
        registry.recognise(twice, "rows.csv.gz.gz")
