"""How a message reaches a channel: one function for each kind of channel. Webhooks are signed as
Standard Webhooks says (distillhub/lib/standard_webhooks.py).
"""

import json
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import mail
from django.utils import timezone

from distillhub.lib import secrets, standard_webhooks
from training.models import AlertChannel, AlertMessage

JSON = dict[str, Any]

NO_SERVER = "No mail server is known, so no e-mail is sent. An administrator names one: EMAIL_URL."
COLOURS = {"critical": "#d63939", "serious": "#f76707", "notice": "#4299e1"}


class Refused(Exception):
    """It was not sent; `for_good`, trying again would meet the same."""

    def __init__(self, sentence: str, *, for_good: bool = False) -> None:
        super().__init__(sentence)
        self.for_good = for_good


def send(message: AlertMessage) -> None:
    """Raises Refused."""
    SENDERS[message.channel.kind](message)


def seal(*, url: str, secret: str) -> str:
    return secrets.seal(json.dumps({"url": url, "secret": secret}))


def opened(channel: AlertChannel) -> tuple[str, str]:
    """Address and secret. Raises secrets.Unreadable."""
    found = json.loads(secrets.unseal(channel.sealed))
    return found["url"], found["secret"]


# E-mail ------------------------------------------------------------------------------------------


def addresses(channel: AlertChannel) -> list[str]:
    return [one.strip() for one in channel.place.split(",") if one.strip()]


def _email(message: AlertMessage) -> None:
    if not settings.EMAIL_URL:
        raise Refused(NO_SERVER, for_good=True)
    body = message.body
    host = urlsplit(settings.SITE_URL).hostname or "localhost"
    headers = {
        # The same id however often it is sent: mail programs show it once.
        "Message-ID": f"<alert-{message.pk}@{host}>",
        "Auto-Submitted": "auto-generated",
        "Date": format_datetime(timezone.now()),
    }
    if message.incident_id is not None:
        headers["References"] = f"<incident-{message.incident_id}@{host}>"
    subject = str(body["title"])
    if not _is_event(body):
        subject = f"[{str(body['severity']).capitalize()}] {subject}"
    letter = mail.EmailMessage(
        subject=" ".join(subject.split())[:200],
        body=plain(body),
        to=addresses(message.channel),
        headers=headers,
    )
    try:
        with mail.get_connection() as connection:
            letter.connection = connection
            letter.send()
    except OSError as error:  # smtplib's are, too
        raise Refused(f"The mail server did not take it: {_said(error)}") from None


def plain(body: Mapping[str, Any]) -> str:
    """What a person reads, in lines."""
    changes = body.get("changes") or [body]
    lines: list[str] = []
    for change in changes:
        lines += [str(change["title"]), str(change["sentence"])]
        lines += [str(change["url"])] if change.get("url") else []
        lines.append("")
    if body.get("left_out"):
        lines.append(f"And {body['left_out']} more changes.")
    return "\n".join(lines)


def _said(error: OSError) -> str:
    """Without addresses and passwords: what kind of fault, and its number."""
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__}{f' {code}' if code else ''}."


# Webhooks ----------------------------------------------------------------------------------------


def _webhook(message: AlertMessage) -> None:
    body = message.body
    is_named = body["kind"] == "test" or _is_event(body)
    kind = body["kind"] if is_named else f"incident.{body['kind']}"
    told = {"type": kind, "timestamp": body["at"], "data": body}
    content = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    url, secret = _opened(message.channel)
    signed = standard_webhooks.headers([secret], message_id=f"msg_{message.pk}", body=content)
    _post(url, content, signed)


def _slack(message: AlertMessage) -> None:
    content = json.dumps(slack(message.body), ensure_ascii=False).encode()
    url, _ = _opened(message.channel)
    _post(url, content, {"content-type": "application/json"})


def slack(body: Mapping[str, Any]) -> JSON:
    """As Slack's incoming webhooks take it, and Mattermost's and others' that follow them."""
    changes = list(body.get("changes") or [body])
    blocks: list[JSON] = []
    for change in changes[:10]:
        what = "Open" if _is_event(change) else "Open the incident"
        link = f"\n<{change['url']}|{what}>" if change.get("url") else ""
        text = f"*{escaped(change['title'])}*\n{escaped(change['sentence'])}"[:2800] + link
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    left_out = len(changes) - len(blocks) + int(body.get("left_out") or 0)
    if left_out:
        more = f"And {left_out} more changes."
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": more}]})
    summary = str(body["title"])
    if not _is_event(body):
        summary = f"{str(body['severity']).capitalize()}: {summary}"
    colour = COLOURS.get(str(body["severity"]), COLOURS["notice"])
    return {"text": escaped(summary), "attachments": [{"color": colour, "blocks": blocks}]}


def _is_event(body: Mapping[str, Any]) -> bool:
    """Whether it tells of something else than an incident (fanning.py), or of a test of that."""
    return "." in str(body["kind"])


def escaped(text: Any) -> str:
    """Slack's three: nobody is mentioned, and nothing links, by what people typed."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _opened(channel: AlertChannel) -> tuple[str, str]:
    try:
        return opened(channel)
    except secrets.Unreadable as error:
        raise Refused(error.detail) from None


def _post(url: str, content: bytes, headers: Mapping[str, str]) -> None:
    """Raises Refused, in which no address stands: a Slack webhook's is its secret."""
    answer = standard_webhooks.post(url, content, headers)
    if not answer.taken:
        raise Refused(answer.error, for_good=answer.gone)


SENDERS: Mapping[str, Callable[[AlertMessage], None]] = {
    AlertChannel.Kind.EMAIL: _email,
    AlertChannel.Kind.WEBHOOK: _webhook,
    AlertChannel.Kind.SLACK: _slack,
}
