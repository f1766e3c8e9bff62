"""What an asking will cost, before anything is asked."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from projects.models import ModelVersion
from training.answering import cache
from training.answering.clients import requests_of
from training.answering.endpoint import Endpoint
from training.answering.questions import Prompt, Question, most_input_tokens
from training.answering.requests import Body, Requests
from training.models import TeacherAnswer

BYTES_A_TOKEN = 3.5  # of prose in the vocabularies in use; a cautious middle
MOST_LOOKED_AT = 2000  # prompts; the rest is taken to be like them
BATCH = 500  # digests looked up at once


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of the requests that are still to be sent; those that were answered before cost nothing."""

    prompts: int
    cached: int
    input_tokens: int
    output_tokens: int
    cost: Decimal  # likely
    most: Decimal  # that it can cost
    seconds: float | None  # at `requests_per_minute`; None where the service sets the pace


def estimate(
    version: ModelVersion, question: Question, prompts: Iterable[Prompt], *, count: int
) -> Estimate:
    """From the first prompts of `count`. Asks nobody but the database."""
    endpoint = Endpoint.of(version.source)
    requests = requests_of(endpoint)
    asked = [
        (requests.body(prompt, question), prompt.sample)
        for prompt in islice(prompts, MOST_LOOKED_AT)
    ]
    return _summed(version, endpoint, requests, question, asked, count)


def _summed(
    version: ModelVersion,
    endpoint: Endpoint,
    requests: Requests,
    question: Question,
    asked: list[tuple[Body, int]],
    count: int,
) -> Estimate:
    address = f"{endpoint.base_url.rstrip('/')}/{requests.path}"
    digests = [cache.digest(address, body, sample) for body, sample in asked]
    known = _answered(version, set(digests))
    taken, said, most = 0, 0, Decimal(0)
    seen: set[str] = set()
    for digest, (body, _) in zip(digests, asked, strict=True):
        if digest in known or digest in seen:
            continue
        seen.add(digest)
        texts = requests.texts(body)
        taken += 8 + round(sum(len(text.encode()) for text in texts) / BYTES_A_TOKEN)
        said += question.likely_tokens(requests.most_output(body))
        most += endpoint.cost(most_input_tokens(texts), requests.most_output(body))
    scale = count / len(asked) if asked else 0.0
    new = round(len(seen) * scale)
    input_tokens, output_tokens = round(taken * scale), round(said * scale)
    pace = endpoint.requests_per_minute
    return Estimate(
        prompts=count,
        cached=count - new,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=endpoint.cost(input_tokens, output_tokens),
        most=most * Decimal(scale),
        seconds=60.0 * new / pace if pace else None,
    )


def _answered(version: ModelVersion, digests: set[str]) -> set[str]:
    mine = TeacherAnswer.objects.filter(
        project=version.model.project_id, status=TeacherAnswer.Status.ANSWERED
    )
    found: set[str] = set()
    ordered = sorted(digests)
    for begin in range(0, len(ordered), BATCH):
        batch = ordered[begin : begin + BATCH]
        found |= set(mine.filter(digest__in=batch).values_list("digest", flat=True))
    return found
