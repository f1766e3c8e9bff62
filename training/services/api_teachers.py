"""Teachers that answer through an API: their source, and their key.

The key is kept apart from the source, sealed, for the origin of its address: a version with another
address finds none, and has to be given it again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, Sum
from rest_framework import serializers

from distillhub.lib import outgoing, secrets
from distillhub.lib.errors import Invalid
from projects.models import ApiKey, ModelVersion, RegisteredModel, User
from projects.services import registry
from training.answering.endpoint import APIS, BEDROCK, OPENAI_CHAT, Endpoint, default_base_url
from training.models import TeacherAnswer

TASKS = ("text-classification", "text-generation")
MOST_HEADERS = 10
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,60}", re.ASCII)  # RFC 9110, 5.6.2
PRINTABLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
KEY = re.compile(r"[\x21-\x7e]{1,4000}", re.ASCII)
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", re.ASCII)
#: Headers that are ours to send, and names of those that hold secrets.
OURS = frozenset(
    {"host", "connection", "te", "upgrade", "via", "expect", "trailer", "accept", "user-agent"}
)
SECRET = re.compile(r"auth|key|token|secret|cookie|password|signature|^content-|^transfer-|^proxy-")


class Source(serializers.Serializer[Any]):
    """The `source` of kind `api`, but for its kind and its key."""

    api = serializers.ChoiceField(list(APIS), default=OPENAI_CHAT)
    base_url = serializers.CharField(max_length=outgoing.LONGEST, default="", allow_blank=True)
    model = serializers.CharField(max_length=200)
    region = serializers.RegexField(REGION, max_length=40, default="", allow_blank=True)
    headers = serializers.DictField(child=serializers.CharField(max_length=1000), default=dict)
    key_header = serializers.CharField(max_length=60, default="Authorization")
    input_price = serializers.DecimalField(
        max_digits=12, decimal_places=6, min_value=Decimal(0), default=Decimal(0)
    )
    output_price = serializers.DecimalField(
        max_digits=12, decimal_places=6, min_value=Decimal(0), default=Decimal(0)
    )
    requests_per_minute = serializers.IntegerField(min_value=0, max_value=100_000, default=0)
    concurrency = serializers.IntegerField(min_value=1, max_value=64, default=4)
    timeout = serializers.FloatField(min_value=1, max_value=600, default=60.0)
    temperature = serializers.FloatField(min_value=0, max_value=2, default=None, allow_null=True)
    max_tokens = serializers.IntegerField(min_value=1, max_value=200_000, default=1024)

    def validate_headers(self, headers: dict[str, str]) -> dict[str, str]:
        if len(headers) > MOST_HEADERS:
            raise serializers.ValidationError(f"There are at most {MOST_HEADERS}.")
        for name, value in headers.items():
            if not NAME.fullmatch(name) or not PRINTABLE.fullmatch(value):
                raise serializers.ValidationError(f"{name[:60]!r} is no header with a value.")
            if name.lower() in OURS or SECRET.search(name.lower()):
                raise serializers.ValidationError(
                    f"{name} cannot be set here: headers are shown. A secret goes into the key, "
                    "and key_header says where it is sent."
                )
        return headers

    def validate_key_header(self, name: str) -> str:
        if not NAME.fullmatch(name) or name.lower() in OURS:
            raise serializers.ValidationError("This is no name of a header for a key.")
        return name

    def validate(self, said: dict[str, Any]) -> dict[str, Any]:
        if said["api"] == BEDROCK and not said["region"]:
            raise serializers.ValidationError({"region": "Bedrock is asked in a region."})
        said["base_url"] = said["base_url"].strip().rstrip("/") or default_base_url(
            said["api"], said["region"]
        )
        if not said["base_url"]:
            raise serializers.ValidationError({"base_url": "Say where requests go."})
        try:
            outgoing.check(said["base_url"])
        except outgoing.Refused as refused:
            raise serializers.ValidationError({"base_url": refused.detail}) from None
        return said


FIELDS = frozenset(Source().fields) | {"key"}


SUMMED = ("requests", "input_tokens", "output_tokens", "cost", "risked")


def source(*, task: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a version's source will say. Raises Invalid with `source.…` in its fields."""
    if task not in TASKS:
        sentence = f"APIs are asked about {' and '.join(TASKS)}, not {task}."
        raise Invalid(sentence, fields={"task": [sentence]})
    shape = Source(data={name: value for name, value in asked.items() if name in Source().fields})
    if not shape.is_valid():
        fields = {
            f"source.{name}": [_sentence(one) for one in _flat(errors)]
            for name, errors in shape.errors.items()
        }
        raise Invalid(next(iter(fields.values()))[0], fields=fields)
    said = dict(shape.validated_data)
    for name in ("input_price", "output_price"):
        said[name] = f"{said[name].normalize():f}"
    read_key(asked.get("key", ""))
    return {"kind": "api", **said}


def read_key(key: Any) -> str:
    """Raises Invalid."""
    text = key.strip() if isinstance(key, str) else key
    if text and (not isinstance(text, str) or not KEY.fullmatch(text)):
        sentence = "A key is one line of at most 4000 printable characters without blanks."
        raise Invalid(sentence, fields={"source.key": [sentence]})
    return text or ""


@transaction.atomic
def keep_key(*, version: ModelVersion, key: str, by: User) -> None:
    """Keep the key of a new version, or go on with the one that its address has. Raises Invalid
    where the model has one for another address only."""
    origin = Endpoint.of(version.source).origin
    if key:
        _write(version.model, origin, key, by)
        return
    kept = list(version.model.api_keys.values_list("origin", flat=True))
    if version.source["api"] == BEDROCK and origin not in kept:
        sentence = "Bedrock is asked with a key: give one."
        raise Invalid(sentence, fields={"source.key": [sentence]})
    if kept and origin not in kept:
        sentence = (
            f"Give the key again: the one that is stored is for {kept[0]}, and is not sent to "
            "another address."
        )
        raise Invalid(sentence, fields={"source.key": [sentence]})


def replace_key(*, version: ModelVersion, key: str, by: User) -> ApiKey:
    """A new key for the address of this version, and of all others with it. Raises Invalid."""
    if version.source.get("kind") != "api":
        sentence = f"{version.reference} answers through no API."
        raise Invalid(sentence, fields={"key": [sentence]})
    try:
        text = read_key(key)
    except Invalid as wrong:
        raise Invalid(wrong.detail, fields={"key": [wrong.detail]}) from None
    if not text:
        raise Invalid("Give a key.", fields={"key": ["Give a key."]})
    return _write(version.model, Endpoint.of(version.source).origin, text, by)


def key_of(version: ModelVersion) -> ApiKey | None:
    """What is known of a version's key: never the key itself."""
    if version.source.get("kind") != "api":
        return None
    origin = Endpoint.of(version.source).origin
    kept = version.model.api_keys.all()  # a few at most, and fetched with a list of models
    return next((one for one in kept if one.origin == origin), None)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of a version so far."""

    answers: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    risked: Decimal  # at most, of requests whose end nobody knows


def usage(version: ModelVersion) -> Usage | None:
    """None where nothing was asked yet. One query."""
    sums = TeacherAnswer.objects.filter(version=version).aggregate(
        answers=Count("pk", filter=Q(status=TeacherAnswer.Status.ANSWERED)),
        **{name: Sum(name) for name in SUMMED},
    )
    if not sums["requests"]:
        return None
    values: dict[str, Any] = {name: sums[name] or 0 for name in SUMMED}
    return Usage(answers=sums["answers"], **values)


def newest(*, model: RegisteredModel) -> ModelVersion:
    return registry.find(project=model.project, name=model.name)


def _write(model: RegisteredModel, origin: str, key: str, by: User) -> ApiKey:
    written = {"sealed": secrets.seal(key), "ending": secrets.ending(key), "changed_by": by}
    kept, _ = ApiKey.objects.update_or_create(model=model, origin=origin, defaults=written)
    return kept


def _flat(errors: Any) -> list[Any]:
    if isinstance(errors, Mapping):
        return [one for part in errors.values() for one in _flat(part)]
    if isinstance(errors, list):
        return [one for part in errors for one in _flat(part)]
    return [errors]


def _sentence(error: Any) -> str:
    return str(error)
