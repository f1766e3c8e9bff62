"""What a project's webhooks and its channels of alerts share: each is asked for with a name, an
address, a secret and whether it is on; every fault stands at its field."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction

from distillhub.lib import outgoing, standard_webhooks
from distillhub.lib.errors import Conflict, Invalid

Faults = dict[str, list[str]]

NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


def unknown(asked: Any, *, noun: str, known: Sequence[str]) -> Faults:
    """Keys that a receiver does not know. Raises Invalid for what is no object."""
    if not isinstance(asked, Mapping):
        raise Invalid(f"A {noun} is an object.")
    return {
        name: [f"There is no such key; a {noun} knows {', '.join(known)}."]
        for name in asked
        if name not in known
    }


def columns(asked: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """Its name and whether it is on, of those that are asked for."""
    found: dict[str, Any] = {}
    if "name" in asked:
        name = asked["name"].strip() if isinstance(asked["name"], str) else ""
        if not NAME.fullmatch(name):
            faults["name"] = ["A name has 1 to 100 characters on one line."]
        found["name"] = name
    if "is_on" in asked:
        if not isinstance(asked["is_on"], bool):
            faults["is_on"] = ["It is true or false."]
        found["is_on"] = asked["is_on"]
    return found


def url(given: Any, faults: Faults) -> str:
    if not isinstance(given, str) or not given.strip():
        faults["url"] = ["Give the address that messages are posted to."]
        return ""
    try:
        outgoing.check(given.strip(), query=True)
    except outgoing.Refused as refused:
        faults["url"] = [refused.detail]
    return given.strip()


def secret(given: Any, faults: Faults) -> str:
    """The one that is given, else a new one."""
    found = str(given or standard_webhooks.make_secret())
    try:
        standard_webhooks.secret_bytes(found)
    except ValueError as error:
        faults["secret"] = [str(error)]
    return found


def host(address: str, *, longest: int) -> str:
    """What is shown of an address."""
    return urlsplit(address).netloc[:longest]


@contextmanager
def once(noun: str, name: str) -> Iterator[None]:
    """A name that another one of the project has becomes a Conflict."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        sentence = f"There is a {noun} called {name} already."
        raise Conflict(sentence, code="name_taken", fields={"name": [sentence]}) from None
