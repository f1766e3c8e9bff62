"""Messages of a chat as many programs write them, as the engine's chats are: a JSON list of
`{"role", "content"}`, contents being texts.

Roles are called otherwise by ShareGPT (`from`: `human`, `gpt`); contents are lists of parts with
OpenAI (`{"type": "text", "text"}`), LLaMA-Factory (`{"type": "text", "value"}`) and Bedrock
(`{"text"}`). A call of a tool is what an assistant would have to write, so it becomes its content,
as JSON.
"""

import json
import re
from typing import Any

from projects.ingest.formats import BadRow

JSON = dict[str, Any]

ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "function_call"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), "tool"),
}  # fmt: skip
TURNS = re.compile(r"\n\n(Human|Assistant): ?")


class NotText(BadRow):
    """A chat holds what is no text: pictures, sounds, files."""

    code = "not_text"


def is_chat(value: Any) -> bool:
    """Whether it looks like a list of messages."""
    return isinstance(value, list) and bool(value) and all(map(_is_message, value[:3]))


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("role", value.get("from")), str)


def messages(value: Any, *, system: Any = None) -> list[JSON]:
    """Of a list of messages, with what a system says before them. Raises BadRow."""
    if not isinstance(value, list) or not value:
        raise BadRow("has no list of messages")
    found = [message(one) for one in value]
    said = content(system) if system else ""
    if said and found[0]["role"] != "system":
        found.insert(0, {"role": "system", "content": said})
    return found


def message(value: Any) -> JSON:
    """Raises BadRow."""
    if not _is_message(value):
        raise BadRow("has a message without a role")
    role = str(value.get("role", value.get("from"))).strip().lower()
    said = content(value["content"] if "content" in value else value.get("value"))
    calls = value.get("tool_calls") or value.get("function_call")
    if calls:
        called = json.dumps(calls, ensure_ascii=False)
        said = f"{said}\n{called}" if said else called
    return {"role": ROLES.get(role, role), "content": said}


def content(value: Any) -> str:
    """The text of a message's content. Raises BadRow."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise BadRow(f"has a message whose content is {json.dumps(value)[:40]}")
    return "\n".join(_part(one) for one in value)


def _part(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise BadRow("has a content that is neither a text nor a list of parts")
    kind = value.get("type")
    if kind in (None, "text", "input_text", "output_text"):
        text = value.get("text", value.get("value"))
        if isinstance(text, str):
            return text
    for name in ("toolUse", "toolResult", "cachePoint", "guardContent"):  # Bedrock's
        if name in value:
            return "" if name == "cachePoint" else json.dumps(value[name], ensure_ascii=False)
    if kind in ("tool_use", "tool_result"):  # Anthropic's
        return json.dumps(value, ensure_ascii=False)
    if kind in ("reasoning", "thinking", "redacted_thinking") or "reasoningContent" in value:
        return ""
    what = kind if isinstance(kind, str) else next(iter(value), "nothing")
    raise NotText(f"holds a part of the kind {what[:40]!r}, which is no text")


def turns(text: str) -> list[JSON] | None:
    """The messages of a dialogue as one text, as Anthropic's are: `\\n\\nHuman: ...`."""
    pieces = TURNS.split(text)
    if len(pieces) < 3 or pieces[0].strip():
        return None
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[who], "content": said.strip()}
        for who, said in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def written(chat: list[JSON]) -> str:
    """As it is stored."""
    return json.dumps(chat, ensure_ascii=False)
