"""What the rows of a dataset for text generation are: plain texts, completions, or chats."""

from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from training.engine import data
from training.engine.conversations import messages as messages
from training.engine.errors import DataError, ModelError

JSON = dict[str, Any]
Form = Literal["text", "completion", "chat"]


def form_of(path: Path) -> Form:
    """Plain texts, prompts with completions, or chats: the first text that is not empty says."""
    if "prompt" in pq.ParquetFile(path).schema_arrow.names:
        return "completion"
    for piece in data.column(path, "text"):
        for text in piece:
            if text and text.strip():
                return "chat" if messages(text) is not None else "text"
    return "text"


def has_rationales(path: Path) -> bool:
    """Whether rows say why their answers are right."""
    return "rationale" in pq.ParquetFile(path).schema_arrow.names


def read(text: str | None, row: int) -> list[JSON]:
    """The messages of a row. Raises DataError."""
    found = messages(text or "")
    if found is None:
        raise DataError(
            f"Row {row} is no chat, and the rows before it are: write a list of messages, each "
            '{"role": "user", "content": "..."}, as JSON.'
        )
    return found


def render(template: str, messages: list[JSON], named: dict[str, str], *, opens: bool) -> str:
    """A conversation as a checkpoint's template writes it, in Jinja's sandbox; `named` are the
    special tokens it may mention. Raises ModelError."""
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415

    try:
        written, _ = render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=opens, **named
        )
    except Exception as error:  # a template raises what its author chose
        raise ModelError(f"The model's chat template refuses a conversation: {error}") from error
    return str(written[0])
