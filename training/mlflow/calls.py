"""What a client asks, read with care: JSON of a body or the query of an address, in which numbers
may be texts, as protocol buffers write them."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from distillhub.lib.errors import Invalid
from projects.models import Project, User
from training.services import experiment_runs
from training.worker.metrics import Measured

LATEST = 253_402_300_799_000  # milliseconds: the year 9999
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = 2**63
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
MOST_RESULTS = 50_000


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a member, with what its address and its body say."""

    project: Project
    by: User
    asked: Mapping[str, Any]
    path: Mapping[str, str]  # what stands in the address
    stream: IO[bytes]  # the body as it came, where it is no JSON

    def text(self, name: str, default: str | None = None) -> str:
        """Raises Invalid where it is missing and there is no default, or is no text."""
        found = self.asked.get(name)
        if found is None or found == "":
            if default is None:
                raise missing(name)
            return default
        if isinstance(found, str):
            return found
        if isinstance(found, int | float) and not isinstance(found, bool):
            return str(found)
        raise _wrong(name, found, "a text")

    def run(self) -> str:
        """The id of a run, under either of its names."""
        return self.text("run_id", "") or self.text("run_uuid")

    def whole(self, name: str, default: int) -> int:
        found = self.asked.get(name)
        return default if found is None or found == "" else whole(name, found)

    def moment(self, name: str) -> datetime | None:
        """Of milliseconds since the epoch; none where there are none."""
        found = self.whole(name, 0)
        if not 0 <= found <= LATEST:
            raise _wrong(name, found, "milliseconds since 1970")
        return EPOCH + timedelta(milliseconds=found) if found else None

    def most(self, default: int) -> int:
        """How many results are wanted."""
        found = self.whole("max_results", default)
        if not 1 <= found <= MOST_RESULTS:
            raise Invalid(
                f"Invalid value {found} for parameter 'max_results' supplied. "
                f"It must be at least 1 and at most {MOST_RESULTS}."
            )
        return found

    def texts(self, name: str) -> list[str]:
        found = self.asked.get(name)
        if isinstance(found, str):
            found = [found]
        if found is None:
            return []
        if not isinstance(found, Sequence) or not all(isinstance(one, str) for one in found):
            if isinstance(found, Sequence) and all(type(one) is int for one in found):
                return [str(one) for one in found]
            raise _wrong(name, found, "a list of texts")
        return list(found)

    def entries(self, name: str, most: int | None = None) -> list[Mapping[str, Any]]:
        """A list of objects."""
        found = self.asked.get(name)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
            raise _wrong(name, found, "a list of objects")
        if most is not None and len(found) > most:
            raise Invalid(
                f"A batch logging request can contain at most {most} {name}. "
                f"Got {len(found)} {name}. Please split up {name} across multiple requests."
            )
        return found

    def pairs(self, name: str, most: int | None = None) -> dict[str, str]:
        """`[{"key", "value"}]` by keys; of two with one key the last. Raises Invalid, also for two
        values of one parameter."""
        found: dict[str, str] = {}
        for one in self.entries(name, most):
            key, value = pair(name, one)
            if name == "params" and found.get(key, value) != value:
                raise Invalid(
                    f"Duplicate parameter keys have been submitted: '{key[:100]}'. "
                    "Please ensure the request contains only one param value per param key."
                )
            found[key] = value
        return found

    def start(self) -> int:
        """Where the page begins that a token asks for."""
        return place_of(self.text("page_token", ""))


def pair(name: str, one: Mapping[str, Any]) -> tuple[str, str]:
    """The key and the value of an entry."""
    key, value = one.get("key"), one.get("value", "")
    if not isinstance(key, str) or not key:
        raise missing(f"{name}.key")
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise _wrong(f"{name}.value", value, "a text")
    return key, value


def point(one: Mapping[str, Any]) -> Measured:
    """A metric's point. Raises Invalid."""
    key = one.get("key")
    if not isinstance(key, str) or not key:
        raise missing("key")
    experiment_runs.check_metric(key)
    if one.get("value") is None:
        raise missing("value")
    value = _measured(one["value"])
    at = one.get("timestamp")
    if at is None:
        raise missing("timestamp")
    at = whole("timestamp", at)
    if not 0 <= at <= LATEST:
        raise _wrong("timestamp", at, "milliseconds since 1970")
    step = one.get("step")
    return Measured(key, 0 if step is None else whole("step", step), value, at / 1000)


def _measured(value: Any) -> float:
    if isinstance(value, str):
        try:
            return WORDS[value] if value in WORDS else float(value)
        except ValueError:
            raise _wrong("value", value, "a number") from None
    if type(value) is int or type(value) is float:
        return float(value)
    raise _wrong("value", value, "a number")


def whole(name: str, found: Any) -> int:
    """Of an int64, as a number or a text. Raises Invalid."""
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, str) and found.removeprefix("-").isdecimal() and len(found) < 21:
        found = int(found)
    if type(found) is not int or not -INT64 <= found < INT64:
        raise _wrong(name, found, "a whole number")
    return found


def token(place: int) -> str:
    """What asks for the page that begins there."""
    return base64.b64encode(json.dumps({"offset": place}).encode()).decode()


def place_of(said: str) -> int:
    """Raises Invalid."""
    if not said:
        return 0
    try:
        found = json.loads(base64.b64decode(said, validate=True))["offset"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if type(found) is not int or not 0 <= found < INT64:
        raise Invalid("Invalid page token, could not be read.")
    return found


def missing(name: str) -> Invalid:
    return Invalid(f"Missing value for required parameter '{name}'.")


def _wrong(name: str, found: Any, wanted: str) -> Invalid:
    return Invalid(
        f"Invalid value {str(found)[:200]!r} for parameter '{name}' supplied. It must be {wanted}."
    )
