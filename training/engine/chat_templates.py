"""What a tokenizer makes of chats, found out when a model is inspected or saved."""

from typing import Any

from training.engine.conversations import KINDS
from training.engine.errors import ModelError
from training.engine.language import SPEAKERS, LanguagePreprocessing

JSON = dict[str, Any]


def judged(seen: LanguagePreprocessing) -> JSON:
    """`template`: whether it has one; `speakers`: whether it has tokens for who speaks instead;
    `problems`: by kind of chat (conversations.KINDS), why its template cannot be used for it."""
    problems = {}
    if seen.template:
        for kind, chat in KINDS.items():
            try:
                seen.chat(chat)
            except ModelError as error:
                problems[kind] = str(error)[:500]
    return {
        "template": bool(seen.template),
        "speakers": all(
            seen.tokenizer.token_to_id(f"<|{speaker}|>") is not None for speaker in SPEAKERS
        ),
        "problems": problems,
    }
