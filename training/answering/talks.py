"""One prompt's way to its answer: the requests that it takes, and what their replies mean.

A talk is a generator: it yields the bodies of requests that may be sent side by side, is sent their
replies, and returns fields of the Answer. What a request came to instead is thrown in as a Fault.
"""

from collections.abc import Generator
from typing import Any

from training.answering import label_probabilities
from training.answering.faults import Fault
from training.answering.questions import MOST_SCORED, Choice, Prompt, Question
from training.answering.replies import Reply
from training.answering.requests import Body, Client

Talk = Generator[list[Body], list[Reply], dict[str, Any]]


def begin(client: Client, prompt: Prompt, question: Question) -> Talk:
    (reply,) = yield [client.body(prompt, question)]
    _check(reply)
    said = {"text": reply.text} | _read(question, reply)
    if (
        isinstance(question, Choice)
        and question.probabilities
        and said["probabilities"] is None
        and client.can_score
        and len(question.labels) <= MOST_SCORED
    ):
        bodies = [client.score_body(prompt, question, label) for label in question.labels]
        replies = yield bodies
        scores = [client.score(*one) for one in zip(bodies, question.labels, replies, strict=True)]
        told = label_probabilities.scored(scores)
        if told.probabilities is not None:
            best = max(range(len(scores)), key=scores.__getitem__)
            said |= {
                "label": question.labels[best],
                "probabilities": told.probabilities,
                "covered": told.covered,
                "method": "scored",
            }
    return said


def _read(question: Question, reply: Reply) -> dict[str, Any]:
    try:
        return question.read(reply)
    except Fault as fault:
        if reply.finish != "length":
            raise
        sentence = "max_tokens ended it in its middle."
        raise Fault("unfinished", sentence) from fault


def _check(reply: Reply) -> None:
    """Raises Fault for what is no answer, though it was paid for."""
    if reply.finish == "refused":
        raise Fault("refused", f"The teacher refused: {' '.join(reply.text.split())[:300]}")
    if reply.finish == "filtered":
        raise Fault("filtered", "The service's content filter held the answer back.")
    if not reply.text.strip():
        if reply.finish == "length":
            sentence = "It ended before its first word: max_tokens is too small for what it thinks."
            raise Fault("unfinished", sentence)
        raise Fault("empty", "The answer is empty.")
