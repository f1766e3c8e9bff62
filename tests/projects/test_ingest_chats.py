"""Chats, calls of models and instructions: objects that become rows to learn writing from."""

import io
import json
from typing import Any

import pytest

from distillhub.lib.errors import Invalid
from projects.ingest import layouts, reading
from projects.ingest.formats import GENERATION_TASK, BadFile, LeftOut, Row
from tests.projects.test_ingest_records import (
    JSON,
    LINES,
    lines,
    parquet,
    problems,
    read,
    understood,
)


def say(role: str, content: Any) -> JSON:
    return {"role": role, "content": content}


CHAT = [say("user", "Hello?"), say("assistant", "Hello.")]
LAYOUTS: list[tuple[str, JSON, Any]] = [
    ("chats", {"messages": CHAT}, CHAT),
    ("chats", {"system": "Be kind.", "messages": CHAT}, [say("system", "Be kind."), *CHAT]),
    (
        "chats",
        {
            "schemaVersion": "bedrock-conversation-2024",
            "system": [{"text": "Be kind."}],
            "messages": [say("user", [{"text": "Hello?"}]), say("assistant", [{"text": "Hello."}])],
        },
        [say("system", "Be kind."), *CHAT],
    ),
    (
        "chats",
        {
            "conversations": [
                {"from": "human", "value": "Hello?"},
                {"from": "function_call", "value": '{"name": "f"}'},
                {"from": "observation", "value": "1"},
                {"from": "gpt", "value": "Hello."},
            ]
        },
        [CHAT[0], say("assistant", '{"name": "f"}'), say("tool", "1"), CHAT[1]],
    ),
    (
        "chats",
        {
            "messages": [
                say("user", [{"type": "text", "text": "Hello?"}, {"type": "text", "value": "Hm?"}]),
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "1", "function": {"name": "f"}}],
                },
            ]
        },
        [say("user", "Hello?\nHm?"), say("assistant", '[{"id": "1", "function": {"name": "f"}}]')],
    ),
    (
        "calls",
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-large",
            "messages": [CHAT[0]],
            "choices": [{"index": 0, "message": CHAT[1]}, {"index": 1, "message": say("a", "?")}],
            "metadata": {"task": "greet"},
        },
        CHAT,
    ),
    (
        "calls",
        {
            "request": {"body": {"messages": [CHAT[0]]}},
            "response": {"body": {"choices": [{"message": CHAT[1]}], "model": "gpt-large"}},
        },
        CHAT,
    ),
    ("calls", {"prompt": "Hello?", "choices": [{"text": "Hello."}]}, CHAT),
    (
        "bedrock_log",
        {
            "schemaType": "ModelInvocationLog",
            "modelId": "m",
            "input": {"inputBodyJson": {"messages": [say("user", [{"text": "Hello?"}])]}},
            "output": {
                "outputBodyJson": {"output": {"message": {"content": [{"text": "Hello."}]}}}
            },
        },
        CHAT,
    ),
    (
        "bedrock_log",
        {
            "schemaType": "ModelInvocationLog",
            "input": {"inputBodyJson": {"prompt": "Human: Hello?\n\nAssistant:"}},
            "output": {"outputBodyJson": {"completion": " Hello."}},
        },
        CHAT,
    ),
    (
        "bedrock_log",
        {
            "schemaType": "ModelInvocationLog",
            "input": {"inputBodyJson": {"inputText": "Hello?"}},
            "output": {"outputBodyJson": {"results": [{"outputText": "Hello."}]}},
        },
        CHAT,
    ),
    (
        "bedrock_log",
        {
            "schemaType": "ModelInvocationLog",
            "input": {"inputBodyJson": {"messages": [CHAT[0]]}},
            "output": {
                "outputBodyJson": [
                    {"type": "content_block_delta", "delta": {"text": "Hel"}},
                    {"type": "content_block_delta", "delta": {"text": "lo."}},
                ]
            },
        },
        CHAT,
    ),
    (
        "preferences",
        {
            "chosen": "\n\nHuman: Hello?\n\nAssistant: Hello.",
            "rejected": "\n\nHuman: Hello?\n\nAssistant: Go.",
        },
        CHAT,
    ),
    ("preferences", {"chosen": CHAT, "rejected": [CHAT[0], say("assistant", "Go.")]}, CHAT),
    (
        "preferences",
        {"prompt": [CHAT[0]], "chosen": [CHAT[1]], "rejected": [say("assistant", "Go.")]},
        CHAT,
    ),
    (
        "chats",
        {
            "conversations": [{"from": "human", "value": "Hello?"}],
            "chosen": {"from": "gpt", "value": "Hello."},
            "rejected": {"from": "gpt", "value": "Go."},
        },
        CHAT,
    ),
    (
        "alpaca_chats",
        {"instruction": "Hello?", "output": "Hello.", "history": [["Hm?", "Hm."]], "system": ""},
        [say("user", "Hm?"), say("assistant", "Hm."), *CHAT],
    ),
    ("alpaca", {"instruction": "Hello?", "input": "", "output": "Hello."}, ("Hello?", "Hello.")),
    ("alpaca", {"instruction": "Say", "input": "Hi", "output": "Hi."}, ("Say\nHi", "Hi.")),
    (
        "instances",
        {"instruction": "Say", "instances": [{"input": "Hi", "output": "Hi."}]},
        ("Say\nHi", "Hi."),
    ),
    (
        "model_responses",
        {"prompt": "Hello?", "modelResponses": [{"response": "Hello.", "modelIdentifier": "m"}]},
        ("Hello?", "Hello."),
    ),
    (
        "questions",
        {"messages": [CHAT[0]], "reference_answer": "Hello."},
        ("Hello?", "Hello."),
    ),
    ("plain", {"question": "Hello?", "answer": "Hello."}, ("Hello?", "Hello.")),
    ("plain", {"prompt": "Hello?", "chosen": "Hello.", "rejected": "Go."}, ("Hello?", "Hello.")),
]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
@pytest.mark.parametrize(("layout", "one", "expected"), LAYOUTS)
def test_chats_and_calls_become_rows_that_a_student_learns_to_write_from(
    layout: str, one: JSON, expected: Any, name: str
) -> None:
    content = lines(one, one) if name == "rows.jsonl" else json.dumps([one, one]).encode()
    found = understood(content, name)
    assert found["files"][0]["dialect"]["layout"] == layout
    assert found["task"] == GENERATION_TASK
    row = read(content, name)[1]
    assert isinstance(row, Row)
    if isinstance(expected, tuple):
        assert row.values == expected
    else:
        assert json.loads(str(row.input)) == expected
    if "rejected" in one:
        rejected = str(row.others[found["others"].index("rejected")])
        assert rejected == "Go." or json.loads(rejected)[-1] == say("assistant", "Go.")


def test_what_stands_beside_a_call_is_kept() -> None:
    content = lines(LAYOUTS[5][1], LAYOUTS[5][1])
    found = understood(content, "rows.jsonl")
    row = read(content, "rows.jsonl")[0]
    assert isinstance(row, Row)
    kept = dict(zip(found["others"], row.others, strict=True))
    assert (kept["model"], kept["metadata.task"], kept["id"]) == (
        "gpt-large",
        "greet",
        "chatcmpl-1",
    )


def test_every_layout_is_tried_here() -> None:
    assert {layout for layout, _, _ in LAYOUTS} == set(layouts.LAYOUTS)


def test_parquet_holds_the_same_chats() -> None:
    content = parquet(messages=[CHAT] * 3, source=["a"] * 3)
    assert understood(content, "rows.parquet")["files"][0]["dialect"]["layout"] == "chats"
    assert read(content, "rows.parquet") == read(
        json.dumps([{"messages": CHAT, "source": "a"}] * 3).encode(), "rows.json"
    )


def test_a_chat_with_a_picture_is_left_out_with_its_line() -> None:
    picture = say("user", [{"type": "image_url", "image_url": {"url": "1.png"}}])
    content = lines({"messages": CHAT}, {"messages": [picture, CHAT[1]]}, {"messages": CHAT})
    sentence = "Line 2 holds a part of the kind 'image_url', which is no text."
    assert problems(content, "rows.jsonl") == [sentence]
    left = [one for one in read(content, "rows.jsonl") if isinstance(one, LeftOut)]
    assert [(one.code, one.detail) for one in left] == [("not_text", sentence)]


def test_a_file_of_nothing_but_pictures_says_why_there_is_no_row() -> None:
    picture = say("user", [{"type": "image_url", "image_url": {"url": "1.png"}}])
    content = lines(*[{"messages": [picture, CHAT[1]]}] * 3)
    sentence = "Line 1 holds a part of the kind 'image_url', which is no text."
    assert f"There is no row in it. {sentence}" in problems(content, "rows.jsonl")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"messages": CHAT}, {"text": "no chat"}, "Line 60 has no list of messages"),
        ({"messages": CHAT}, {"messages": [{"content": "who?"}]}, "Line 60 has no list"),
        (
            LAYOUTS[5][1],
            {"choices": [{"message": CHAT[1]}]},
            "Line 60 holds an answer, and not what was asked",
        ),
        (
            LAYOUTS[8][1],
            LAYOUTS[8][1] | {"output": {"outputBodyS3Path": "s3://logs/1"}},
            "Line 60 has its output elsewhere, in s3://logs/1.",
        ),
        ({"instruction": "a", "output": "b"}, {"output": "b"}, "Line 60 has no instruction"),
    ],
)
def test_an_object_that_is_laid_out_otherwise_is_refused_by_line_or_left_out(
    first: JSON, second: JSON, words: str
) -> None:
    content = lines(*[first] * 59, second)
    assert any(words in one for one in problems(content, "rows.jsonl"))
    found = understood(content, "rows.jsonl")
    with pytest.raises(BadFile, match=words):
        list(
            LINES.rows(
                io.BytesIO(content), "a", found["files"][0]["dialect"], reading.plan_of(found)
            )
        )
    skipped = read(content, "rows.jsonl", ragged="skip")
    assert [one.code for one in skipped if isinstance(one, LeftOut)] == ["unreadable_row"]


def test_a_layout_can_be_chosen() -> None:
    content = lines({"messages": CHAT}, {"messages": CHAT})
    rows = read(content, "rows.jsonl", layout="plain", task=GENERATION_TASK)
    assert isinstance(rows[0], Row)
    assert json.loads(str(rows[0].input)) == CHAT
    with pytest.raises(Invalid, match="Choose one of these layouts"):
        understood(content, "rows.jsonl", layout="nope")
