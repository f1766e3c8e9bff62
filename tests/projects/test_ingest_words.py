"""Words with tags: CoNLL's layout, JSON Lines, cells of a table; read, paired, shown, divided."""

import io
import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.ingest import disguises, reading, registry, tagged_words, words
from projects.ingest.formats import BadFile, LeftOut, Row
from projects.models import DatasetVersion, Project, User
from tests.conftest import api_of
from tests.projects.test_dataset_versions import file_of, uploaded

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O
. . O O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

"""
UNIVERSAL = """# sent_id = 1
# text = It's fine.
1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_
1\tIt\tit\tPRON\tPRP\t_\t3\tnsubj\t_\t_
2\t's\tbe\tAUX\tVBZ\t_\t3\tcop\t_\t_
3\tfine\tfine\tADJ\tJJ\t_\t0\troot\t_\t_

1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\t_

"""
OBJECTS: list[dict[str, Any]] = [
    {"id": "7", "tokens": ["Ada", "Lovelace", "wrote"], "ner_tags": [1, 2, 0], "pos": ["N"] * 3},
    {"id": "8", "tokens": ["in", "London"], "ner_tags": [0, None]},
]
BASE = "/api/v1/projects/intents/datasets/"


def lines_of(objects: list[Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)


def read(
    text: str, name: str = "a.conll", changes: dict[str, Any] | None = None
) -> list[Row | LeftOut]:
    content = text.encode()
    form = registry.recognise(io.BytesIO(content), name)
    files = [{"name": name, "sha256": "x", "bytes": len(content), "split": None}]
    understood = reading.first(form, files, lambda _: io.BytesIO(content))
    if changes:
        understood = reading.corrected(form, understood, changes, lambda _: io.BytesIO(content))
    plan = reading.plan_of(understood)
    return list(form.rows(io.BytesIO(content), name, understood["files"][0]["dialect"], plan))


def told(found: list[Row | LeftOut]) -> list[tuple[Any, ...]]:
    return [
        (one.input, one.label) if isinstance(one, Row) else (one.source, one.code) for one in found
    ]


@pytest.mark.parametrize("name", ["a.conll", "train.txt", "eng.testa"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_sentences_stand_between_blank_lines(name: str, ends: str) -> None:
    found = read(CONLL.replace("\n", ends), name)
    assert told(found) == [
        ("EU rejects German call .", "B-ORG O B-MISC O O"),
        ("Peter Blackburn", "B-PER I-PER"),
    ]
    assert [one.source for one in found] == ["3", "9"]


def test_another_column_may_hold_the_tags() -> None:
    found = read(CONLL, changes={"columns": {"text": "word", "label": "pos"}})
    assert told(found)[1] == ("Peter Blackburn", "NNP NNP")


def test_universal_dependencies_are_words_with_parts_of_speech() -> None:
    assert told(read(UNIVERSAL, "en.conllu")) == [("It 's fine", "PRON AUX ADJ"), ("Go", "VERB")]


def test_objects_hold_lists_and_numbers_get_their_names() -> None:
    changes = {"tag_names": ["O", "B-PER", "I-PER"]}
    found = read(lines_of(OBJECTS), "a.jsonl", changes)
    assert told(found) == [("Ada Lovelace wrote", "B-PER I-PER O"), ("in London", "O ?")]
    assert told(read(lines_of(OBJECTS), "a.json"))[0][1] == "1 2 0"
    unnamed = read(lines_of(OBJECTS), "a.jsonl", {**changes, "columns": {"label": "pos"}})
    assert told(unnamed)[1] == ("in London", None)


def test_other_values_are_kept_beside() -> None:
    first = read(lines_of(OBJECTS), "a.jsonl")[0]
    assert isinstance(first, Row)
    assert first.others == ("7",)  # lists are left out unless asked for


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ner_tags": [1, 2]}, "Line 1: It has 3 words and 2 tags"),
        ({"ner_tags": [1, 2, 9]}, "number 9, and 3 names"),
        ({"ner_tags": [1, {"a": 1}, 0]}, "is no tag"),
        ({"ner_tags": ["a b", "c", "d"]}, "is no tag"),
    ],
)
def test_what_does_not_pair_refuses_the_file_by_its_line(
    change: dict[str, Any], sentence: str
) -> None:
    names = {"tag_names": ["O", "B-PER", "I-PER"]}
    with pytest.raises(BadFile, match=sentence) as caught:
        read(lines_of([OBJECTS[0] | change]), "a.jsonl", names)
    assert caught.value.line == 1


def test_rows_that_do_not_pair_are_left_out_if_asked_for() -> None:
    bad = OBJECTS[0] | {"ner_tags": [1]}
    blank = OBJECTS[0] | {"tokens": ["New York", "is", "big"]}
    found = read(lines_of([bad, blank, OBJECTS[1]]), "a.jsonl", {"ragged": "skip"})
    assert told(found)[:2] == [("1", "unpaired_tags"), ("2", "blank_in_word")]
    assert isinstance(found[2], Row)


def test_a_line_with_a_wrong_number_of_values_is_named_or_its_sentence_left_out() -> None:
    torn = CONLL.replace("German JJ B-NP B-MISC", "German JJ")
    with pytest.raises(BadFile, match="Line 5 has 2 values where the first has 4"):
        read(torn, changes={"ragged": "refuse"})
    assert told(read(torn, changes={"ragged": "skip"})) == [
        ("3", "ragged_line"),
        ("Peter Blackburn", "B-PER I-PER"),
    ]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [CONLL * 9, lines_of(OBJECTS * 9)])
def test_a_look_at_a_long_file_shows_whole_sentences(
    monkeypatch: pytest.MonkeyPatch, text: str, ends: str
) -> None:
    monkeypatch.setattr(tagged_words, "HEAD", 500)
    content = text.replace("\n", ends).encode()
    form = registry.recognise(io.BytesIO(content), "a")
    dialect = form.sniff(io.BytesIO(content), "a")
    look = form.look(io.BytesIO(content), "a", dialect)
    assert (look.complete, look.problems) == (False, [])
    assert 2 < look.seen < 18
    assert look.estimated == pytest.approx(18, abs=4)
    whole = {row[0] for row in form.look(io.BytesIO(content), "a", dialect).rows}
    assert whole <= {"EU rejects German call .", "Peter Blackburn", "7", "8"}


def test_a_hash_before_a_tag_is_a_word_and_other_blanks_are_no_border() -> None:
    assert told(read("# B-X\n1 I-X\n\n# a comment\n# O\nof O\n\n")) == [
        ("# 1", "B-X I-X"),
        ("# of", "O O"),
    ]
    assert told(read("New\u00a0York B-X\nis O\n\nEU B-X\n")) == [
        ("1", "blank_in_word"),
        ("EU", "B-X"),
    ]


def test_a_line_that_is_no_json_is_named() -> None:
    with pytest.raises(BadFile, match="Line 3 is not JSON"):
        read(lines_of(OBJECTS) + "{oh\n", "a.jsonl")


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ("B-PER O", ["B-PER", "O"]),
        ('["B-PER", "O"]', ["B-PER", "O"]),
        ("['B-PER', 'O']", ["B-PER", "O"]),
        ("[1, 0]", [1, 0]),
        ("[oh", ["[oh"]),
        ("", None),
        ("[" * 5000 + "]" * 5000, ["[" * 5000 + "]" * 5000]),
    ],
)
def test_a_cell_is_a_list_or_words(cell: str, parts: list[Any] | None) -> None:
    assert words.listed(cell) == parts


def test_a_table_of_sentences_and_tags_is_understood() -> None:
    rows = ["sentence,tags", *(f"Ada met person {n},B-PER O O O" for n in range(5))]
    assert told(read("\n".join(rows), "a.csv"))[0] == ("Ada met person 0", "B-PER O O O")
    plain = ["text,label", *(f"where is it {n},a b" for n in range(5))]
    content = "\n".join(plain).encode()
    form = registry.recognise(io.BytesIO(content), "a.csv")
    files = [{"name": "a.csv", "sha256": "x", "bytes": len(content), "split": None}]
    understood = reading.first(form, files, lambda _: io.BytesIO(content))
    assert understood["task"] == "text-classification"


@pytest.mark.parametrize(
    ("content", "name", "key"),
    [
        (CONLL, "a.txt", "tagged_words"),
        (UNIVERSAL, "a.tsv", "tagged_words"),
        ("text\tlabel\nhello there\tX\n\nbye now\tY\n", "a.tsv", "table"),
        ("The cat sat.\nIt slept.\n\nThe end.\n", "a.txt", "plain_text"),
        ("a,b\n1,2\n\n3,4\n", "a.csv", "table"),
    ],
)
def test_other_files_stay_what_they_are(content: str, name: str, key: str) -> None:
    assert registry.recognise(io.BytesIO(content.encode()), name).key == key


def test_other_json_says_what_is_read() -> None:
    with pytest.raises(BadFile, match="one object a line"):
        registry.recognise(io.BytesIO(b'["a", "b"]'), "a.txt")
    assert disguises.what(b'{"a": 1}', "a.json")


def test_pieces_are_spans_with_a_colour_of_their_kind() -> None:
    found = words.pieces(
        "Ada Lovelace met Bob in York", "B-PER I-PER O B-PER ? S-LOC", ["LOC", "PER"]
    )
    assert [(one["text"], one["kind"], one["tone"]) for one in found] == [
        ("Ada Lovelace", "PER", 1), ("met", "", 0), ("Bob", "PER", 1), ("in", "", 0),
        ("York", "LOC", 0),
    ]  # fmt: skip
    assert [one["text"] for one in words.pieces("a b", "NN NN", ["NN"])] == ["a", "b"]
    assert [one["text"] for one in words.pieces("a b", None, [])] == ["a b"]


def sentences(rows: int) -> list[dict[str, Any]]:
    chance = np.random.default_rng(0)
    people, cities = ["Ada", "Alan", "Grace"], ["Oslo", "Lima", "Rome"]
    made = []
    for row in range(rows):
        person, city = str(chance.choice(people)), str(chance.choice(cities))
        filler = [str(one) for one in chance.choice(["went", "from", "saw", "the", "sea"], 3)]
        made.append(
            {
                "tokens": [person, "King", *filler, city, str(row)],
                "tags": ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"],
            }
        )
    return made


def test_a_version_of_tagged_words_has_its_tags_as_labels(project: Project) -> None:
    version = uploaded(project, lines_of(sentences(60)).encode(), name="people")
    assert version.dataset.task == "token-classification"
    assert (version.problem, version.separator) == ("single_label", " ")
    assert version.labels == ["B-LOC", "B-PER", "I-PER", "O"]
    assert version.statistics["words_per_label"]["O"] == 60 * 4
    assert version.splits["train"]["label_counts"]["B-PER"] == version.splits["train"]["rows"]
    assert [one["code"] for one in version.issues if one["severity"] == "error"] == []
    with storage.open_blob(version.file_sha256) as stream:
        row = pq.read_table(stream).to_pylist()[0]
    assert row["label"].split() == sentences(1)[0]["tags"]
    assert row["text"].split() == sentences(1)[0]["tokens"]


def test_rest_takes_tagged_words_and_names_of_numbers(project: Project, erin: User) -> None:
    client = api_of(erin)
    body = {"name": "ner", "file": file_of(lines_of(OBJECTS * 20).encode(), "a.jsonl"),
            "task": "token-classification",
            "reading": json.dumps({"tag_names": ["O", "B-PER", "I-PER"]})}  # fmt: skip
    made = client.post(BASE, body, format="multipart")
    assert made.status_code == 201, made.json()
    assert DatasetVersion.objects.get().reading["tag_names"] == ["O", "B-PER", "I-PER"]
    wrong = {"tag_names": ["O", "a b"]}
    body |= {"name": "x", "file": file_of(b"a", "a.jsonl"), "reading": json.dumps(wrong)}
    body["file"] = file_of(lines_of(OBJECTS).encode(), "a.jsonl")
    assert "reading.tag_names" in client.post(BASE, body, format="multipart").json()["fields"]


@pytest.mark.parametrize("wrong", [3, [3], ["a", ""], ["x" * 300]])
def test_names_of_tags_are_words(wrong: Any) -> None:
    with pytest.raises(Invalid):
        read(lines_of(OBJECTS), "a.jsonl", {"tag_names": wrong})
