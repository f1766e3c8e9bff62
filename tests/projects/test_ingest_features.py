"""Tables that are learned from, several labels of a row, and numbers as labels."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillhub.lib.errors import Invalid
from projects.ingest import labels, numbers, registry, splits
from projects.ingest.formats import BadFile, Plan
from projects.models import DatasetVersion, Project
from projects.services import datasets, version_rows
from tests.projects.test_dataset_versions import (
    TABLE,
    error_of,
    file_of,
    issues_of,
    table_of,
    uploaded,
)
from tests.projects.test_ingest_images import PIXEL, archive
from training.engine import cells

FORM = registry.get("table")
PEOPLE = b"id,age,work,city,income\n" + b"".join(
    b"%d,%s,%s,%s,%s\n"
    % (n, b"?" if n == 3 else b"%d" % (20 + n * 7 % 40), [b"office", b"field", b""][n % 3],
       [b"Rome", b" Oslo"][n % 2], [b"low", b"high"][n % 2])
    for n in range(60)
)  # fmt: skip
FILMS = b"text,genres\n" + b"".join(
    b"a film numbered %d,%s\n" % (n, [b"drama", b"drama | war", b"war|comedy|war", b""][n % 4])
    for n in range(80)
)
SCORES = b"text,score\n" + b"".join(b"an essay numbered %d,%.1f\n" % (n, n / 7) for n in range(80))


def features_of(version: DatasetVersion) -> dict[str, str]:
    return version.features


# Numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "comma", "value"),
    [
        (" 12 ", False, 12.0),
        ("-1.5e3", False, -1500.0),
        (".5", False, 0.5),
        ("12 %", False, 12.0),
        ("1,234,567.5", False, 1_234_567.5),
        ("1,5", True, 1.5),
        ("1.234,5", True, 1234.5),
        ("1.5", True, 1.5),
        ("−3", False, -3.0),
        ("?", False, None),
        ("NA", False, None),
        ("-", True, None),
        ("", True, None),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, comma: bool, value: float | None) -> None:
    assert numbers.number(text, comma=comma) == value


@pytest.mark.parametrize("text", ["1,5", "12a", "1e999", "inf", "1,23,4", "٣", "1 2", "0x1F", ","])
def test_what_is_no_number_is_not_made_one(text: str) -> None:
    with pytest.raises(numbers.NotANumber):
        numbers.number(text, comma=False)


def test_a_number_is_written_without_needless_digits() -> None:
    assert [numbers.written(one) for one in (3.0, -0.5, 1e300, 0.1)] == [
        "3",
        "-0.5",
        "1e+300",
        "0.1",
    ]


# Tables ---------------------------------------------------------------------------------------


def test_a_table_is_understood_and_stored_under_its_own_names(project: Project) -> None:
    version = uploaded(project, PEOPLE, name="people")
    assert version.dataset.task == "tabular-classification"
    assert features_of(version) == {"age": "numeric", "work": "categorical", "city": "categorical"}
    assert version.labels == ["high", "low"]
    assert (version.problem, version.input_column) == ("single_label", "")
    table = table_of(version)
    assert table.schema.names == [
        "row_id", "split", "label", "age", "work", "city", "source", "id",
    ]  # fmt: skip
    assert str(table.schema.field("age").type) == "double"
    assert table["age"][:4].to_pylist() == [20.0, 27.0, 34.0, None]
    assert table["work"][:3].to_pylist() == ["office", "field", None]
    assert table["city"][1].as_py() == "Oslo"
    assert table["id"][5].as_py() == "5"


def test_columns_are_summed_up(project: Project) -> None:
    columns = uploaded(project, PEOPLE, name="people").statistics["columns"]
    assert columns["age"]["missing"] == 1
    assert columns["age"]["minimum"] == 20.0
    assert sum(columns["age"]["histogram"]["counts"]) == 59
    assert columns["work"] == {
        "kind": "categorical", "missing": 20, "distinct": 2,
        "most": [["field", 20], ["office", 20]],
    }  # fmt: skip


def test_features_may_be_chosen_and_their_kinds_corrected(project: Project) -> None:
    columns: dict[str, Any] = {"label": "income", "features": {"age": "categorical", "work": None}}
    version = uploaded(project, PEOPLE, name="people", columns=columns)
    assert features_of(version) == {"age": "categorical", "work": "categorical"}
    assert table_of(version)["age"][0].as_py() == "20"
    kept = [one["name"] for one in version.columns if one["role"] == "extra"]
    assert kept == ["id", "city"]
    listed = uploaded(project, PEOPLE, name="listed", columns={"features": ["work", "age"]})
    assert features_of(listed) == {"age": "numeric", "work": "categorical"}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"features": {"wage": "numeric"}}, "no column 'wage'"),
        ({"features": {"age": "number"}}, "numeric or categorical"),
        ({"features": "age"}, "Send an object"),
        ({"features": []}, "Choose the columns to learn from"),
        ({"text": "work"}, "no role"),
    ],
)
def test_nonsense_about_features_is_a_sentence(
    project: Project, columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        uploaded(project, PEOPLE, name="people", columns=columns)


def test_what_says_that_there_is_nothing_says_so_in_a_file_and_in_a_row_that_is_sent() -> None:
    assert numbers.NOTHING == cells.NOTHING
    for said in (*numbers.NOTHING, " ? ", "NaN", " State-gov", "none"):
        assert cells.category(said) == numbers.word(said)


def test_a_word_among_numbers_is_missing_and_listed(project: Project) -> None:
    content = PEOPLE + b"60,many,office,Rome,low\n"
    version = uploaded(project, content, name="people", columns={"features": ["age", "work"]})
    assert table_of(version)["age"][60].as_py() is None
    assert issues_of(version)["not_a_number"] == 1


def test_commas_are_decimal_where_they_part_no_values(project: Project) -> None:
    content = b"price;size;label\n" + b"".join(
        b"1.2%02d,5;%d,25;%s\n" % (n, n, [b"a", b"b"][n % 2]) for n in range(40)
    )
    version = uploaded(project, content, name="prices")
    assert features_of(version) == {"price": "numeric", "size": "numeric"}
    assert table_of(version)["price"][3].as_py() == 1203.5


def test_a_row_without_any_value_is_left_out(project: Project) -> None:
    version = uploaded(project, PEOPLE + b"60,?,,NA,low\n", name="people")
    assert version.rows == 60
    assert issues_of(version)["empty_input"] == 1


def test_columns_with_reserved_names_keep_apart(project: Project) -> None:
    content = b"split,source,text,y\n" + b"".join(
        b"%d,%d,%s,%s\n" % (n % 5, n % 7, [b"x", b"y"][n % 2], [b"a", b"b"][n % 2])
        for n in range(60)
    )
    version = uploaded(project, content, name="odd", task="tabular-classification")
    assert list(features_of(version)) == ["original_split", "original_source", "original_text"]
    assert version.reading["columns"]["features"] == {
        "split": "numeric", "source": "numeric", "text": "categorical",
    }  # fmt: skip


def test_equal_rows_are_natural_in_a_narrow_table(project: Project) -> None:
    content = b"a,b,c,y\n" + b"".join(
        b"%d,%d,x,%s\n" % (n % 3, n % 2, [b"p", b"q"][n % 2]) for n in range(100)
    )
    version = uploaded(project, content, name="narrow")
    assert issues_of(version) == {"repeated_row": 94}
    assert version.splits["train"]["rows"] == 80


def test_the_fingerprint_knows_numbers_and_not_how_they_were_written(project: Project) -> None:
    one = uploaded(project, PEOPLE, name="one").fingerprint
    again = uploaded(project, PEOPLE.replace(b",20,", b",20.0,"), name="two").fingerprint
    other = uploaded(project, PEOPLE.replace(b",20,", b",21,"), name="three").fingerprint
    assert one == again
    assert one != other


def test_a_table_may_be_read_as_texts_and_back(project: Project) -> None:
    upload = datasets.stage(
        project=project, file=file_of(PEOPLE), name="people.csv", by=project.created_by
    )
    assert datasets.preview(upload=upload)["task"] == "tabular-classification"
    shown = datasets.read_again(upload=upload, reading={"task": "text-classification"})
    assert shown["reading"]["columns"]["text"]
    assert "features" not in shown["reading"]["columns"]
    back = datasets.read_again(upload=upload, reading={"task": "tabular-classification"})
    assert back["reading"]["columns"]["features"]


# Several labels -------------------------------------------------------------------------------


def test_several_labels_are_told_apart(project: Project) -> None:
    version = uploaded(project, FILMS, name="films", problem="multi_label")
    assert (version.problem, version.separator) == ("multi_label", "|")
    assert version.labels == ["comedy", "drama", "war"]
    stored = table_of(version)["label"][:4].to_pylist()
    assert stored == ["drama", "drama|war", "comedy|war", None]
    totals = dict.fromkeys(version.labels, 0)
    for split in version.splits.values():
        for name, rows in split["label_counts"].items():
            totals[name] += rows
    assert totals == {"comedy": 20, "drama": 40, "war": 40}
    assert version.statistics["labels_per_row"] == {"1": 20, "2": 40}
    assert issues_of(version)["missing_label"] == 20


def test_rows_are_found_by_one_of_their_labels(project: Project) -> None:
    version = uploaded(project, FILMS, name="films", problem="multi_label")
    _, war = version_rows.rows_and_total(version=version, label="war")
    _, comedy = version_rows.rows_and_total(version=version, label="comedy", split="train")
    assert war == 40
    assert comedy == version.splits["train"]["label_counts"]["comedy"]


def test_a_separator_alone_says_that_there_are_several(project: Project) -> None:
    content = FILMS.replace(b" | ", b";").replace(b"|", b";")
    version = uploaded(project, content, name="films", reading={"separator": ";"})
    assert version.problem == "multi_label"
    assert version.labels == ["comedy", "drama", "war"]
    guessed = uploaded(project, content, name="guessed", problem="multi_label")
    assert guessed.separator == ";"


def test_every_split_gets_its_share_of_rare_labels() -> None:
    several = labels.Several("|")
    for n in range(1000):
        several.add("rare|common" if n % 25 == 0 else "common|other" if n % 3 else "other")
    assigned, _ = splits.assign(
        np.full(1000, splits.NONE, dtype=np.int8),
        several.strata,
        np.arange(1000),
        splits.DEFAULT,
        0,
    )
    rare = np.arange(0, 1000, 25)
    assert np.bincount(assigned[rare]).tolist() == [32, 4, 4]


# Numbers as labels ----------------------------------------------------------------------------


def test_numbers_are_labels(project: Project) -> None:
    version = uploaded(project, SCORES, name="scores", problem="regression")
    assert (version.problem, version.labels) == ("regression", [])
    assert table_of(version)["label"][7].as_py() == "1"
    said = version.statistics["label"]
    assert (said["minimum"], said["maximum"]) == (0.0, 11.3)
    assert version.splits["test"]["label_counts"] == {}
    assert version.splits["test"]["labelled"] == 8
    assert not [one for one in version.issues if one["severity"] == "error"]


def test_quantities_are_recognised_as_such(project: Project) -> None:
    assert uploaded(project, SCORES, name="scores").problem == "regression"
    assert uploaded(project, TABLE, name="words").problem == "single_label"


def test_a_label_that_is_no_number_fails_with_its_line(project: Project) -> None:
    content = SCORES + b"an essay,good\n"
    error = error_of(uploaded(project, content, name="scores", problem="regression"))
    assert error["line"] == 82
    assert "no number: 'good'" in error["detail"]


def test_splits_have_alike_numbers() -> None:
    told = labels.Numbers()
    for value in np.random.default_rng(0).exponential(size=1000):
        told.add(str(value))
    assigned, _ = splits.assign(
        np.full(1000, splits.NONE, dtype=np.int8), told.strata, np.arange(1000), splits.DEFAULT, 0
    )
    means = [told.values[assigned == split].mean() for split in range(3)]
    assert max(means) - min(means) < 0.2


def test_pictures_have_one_label_each(project: Project) -> None:
    content = archive(("a/1.png", PIXEL), ("b/2.png", PIXEL)).getvalue()
    with pytest.raises(Invalid, match="single_label"):
        uploaded(project, content, name="pictures", problem="regression")


def test_a_next_version_is_of_the_problem_before(project: Project) -> None:
    first = uploaded(project, FILMS, name="films", problem="multi_label")
    second = uploaded(project, FILMS + b"x,war\n", name="films", dataset=first.dataset)
    assert (second.number, second.problem) == (2, "multi_label")
    content = archive(("a/1.png", PIXEL)).getvalue()
    with pytest.raises(Invalid, match="is for text-classification"):
        uploaded(project, content, name="films", dataset=first.dataset)


# Real tables ----------------------------------------------------------------------------------


def test_adult_is_understood_without_help(shared_data: Path) -> None:
    content = gzip.decompress((shared_data / "adult" / "adult-train.csv.gz").read_bytes())
    file = io.BytesIO(content)
    dialect = FORM.sniff(file, "adult.csv")
    look = FORM.look(file, "adult.csv", dialect)
    assert dialect["header"] is False
    assert FORM.guess_task(look) == "tabular-classification"
    columns = FORM.guess_columns(look, "tabular-classification")
    assert columns["label"] == "column_15"
    kinds = list(columns["features"].values())
    assert (kinds.count("numeric"), kinds.count("categorical")) == (6, 8)
    reading = {"columns": columns, "problem": FORM.guess_problem(columns, look)}
    assert set(FORM.label_counts(reading, look)) == {"<=50K", ">50K"}


def test_bike_sharing_is_understood_without_help(shared_data: Path, project: Project) -> None:
    version = uploaded(project, shared_data / "bike_sharing" / "bike-sharing-daily.csv")
    assert version.dataset.task == "tabular-classification"
    assert version.problem == "regression"
    assert version.reading["columns"]["label"] == "cnt"
    assert set(version.features.values()) == {"numeric"}
    assert version.reading["others"] == ["instant", "dteday"]
    assert version.statistics["label"]["minimum"] == 22.0


def test_plans_without_a_task_read_as_before() -> None:
    plan = Plan(columns={"text": "text", "label": "label", "split": None, "ignored": []})
    dialect = {"encoding": "utf-8", "delimiter": ",", "quoting": "double", "header": True}
    (row,) = FORM.rows(io.BytesIO(b"text,label\nx,a\n"), "x.csv", dialect, plan)
    assert getattr(row, "label", None) == "a"


def test_a_label_that_is_too_long_among_several_is_refused() -> None:
    with pytest.raises(BadFile, match="too long"):
        labels.several("x" * 300, "|")
