"""What may be sent to a monitor, read by hand: ten thousand records in a fraction of a second.

    rows = inferences(monitor, sent)      each is what one line of a batch says

A record that cannot be used refuses all of its request, by its place and with a sentence: nothing
is lost in silence, and what is mended is sent again. A line holds

    id, time (microseconds since 1970, UTC), prediction | number, probabilities (in the order of the
    monitor's labels), latency_ms, label, version, tags, teacher {prediction, probabilities, share},
    and one of text, cells, base64, sha256, vector (of models of vectors, `vector` beside a text;
    of models that answer word by word, words and tags with blanks between them)

with what was left out left out. Numbers that were labels are written as texts.
"""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from distillhub.lib.errors import Invalid, TooLarge
from training.engine import conversations
from training.models import Monitor

JSON = dict[str, Any]

MOST_RECORDS = 10_000
MOST_FAULTS = 20  # that are told of one request
LONGEST_ID = 200
LONGEST_LABEL = 500
LONGEST_ANSWER = 20_000  # of a text that was written
LONGEST_TEXT = 100_000
MOST_CELLS = 1000
LONGEST_CELL = 10_000
MOST_FILE = 5 << 20  # bytes of a picture or a sound
MOST_TAGS = 20
LONGEST_TAG = 200
WIDEST = 4096  # numbers of a vector
MOST_LATENCY = 86_400_000.0
AHEAD = timedelta(minutes=10)  # that a caller's clock may be
NEAR_ONE = 0.02
SEPARATOR = "|"  # between labels of a row that may have several
LARGEST = 1e300
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)

MEDIA = {"image-classification": "picture", "audio-classification": "sound"}
TABLES = ("tabular-classification", "tabular-regression")

KEYS = frozenset({
    "id", "time", "input", "prediction", "probabilities", "latency_ms", "label", "teacher",
    "version", "tags",
})  # fmt: skip
NEEDED = ("id", "time", "prediction")
VECTORS, WRITTEN = "feature-extraction", "text-generation"
#: What else may be said of a text that was written.
OF_WRITTEN = frozenset({"tokens", "log_probability"})
MOST_TOKENS = 1_000_000
BY_WORD = "token-classification"
MOST_WORDS = 5000  # of a text whose words have tags
MOST_CHANCES = 200_000  # probabilities of all of its words
UNSAID = (
    "This model makes vectors: nothing is predicted, and nobody can say which vector is right. "
    "Send `vector`, or the input alone."
)


class _Fault(Exception):
    def __init__(self, where: str, sentence: str) -> None:
        super().__init__(sentence)
        self.where, self.sentence = where, sentence


class Reader:
    """Records of one monitor, at one moment."""

    def __init__(self, monitor: Monitor, now: datetime) -> None:
        self.labels: list[str] = list(monitor.labels)
        self.places = {label: place for place, label in enumerate(self.labels)}
        self.several: bool = monitor.several_labels
        self.task = monitor.task
        self.vectors = monitor.task == VECTORS
        self.by_word = monitor.task == BY_WORD
        self.writes = monitor.task == WRITTEN
        self.keys = KEYS | OF_WRITTEN if self.writes else KEYS
        self.days = monitor.retention_days
        self.newest = (now + AHEAD - EPOCH) // MICRO
        self.oldest = (now - timedelta(days=self.days) - EPOCH) // MICRO
        self.now = (now - EPOCH) // MICRO

    # -- whole records ---------------------------------------------------------------------------

    def inference(self, one: Any) -> JSON:
        if type(one) is not dict:
            raise _Fault("", "A record is an object.")
        for name in NEEDED:
            if name not in one and (name != "prediction" or not self.vectors):
                raise _Fault(name, "It is needed.")
        line: JSON = {"id": self.identity(one["id"]), "time": self.time(one["time"])}
        if self.vectors:
            self.made(one, line)
        else:
            self.answer(one["prediction"], line, "prediction")
        for name, value in one.items():
            if name == "vector" and self.vectors:
                continue
            if name not in self.keys:
                raise _known(name, self.keys)
            if value is None or name in NEEDED:
                continue
            if name == "input":
                self.given(value, line)
            elif name == "probabilities":
                line[name] = self.probabilities(value, name)
            elif name == "tokens":
                line[name] = round(_number(value, name, 0, MOST_TOKENS))
            elif name == "log_probability":
                line[name] = _number(value, name, -1e4, 1e-6)
            elif name == "latency_ms":
                line[name] = _number(value, name, 0.0, MOST_LATENCY)
            elif name == "label":
                line[name] = self.label(value, name)
            elif name == "teacher":
                line[name] = self.teacher(value, "teacher.")
            elif name == "version":
                line[name] = _text(value, name, LONGEST_LABEL)
            else:
                line[name] = self.tags(value)
        if self.by_word:
            self.fit(line)
        return line

    def late_label(self, one: Any) -> JSON:
        _object(one, ("id", "label"), ("id", "label"))
        return {"id": self.identity(one["id"]), "label": self.label(one["label"], "label")}

    def teacher_answer(self, one: Any) -> JSON:
        _object(one, ("id", "prediction", "probabilities", "share"), ("id", "prediction"))
        said = {name: value for name, value in one.items() if name != "id"}
        return {"id": self.identity(one["id"]), "teacher": self.teacher(said, "")}

    def fit(self, line: JSON) -> None:
        """A tag for each word, whoever gives it."""
        words = len(line["prediction"].split(" "))
        if "text" in line and (many := len(line["text"].split(" "))) != words:
            raise _Fault(
                "prediction", f"The input has {many:,} words, and these are {words:,} tags."
            )
        said = {"label": line.get("label"), "teacher.prediction": None}
        chances = {"probabilities": line.get("probabilities")}
        if "teacher" in line:
            said["teacher.prediction"] = line["teacher"]["prediction"]
            chances["teacher.probabilities"] = line["teacher"].get("probabilities")
        for where, tags in said.items():
            if tags is not None and (many := len(tags.split(" "))) != words:
                raise _Fault(where, f"It has {many:,} tags, and the prediction {words:,}.")
        for where, every in chances.items():
            if every is not None and len(every) != words * len(self.labels):
                many = len(every) // len(self.labels)
                raise _Fault(where, f"They are of {many:,} words, and the prediction of {words:,}.")

    def made(self, one: JSON, line: JSON) -> None:
        """What a model of vectors made, if it is sent: our student makes it of the input else."""
        for name in ("prediction", "label", "teacher"):
            if one.get(name) is not None:
                raise _Fault(name, UNSAID)
        value = one.get("vector")
        if value is not None:
            if type(value) is not list:
                raise _Fault("vector", f"It is a list of numbers, not {_kind(value)}.")
            line["vector"] = self.vector(value, "vector")

    # -- their parts -----------------------------------------------------------------------------

    def identity(self, value: Any) -> str:
        if type(value) is not str:
            raise _Fault("id", f"An id is a text, not {_kind(value)}.")
        if not 1 <= len(value) <= LONGEST_ID:
            raise _Fault("id", f"An id has 1 to {LONGEST_ID} characters.")
        return value

    def time(self, value: Any) -> int:
        if type(value) is not str:
            raise _Fault("time", 'A time is a text such as "2026-11-27T10:00:00Z".')
        try:
            said = datetime.fromisoformat(value)
            if said.tzinfo is None:
                said = said.replace(tzinfo=UTC)
            found = (said - EPOCH) // MICRO
        except (ValueError, OverflowError):
            raise _Fault("time", 'A time is written like "2026-11-27T10:00:00Z".') from None
        if found > self.newest:
            minutes = (found - self.now) // 60_000_000
            raise _Fault(
                "time", f"It is {minutes:,} minutes ahead of this server's clock; set the sender's."
            )
        if found < self.oldest:
            raise _Fault("time", f"It is older than the {self.days} days that this monitor keeps.")
        return found

    def answer(self, value: Any, line: JSON, where: str) -> None:
        """A class, several, a written text; or a number, where there are no classes."""
        kind = type(value)
        if self.by_word:
            line["prediction"] = self.tags_of(value, where)
            return
        if self.several:
            line["prediction"] = self.several_of(value, where)
            return
        if self.writes:
            line["prediction"] = _text(value, where, LONGEST_ANSWER)
            return
        if kind is str:
            if not value:
                raise _Fault(where, "It is empty.")
            line["prediction"] = _text(value, where, LONGEST_ANSWER)
        elif kind in (int, float) and not self.labels:
            line["number"] = _number(value, where)
        elif kind is list and self.labels and value and all(type(one) is str for one in value):
            line["prediction"] = _text(SEPARATOR.join(sorted(set(value))), where, LONGEST_ANSWER)
        elif self.labels:
            raise _Fault(where, f"It is the name of a class, not {_kind(value)}.")
        else:
            raise _Fault(where, f"It is a text or a number, not {_kind(value)}.")

    def tags_of(self, value: Any, where: str) -> str:
        """A tag for each word, with blanks between them. One that the monitor does not know is
        taken: that is drift."""
        tags = value.split() if type(value) is str else value
        if type(tags) is not list or any(type(one) is not str for one in tags):
            raise _Fault(where, 'It is a list of a tag for each word, as in ["B-PER", "O"].')
        if not tags:
            raise _Fault(where, "It has no tag: a text has a word or more.")
        if len(tags) > MOST_WORDS:
            raise _Fault(where, f"It has {len(tags):,} tags; at most {MOST_WORDS:,} are read.")
        for at, one in enumerate(tags):
            if one.split() != [one]:
                raise _Fault(f"{where}.{at}", "A tag is a text without blanks.")
            _text(one, f"{where}.{at}", LONGEST_LABEL)
        return " ".join(tags)

    def words_of(self, value: Any) -> str:
        """Words, or a text that is cut at its blanks."""
        words = value.split() if type(value) is str else value
        if type(words) is not list or any(type(one) is not str for one in words):
            raise _Fault("input", f"It is a list of words, or a text, not {_kind(value)}.")
        if not words:
            raise _Fault("input", "It has no word.")
        if len(words) > MOST_WORDS:
            raise _Fault("input", f"It has {len(words):,} words; at most {MOST_WORDS:,} are read.")
        for at, one in enumerate(words):
            if one.split() != [one]:
                raise _Fault(f"input.{at}", "A word is a text without blanks.")
        return _text(" ".join(words), "input", LONGEST_TEXT)

    def chances_of(self, value: Any, where: str) -> list[float]:
        """Of each word its probabilities, one word's after the other's."""
        if type(value) is not list or not value:
            raise _Fault(where, "They are a list of the probabilities of each word.")
        if len(value) * len(self.labels) > MOST_CHANCES:
            raise _Fault(where, f"They are too many: at most {MOST_CHANCES:,} are read of a text.")
        return [
            chance
            for at, one in enumerate(value)
            for chance in self.chances_of_one(one, f"{where}.{at}")
        ]

    def several_of(self, value: Any, where: str) -> str:
        """Any number of labels, in one order, so that equal sets are equal texts."""
        if type(value) is str:
            value = value.split(SEPARATOR)
        if type(value) is not list or any(type(one) is not str for one in value):
            raise _Fault(
                where, 'It is a list of the names of classes, as in ["late", "wet"] or [].'
            )
        if any(SEPARATOR in one for one in value):
            raise _Fault(where, f"No class has {SEPARATOR!r} in its name.")
        names = sorted({one for one in value if one})
        return _text(SEPARATOR.join(names), where, LONGEST_ANSWER)

    def label(self, value: Any, where: str) -> str:
        if self.vectors:
            raise _Fault(where, UNSAID)
        line: JSON = {}
        self.answer(value, line, where)
        return str(line["prediction"] if "prediction" in line else repr(line["number"]))

    def probabilities(self, value: Any, where: str) -> list[float]:
        return (self.chances_of if self.by_word else self.chances_of_one)(value, where)

    def chances_of_one(self, value: Any, where: str) -> list[float]:
        labels = self.labels
        if not labels:
            raise _Fault(where, "This monitor knows no classes that they could be of.")
        if type(value) is dict:
            for name in value:
                if name not in self.places:
                    raise _Fault(where, f"{name[:60]!r} is no class of this monitor.")
            value = [value.get(label, 0.0) for label in labels]
        elif type(value) is not list:
            raise _Fault(where, "They are a list, or an object of a number by class.")
        if len(value) != len(labels):
            raise _Fault(where, f"They are {len(value)}; the monitor has {len(labels)} classes.")
        total = 0.0
        for one in value:
            if type(one) is not float and type(one) is not int:
                raise _Fault(where, f"They are numbers, not {_kind(one)}.")
            if not -1e-6 <= one <= 1.000001:  # false of NaN, too
                raise _Fault(where, "Each is from 0 to 1.")
            total += one
        if not self.several and abs(total - 1.0) > NEAR_ONE:
            raise _Fault(where, f"They add up to {total:.3g}, not to one.")
        return [round(min(1.0, max(0.0, one)), 7) for one in value]

    def teacher(self, value: Any, prefix: str) -> JSON:
        where = prefix.rstrip(".")
        if type(value) is not dict or value.get("prediction") is None:
            raise _Fault(where or "prediction", 'A teacher\'s answer says {"prediction"}.')
        line: JSON = {}
        for name, said in value.items():
            if name == "prediction":
                line[name] = self.label(said, f"{prefix}prediction")
            elif name == "probabilities":
                if said is not None:
                    line[name] = self.probabilities(said, f"{prefix}probabilities")
            elif name == "share":
                if said is not None:
                    line[name] = _number(said, f"{prefix}share", 1e-6, 1.0)
            else:
                raise _known(f"{prefix}{name}", ("prediction", "probabilities", "share"))
        return line

    def tags(self, value: Any) -> JSON:
        if type(value) is not dict:
            raise _Fault("tags", "They are an object of texts by name.")
        if len(value) > MOST_TAGS:
            raise _Fault("tags", f"They are {len(value)}; at most {MOST_TAGS} are kept.")
        for name, said in value.items():
            _text(name, "tags", LONGEST_TAG)
            if type(said) is str:
                _text(said, f"tags.{name[:60]}", LONGEST_TAG)
            elif type(said) in (int, float):
                _number(said, f"tags.{name[:60]}")
            elif type(said) is not bool:
                raise _Fault(f"tags.{name[:60]}", f"It is a text or a number, not {_kind(said)}.")
        return value

    def given(self, value: Any, line: JSON) -> None:
        """The input: by the task, or its embedding alone."""
        if type(value) is dict and len(value) == 1 and type(value.get("vector")) is list:
            line["vector"] = self.vector(value["vector"], "input.vector")
        elif self.task in MEDIA:
            self.media(value, line)
        elif self.task in TABLES:
            line["cells"] = self.cells(value)
        else:
            if self.writes and (messages := _messages(value)) is not None:
                value = messages
            if type(value) is dict and len(value) == 1:
                value = value.get("text", value)
            if self.by_word:
                line["text"] = self.words_of(value)
                return
            if type(value) is not str:
                raise _Fault("input", f"It is a text, not {_kind(value)}.")
            line["text"] = _text(value, "input", LONGEST_TEXT)

    def vector(self, value: list[Any], where: str) -> list[float]:
        if not 1 <= len(value) <= WIDEST:
            raise _Fault(where, f"A vector has 1 to {WIDEST:,} numbers.")
        return [_number(one, where, -1e30, 1e30) for one in value]

    def media(self, value: Any, line: JSON) -> None:
        what = MEDIA[self.task]
        if type(value) is dict and set(value) == {"sha256"}:
            said = value["sha256"]
            if type(said) is not str or not SHA256.fullmatch(said):
                raise _Fault("input.sha256", "A sha256 has 64 digits, of 0-9 and a-f.")
            line["sha256"] = said
            return
        if type(value) is dict and set(value) == {"base64"}:
            value = value["base64"]
        if type(value) is not str:
            sentence = (
                f'A {what} is sent as {{"base64": ...}}, or one that came before as {{"sha256'
            )
            raise _Fault("input", f'{sentence}": ...}}.')
        content = value.partition(",")[2] if value.startswith("data:") else value
        if len(content) > MOST_FILE * 4 // 3 + 4:
            raise _Fault("input", f"A {what} has at most {MOST_FILE >> 20} MiB.")
        try:
            whole = b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise _Fault("input", "It is not valid base64.") from None
        if not whole:
            raise _Fault("input", f"The {what} is empty.")
        line["base64"] = content

    def cells(self, value: Any) -> JSON:
        if type(value) is not dict:
            raise _Fault("input", f"It is an object of a value by column, not {_kind(value)}.")
        if not 1 <= len(value) <= MOST_CELLS:
            raise _Fault("input", f"It has 1 to {MOST_CELLS:,} columns, not {len(value):,}.")
        for name, said in value.items():
            kind = type(said)
            if kind is str:
                if len(said) > LONGEST_CELL:
                    raise _Fault(
                        f"input.{name[:60]}", f"It has at most {LONGEST_CELL:,} characters."
                    )
            elif kind is float or kind is int:
                if not -LARGEST < said < LARGEST:
                    raise _Fault(f"input.{name[:60]}", "It is no number that can be counted with.")
            elif kind is not bool and said is not None:
                raise _Fault(
                    f"input.{name[:60]}", f"It is a number, a text or null, not {_kind(said)}."
                )
            if not name or len(name) > LONGEST_TAG:
                raise _Fault("input", f"A column's name has 1 to {LONGEST_TAG} characters.")
        return value


def _messages(value: Any) -> str | None:
    """A chat, as a text holds it; None of what is none. Raises _Fault."""
    said = value.get("messages") if type(value) is dict and set(value) == {"messages"} else value
    if type(said) is not list:
        return None
    kept = [
        {"role": one.get("role"), "content": one.get("content")} if type(one) is dict else one
        for one in said
    ]
    text = json.dumps(kept, ensure_ascii=False)
    if conversations.messages(text) is None:
        sentence = 'A chat is a list of {"role": ..., "content": ...}, of texts.'
        raise _Fault("input", sentence)
    return text


def _number(value: Any, where: str, low: float = -LARGEST, high: float = LARGEST) -> float:
    if type(value) is not float and type(value) is not int:
        raise _Fault(where, f"It is a number, not {_kind(value)}.")
    if not low <= value <= high:  # false of NaN, too
        raise _Fault(where, f"It is from {low:g} to {high:g}.")
    return float(value)


def _text(value: Any, where: str, longest: int) -> str:
    if type(value) is not str:
        raise _Fault(where, f"It is a text, not {_kind(value)}.")
    if len(value) > longest:
        raise _Fault(where, f"It has {len(value):,} characters; at most {longest:,} are read.")
    return value


def _object(value: Any, known: Sequence[str], needed: Sequence[str]) -> None:
    if type(value) is not dict:
        raise _Fault("", "A record is an object.")
    for name in value:
        if name not in known:
            raise _known(name, known)
    for name in needed:
        if value.get(name) is None:
            raise _Fault(name, "It is needed.")


def _known(name: str, known: Any) -> _Fault:
    return _Fault(str(name)[:60], f"There is no such key; there are {', '.join(sorted(known))}.")


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", type(None): "null", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a text" if isinstance(value, str) else "a number")


# -- requests -------------------------------------------------------------------------------------


def lines(
    sent: Any, name: str, read: Callable[[Any], JSON], most: int = MOST_RECORDS
) -> list[bytes]:
    """Each record of a request as a line of JSON. Raises Invalid, with the places of what cannot be
    used, and TooLarge."""
    if type(sent) is not list:
        sentence = "Send a list."
        raise Invalid(f"{name}: {sentence}", fields={name: [sentence]})
    if not sent:
        sentence = "Send at least one."
        raise Invalid(f"{name}: {sentence}", fields={name: [sentence]})
    if len(sent) > most:
        raise TooLarge(f"At most {most:,} are taken at once; send several requests.")
    made: list[bytes] = []
    faults: dict[str, list[str]] = {}
    for place, one in enumerate(sent):
        try:
            made.append(_written(read(one)))
        except _Fault as fault:
            where = f"{name}.{place}.{fault.where}" if fault.where else f"{name}.{place}"
            faults[where] = [fault.sentence]
            if len(faults) >= MOST_FAULTS:
                break
    if faults:
        where, sentences = next(iter(faults.items()))
        raise Invalid(f"{where}: {sentences[0]}", fields=faults)
    return made


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _written(line: JSON) -> bytes:
    try:
        text = _encode(line)
        written = text.encode()
    except UnicodeEncodeError:
        raise _Fault("", "A text holds half of a surrogate pair.") from None
    except ValueError:
        raise _Fault("", "It holds a number that is none.") from None
    if "\\u0000" in text and _holds_nul(line):
        raise _Fault("", "A text holds a NUL character.")
    return written


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(name) or _holds_nul(part) for name, part in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))


def identities(sent: Any, name: str = "ids") -> list[bytes]:
    """Ids of rows to be forgotten, each as a line. Raises Invalid and TooLarge."""

    def read(one: Any) -> JSON:
        if type(one) is not str or not 1 <= len(one) <= LONGEST_ID:
            raise _Fault("", f"An id is a text of 1 to {LONGEST_ID} characters.")
        return {"id": one}

    return lines(sent, name, read)
