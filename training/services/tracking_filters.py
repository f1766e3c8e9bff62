"""The language in which MLflow's clients filter and order what they search.

    metrics.loss < 2 and params.lr = '0.001' and tags.`mlflow.user` ILIKE 'r%'
    attributes.run_id IN ('6f1c', '90ab') and params.teacher IS NOT NULL

Clauses are joined by `and` alone. What MLflow's own parser takes is taken here, and read as there;
keys with odd characters may also stand bare (`metrics.val/accuracy > 0.9`), and every text compares
with a list. Nothing typed ever names a column or a lookup.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distillhub.lib.errors import Invalid

LONGEST = 20_000  # characters
MOST = 100  # clauses
MOST_WILD = 20  # signs in a pattern that stand for anything
LONGEST_PATTERN = 1000

KINDS = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), "parameter"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
DATASET = ("name", "digest", "context")
NUMERIC = (">", ">=", "=", "!=", "<", "<=")
TEXTUAL = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
NULLS = ("IS NULL", "IS NOT NULL")

KEY = r"""`[^`]*`|"[^"]*"|'[^']*'|[^\s=<>!()'"`,]+"""
IDENTIFIER = re.compile(rf"(?:(?P<kind>`\w+`|\w+)\.)?(?P<key>{KEY})")
COMPARATOR = re.compile(
    r"\s*(?P<sign>>=|<=|!=|=|>|<)|\s+(?P<word>IS\s+NOT\s+NULL|IS\s+NULL|NOT\s+IN|IN|I?LIKE)"
    r"(?=[\s('\"]|$)",
    re.IGNORECASE,
)
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])"
TEXT = r"""'(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*\""""
VALUE = re.compile(rf"\s*(?:(?P<text>{TEXT})|(?P<number>{NUMBER})|(?P<list>\([^()]*\)))")
IN_LIST = re.compile(rf"\s*(?P<text>{TEXT})\s*(?P<more>,|$)")
ORDER = re.compile(
    rf"\s*(?P<named>(?:(?:`\w+`|\w+)\.)?(?:{KEY}))(?:\s+(?P<way>ASC|DESC))?\s*", re.I
)


@dataclass(frozen=True)
class Grammar:
    """What can be searched by: its attributes, whether each is a number, and what else."""

    attributes: Mapping[str, bool]  # by name: whether it is a number
    kinds: tuple[str, ...] = ("attribute", "tag")
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clause:
    kind: str  # metric, parameter, tag, attribute, dataset
    key: str
    comparator: str
    value: Any  # a text, a number, a list of texts; None of IS NULL

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float)


RUNS = Grammar(
    attributes={
        **dict.fromkeys(("run_id", "run_name", "status", "user_id", "artifact_uri"), False),
        **dict.fromkeys(("start_time", "end_time"), True),
    },
    kinds=("attribute", "metric", "parameter", "tag", "dataset"),
    aliases={
        **dict.fromkeys(("created", "Created"), "start_time"),
        **dict.fromkeys(("run name", "Run name", "Run Name"), "run_name"),
    },
)
EXPERIMENTS = Grammar(
    attributes={
        "name": False,
        "experiment_id": False,
        "creation_time": True,
        "last_update_time": True,
    }
)
MODELS = Grammar(
    attributes={"name": False, "creation_timestamp": True, "last_updated_timestamp": True},
    aliases={"timestamp": "creation_timestamp"},
)
VERSIONS = Grammar(
    attributes={
        **dict.fromkeys(("name", "run_id", "source_path"), False),
        **dict.fromkeys(("version_number", "creation_timestamp", "last_updated_timestamp"), True),
    }
)
LOGGED_MODELS = Grammar(
    attributes={
        **dict.fromkeys(("name", "model_id", "model_type", "status", "source_run_id"), False),
        **dict.fromkeys(("creation_timestamp", "last_updated_timestamp"), True),
    },
    kinds=("attribute", "parameter", "tag"),
    aliases={
        "creation_time": "creation_timestamp",
        "last_updated_time": "last_updated_timestamp",
    },
)


def parse(text: str, grammar: Grammar) -> list[Clause]:
    """Raises Invalid, with the words that MLflow has for it."""
    if len(text) > LONGEST:
        raise Invalid(f"A filter has at most {LONGEST:,} characters.")
    found: list[Clause] = []
    rest = text.strip()
    while rest:
        clause, rest = _clause(rest, grammar)
        found.append(clause)
        if len(found) > MOST:
            raise Invalid(f"A filter has at most {MOST} clauses.")
        if not rest:
            break
        joined = re.match(r"and(?=[\s`\"])\s*", rest, re.IGNORECASE)
        if joined is None or not rest[joined.end() :]:
            raise _unread(rest)
        rest = rest[joined.end() :]
    return found


def parse_order(text: str, grammar: Grammar) -> tuple[str, str, bool]:
    """Of `metrics.loss DESC` the kind, the key, and whether it goes up. Raises Invalid."""
    read = ORDER.fullmatch(text)
    if read is None:
        raise Invalid(f"Invalid order_by clause '{text[:200]}'. Could not be parsed.")
    named = IDENTIFIER.fullmatch(read["named"])
    if named is None:
        raise Invalid(f"Invalid order_by clause '{text[:200]}'. Could not be parsed.")
    kind, key = _identified(named, grammar)
    if kind == "dataset":
        raise Invalid("Runs cannot be ordered by their datasets.")
    return kind, key, (read["way"] or "ASC").upper() == "ASC"


def _clause(text: str, grammar: Grammar) -> tuple[Clause, str]:
    named = IDENTIFIER.match(text)
    compared = COMPARATOR.match(text, named.end()) if named else None
    if named is None or compared is None:
        raise _unread(text)
    kind, key = _identified(named, grammar)
    word = compared["sign"] or " ".join(compared["word"].upper().split())
    if word in NULLS:
        if kind not in ("tag", "parameter"):
            raise Invalid(
                f"IS NULL / IS NOT NULL is only supported for tags and params, not for '{key}'"
            )
        return Clause(kind, key, word, None), text[compared.end() :].strip()
    value = VALUE.match(text, compared.end())
    if value is None:
        raise _unread(text)
    rest = text[value.end() :]
    if rest and not rest[0].isspace():
        raise _unread(text)
    return _checked(kind, key, word, value, grammar), rest.strip()


def _identified(named: re.Match[str], grammar: Grammar) -> tuple[str, str]:
    said, key = (named["kind"] or "attribute").strip("`"), _bare(named["key"])
    kind = KINDS.get(said)
    if kind is None or kind not in grammar.kinds:
        raise Invalid(f"Invalid entity type '{said}'. Valid values are {[*grammar.kinds]}")
    if kind == "attribute":
        key = grammar.aliases.get(key, key)
        if key not in grammar.attributes:
            known = ", ".join(grammar.attributes)
            raise Invalid(f"Invalid attribute key '{key}' specified. Valid keys are {known}")
    if kind == "dataset" and key not in DATASET:
        raise Invalid(f"Invalid dataset key '{key}' specified. Valid keys are {', '.join(DATASET)}")
    return kind, key


def _checked(kind: str, key: str, word: str, value: re.Match[str], grammar: Grammar) -> Clause:
    is_number = kind == "metric" or (kind == "attribute" and grammar.attributes[key])
    known = NUMERIC if is_number else TEXTUAL
    if word not in known:
        raise Invalid(f"Invalid comparator '{word}' not one of {', '.join(known)}")
    if is_number:
        if value["number"] is None:
            raise Invalid(f"Expected numeric value type for {key}. Found {value[0].strip()[:200]}")
        return Clause(kind, key, word, _number(value["number"]))
    if word in ("IN", "NOT IN"):
        if value["list"] is None:
            raise Invalid(f"Expected a list of quoted string values for {key}, in parentheses.")
        return Clause(kind, key, word, _listed(value["list"][1:-1]))
    if value["text"] is None:
        raise Invalid(
            f"Expected a quoted string value for {kind} (e.g. 'my-value'). "
            f"Got value {value[0].strip()[:200]}"
        )
    text = value["text"][1:-1]
    if word.endswith("LIKE") and (
        len(text) > LONGEST_PATTERN or text.count("%") + text.count("_") > MOST_WILD
    ):
        raise Invalid(
            f"A pattern has at most {LONGEST_PATTERN} characters and {MOST_WILD} signs % and _."
        )
    return Clause(kind, key, word, text)


def _number(text: str) -> int | float:
    """Of at most 17 digits a whole number, else what is nearest."""
    try:
        whole = int(text) if len(text) < 18 else None
    except ValueError:
        whole = None
    return float(text) if whole is None else whole


def _listed(text: str) -> list[str]:
    found, place = [], 0
    while True:
        one = IN_LIST.match(text, place)
        if one is None:
            raise Invalid("A list holds quoted string values, with commas between them.")
        found.append(one["text"][1:-1])
        place = one.end()
        if not one["more"]:
            return found


def _bare(key: str) -> str:
    return key[1:-1] if len(key) >= 2 and key[0] == key[-1] and key[0] in "`\"'" else key


def _unread(text: str) -> Invalid:
    return Invalid(f"Invalid clause(s) in filter string: '{text[:200]}'")


# Of rows that are at hand --------------------------------------------------------------------


def holds(clause: Clause, value: Any) -> bool:
    """Whether it is true of a value; of none at all nothing is but IS NULL."""
    match clause.comparator:
        case "IS NULL":
            return value is None
        case "IS NOT NULL":
            return value is not None
    if value is None:
        return False
    wanted = clause.value
    match clause.comparator:
        case "=":
            return bool(value == wanted)
        case "!=":
            return bool(value != wanted)
        case ">":
            return bool(value > wanted)
        case ">=":
            return bool(value >= wanted)
        case "<":
            return bool(value < wanted)
        case "<=":
            return bool(value <= wanted)
        case "IN":
            return value in wanted
        case "NOT IN":
            return value not in wanted
        case "LIKE":
            return is_like(value, wanted)
        case _:
            return is_like(value.lower(), wanted.lower())


def is_like(text: str, pattern: str) -> bool:
    """Whether a text is as a pattern has it, in which % is anything and _ any one character. In
    time that grows with the product of their lengths, whatever they are."""
    at = place = 0
    star, kept = -1, 0
    while at < len(text):
        if place < len(pattern) and pattern[place] == "%":
            star, kept, place = place, at, place + 1
        elif place < len(pattern) and pattern[place] in ("_", text[at]):
            at, place = at + 1, place + 1
        elif star >= 0:
            kept += 1
            at, place = kept, star + 1
        else:
            return False
    return not pattern[place:].strip("%")
