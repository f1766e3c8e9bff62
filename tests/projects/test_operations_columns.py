"""What columns are for: roles, names, groups, and texts made by a template."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from projects.models import DatasetVersion, Project, User
from projects.operations.prompting import BadTemplate, Template
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of
from tests.projects.test_operations import BASE, change, latest, make_all, rows, upload

HEADER = "text,label,question,speaker,number,p_a,p_b,weight\n"
TABLE = HEADER + "".join(
    f"text {n},{'ab'[n % 2]},what is {n}?,s{n // 8},q{n},{n % 4 / 4},{1 - n % 4 / 4},{n % 3 / 2}\n"
    for n in range(80)
)
WRITING = "prompt,completion,context,why\n" + "".join(
    f"ask {n},answer {n},{{c {n}}},because {n}\n" for n in range(20)
)


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    upload_as(client, TABLE, "talk", {"text": "text", "label": "label", "ignored": []})
    return client


def upload_as(
    client: APIClient, content: str, name: str, columns: dict[str, Any], **more: str
) -> None:
    body = {"file": file_of(content.encode()), "name": name, "columns": json.dumps(columns)} | more
    made = client.post(BASE, body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()


def role_of(version: DatasetVersion, name: str) -> str:
    return next(str(one["role"]) for one in version.columns if one["name"] == name)


def test_another_column_becomes_the_text_and_the_old_one_is_kept(client: APIClient) -> None:
    made = change(client, "talk", operation="columns", roles={"text": "question"})
    assert made.data["operation"]["told"] == "Changed columns: question as text"
    version = latest("talk")
    first = rows(client, version)[0]
    assert (first["text"], first["original_text"]) == ("what is 0?", "text 0")
    assert "question" not in first
    assert version.input_column == "text"
    assert version.statistics["measures"]["characters"]["minimum"] == len("what is 0?")


def test_columns_get_roles_and_numbers_are_read_as_numbers(client: APIClient) -> None:
    roles = {"id": "number", "group": "speaker", "weight": "weight"}
    soft = {"a": "p_a", "b": "p_b"}
    change(client, "talk", operation="columns", roles=roles, soft_labels=soft, drop=["question"])
    version = latest("talk")
    assert [role_of(version, name) for name in ("number", "speaker", "weight", "p_a")] == [
        *("key", "group", "weight", "soft")
    ]
    assert version.soft_labels == soft
    first = rows(client, version)[1]
    assert (first["weight"], first["p_a"], first["p_b"]) == (0.5, 0.25, 0.75)
    assert "question" not in first
    # the roles stay through other operations, and can be taken away
    change(client, "talk", operation="filter", label="a")
    assert latest("talk").column_of("weight") == "weight"
    change(client, "talk", operation="columns", roles={"weight": "", "id": None})
    assert latest("talk").column_of("weight") == latest("talk").column_of("key") == ""


def test_a_label_is_taken_from_a_column(client: APIClient) -> None:
    change(client, "talk", operation="columns", roles={"label": "speaker"})
    version = latest("talk")
    assert version.labels == sorted(f"s{n}" for n in range(10))
    assert rows(client, version)[0]["original_label"] == "a"


def test_columns_are_renamed(client: APIClient) -> None:
    change(client, "talk", operation="columns", rename={"question": "asked", "speaker": "who"})
    assert {"asked", "who"} <= rows(client, latest("talk"))[0].keys()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "roles"),
        ({"roles": {"text": "nothing"}}, "roles"),
        ({"roles": {"text": ""}}, "roles"),
        ({"roles": {"label": ""}}, "roles"),
        ({"roles": {"prompt": "question"}}, "roles"),
        ({"roles": {"colour": "question"}}, "roles"),
        ({"roles": {"id": "question", "group": "question"}}, "roles"),
        ({"roles": {"id": "text"}}, "roles"),
        ({"roles": {"id": "row_id"}}, "roles"),
        ({"roles": {"id": "question"}, "drop": ["question"]}, "drop"),
        ({"drop": ["text"]}, "drop"),
        ({"drop": ["nothing"]}, "drop"),
        ({"rename": {"question": "speaker"}}, "rename"),
        ({"rename": {"question": "split"}}, "rename"),
        ({"rename": {"text": "words"}}, "rename"),
        ({"rename": {"question": "x", "speaker": "x"}}, "rename"),
        ({"soft_labels": {"a": "p_a"}}, "soft_labels"),
        ({"soft_labels": {"a": "p_a", "b": "p_a"}}, "soft_labels"),
        ({"soft_labels": {"a": "p_a", "c": "p_b"}}, "soft_labels"),
        ({"soft_labels": {"a": "p_a", "b": "text"}}, "soft_labels"),
        ({"features": {"p_a": "numeric"}}, "features"),
    ],
)
def test_what_columns_cannot_be_is_refused_at_once(
    client: APIClient, asked: dict[str, Any], field: str
) -> None:
    body = {"operation": "columns"} | asked
    answer = client.post(f"{BASE}talk/versions/", body, format="json")
    assert answer.status_code == 400, answer.data
    assert list(answer.json()["fields"]) == [field], answer.data
    assert DatasetVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"roles": {"weight": "question"}}, "question says 'what is 0?', no number."),
        ({"soft_labels": {"a": "p_a", "b": "weight"}}, "its probabilities make 0.000, not 1."),
        ({"soft_labels": {"a": "p_a", "b": "question"}}, "no number."),
    ],
)
def test_a_value_that_does_not_fit_its_role_fails_with_its_row(
    client: APIClient, asked: dict[str, Any], sentence: str
) -> None:
    change(client, "talk", operation="columns", **asked)
    version = DatasetVersion.objects.order_by("-number")[0]
    assert version.status == "failed"
    assert (version.error or {})["detail"].endswith(sentence)
    assert (version.error or {})["detail"].startswith("Row ")


def test_what_a_table_learns_from_can_be_changed(project: Project, erin: User) -> None:
    client = api_of(erin)
    lines = "".join(f"{n},{n % 7},{'xy'[n % 2]},{n % 3}\n" for n in range(60))
    features = dict.fromkeys(["age", "size"], "numeric") | {"kind": "categorical"}
    columns = {"label": "label", "features": features}
    upload_as(client, "age,size,kind,label\n" + lines, "people", columns)
    change(client, "people", operation="columns", features={"kind": "kept", "size": "categorical"})
    version = latest("people")
    assert version.features == {"age": "numeric", "size": "categorical"}
    assert role_of(version, "kind") == "extra"
    assert rows(client, version)[8]["size"] == "1"
    change(client, "people", operation="columns", features={"size": "numeric"}, drop=["age"])
    assert latest("people").features == {"size": "numeric"}
    answer = client.post(
        f"{BASE}people/versions/", {"operation": "columns", "drop": ["size"]}, format="json"
    )
    assert answer.json()["fields"] == {"features": ["Some columns must be there to learn from."]}


# Groups -----------------------------------------------------------------------------------------


def splits_by(client: APIClient, name: str, column: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows(client, latest(name)):
        found.setdefault(row[column], set()).add(row["split"])
    return found


def test_an_upload_keeps_the_rows_of_a_group_in_one_split(project: Project, erin: User) -> None:
    client = api_of(erin)
    columns = {"text": "text", "label": "label", "group": "speaker", "id": "number"}
    upload_as(client, TABLE, "speakers", columns)
    version = latest("speakers")
    assert (role_of(version, "speaker"), role_of(version, "number")) == ("group", "key")
    assert all(len(splits) == 1 for splits in splits_by(client, "speakers", "speaker").values())
    assert set(version.splits) == {"train", "validation", "test"}


def test_a_group_is_chosen_when_the_upload_is_looked_at(project: Project, erin: User) -> None:
    client = signed_in(erin)
    sent = client.post("/p/intents/datasets/new/", {"file": file_of(TABLE.encode())})
    mapping = sent.headers["Location"]
    assert "Group, kept in one split" in client.get(mapping).content.decode()
    names = HEADER.strip().split(",")
    body = {"name": "speakers", "task": "text-classification", "known": names, "keep": names[2:],
            "role-text": "text", "role-label": "label", "role-group": "speaker",
            "role-id": ""}  # fmt: skip
    assert client.post(mapping, body).headers["Location"] == "/p/intents/datasets/speakers/1/"
    make_all()
    assert latest("speakers").column_of("group") == "speaker"
    assert latest("speakers").column_of("key") == ""
    assert all(len(one) == 1 for one in splits_by(api_of(erin), "speakers", "speaker").values())


def test_divided_anew_groups_stay_together_and_those_that_leak_are_an_issue(
    client: APIClient,
) -> None:
    change(client, "talk", operation="columns", roles={"group": "speaker"})
    leaking = {one["code"]: one["count"] for one in latest("talk").issues}
    assert leaking["group_leak"] > 0
    change(client, "talk", operation="split", keep_test=False, seed=3)
    assert "group_leak" not in {one["code"] for one in latest("talk").issues}
    assert all(len(splits) == 1 for splits in splits_by(client, "talk", "speaker").values())


# Templates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{question}\n\n{context}", "Why?\n\nrain"),
        ("Q: { question } A:", "Q: Why? A:"),
        ('{{"q": "{question}"}}', '{"q": "Why?"}'),
        ("{nothing}{number}", "1.5"),
    ],
)
def test_a_template_puts_columns_in_their_places(text: str, made: str) -> None:
    row = {"question": "Why?", "context": "rain", "nothing": None, "number": 1.5}
    assert Template(text).of(row | {"row_id": 0, "source": "2"}) == made


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names no column"),
        ("nothing in it", "names no column"),
        ("{{text}}", "names no column"),
        ("{text", "stands alone"),
        ("text}\n{text}", "in line 1 stands alone"),
        ("{}", "no name"),
        ("{a}" * 300, "at most 200"),
        ("x" * 30_000, "at most 20,000"),
    ],
)
def test_a_template_that_cannot_be_read_says_why(text: str, sentence: str) -> None:
    with pytest.raises(BadTemplate, match=sentence):
        Template(text)


@pytest.mark.parametrize(
    "text", ["{text.__class__}", "{text!r}", "{text:>1000000000}", "{0}", "{row[text]}", "{label}"]
)
def test_a_template_reads_columns_and_nothing_else(client: APIClient, text: str) -> None:
    body = {"operation": "template", "text": text}
    answer = client.post(f"{BASE}talk/versions/", body, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == ["text"]


def test_texts_and_prompts_are_made_of_columns(client: APIClient, erin: User) -> None:
    change(client, "talk", operation="template", text="{speaker}: {text}")
    assert rows(client, latest("talk"))[0]["text"] == "s0: text 0"
    upload(client, WRITING, "writing")
    change(client, "writing", operation="template", text="{prompt} ({context})", into="prompt")
    assert rows(client, latest("writing"))[0]["prompt"] == "ask 0 ({c 0})"
    change(client, "writing", operation="columns", roles={"rationale": "why"})
    assert [one["name"] for one in latest("writing").columns][:6] == [
        *("row_id", "split", "label", "prompt", "text", "rationale")
    ]
    change(client, "writing", operation="columns", roles={"prompt": "", "rationale": ""})
    first = rows(client, latest("writing"))[0]
    assert (first["prompt_2" if "prompt_2" in first else "prompt"], first["why"]) == (
        "ask 0 ({c 0})",
        "because 0",
    )
