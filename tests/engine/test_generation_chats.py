"""What a tokenizer makes of chats is found out before anything is trained."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.engine import jobs, writings
from training.engine import chat_templates, conversations, language

TEXTS = ["the cat sat on the mat"]
CHATML = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}<{{ m.role }}>{{ m.content }}</>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
REWRITES = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"


def reader(template: str) -> language.LanguagePreprocessing:
    made = language.learn(TEXTS, language.Wish(vocabulary=300))
    return dataclasses.replace(made, template=template)


def test_a_template_that_takes_every_chat_has_no_problem() -> None:
    assert chat_templates.judged(reader(CHATML)) == {
        "template": True, "speakers": False, "problems": {},
    }  # fmt: skip


def test_a_template_that_refuses_some_chats_is_told_by_their_kind() -> None:
    problems = chat_templates.judged(reader(ALTERNATES))["problems"]
    assert set(problems) == {"system", "begins", "repeats", "others"}
    assert "Roles must alternate" in problems["system"]


def test_a_template_that_rewrites_earlier_words_is_told_where_they_are() -> None:
    problems = chat_templates.judged(reader(REWRITES))["problems"]
    assert "changes earlier words" in problems["turns"]


def test_a_tokenizer_made_for_chats_knows_who_speaks(tmp_path: Path) -> None:
    """It stands in the model's folder, and a run's output is registered with it."""
    folder = writings.write(tmp_path, writings.chats(tmp_path / "chats.parquet"))
    jobs.run(folder)
    said = json.loads((folder / "output" / "model" / "distillhub.json").read_text())
    assert said["tokenizer"]["chats"] == {"template": False, "speakers": True, "problems": {}}


@pytest.mark.parametrize("kind", list(conversations.KINDS))
def test_each_kind_of_chat_is_known_by_its_example(kind: str) -> None:
    assert kind in conversations.kinds(conversations.KINDS[kind])
    assert conversations.kinds(conversations.KINDS["turns"]) == {"turns"}
