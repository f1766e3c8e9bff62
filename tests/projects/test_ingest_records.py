"""Rows that are objects: what JSON, Parquet and Arrow hold, what becomes of it, what is refused."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from projects.ingest import cells, compressed, reading, registry
from projects.ingest.formats import (
    GENERATION_TASK,
    TEXT_TASK,
    TOKENS_TASK,
    BadFile,
    LeftOut,
    Plan,
    Row,
)

JSON = dict[str, Any]
LINES = registry.get("json_lines")
PLAN = Plan(columns={"text": "text", "label": "label"})
PLAIN = {"encoding": "utf-8", "layout": "plain"}


def understood(content: bytes, name: str, **changes: Any) -> JSON:
    form = registry.recognise(io.BytesIO(content), name)
    files = [{"name": name, "sha256": "x", "bytes": len(content), "split": None}]
    found = reading.first(form, files, lambda _: io.BytesIO(content))
    return (
        reading.corrected(form, found, changes, lambda _: io.BytesIO(content)) if changes else found
    )


def read(content: bytes, name: str, **changes: Any) -> list[Row | LeftOut]:
    form = registry.recognise(io.BytesIO(content), name)
    found = understood(content, name, **changes)
    handle = compressed.opened(io.BytesIO(content))
    return list(form.rows(handle, name, found["files"][0]["dialect"], reading.plan_of(found)))


def lines(*objects: Any) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in objects).encode()


def refusal(content: bytes, name: str = "rows.jsonl", plan: Plan = PLAN) -> BadFile:
    form = registry.recognise(io.BytesIO(content), name)
    dialect = form.sniff(io.BytesIO(content), name)
    with pytest.raises(BadFile) as caught:
        list(form.rows(io.BytesIO(content), name, dialect, plan))
    return caught.value


def problems(content: bytes, name: str) -> list[str]:
    form = registry.recognise(io.BytesIO(content), name)
    found = understood(content, name)
    return [
        one["detail"]
        for one in reading.preview(form, found, lambda _: io.BytesIO(content))["problems"]
    ]


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


# Values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (3, "3"),
        (3.0, "3"),
        (0.1, "0.1"),
        (float("nan"), ""),
        (-(2**70), str(-(2**70))),
        (Decimal("1.50"), "1.50"),
        (
            datetime(2024, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))),
            "2024-01-31T12:00:00+02:00",
        ),
        (timedelta(minutes=1.5), "90"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (["a", 1, None], '["a", 1, null]'),
        ({"é": {"b": [True]}}, '{"é": {"b": [true]}}'),
        ([date(2024, 1, 31)], '["2024-01-31"]'),
        ([], ""),
        ({}, ""),
    ],
)
def test_a_value_is_written_as_the_same_table_would_have_it_as_csv(value: Any, text: str) -> None:
    assert cells.cell(value) == text


@pytest.mark.parametrize("value", [b"bytes", "a\0b", [b"bytes"], 10**4000, object()])
def test_a_value_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(BadFile, match="holds"):
        cells.cell(value)


# JSON Lines -------------------------------------------------------------------------------------


def test_objects_within_objects_become_columns_with_dots() -> None:
    content = lines(
        *({"q": {"stem": f"Why {i} times?", "n": [i]}, "key": "AB"[i % 2]} for i in range(20))
    )
    asked = {"text": "q.stem", "label": "key"}
    rows = read(content, "rows.jsonl", task=TEXT_TASK, columns=asked)
    assert isinstance(rows[3], Row)
    assert (rows[3].input, rows[3].label, rows[3].others) == ("Why 3 times?", "B", ("[3]",))
    assert rows[3].source == "4"


def test_a_key_with_a_dot_is_a_column_too() -> None:
    content = lines(*({"a.b": {"c.d": f"text {i}"}, "label": "xy"[i % 2]} for i in range(9)))
    asked = {"text": "a.b.c.d", "label": "label"}
    rows = read(content, "rows.jsonl", task=TEXT_TASK, columns=asked)
    assert isinstance(rows[0], Row)
    assert rows[0].input == "text 0"


def test_keys_that_come_and_go_are_missing_values() -> None:
    content = lines(
        {"text": "a", "label": "x"},
        {"label": "y", "more": 1, "text": "b"},
        {"text": "c", "label": None},
        {"label": "x"},
    )
    rows = read(content, "rows.jsonl", task=TEXT_TASK)
    assert [(one.input, one.label, one.others) for one in rows if isinstance(one, Row)] == [
        ("a", "x", (None,)), ("b", "y", ("1",)), ("c", None, (None,)),
    ]  # fmt: skip
    assert isinstance(rows[3], LeftOut)
    assert rows[3].code == "empty_input"


def test_a_key_with_blanks_around_it_is_found_in_every_row() -> None:
    rows = read(lines(*({" text ": f"t {i}", "label\n": "xy"[i % 2]} for i in range(9))), "a.jsonl")
    assert [(one.input, one.label) for one in rows if isinstance(one, Row)][1] == ("t 1", "y")


def test_a_mapping_of_many_keys_is_kept_as_one_column() -> None:
    content = lines(
        *({"text": f"t {i}", "label": "xy"[i % 2], "counts": {f"w{i}": i}} for i in range(80))
    )
    found = understood(content, "rows.jsonl")
    assert found["others"] == ["counts"]
    rows = read(content, "rows.jsonl")
    assert isinstance(rows[7], Row)
    assert rows[7].others == ('{"w7": 7}',)


def test_a_list_of_labels_is_several_labels() -> None:
    content = lines(
        *({"text": f"words {i}", "labels": [["b", "a"], ["c"], []][i % 3]} for i in range(30))
    )
    found = understood(content, "rows.jsonl")
    assert (found["problem"], found["columns"]["label"]) == ("multi_label", "labels")
    separator = found["separator"]
    rows = [one.label for one in read(content, "rows.jsonl") if isinstance(one, Row)]
    assert rows[:3] == [f"a{separator}b", "c", None]


def test_a_label_of_a_list_that_holds_the_separator_is_refused() -> None:
    content = lines({"text": "a", "labels": ["x|y", "z"]}, {"text": "b", "labels": ["z"]})
    plan = Plan(columns={"text": "text", "label": "labels"}, problem="multi_label", separator="|")
    error = refusal(content, plan=plan)
    assert error.line == 1
    assert "another separator" in error.detail


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet"])
def test_lists_of_words_and_tags_are_read_as_such(name: str) -> None:
    rows = [{"tokens": ["Ada", "wrote", str(i)], "ner_tags": ["B-PER", "O", "O"]} for i in range(9)]
    contents = {
        "rows.jsonl": lines(*rows),
        "rows.json": json.dumps(rows).encode(),
        "rows.parquet": parquet(
            tokens=[one["tokens"] for one in rows], ner_tags=[one["ner_tags"] for one in rows]
        ),
    }
    found = understood(contents[name], name)
    assert found["task"] == TOKENS_TASK
    first = read(contents[name], name)[0]
    assert isinstance(first, Row)
    assert (first.input, first.label) == ("Ada wrote 0", "B-PER O O")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"text": "a", "label": ', "Line 2 is not JSON"),
        (b'["text", "label"]', "Line 2 is no JSON object"),
        (b'{"text": "\\ud83d", "label": "x"}', "half of a character"),
        (b'{"text": "a\\u0000b", "label": "x"}', "NUL character"),
        (b'{"text": ' + b"[" * 100_000, "too deep"),
        (b"{" + b",".join(b'"k%d": 1' % i for i in range(100_000)) + b"}", "100,000 keys"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_by_number_or_left_out_as_asked(
    line: bytes, words: str
) -> None:
    content = lines({"text": "a", "label": "x"}) + line + b"\n" + lines({"text": "b", "label": "y"})
    error = refusal(content)
    assert error.line == 2
    assert words in error.detail
    assert error.detail.endswith(".")
    assert any(words in one for one in problems(content, "rows.jsonl"))
    found = read(content, "rows.jsonl", ragged="skip")
    assert [one.code for one in found if isinstance(one, LeftOut)] == ["unreadable_row"]
    assert [one.input for one in found if isinstance(one, Row)] == ["a", "b"]


def test_a_key_that_stands_twice_is_remarked() -> None:
    content = b'{"text": "a", "label": "x"}\n{"text": "b", "label": "x", "text": "c"}\n' * 2
    assert "Line 2 has the key 'text' twice; the last one counts." in problems(content, "a.jsonl")


def test_not_a_number_and_infinity_are_read_as_python_writes_them() -> None:
    content = b'{"a": NaN, "b": 1, "label": "x"}\n{"a": 2.5, "b": Infinity, "label": "y"}\n' * 5
    asked = {"label": "label", "features": {"a": "numeric", "b": "numeric"}}
    rows = read(content, "rows.jsonl", task="tabular-classification", columns=asked)
    assert [one.values for one in rows[:2] if isinstance(one, Row)] == [(None, 1.0), (2.5, None)]


def test_a_column_that_no_row_has_is_named_with_those_there_are() -> None:
    error = refusal(lines({"query": "a", "label": "x"}, {"query": "b", "label": "x"}))
    assert error.detail == "rows.jsonl has no column 'text'; it has 'query', 'label'."


def test_blank_lines_are_left_out_by_line_and_marks_are_no_text() -> None:
    content = "\ufeff".encode() + lines({"text": "a", "label": "x"}) + b"\r\n \n"
    found = read(content, "rows.jsonl", task=TEXT_TASK)
    assert [(one.source, one.code) for one in found if isinstance(one, LeftOut)] == [
        ("2", "blank_line"), ("3", "blank_line"),
    ]  # fmt: skip


def test_a_wrong_encoding_names_the_line() -> None:
    content = lines({"text": "a", "label": "x"}) * 3 + b'{"text": "caf\xe9", "label": "y"}\n'
    with pytest.raises(BadFile, match="Line 4 is not valid UTF-8"):
        list(LINES.rows(io.BytesIO(content), "a.jsonl", PLAIN, PLAN))
    assert understood(content, "a.jsonl")["files"][0]["dialect"]["encoding"] == "cp1252"


class Endless(io.RawIOBase):
    """A text of many megabytes in one line, made as it is read."""

    def __init__(self, begin: bytes, again: bytes, times: int) -> None:
        self.pieces: Iterator[bytes] = iter(())
        self.begin, self.again, self.times = begin, again, times

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, *_: Any) -> int:
        self.pieces = (self.again if at else self.begin for at in range(self.times + 1))
        return 0

    def readinto(self, buffer: Any) -> int:
        piece = next(self.pieces, b"")[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize(
    ("key", "begin", "words"),
    [
        ("json_lines", b'{"text": "', "Line 1 is longer than"),
        ("json", b'{"text": "', "line 1 is longer than"),
        ("json", b'[{"text": "', "line 1 is longer than"),
        ("json", b'{"a": {"text": "', "line 1 is longer than"),
        ("json", b"[[[", "line 1 is longer than"),
    ],
)
def test_a_line_of_a_hundred_megabytes_is_refused_in_little_memory(
    key: str, begin: bytes, words: str
) -> None:
    form = registry.get(key)
    file = io.BufferedReader(Endless(begin, b"a" * 8000, 13_000))
    forms = {b'{"text': "sequence", b'[{"tex': "list", b'{"a": ': "by_name", b"[[[": "list"}
    tracemalloc.start()
    with pytest.raises(BadFile, match=words):
        list(form.rows(file, "x", PLAIN | {"form": forms[begin[:6]]}, PLAN))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 80 << 20


# JSON documents -----------------------------------------------------------------------------------


ROWS = [{"text": f"words {i}", "label": "xy"[i % 2]} for i in range(20)]


@pytest.mark.parametrize(
    ("document", "form"),
    [
        (ROWS, "list"),
        ({"version": "1", "data": ROWS, "more": []}, "within"),
        ({f"id{i}": row for i, row in enumerate(ROWS)}, "by_name"),
        ({name: [row[name] for row in ROWS] for name in ROWS[0]}, "by_column"),
        (
            {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]},
            "by_column",
        ),
        (ROWS[0], "sequence"),
    ],
)
def test_a_document_is_read_as_what_it_is(document: Any, form: str) -> None:
    content = json.dumps(document, indent=2).encode()
    found = understood(content, "rows.json")
    assert found["files"][0]["dialect"]["form"] == form
    rows = read(content, "rows.json", task=TEXT_TASK, columns={"text": "text", "label": "label"})
    first = rows[0]
    assert isinstance(first, Row)
    assert (first.input, first.label, first.source) == ("words 0", "x", "1")
    assert len(rows) == (1 if form == "sequence" else len(ROWS))
    if form == "by_name":
        assert first.others == ("id0",)


def test_another_list_of_a_document_can_be_chosen() -> None:
    content = json.dumps({"train": ROWS[:4], "test": ROWS[4:]}).encode()
    found = understood(content, "rows.json")
    assert found["files"][0]["dialect"]["lists"] == ["train", "test"]
    assert len(read(content, "rows.json", at="test")) == 16
    with pytest.raises(BadFile, match="no list under 'valid'; it has 'train', 'test'"):
        read(content, "rows.json", at="valid")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[{"text": "a", "label": "x"},\n{"text": "b" "label": "x"}]', "in line 2: Expecting ','"),
        (b'[{"text": "a", "label": "x"}\n{"text": "b"}]', "in line 2: ',' is missing"),
        (b'[{"text": "a", "label": "x"},\n', "at its end: a value is missing"),
        (b'[{"text": "a", "label": "x"}]\n[1]', "something follows the end"),
        (b'[{"text": "a", "label": "x"}, 5]', "Item 2 is no object"),
        (b'{"text": ["a", "b"], "label": ["x"]}', "'text' has 2 values, and 'label' has 1"),
        (b'[{"text": "a", "label": "x"}, {"text": ' + b"[" * 99_999, "too deep"),
    ],
)
def test_a_broken_document_names_the_place(content: bytes, words: str) -> None:
    form = registry.recognise(io.BytesIO(content), "rows.json")
    try:
        dialect = form.sniff(io.BytesIO(content), "rows.json")
        assert any(words in one for one in problems(content, "rows.json"))
        with pytest.raises(BadFile) as caught:
            list(form.rows(io.BytesIO(content), "rows.json", dialect, PLAN))
        detail = caught.value.detail
    except BadFile as error:
        detail = error.detail
    assert words in detail


def test_a_large_document_is_read_in_little_memory() -> None:
    content = json.dumps([{"text": f"words {i} " * 20, "label": "xy"[i % 2]} for i in range(8000)])
    file = io.BytesIO(content.encode())
    dialect = PLAIN | {"form": "list"}
    tracemalloc.start()
    rows = sum(1 for _ in registry.get("json").rows(file, "rows.json", dialect, PLAN))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 8000
    assert most < 2 << 20


# Parquet and Arrow ------------------------------------------------------------------------------


def test_classes_that_were_numbered_get_their_names_back() -> None:
    features = {
        "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
        "tags": {"feature": {"names": ["O", "B"], "_type": "ClassLabel"}, "_type": "List"},
    }
    table = pa.table({"text": ["a", "b", "c"], "label": [1, 0, -1], "tags": [[0], [1, 0], []]})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(about), out)
    rows = read(out.getvalue(), "a.parquet", task=TEXT_TASK)
    assert [(one.label, one.others) for one in rows if isinstance(one, Row)] == [
        ("yes", ('["O"]',)), ("no", ('["B", "O"]',)), (None, (None,)),
    ]  # fmt: skip


def test_columns_of_bytes_are_left_out_and_named() -> None:
    picture = [{"bytes": b"\x89PNG", "path": "a"}] * 2
    content = parquet(text=["a", "b"], label=["x", "y"], image=picture, raw=[b"1", b"2"])
    assert any(
        "hold bytes and no text: 'image', 'raw'" in one for one in problems(content, "a.parquet")
    )
    assert understood(content, "a.parquet")["others"] == []
    only = parquet(raw=[b"1", b"2"])
    assert any("All columns hold bytes" in one for one in problems(only, "a.parquet"))


def test_extension_types_are_read_as_what_they_are_stored_as() -> None:
    class Made(pa.ExtensionType):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(pa.string(), "tests.made")

        def __arrow_ext_serialize__(self) -> bytes:
            return b"cposix\nsystem\n(S'false'\ntR."  # what unpickling would run

        @classmethod
        def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> "Made":
            raise AssertionError("nothing of a file is run")

    made = pa.ExtensionArray.from_storage(Made(), pa.array(["one", "two"]))
    known = pa.array([UUID(int=1).bytes, None], pa.uuid())
    content = parquet(text=made, label=["x", "y"], key=known)
    rows = read(content, "a.parquet", task=TEXT_TASK, columns={"text": "text", "label": "label"})
    assert [one.input for one in rows if isinstance(one, Row)] == ["one", "two"]
    assert isinstance(rows[0], Row)
    assert rows[0].others == (str(UUID(int=1)),)


def test_times_decimals_and_single_precision_are_written_as_they_are() -> None:
    content = parquet(
        text=["a", "b"],
        label=["x", "y"],
        when=pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "Europe/Paris")),
        price=pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
        share=pa.array([0.1, float("nan")], pa.float32()),
        long=pa.array([1, None], pa.duration("ns")),
        coded=pa.array(["u", None]).dictionary_encode(),
    )
    rows = read(content, "a.parquet", task=TEXT_TASK)
    assert [one.others for one in rows if isinstance(one, Row)] == [
        ("2023-11-14T23:13:20.123456+01:00", "1.50", "0.1", "0", "u"), (None,) * 5,
    ]  # fmt: skip


def test_columns_with_the_same_name_are_told_apart() -> None:
    out = io.BytesIO()
    table = pa.table([["a", "b"], ["c", "d"], ["x", "y"]], names=["text", "text", "label"])
    pq.write_table(table, out)
    rows = read(out.getvalue(), "a.parquet", columns={"text": "text_2", "label": "label"})
    assert [(one.input, one.others) for one in rows if isinstance(one, Row)] == [
        ("c", ("a",)), ("d", ("b",)),
    ]  # fmt: skip


def test_too_many_columns_are_refused() -> None:
    content = parquet(**{f"c{i}": [1] for i in range(600)})
    with pytest.raises(BadFile, match="has 600 columns"):
        understood(content, "a.parquet")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "stream.arrow"])
def test_a_file_that_is_cut_off_or_damaged_is_refused_in_a_sentence(name: str) -> None:
    table, out = pa.table({"text": ["words"] * 500, "label": ["x", "y"] * 250}), io.BytesIO()
    if name == "rows.parquet":
        pq.write_table(table, out)
    elif name == "rows.arrow":
        feather.write_feather(table, out)
    else:
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    content = out.getvalue()
    said: list[str] = []
    for damaged in (content[: len(content) // 2], content[:60], content[:-4]):
        try:
            read(damaged, name, task=TEXT_TASK)
        except BadFile as error:
            said.append(error.detail)
    for place in range(4, len(content) - 4, max(1, len(content) // 40)):
        broken = bytearray(content)
        broken[place] ^= 0xFF
        try:
            read(bytes(broken), name, task=TEXT_TASK)
        except BadFile as error:
            said.append(error.detail)
    assert said
    assert all(one.endswith(".") for one in said)


def test_a_few_bytes_that_claim_gigabytes_of_text_are_refused_in_little_memory() -> None:
    same = pa.DictionaryArray.from_arrays([0] * 2000, ["a" * (20 << 20)])
    out = io.BytesIO()
    pq.write_table(pa.table({"text": same, "label": ["x"] * 2000}), out, store_schema=False)
    assert len(out.getvalue()) < 30 << 20
    assert "is longer than" in refusal(out.getvalue(), "a.parquet").detail


# Real files -------------------------------------------------------------------------------------


REAL: list[tuple[str, str, str, int]] = [
    (
        "api_logs/DERIVED_bedrock_ModelInvocationLog_gsm8k.jsonl.gz",
        "bedrock_log",
        GENERATION_TASK,
        400,
    ),
    ("api_logs/bedrock_byo_inference_modelResponses.jsonl", "model_responses", GENERATION_TASK, 30),
    ("api_logs/bedrock_rft_train_openai_messages.jsonl", "questions", GENERATION_TASK, 300),
    ("api_logs/bedrock_uber10K.jsonl", "plain", GENERATION_TASK, 200),
    ("api_logs/nova_bedrock-conversation-2024_tools.jsonl", "chats", GENERATION_TASK, 120),
    ("api_logs/nova_train_ft.jsonl", "chats", GENERATION_TASK, 560),
    ("api_logs/openai_toy_chat_fine_tuning.jsonl", "chats", GENERATION_TASK, 5),
    ("instruction_llamafactory/alpaca_en_demo.json", "alpaca", GENERATION_TASK, 999),
    ("instruction_llamafactory/kto_en_demo.json", "chats", GENERATION_TASK, 300),
    ("instruction_llamafactory/v1_sft_demo.jsonl", "chats", GENERATION_TASK, 500),
    ("hh_rlhf/test.jsonl.gz", "preferences", GENERATION_TASK, 2312),
    ("gsm8k/train.jsonl", "plain", GENERATION_TASK, 2000),
    ("gsm8k/test.jsonl", "plain", GENERATION_TASK, 1319),
    ("self_instruct/seed_tasks.jsonl", "instances", GENERATION_TASK, 175),
    ("self_instruct/user_oriented_instructions.jsonl", "instances", GENERATION_TASK, 252),
    ("cos_e_rationales/dev_rand_split.jsonl", "plain", TEXT_TASK, 950),
    ("cos_e_rationales/train_rand_split.jsonl", "plain", TEXT_TASK, 7610),
]


@pytest.mark.parametrize(("path", "layout", "task", "many"), REAL)
def test_a_real_file_gives_its_rows(
    path: str, layout: str, task: str, many: int, shared_data: Path
) -> None:
    found, _, rows = looked_through(shared_data / path)
    assert (found["files"][0]["dialect"]["layout"], found["task"]) == (layout, task)
    assert sum(isinstance(one, Row) for one in rows) == many


FOLDERS = (
    *("nasty", "api_logs", "instruction_llamafactory", "hh_rlhf", "gsm8k", "self_instruct"),
    *("cos_e_rationales", "adult", "bike_sharing"),
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_real_file_gives_rows_or_a_sentence(folder: str, shared_data: Path) -> None:
    real = {path for path, _, _, _ in REAL}
    for path in sorted((shared_data / folder).iterdir()):
        if f"{folder}/{path.name}" in real:
            continue
        sentences: list[str] = []
        try:
            _, sentences, rows = looked_through(path)
        except BadFile as error:
            rows, sentences = [], [error.detail]
        assert rows or sentences, path.name
        assert all(one.endswith((".", "?")) for one in sentences), (path.name, sentences)


def looked_through(path: Path) -> tuple[JSON, list[str], list[Row | LeftOut]]:
    """(the reading, what is said of it, the first rows) of a file as it is understood."""
    content = path.read_bytes()
    form = registry.recognise(io.BytesIO(content), path.name)
    found = understood(content, path.name)
    shown = reading.preview(form, found, lambda _: io.BytesIO(content))
    handle = compressed.opened(io.BytesIO(content))
    dialect = found["files"][0]["dialect"]
    rows: list[Row | LeftOut] = []
    if not any(one["severity"] == "error" for one in shown["problems"]):
        rows += islice(form.rows(handle, path.name, dialect, reading.plan_of(found)), 8000)
    return found, [one["detail"] for one in shown["problems"]], rows
