"""Requests are JSON (a body), made without asking anybody; the cache knows them by its digest."""

from typing import Any, Protocol

from training.answering.endpoint import Endpoint
from training.answering.questions import Prompt, Question
from training.answering.replies import Reply

Body = dict[str, Any]


class Requests(Protocol):
    """How one API is asked."""

    endpoint: Endpoint

    @property
    def path(self) -> str:
        """Of the requests, below the base URL."""

    def body(self, prompt: Prompt, question: Question) -> Body:
        """The exact request."""

    @property
    def can_score(self) -> bool:
        """Whether it tells how likely a given continuation is."""

    def score_body(self, prompt: Prompt, question: Question, label: str) -> Body:
        """A request that has a label read as the prompt's continuation."""

    def score(self, body: Body, label: str, reply: Reply) -> float:
        """The logarithm of the label's probability. Raises Fault."""

    def texts(self, body: Body) -> list[str]:
        """All that a request makes the service read."""

    def most_output(self, body: Body) -> int:
        """Tokens that an answer has at most."""


class Client(Requests, Protocol):
    def send(self, body: Body, *, name: str = "") -> Reply:
        """Ask once; used by several threads. `name` is the same for each try of one request, for
        services that then charge once. Raises Fault."""

    def close(self) -> None: ...
