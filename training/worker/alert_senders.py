"""How a message reaches a channel: one function for each kind of channel.

Webhooks are signed as Standard Webhooks says (standardwebhooks.com): `webhook-id`, `webhook-
timestamp`, and `webhook-signature`, the HMAC-SHA256 of `id.timestamp.body`. Addresses that people
give are looked at when they are saved and when they are asked (distillhub/lib/outgoing_http.py).
"""

import base64
import hashlib
import hmac
import json
import secrets as chance
import time
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import mail
from django.utils import timezone

from distillhub.lib import outgoing, secrets
from distillhub.lib.later import Later
from training.models import AlertChannel, AlertMessage

outgoing_http = Later("distillhub.lib.outgoing_http")
httpx2 = Later("httpx2")

JSON = dict[str, Any]

SECONDS = 15.0  # for an answer
MOST_BYTES = 64 << 10  # of an answer
PREFIX = "whsec_"
GONE = 410
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


def make_secret() -> str:
    return PREFIX + base64.b64encode(chance.token_bytes(32)).decode()


def secret_bytes(secret: str) -> bytes:
    """Raises ValueError for what is no secret of Standard Webhooks."""
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        found = b""
    if not secret.startswith(PREFIX) or not 24 <= len(found) <= 64:
        raise ValueError("A secret is whsec_ and 24 to 64 bytes in base64.")
    return found


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


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
    subject = f"[{str(body['severity']).capitalize()}] {body['title']}"
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
    kind = "test" if body["kind"] == "test" else f"incident.{body['kind']}"
    told = {"type": kind, "timestamp": body["at"], "data": body}
    content = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    url, secret = _opened(message.channel)
    message_id, now = f"msg_{message.pk}", int(time.time())
    signed = signature(secret, message_id=message_id, timestamp=now, body=content)
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": signed,
    }
    _post(url, content, headers)


def _slack(message: AlertMessage) -> None:
    content = json.dumps(slack(message.body), ensure_ascii=False).encode()
    url, _ = _opened(message.channel)
    _post(url, content, {"content-type": "application/json"})


def slack(body: Mapping[str, Any]) -> JSON:
    """As Slack's incoming webhooks take it, and Mattermost's and others' that follow them."""
    changes = list(body.get("changes") or [body])
    blocks: list[JSON] = []
    for change in changes[:10]:
        link = f"\n<{change['url']}|Open the incident>" if change.get("url") else ""
        text = f"*{escaped(change['title'])}*\n{escaped(change['sentence'])}"[:2800] + link
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    left_out = len(changes) - len(blocks) + int(body.get("left_out") or 0)
    if left_out:
        more = f"And {left_out} more changes."
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": more}]})
    summary = f"{str(body['severity']).capitalize()}: {body['title']}"
    colour = COLOURS.get(str(body["severity"]), COLOURS["notice"])
    return {"text": escaped(summary), "attachments": [{"color": colour, "blocks": blocks}]}


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
    try:
        outgoing.check(url, query=True)
        with outgoing_http.client(seconds=SECONDS, most_bytes=MOST_BYTES) as client:
            answer = client.post(url, content=content, headers=headers)
    except outgoing.Refused as refused:
        raise Refused(refused.detail) from None
    except outgoing_http.Refused as refused:
        raise Refused(str(refused)) from None
    except httpx2.TimeoutException:
        raise Refused(f"No answer within {SECONDS:.0f} seconds.") from None
    except httpx2.HTTPError as error:
        raise Refused(f"It could not be reached ({type(error).__name__}).") from None
    if answer.is_success:
        return
    if answer.status_code == GONE:
        raise Refused("It answered 410: this address takes no more messages.", for_good=True)
    if answer.is_redirect:
        raise Refused(
            f"It answered {answer.status_code}, which leads elsewhere; that is not followed."
        )
    raise Refused(f"It answered {answer.status_code}.")


SENDERS: Mapping[str, Callable[[AlertMessage], None]] = {
    AlertChannel.Kind.EMAIL: _email,
    AlertChannel.Kind.WEBHOOK: _webhook,
    AlertChannel.Kind.SLACK: _slack,
}
