"""Messages to other programs, as Standard Webhooks says (standardwebhooks.com): `webhook-id`,
`webhook-timestamp`, and `webhook-signature`, the HMAC-SHA256 of `id.timestamp.body` under each of
the secrets that hold. Addresses that people give are looked at when they are saved and when they
are asked (outgoing.py, outgoing_http.py).
"""

import base64
import hashlib
import hmac
import secrets as chance
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distillhub.lib import outgoing
from distillhub.lib.later import Later

outgoing_http = Later("distillhub.lib.outgoing_http")
httpx2 = Later("httpx2")

SECONDS = 15.0  # for an answer
MOST_BYTES = 64 << 10  # of an answer
PREFIX = "whsec_"
GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `error` is a sentence without any address, which may be a secret by itself;
    empty where the message was taken."""

    status: int | None  # None: nothing came back
    error: str
    milliseconds: int
    text: str = ""

    @property
    def taken(self) -> bool:
        return not self.error

    @property
    def gone(self) -> bool:
        """The receiver says that it takes nothing any more."""
        return self.status == GONE


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


def headers(
    secrets: Sequence[str], *, message_id: str, body: bytes, now: float | None = None
) -> dict[str, str]:
    """With a signature under each secret: a receiver that knows one of them is content."""
    timestamp = int(time.time() if now is None else now)
    signed = [
        signature(one, message_id=message_id, timestamp=timestamp, body=body) for one in secrets
    ]
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signed),
    }


def post(url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
    """Never raises for what a receiver does."""
    began = time.monotonic()

    def untaken(error: str) -> Answer:
        return Answer(None, error, round((time.monotonic() - began) * 1000))

    try:
        outgoing.check(url, query=True)
        with outgoing_http.client(seconds=SECONDS, most_bytes=MOST_BYTES) as client:
            answer = client.post(url, content=content, headers=headers)
    except outgoing.Refused as refused:
        return untaken(refused.detail)
    except outgoing_http.Refused as refused:
        return untaken(str(refused))
    except httpx2.TimeoutException:
        return untaken(f"No answer within {SECONDS:.0f} seconds.")
    except httpx2.HTTPError as error:
        return untaken(f"It could not be reached ({type(error).__name__}).")
    said = ""
    if answer.status_code == GONE:
        said = "It answered 410: this address takes no more messages."
    elif answer.is_redirect:
        said = f"It answered {answer.status_code}, which leads elsewhere; that is not followed."
    elif not answer.is_success:
        said = f"It answered {answer.status_code}."
    took = round((time.monotonic() - began) * 1000)
    return Answer(answer.status_code, said, took, answer.text)
