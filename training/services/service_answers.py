"""Teachers behind APIs asked about new inputs: at once, within a budget that was said. What they
answer is kept as always, so that the same question is not paid for twice."""

import time
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from distillhub.lib import secrets
from distillhub.lib.errors import Conflict, DomainError, Invalid
from distillhub.lib.leases import GivenBack
from projects.models import ModelVersion
from training.answering.asker import Asker
from training.answering.faults import Stopped
from training.answering.questions import Answer, Choice, Prompt, Question, Text

JSON = dict[str, Any]
MOST_ASKED = 20  # inputs of one request
MOST_SECONDS = 45.0
TEXTS = "text-classification"


class NotAnswered(Conflict):
    """The service gave no answer, or may not be asked."""

    code = "service"


class TookTooLong(DomainError):
    status, code = 504, "timed_out"


def answer(
    *,
    version: ModelVersion,
    texts: Sequence[str],
    labels: Sequence[str],
    budget: Decimal,
    tokens: int | None = None,
) -> list[JSON]:
    """Of each text {"label", "probabilities"}, or {"error"}. `labels` are what may be answered,
    where labels are asked for; nothing is asked that could pass the budget.

    Raises Invalid, NotAnswered and TookTooLong.
    """
    if len(texts) > MOST_ASKED:
        raise Invalid(f"A service is asked about at most {MOST_ASKED} inputs at once.")
    question: Question = Text(max_tokens=tokens)
    if version.model.task == TEXTS:
        if not labels:
            raise Invalid(
                f"{version.reference} must be told which labels may be answered.",
                fields={"labels": ["Say which labels there are."]},
            )
        question = Choice(labels=tuple(labels))
    until = time.monotonic() + MOST_SECONDS
    asker = Asker(
        version,
        question,
        purpose=f"playground {uuid.uuid4().hex}",
        budget=budget,
        stopping=lambda: time.monotonic() > until,
    )
    found: dict[Any, Answer] = {}
    try:
        for one in asker.answers(Prompt(at, text) for at, text in enumerate(texts)):
            found[one.key] = one
    except Stopped as stopped:
        if not found:
            raise NotAnswered(stopped.sentence) from None
    except GivenBack:
        raise TookTooLong(
            f"{version.reference} gave no answer within {MOST_SECONDS:.0f} seconds."
        ) from None
    except secrets.Unreadable:
        raise NotAnswered(
            f"The key of {version.reference} cannot be read any more. Give it again."
        ) from None
    told = [_told(found.get(at), labels) for at in range(len(texts))]
    if all("error" in one for one in told):
        raise NotAnswered(f"{version.reference}: {told[0]['error']}")
    return told


def _told(one: Answer | None, labels: Sequence[str]) -> JSON:
    if one is None:
        return {"error": "It was not asked: the budget would have been passed."}
    if not one.is_answered:
        return {"error": one.detail or f"No answer: {one.reason}."}
    if one.label is None:
        return {"label": one.text, "text": one.text, "ended": True, "probabilities": {}}
    sure = dict(zip(labels, one.probabilities or (), strict=False))
    order = sorted(sure, key=lambda label: -sure[label])
    told = {label: float(f"{sure[label]:.6g}") for label in order}
    return {"label": one.label, "probabilities": told}
