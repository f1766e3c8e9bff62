"""What a teacher is asked, and how its reply is read."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from training.answering import label_probabilities
from training.answering.faults import Fault
from training.answering.replies import Reply

MOST_CHOICES_IN_SCHEMA = 500  # what services take in one enumeration
MOST_SCORED = 100  # labels that are scored one by one


@dataclass(frozen=True, slots=True)
class Prompt:
    """`key` is the asker's own name for it (a row's id). `sample` tells several answers to one
    prompt apart: each number is asked once."""

    key: Hashable
    text: str
    system: str = ""
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What is wanted of every prompt alike. What is None is the endpoint's own."""

    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()

    def words(self, prompt: Prompt, *, structured: bool) -> str:
        """The prompt as it is sent."""
        return prompt.text

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """Of the JSON that is asked for, where the service holds answers to one."""
        return None

    @property
    def wants_logprobs(self) -> bool:
        return False

    def tokens(self, most: int) -> int:
        """That the answer may have."""
        return most if self.max_tokens is None else self.max_tokens

    def likely_tokens(self, most: int) -> int:
        """That an answer probably has, of those it may have."""
        return min(most, 200)

    def read(self, reply: Reply) -> dict[str, Any]:
        """Fields of the Answer. Raises Fault."""
        return {}


@dataclass(frozen=True, slots=True)
class Text(Question):
    """Whatever it says, to its end."""

    def read(self, reply: Reply) -> dict[str, Any]:
        if reply.finish == "length":
            raise Fault("malformed", "It is cut off.")
        return {}


@dataclass(frozen=True, slots=True)
class Choice(Question):
    """One of these labels; with `probabilities`, how likely each is, where the service tells the
    probabilities of tokens. `listed` says that the prompts list the labels themselves."""

    labels: tuple[str, ...] = ()
    probabilities: bool = True
    listed: bool = False
    temperature: float | None = 0.0

    def words(self, prompt: Prompt, *, structured: bool) -> str:
        if self.listed:
            return prompt.text
        named = "\n".join(f"- {label}" for label in self.labels)
        how = "" if structured else " Answer with the label alone."
        return f"{prompt.text}\n\nChoose one of these labels.{how}\n{named}"

    @property
    def schema(self) -> Mapping[str, Any] | None:
        if len(self.labels) > MOST_CHOICES_IN_SCHEMA:
            return None
        return {
            "type": "object",
            "properties": {"label": {"type": "string", "enum": list(self.labels)}},
            "required": ["label"],
            "additionalProperties": False,
        }

    @property
    def wants_logprobs(self) -> bool:
        return self.probabilities

    def tokens(self, most: int) -> int:
        if self.max_tokens is not None:
            return self.max_tokens
        longest = max(len(label.encode()) for label in self.labels)
        return min(most, 16 + longest)

    def likely_tokens(self, most: int) -> int:
        return min(most, 12)

    def read(self, reply: Reply) -> dict[str, Any]:
        label = self._label(reply.text)
        if label is None:
            said = " ".join(reply.text.split())[:200]
            raise Fault("malformed", f"It answered {said!r}, which is none of the labels.")
        told = label_probabilities.walked(self.labels, reply.steps)
        return {
            "label": label,
            "probabilities": told.probabilities,
            "covered": told.covered,
            "method": told.reason or "tokens",
        }

    def _label(self, text: str) -> str | None:
        value = as_json(text)
        if isinstance(value, dict) and isinstance(value.get("label"), str):
            text = value["label"]
        plain = text.strip().strip("\"'`*.").strip()
        exact = [label for label in self.labels if label == plain]
        alike = exact or [label for label in self.labels if label.casefold() == plain.casefold()]
        if len(alike) == 1:
            return alike[0]
        return self._only_named(text)

    def _only_named(self, text: str) -> str | None:
        """The one label that a longer answer speaks of."""
        rest, found = text.casefold(), set()
        for label in sorted(self.labels, key=len, reverse=True):
            pattern = rf"(?<!\w){re.escape(label.casefold())}(?!\w)"
            rest, times = re.subn(pattern, " ", rest)
            if times:
                found.add(label)
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Structured(Question):
    """JSON of a shape: `properties` as in JSON Schema, all of them required. Of each the type is
    checked (string, number, integer, boolean, array of strings), and an `enum`."""

    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def words(self, prompt: Prompt, *, structured: bool) -> str:
        if structured:
            return prompt.text
        shape = json.dumps(dict(self.properties), ensure_ascii=False)
        return (
            f"{prompt.text}\n\nAnswer with one JSON object and nothing else. Its properties, each "
            f"of which is required, as JSON Schema:\n{shape}"
        )

    @property
    def schema(self) -> Mapping[str, Any] | None:
        return {
            "type": "object",
            "properties": {name: dict(one) for name, one in self.properties.items()},
            "required": list(self.properties),
            "additionalProperties": False,
        }

    def read(self, reply: Reply) -> dict[str, Any]:
        value = as_json(reply.text)
        if not isinstance(value, dict):
            raise Fault("malformed", "The answer holds no JSON object.")
        for name, shape in self.properties.items():
            if name not in value:
                raise Fault("malformed", f"The answer's JSON has no {name}.")
            if not _suits(value[name], shape):
                said = json.dumps(value[name], ensure_ascii=False)[:100]
                raise Fault("malformed", f"The answer's {name} is {said}.")
        return {"value": {name: value[name] for name in self.properties}}


TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def _suits(value: Any, shape: Mapping[str, Any]) -> bool:
    wanted = TYPES.get(str(shape.get("type", "string")))
    if wanted is None or not isinstance(value, wanted):
        return False
    if isinstance(value, bool) and wanted is not bool:
        return False
    if "enum" in shape and value not in shape["enum"]:
        return False
    if isinstance(value, list) and "items" in shape:
        return all(_suits(one, shape["items"]) for one in value)
    return True


def as_json(text: str) -> Any:
    """The first JSON object in an answer, as models wrap one into words and fences; None without
    one."""
    begin = text.find("{")
    tries = 0
    while begin >= 0 and tries < 20:
        try:
            return json.JSONDecoder().raw_decode(text, begin)[0]
        except (ValueError, RecursionError):
            begin, tries = text.find("{", begin + 1), tries + 1
    return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one prompt. Without a `reason` it was answered: `text`, and of a Choice `label`,
    `probabilities` (in the order of its labels, or None; `method` says by what, or why not) and
    `covered`, of a Structured `value`."""

    key: Hashable
    reason: str = ""  # one of faults.REASONS
    detail: str = ""
    text: str = ""
    label: str | None = None
    probabilities: tuple[float, ...] | None = None
    covered: float = 0.0
    method: str = ""  # tokens, scored; or not_offered, shared, elsewhere
    value: Mapping[str, Any] | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)  # of its requests, whenever they were paid
    cached: bool = False  # nothing was asked for it this time
    requests: int = 0  # sent this time, failed ones too

    @property
    def is_answered(self) -> bool:
        return not self.reason


@dataclass(slots=True)
class Report:
    """What an asking came to."""

    answered: int = 0
    cached: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)  # of what was asked this time
    stopped: str = ""

    def add(self, answer: Answer) -> None:
        self.answered += answer.is_answered
        self.cached += answer.cached
        if answer.reason:
            self.reasons[answer.reason] = self.reasons.get(answer.reason, 0) + 1
        self.requests += answer.requests
        if not answer.cached:
            self.input_tokens += answer.input_tokens
            self.output_tokens += answer.output_tokens

    def stored(self) -> dict[str, Any]:
        """As JSON; money as text."""
        return {
            "answered": self.answered,
            "cached": self.cached,
            "reasons": self.reasons,
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": str(self.cost),
            "stopped": self.stopped,
        }


def most_input_tokens(texts: Sequence[str]) -> int:
    """At most what they come to: a token of every tokenizer in use is at least a byte of UTF-8, and
    a chat's own marks are few."""
    return 32 + sum(len(text.encode()) + 16 for text in texts)
