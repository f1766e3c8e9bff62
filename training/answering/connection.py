"""Testing a connection: whether a service answers, and what it takes.

Services of one API differ: some tell no probabilities, some hold no answer to a schema, newer
models of OpenAI call their limit otherwise and take no temperature. It is tried once, with requests
of a few tokens, and written into the source as `offers`, so that every later request is right the
first time, and always the same.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from distillhub.lib import leases
from distillhub.lib.leases import GivenBack
from projects.models import ModelVersion
from training.answering.asker import key_of
from training.answering.clients import connect
from training.answering.endpoint import BEDROCK, OPENAI_CHAT, OPENAI_COMPLETIONS, Endpoint
from training.answering.faults import Fault
from training.answering.questions import Choice, Prompt, Question, Structured, Text
from training.answering.replies import Reply
from training.answering.requests import Client

TRIES = 3  # of each request
LONGEST_WAIT = 20.0  # seconds between two of them

HELLO = Prompt("hello", "Is a lemon sour? Answer with one word, yes or no.")
WORDS = Text(max_tokens=16, temperature=0.0)
YES_OR_NO = Choice(labels=("yes", "no"), max_tokens=16)
SHAPE = Structured(
    properties={"answer": {"type": "string", "enum": ["yes", "no"]}}, max_tokens=64, temperature=0.0
)


def examine(version: ModelVersion) -> dict[str, Any]:
    """What goes into the version's source: `offers`, and which model `answers`.

    Raises Fault with why it cannot be asked, GivenBack, and secrets.Unreadable.
    """
    endpoint = replace(Endpoint.of(version.source), offers={})
    key = key_of(version)

    def ask(offers: dict[str, bool], question: Question, scored: str = "") -> Reply:
        client = connect(replace(endpoint, offers=offers), key)
        try:
            return _asked(client, _body(client, question, scored))
        finally:
            client.close()

    offers, reply = _greeted(ask)
    found = dict(offers)
    if endpoint.api in {OPENAI_CHAT, BEDROCK}:
        found["structured"] = _takes(
            lambda: SHAPE.read(ask(offers | {"structured": True}, SHAPE)) is not None
        )
    if endpoint.api in {OPENAI_CHAT, OPENAI_COMPLETIONS}:
        told = _takes(lambda: _tells(ask(offers | {"logprobs": True}, YES_OR_NO)))
        found["logprobs"] = told
    if endpoint.api == OPENAI_COMPLETIONS:
        found["echo"] = _takes(lambda: _reads(ask(offers, YES_OR_NO, scored="yes")))
    return {"offers": found, "answers": reply.model}


def _greeted(ask: Callable[[dict[str, bool], Question], Reply]) -> tuple[dict[str, bool], Reply]:
    """The first word, in the way that this service takes it."""
    offers: dict[str, bool] = {}
    while True:
        try:
            return offers, ask(offers, WORDS)
        except Fault as fault:
            said = fault.sentence
            learned = {
                "max_completion_tokens": "max_tokens" in said,
                "no_temperature": "temperature" in said,
            }
            new = {name: True for name, is_it in learned.items() if is_it and name not in offers}
            if fault.reason != "bad_request" or not new:
                raise
            offers |= new


def _body(client: Client, question: Question, scored: str) -> dict[str, Any]:
    if scored:
        return client.score_body(HELLO, question, scored)
    return client.body(HELLO, question)


def _asked(client: Client, body: dict[str, Any]) -> Reply:
    tries = 0
    while True:
        tries += 1
        try:
            return client.send(body)
        except Fault as fault:
            if not fault.again or tries == TRIES:
                raise
            wait = min(fault.after if fault.after is not None else tries, LONGEST_WAIT)
        if leases.stopping.wait(wait):
            raise GivenBack


def _takes(ask: Callable[[], bool]) -> bool:
    """Whether the service does as it is asked. What it refuses it does not offer; that it cannot be
    asked at all is another matter."""
    try:
        return ask()
    except Fault as fault:
        if fault.reason in {"bad_request", "malformed", "server_error", "no_model", "filtered"}:
            return False
        raise


def _tells(reply: Reply) -> bool:
    return bool(reply.steps) and any(step.top for step in reply.steps)


def _reads(reply: Reply) -> bool:
    """Whether it told the tokens of the prompt itself."""
    return len([step for step in reply.steps if step.offset is not None]) > 2
