"""Services that speak as OpenAI's: chat and completions. vLLM, Ollama, TGI, Azure OpenAI, Bedrock's
own such endpoint, `transformers serve` and most others."""

import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from distillhub.lib import outgoing_http, secrets
from training.answering import replies
from training.answering.endpoint import Endpoint
from training.answering.faults import Fault
from training.answering.openai_requests import OpenAIRequests
from training.answering.replies import Reply, Step
from training.answering.requests import Body

LONGEST_WAIT = 900.0  # seconds that a service may ask us to wait
QUOTA = re.compile(
    r"insufficient_quota|billing|quota[_ ]exceeded|your current quota|tokens per day", re.I
)
FILTERED = re.compile(r"content[_ ]?(filter|policy|management)|responsible ?ai|moderation", re.I)


class OpenAIClient(OpenAIRequests):
    """Sends them."""

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        super().__init__(endpoint)
        self._key = key
        self._http = outgoing_http.client(
            seconds=endpoint.timeout, connections=endpoint.concurrency
        )
        # Said in so many words, so that nothing of the environment is sent along: neither another
        # key nor an organization.
        self._headers: dict[str, Any] = {
            "OpenAI-Organization": openai.omit,
            "OpenAI-Project": openai.omit,
            "Authorization": openai.omit,
        }
        if key:
            bearer = endpoint.key_header.lower() == "authorization"
            self._headers[endpoint.key_header] = f"Bearer {key}" if bearer else key
        self._client = openai.OpenAI(
            api_key=key or "none",
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=endpoint.base_url,
            http_client=self._http,
            max_retries=0,
            timeout=endpoint.timeout,
            default_headers=self._headers | dict(endpoint.headers),
        )

    def close(self) -> None:
        self._http.close()

    def send(self, body: Body, *, name: str = "") -> Reply:
        """Ask once. `name` is the same for each try of one request, for services that then charge
        once. Raises Fault."""
        headers = self._headers | ({"Idempotency-Key": name} if name else {})
        try:
            answer: httpx2.Response = self._client.post(
                f"/{self.path}",
                body=body,
                cast_to=httpx2.Response,
                options={"headers": headers},
            )
        except openai.OpenAIError as error:
            raise self._clean(_fault(error)) from None
        try:
            said = replies.parsed(answer.content)
        except (ValueError, RecursionError):
            raise Fault("cut", "The answer is no whole JSON.", again=True, paid=True) from None
        return self._clean_reply(said)

    def _clean_reply(self, said: Any) -> Reply:
        if isinstance(said, dict) and "choices" not in said and said.get("error"):
            raise self._clean(_of_error(said))  # some gateways answer 200, and mean another
        try:
            return _chat_reply(said) if self.is_chat else _completion_reply(said)
        except Fault as fault:
            raise self._clean(fault) from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise Fault(
                "cut", "The answer is not of the form that this API has.", again=True, paid=True
            ) from None

    def _clean(self, fault: Fault) -> Fault:
        """Services repeat what they were sent, the key as well."""
        fault.sentence = secrets.without(self._key, fault.sentence)[:1000]
        return fault


def _usage(said: Mapping[str, Any]) -> dict[str, Any]:
    usage = said.get("usage") or {}
    return {
        "input_tokens": replies.tokens(usage.get("prompt_tokens")),
        "output_tokens": replies.tokens(usage.get("completion_tokens")),
        "counted": "prompt_tokens" in usage,
        "model": str(said.get("model") or "")[:200],
    }


def _chat_reply(said: Mapping[str, Any]) -> Reply:
    choice = said["choices"][0]
    message = choice["message"]
    text = message.get("content") or ""
    if isinstance(text, list):  # of parts
        text = "".join(str(part.get("text", "")) for part in text)
    finish = _finish(choice.get("finish_reason"))
    if message.get("refusal"):
        text, finish = str(message["refusal"]), "refused"
    steps = tuple(
        Step(
            str(one["token"]),
            float(one["logprob"]),
            tuple(
                (str(other["token"]), float(other["logprob"]))
                for other in one.get("top_logprobs") or ()
            ),
        )
        for one in ((choice.get("logprobs") or {}).get("content") or ())
    )
    return Reply(text=str(text), finish=finish, steps=steps, **_usage(said))


def _completion_reply(said: Mapping[str, Any]) -> Reply:
    choice = said["choices"][0]
    told = choice.get("logprobs") or {}
    tokens = told.get("tokens") or ()
    tops = told.get("top_logprobs") or [None] * len(tokens)
    offsets = told.get("text_offset") or [None] * len(tokens)
    steps = tuple(
        Step(
            str(token),
            0.0 if logprob is None else float(logprob),
            tuple((str(name), float(one)) for name, one in (top or {}).items() if one is not None),
            offset,
        )
        for token, logprob, top, offset in zip(
            tokens, told.get("token_logprobs") or (), tops, offsets, strict=True
        )
    )
    finish = _finish(choice.get("finish_reason"))
    return Reply(text=str(choice.get("text") or ""), finish=finish, steps=steps, **_usage(said))


def _finish(said: Any) -> str:
    return {"length": "length", "content_filter": "filtered"}.get(str(said), "stop")


# What went wrong --------------------------------------------------------------------------------


def _fault(error: openai.OpenAIError) -> Fault:
    if isinstance(error, openai.APIStatusError):
        return of_status(error.response.status_code, error.response.headers, error.response.text)
    cause = error.__cause__
    if isinstance(cause, Exception):
        return of_connection(cause)
    return Fault("unreachable", f"The service could not be asked: {error}"[:500], again=True)


def _of_error(said: Mapping[str, Any]) -> Fault:
    error = said["error"]
    code = str(error.get("code")) if isinstance(error, dict) else ""
    status = int(code) if re.fullmatch(r"[45][0-9][0-9]", code, re.ASCII) else 500
    return of_status(status, {}, json.dumps(said))


def of_connection(cause: Exception) -> Fault:
    """Of what httpx2 raised."""
    if isinstance(cause, outgoing_http.Refused):
        return Fault("address_refused", str(cause), fatal=True)
    if isinstance(cause, outgoing_http.TooLong):
        return Fault("too_long", str(cause), paid=True)
    if isinstance(cause, (httpx2.ConnectTimeout, httpx2.PoolTimeout)):
        return Fault("timed_out", "It could not be reached in time.", again=True)
    if isinstance(cause, httpx2.TimeoutException):
        return Fault("timed_out", "The answer was not whole in time.", again=True, paid=True)
    if isinstance(cause, httpx2.ConnectError):
        return Fault("unreachable", f"It could not be reached: {cause}"[:300], again=True)
    if isinstance(cause, httpx2.TransportError):
        return Fault("cut", f"The connection broke: {cause}"[:300], again=True, paid=True)
    return Fault("cut", f"The answer could not be read: {cause}"[:300], again=True, paid=True)


def of_status(status: int, headers: Mapping[str, str], text: str) -> Fault:
    """Of an answer that is none."""
    said = _said(text)
    told = f" It says: {said}" if said else ""
    if 300 <= status < 400:
        return Fault("redirected", f"It answered {status}, to be asked elsewhere.", fatal=True)
    if status == 429:
        if QUOTA.search(text):
            return Fault("quota", f"The account has no quota left.{told}", fatal=True)
        after = retry_after(headers)
        return Fault("rate_limited", f"It asks for fewer requests.{told}", again=True, after=after)
    if status in {408, 409, 425} or status >= 500:
        return Fault(
            "server_error",
            f"It answered {status}.{told}",
            again=True,
            after=retry_after(headers),
        )
    if status == 402:
        return Fault("quota", f"It wants to be paid first.{told}", fatal=True)
    if status in {401, 403}:
        return Fault("not_allowed", f"It does not accept the key.{told}", fatal=True)
    if status in {404, 405, 410}:
        return Fault(
            "no_model", f"It answered {status}: no such model or address.{told}", fatal=True
        )
    if FILTERED.search(text):
        return Fault("filtered", f"A content filter refused the prompt.{told}")
    return Fault("bad_request", f"It answered {status}.{told}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asks to wait: `Retry-After` (RFC 9110, 10.2.3) in seconds or as a
    date, and its elder `retry-after-ms`."""
    try:
        if "retry-after-ms" in headers:
            return _bounded(float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "").strip()
        if not value:
            return None
        if value.replace(".", "", 1).isdigit():
            return _bounded(float(value))
        until = parsedate_to_datetime(value)
        return _bounded(until.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None


def _said(text: str) -> str:
    """The service's own sentence, short."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(re.sub(r"<[^>]{0,200}>", " ", text[:2000]).split())[:200]
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("code") or ""
    return " ".join(str(error).split())[:300]
