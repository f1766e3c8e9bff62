"""Chats as lists of messages, and the kinds of them that templates are known to refuse.

No torch here: a web process looks at a dataset's chats before a run is queued.
"""

import itertools
import json
from collections.abc import Sequence
from typing import Any

JSON = dict[str, Any]


def messages(text: str) -> list[JSON] | None:
    """The messages of a text that is a list of messages, or an object that holds one."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(said, dict):
        said = said.get("messages")
    if not isinstance(said, list) or not said:
        return None
    for one in said:
        if not isinstance(one, dict) or not isinstance(one.get("role"), str):
            return None
        if not isinstance(one.get("content"), str):
            return None
    return said


def _said(*roles: str) -> list[JSON]:
    return [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]


#: An example of each kind; a chat may be of several.
KINDS: dict[str, list[JSON]] = {
    "turns": _said("user", "assistant", "user", "assistant"),
    "system": _said("system", "user", "assistant"),
    "begins": _said("assistant", "user", "assistant"),
    "repeats": _said("user", "user", "assistant"),
    "others": _said("user", "tool", "assistant"),
}
WORDS = {
    "turns": "an answer follows a question",
    "system": "a system message comes first",
    "begins": "the assistant speaks first",
    "repeats": "somebody speaks twice in a row",
    "others": "somebody else speaks than system, user and assistant",
}


def kinds(chat: Sequence[JSON]) -> set[str]:
    """Of which of KINDS a chat is."""
    roles = [str(one["role"]) for one in chat]
    heard = [role for role in roles if role != "system"]
    found = {"turns"} if "assistant" in roles else set()
    if "system" in roles:
        found.add("system")
    if heard and heard[0] == "assistant":
        found.add("begins")
    if any(one == two for one, two in itertools.pairwise(heard)):
        found.add("repeats")
    if set(roles) - {"system", "user", "assistant"}:
        found.add("others")
    return found
