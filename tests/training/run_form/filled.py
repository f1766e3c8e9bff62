"""The form of a run as a browser would send it."""

import re
from html import unescape
from typing import Any

from django.test import Client
from django.urls import reverse


def url() -> str:
    return reverse("training:run_new", args=["intents"])


def inputs(page: Any) -> dict[str, Any]:
    """What a browser would send of the page's form, as it stands."""
    html = page.content.decode()
    sent: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", html):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        can_be_off = 'type="radio"' in tag or 'type="checkbox"' in tag
        if not name or (can_be_off and " checked" not in tag):
            continue
        text = unescape(value[1]) if value else ""
        if name[1] in ("teachers", "exports"):
            sent.setdefault(name[1], []).append(text)
        else:
            sent[name[1]] = text
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', html, re.S):
        chosen = re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)', options)
        first = re.search(r'<option(?: value="([^"]*)")?>([^<]*)', options)
        one = chosen or first
        if one:
            sent[name] = one[1] or one[2]
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', html, re.S):
        sent[name] = unescape(text)
    sent.pop("csrfmiddlewaretoken", None)
    return sent


def after(client: Client, sent: dict[str, Any], **changes: str) -> dict[str, Any]:
    """The form as it stands after these changes and their action."""
    return inputs(client.post(url(), sent | {"action": "refresh"} | changes))
