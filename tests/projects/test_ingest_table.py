"""Delimited text: what is guessed, what is read, and what is refused with its place."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from projects.ingest import encodings, records, registry
from projects.ingest.formats import TEXT_TASK, BadFile, LeftOut, Plan, Row

TABLE = registry.get("table")
PLAN = Plan(columns={"text": "text", "label": "label", "split": None, "ignored": []})


def dialect_of(content: bytes) -> dict[str, Any]:
    return TABLE.sniff(io.BytesIO(content), "x.csv")


def read(content: bytes, plan: Plan = PLAN, **changes: Any) -> list[Row | LeftOut]:
    dialect = dialect_of(content) | changes
    return list(TABLE.rows(io.BytesIO(content), "x.csv", dialect, plan))


def refusal(content: bytes, plan: Plan = PLAN, **changes: Any) -> BadFile:
    dialect = {"encoding": "utf-8", "delimiter": ",", "quoting": "double", "header": True}
    with pytest.raises(BadFile) as caught:
        list(TABLE.rows(io.BytesIO(content), "x.csv", dialect | changes, plan))
    return caught.value


@pytest.mark.parametrize(
    "texts",
    [
        ['"Well, yes, and no, thanks"', '"No, never, not me, ever"', '"So, that, is, it"'],
        ["Well, yes", "No, never, not me", "So it is", "That, then, is, all", "Nothing at all"],
        ['"Well, yes"', "No", '"She said ""no"", twice"'],
    ],
)
def test_texts_alone_are_one_column_whatever_commas_they_hold(texts: list[str]) -> None:
    file = io.BytesIO("\n".join(["text", *texts * 5]).encode())
    look = TABLE.look(file, "texts.csv", TABLE.sniff(file, "texts.csv"))
    assert [one["name"] for one in look.columns] == ["text"]
    assert (look.seen, look.problems) == (5 * len(texts), [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_sniffed(delimiter: str) -> None:
    lines = [delimiter.join(pair) for pair in [("text", "label"), ("good day", "a"), ("no", "b")]]
    assert dialect_of("\n".join(lines).encode())["delimiter"] == delimiter


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("cp1252", "cp1252"),
    ],
)
def test_the_encoding_is_sniffed(encoding: str, found: str) -> None:
    content = "text,label\ncafé “très” bon,a\nnaïve façade,b\n".encode(encoding)
    assert dialect_of(content)["encoding"] == found
    rows = read(content)
    assert isinstance(rows[0], Row)
    assert rows[0].input == "café “très” bon"


def test_bytes_that_windows_leaves_undefined_make_it_latin_1() -> None:
    assert dialect_of(b"text,label\ncaf\xe9 \x81,a\n")["encoding"] == "latin-1"


def test_russian_is_not_taken_for_western() -> None:
    line = "привет как твои дела сегодня,хорошо\n"
    content = ("text,label\n" + line * 50).encode("cp1251")
    assert dialect_of(content)["encoding"] == "cp1251"


def test_a_late_character_decides_the_encoding_of_the_whole_file() -> None:
    content = b"text,label\n" + b"plain words,a\n" * 200_000 + b"caf\xe9,b\n"
    assert dialect_of(content)["encoding"] == "cp1252"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_quoted_newlines_stay_and_lines_are_counted(newline: str) -> None:
    content = newline.join(["text,label", '"one', 'two",a', "three,b", ""]).encode()
    rows = read(content)
    assert [row.source for row in rows] == ["2", "4"]
    assert isinstance(rows[0], Row)
    assert rows[0].input == f"one{newline}two"


def test_a_table_without_header_is_recognised_by_its_recurring_labels() -> None:
    content = b"".join(b"some words %d,%s\n" % (i, b"spam" if i % 2 else b"ham") for i in range(20))
    dialect = dialect_of(content)
    assert dialect["header"] is False
    look = TABLE.look(io.BytesIO(content), "x.csv", dialect)
    assert TABLE.guess_columns(look, TEXT_TASK)["text"] == "column_1"
    assert TABLE.guess_columns(look, TEXT_TASK)["label"] == "column_2"
    assert look.seen == 20


def test_columns_without_name_or_with_the_same_are_told_apart() -> None:
    content = b"text,,text,label\na,b,c,d\n"
    look = TABLE.look(io.BytesIO(content), "x.csv", dialect_of(content) | {"header": True})
    assert [column["name"] for column in look.columns] == ["text", "column_2", "text_2", "label"]


def test_a_label_loses_white_space_and_a_text_does_not() -> None:
    (row,) = read(b"text,label\n  hello ,  ham \n", header=True)
    assert isinstance(row, Row)
    assert (row.input, row.label, row.remarks) == ("  hello ", "ham", ("label_trimmed",))


def test_blank_lines_and_empty_inputs_are_left_out_by_line() -> None:
    rows = read(b"text,label\na,x\n\n ,y\nb,\n,,\n"[:-3], header=True)
    left = [(one.source, one.code) for one in rows if isinstance(one, LeftOut)]
    assert left == [("3", "blank_line"), ("4", "empty_input")]
    kept = [one for one in rows if isinstance(one, Row)]
    assert [row.label for row in kept] == ["x", None]


def test_a_ragged_line_is_refused_by_number_or_left_out_as_asked() -> None:
    content = b"text,label\na,x\nb,y,z\nc\nd,x\n"
    error = refusal(content)
    assert error.line == 3
    assert error.detail == "Line 3 has 3 values where the header has 2."
    plan = Plan(columns=PLAN.columns, ragged="skip")
    left = [one.source for one in read(content, plan, header=True) if isinstance(one, LeftOut)]
    assert left == ["3", "4"]


def test_a_nul_names_its_line() -> None:
    assert refusal(b"text,label\na,x\nb\0,y\n").line == 3


def test_a_wrong_encoding_names_the_line() -> None:
    content = b"text,label\n" + b"plain,x\n" * 20_000 + b"caf\xe9,y\n" + b"more,x\n" * 20_000
    error = refusal(content)
    assert error.line == 20_002
    assert "not valid UTF-8" in error.detail


def test_the_line_of_a_wrong_character_survives_a_cut_between_pieces() -> None:
    content = b"a\n" * 32_767 + "é".encode() + b"\n\xff"
    assert encodings.undecodable_line(io.BytesIO(content), "utf-8") == 32_769


def test_a_quote_that_never_closes_names_where_it_opens() -> None:
    error = refusal(b'text,label\na,x\n"b,y\nc,z\n')
    assert error.line == 3
    assert "never closes" in error.detail


def test_quotes_may_mean_nothing() -> None:
    rows = read(b'text\tlabel\n"so he said\tx\nfine\ty\nyes\tx\n')
    assert next(row.input for row in rows if isinstance(row, Row)) == '"so he said'


def test_a_split_that_is_none_names_its_line() -> None:
    plan = Plan(columns={"text": "text", "label": "label", "split": "fold"})
    error = refusal(b"text,label,fold\na,x,train\nb,y,later\n", plan)
    assert error.line == 3
    assert "later" in error.detail


def test_a_line_of_a_hundred_megabytes_is_refused_in_little_memory() -> None:
    class Endless(io.RawIOBase):
        """100 MB in one line, made as it is read."""

        left = 100 << 20

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def seek(self, *_: Any) -> int:
            return 0

        def readinto(self, buffer: Any) -> int:
            size = min(len(buffer), self.left)
            self.left -= size
            buffer[:size] = b"a" * size
            return size

    dialect = {"encoding": "utf-8", "delimiter": ",", "quoting": "double", "header": True}
    tracemalloc.start()
    with pytest.raises(BadFile, match="Line 1 is longer"):
        list(TABLE.rows(io.BufferedReader(Endless()), "x.csv", dialect, PLAN))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60 << 20


def test_a_cell_of_many_lines_that_never_ends_is_refused() -> None:
    content = b'text,label\n"' + b"word word word\n" * 400_000
    assert refusal(content).line == 2


def test_half_a_megabyte_in_one_cell_is_fine() -> None:
    (row, _) = read(b"text,label\n" + b"word " * 100_000 + b",x\nb,y\n", header=True)
    assert isinstance(row, Row)
    assert row.measures == (500_000, 100_000)


def test_a_million_columns_are_refused() -> None:
    error = refusal(b"," * 1_000_000 + b"\n")
    assert "500 columns" in error.detail
    assert error.line == 1


def test_a_missing_column_is_named_with_those_that_are_there() -> None:
    error = refusal(b"query,category\na,x\n")
    assert "no column 'text'" in error.detail
    assert "'category'" in error.detail


@pytest.mark.parametrize("encoding", ["rot13", "zip", "unicode_escape", "nope", 5, None])
def test_only_text_encodings_may_be_asked_for(encoding: Any) -> None:
    dialect = {"encoding": encoding, "delimiter": ",", "quoting": "double", "header": True}
    with pytest.raises(Exception, match="not known"):
        TABLE.check_dialect(dialect)


def test_every_offered_encoding_can_be_opened() -> None:
    for name in encodings.ENCODINGS:
        content = "text,label\nabc,x\n".encode(name)
        found = records.of_file(io.BytesIO(content), {"encoding": name, "delimiter": ","})
        assert [values for _, values in found] == [["text", "label"], ["abc", "x"]]


def test_every_nasty_file_gives_rows_or_a_sentence(shared_data: Path) -> None:
    for path in sorted((shared_data / "nasty").iterdir()):
        with path.open("rb") as file:
            try:
                form = registry.recognise(file, path.name)
                look = form.look(file, path.name, form.sniff(file, path.name))
                understood = bool(look.seen or look.problems)
            except BadFile as error:
                understood = error.detail.endswith(".")
        assert understood, path.name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zip_disguised_as.csv", "holds table.csv"),
        ("git_lfs_pointer_named_test.jsonl.gz", "Git LFS pointer"),
        ("nested_zip_of_class_folders_elpv_originals.zip", "another archive, upload/images.zip"),
        ("empty.csv", "blanks"),
    ],
)
def test_a_disguise_is_called_by_its_name(shared_data: Path, name: str, words: str) -> None:
    with (shared_data / "nasty" / name).open("rb") as file, pytest.raises(BadFile, match=words):
        registry.recognise(file, name).sniff(file, name)


def test_banking77_is_understood_without_help(shared_data: Path) -> None:
    with (shared_data / "banking77" / "train.csv").open("rb") as file:
        dialect = TABLE.sniff(file, "train.csv")
        look = TABLE.look(file, "train.csv", dialect)
    task = TABLE.guess_task(look)
    columns = TABLE.guess_columns(look, task)
    assert task == "text-classification"
    assert (look.seen, columns["text"], columns["label"]) == (10_003, "text", "category")
    assert len(TABLE.label_counts({"columns": columns}, look)) == 77


def test_sms_spam_is_understood_without_help(shared_data: Path) -> None:
    with (shared_data / "sms_spam" / "spam.csv").open("rb") as file:
        dialect = TABLE.sniff(file, "spam.csv")
        look = TABLE.look(file, "spam.csv", dialect)
    task = TABLE.guess_task(look)
    columns = TABLE.guess_columns(look, task)
    assert task == "text-classification"
    assert (look.seen, columns["text"], columns["label"]) == (5_572, "v2", "v1")
    assert TABLE.label_counts({"columns": columns}, look) == {"ham": 4825, "spam": 747}
