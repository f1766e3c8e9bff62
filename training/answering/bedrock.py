"""Amazon Bedrock's Converse, through boto3, which makes and signs the requests. They leave through
our own client (outgoing_http.py), as all others do."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2
from boto3.session import Session
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from distillhub.lib import outgoing_http, secrets
from training.answering import openai_api, replies
from training.answering.bedrock_requests import BedrockRequests
from training.answering.endpoint import Endpoint
from training.answering.faults import Fault
from training.answering.replies import Reply
from training.answering.requests import Body

FINISHES = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
}


class BedrockClient(BedrockRequests):
    """The key is `ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]`, or an API key of Bedrock."""

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        super().__init__(endpoint)
        self._key = key
        self._http = outgoing_http.client(
            seconds=endpoint.timeout, connections=endpoint.concurrency
        )
        parts = key.split(":")
        signs = len(parts) in {2, 3} and parts[0].startswith(("AKIA", "ASIA"))
        self._bearer = "" if signs else key
        access = parts if signs else ["none", "none"]
        # All is said here, so that nothing of this machine's own account is used.
        session = Session(
            aws_access_key_id=access[0],
            aws_secret_access_key=access[1],
            aws_session_token=access[2] if len(access) == 3 else None,
            region_name=endpoint.region,
        )
        self._client = session.client(
            "bedrock-runtime",
            endpoint_url=endpoint.base_url,
            config=Config(
                signature_version="v4" if signs else UNSIGNED,
                retries={"total_max_attempts": 1, "mode": "standard"},
                max_pool_connections=endpoint.concurrency,
            ),
        )
        self._client.meta.events.register("before-send.bedrock-runtime.*", self._carry)

    def close(self) -> None:
        self._client.close()
        self._http.close()

    def send(self, body: Body, *, name: str = "") -> Reply:
        try:
            said = self._client.converse(**body)
        except ClientError as error:
            told = error.response["ResponseMetadata"]
            message = json.dumps({"message": str(error.response["Error"].get("Message", ""))})
            headers = {str(key).lower(): value for key, value in told["HTTPHeaders"].items()}
            raise self._clean(
                openai_api.of_status(int(told["HTTPStatusCode"]), headers, message)
            ) from None
        except ResponseParserError:
            raise Fault("cut", "The answer is no whole JSON.", again=True, paid=True) from None
        except BotoCoreError as error:
            raise self._clean(Fault("bad_request", f"boto3 refuses it: {error}")) from None
        except httpx2.HTTPError as error:
            raise self._clean(openai_api.of_connection(error)) from None
        return _reply(said)

    def _carry(self, request: AWSPreparedRequest, **later: Any) -> AWSResponse:
        """Send what boto3 has made, instead of boto3."""
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        if self._bearer:
            headers["Authorization"] = f"Bearer {self._bearer}"
        answer = self._http.request(
            request.method, request.url, headers=headers, content=request.body
        )
        content = answer.content
        if answer.status_code == 200:
            with suppress(ValueError, RecursionError):  # botocore tells of what is no JSON
                content = json.dumps(replies.parsed(content)).encode()
        return AWSResponse(request.url, answer.status_code, answer.headers, _Whole(content))

    def _clean(self, fault: Fault) -> Fault:
        fault.sentence = secrets.without(self._key, fault.sentence)[:1000]
        return fault


class _Whole:
    """The content of an answer, as botocore reads one."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        yield self._content


def _reply(said: dict[str, Any]) -> Reply:
    try:
        content = said["output"]["message"]["content"]
        usage = said.get("usage") or {}
        return Reply(
            text="".join(str(part["text"]) for part in content if "text" in part),
            finish=FINISHES.get(str(said.get("stopReason")), "stop"),
            input_tokens=replies.tokens(usage.get("inputTokens")),
            output_tokens=replies.tokens(usage.get("outputTokens")),
            counted="inputTokens" in usage,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        sentence = "The answer is not of the form that Converse has."
        raise Fault("cut", sentence, again=True, paid=True) from None
