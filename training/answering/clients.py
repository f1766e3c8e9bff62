"""The client of an endpoint."""

import importlib
from typing import Any, Protocol

from training.answering.endpoint import BEDROCK, Endpoint
from training.answering.faults import Fault
from training.answering.questions import Prompt, Question
from training.answering.replies import Reply

Body = dict[str, Any]


class Client(Protocol):
    """Knows one API. A request is JSON (a body), made without asking anybody."""

    endpoint: Endpoint

    @property
    def path(self) -> str:
        """Of the requests, below the base URL."""

    def body(self, prompt: Prompt, question: Question) -> Body: ...

    @property
    def can_score(self) -> bool:
        """Whether it tells how likely a given continuation is."""

    def score_body(self, prompt: Prompt, question: Question, label: str) -> Body: ...

    def score(self, body: Body, label: str, reply: Reply) -> float:
        """The logarithm of the label's probability. Raises Fault."""

    def texts(self, body: Body) -> list[str]:
        """All that a request makes the service read."""

    def most_output(self, body: Body) -> int:
        """Tokens that an answer has at most."""

    def send(self, body: Body, *, name: str = "") -> Reply:
        """Ask once; used by several threads. Raises Fault."""

    def close(self) -> None: ...


def connect(endpoint: Endpoint, key: str) -> Client:
    """Raises Fault where a library for it is not installed."""
    # Imported here: a worker that asks nobody need not hold a hundred modules of clients.
    if endpoint.api == BEDROCK:
        try:
            importlib.import_module("boto3")
        except ImportError:
            sentence = "Bedrock needs the extra bedrock: pip install 'distillhub[bedrock]'."
            raise Fault("unreachable", sentence, fatal=True) from None
        bedrock = importlib.import_module("training.answering.bedrock")
        return bedrock.BedrockClient(endpoint, key)  # type: ignore[no-any-return]
    spoken = importlib.import_module("training.answering.openai_api")
    return spoken.OpenAIClient(endpoint, key)  # type: ignore[no-any-return]
