"""How a monitor's detectors, alert rules, messages, slices and policy are written in JSON: each
function takes what was asked and gives what is kept.
They raise Invalid, with every fault at its field.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from distillhub.lib.errors import Invalid, refuse
from training import catalog
from training.engine import alerting, options
from training.services import monitor_defaults, retraining_policy
from training.worker import alert_rules

JSON = dict[str, Any]
Faults = dict[str, list[str]]

CORRECTIONS = ("holm", "benjamini_hochberg", "bonferroni")  # engine/corrections.py has them
MOST = 200  # signals that are named
MOST_SLICES = 20
LONGEST_POLICY = 40
LONGEST_QUERY = 1000  # characters of what a slice asks for
MOST_TESTS = 20  # of columns, in one slice

#: Signals that are no kind, by how they begin.
SIGNAL = re.compile(
    r"(input\..{1,200}|described\.\w{1,60}|vector|prediction(\..{1,200})?|answered\.\w{1,60}|confidence|agreement|accuracy"
    r"|calibration|estimated_accuracy|error_stream|disagreement_stream"
    r"|quality\.(missing|unseen|out_of_range|duplicated)|volume|latency|whose_fault|teacher_drift)",
    re.DOTALL,
)
#: What a signal's detector must watch; of those that are not here, numbers or names.
WATCHED_BY = {
    "vector": {"embeddings"}, "prediction": {"categories", "numbers"},
}  # fmt: skip
KINDS = tuple(monitor_defaults.WATCHES)
CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)


def detectors(asked: Any) -> JSON:
    """`{signal or kind: [{"kind", ...options}]}`; a word stands for a detector with its defaults,
    an empty list for none."""
    if not isinstance(asked, Mapping) or len(asked) > MOST:
        raise _wrong("detectors", 'Write {"numbers": ["psi"]}: what is watched, and what by.')
    found: JSON = {}
    faults: Faults = {}
    for key, listed in asked.items():
        at = f"detectors.{key}"
        if key not in KINDS and not SIGNAL.fullmatch(str(key)):
            faults[at] = [f"It must be a signal, such as input.age, or one of {', '.join(KINDS)}."]
        elif not isinstance(listed, list) or len(listed) > 5:
            faults[at] = ["List up to five detectors; none to leave it unwatched."]
        else:
            found[key] = [
                _detector(str(key), one, f"{at}.{place}", faults)
                for place, one in enumerate(listed)
            ]
    refuse(faults)
    return found


def _detector(key: str, asked: Any, at: str, faults: Faults) -> JSON:
    said = {"kind": asked} if isinstance(asked, str) else asked
    kind = said.get("kind") if isinstance(said, Mapping) else None
    method = catalog.find("detectors", kind) if isinstance(kind, str) else None
    if method is None:
        known = ", ".join(one["key"] for one in catalog.methods()["detectors"])
        faults[at] = [f"There is no such detector; there are {known}."]
        return {}
    wanted = watched_by(key)
    if wanted and not wanted & set(method["watches"]):
        fitting = ", ".join(fitting_detectors(key))
        faults[at] = [f"{kind} does not watch this. These do: {fitting}."]
        return {}
    values = {name: value for name, value in said.items() if name != "kind"}
    resolved, found = catalog.resolve_options("detectors", str(kind), values, at)
    for one in found:
        faults.setdefault(one.field, []).append(one.sentence)
    return {"kind": kind, **resolved}


def watched_by(key: str) -> set[str]:
    """What a detector of this signal or kind must watch."""
    if key in monitor_defaults.WATCHES:
        return monitor_defaults.WATCHES[key][0]
    return WATCHED_BY.get(key, {"numbers", "categories"})


def fitting_detectors(key: str) -> list[str]:
    wanted = watched_by(key)
    of_one = key in ("calibration", "estimated_accuracy", "whose_fault")
    return [
        one["key"]
        for one in catalog.methods()["detectors"]
        if wanted & set(one["watches"]) and (not of_one or one["key"] == key)
    ]


def correction(asked: Any) -> str:
    if asked not in CORRECTIONS:
        raise _wrong("correction", f"It must be one of {', '.join(CORRECTIONS)}.")
    return str(asked)


def alerts(asked: Any) -> tuple[JSON, JSON]:
    """Rules by signal or kind, and who is told when: `{"rules", "channels", "least",
    "quiet_hours", "critical_breaks_through", "silence_hours"}` (worker/alert_messages.py)."""
    known = (
        "rules", "channels", "least", "quiet_hours", "critical_breaks_through", "silence_hours",
    )  # fmt: skip
    if asked is None:
        return {}, {}
    if not isinstance(asked, Mapping) or set(asked) - set(known):
        raise _wrong("alerts", f"It is an object that knows {', '.join(known)}.")
    faults: Faults = {}
    rules = _rules(asked.get("rules", {}), faults)
    told: JSON = {}
    if "channels" in asked:
        channels = asked["channels"]
        if not isinstance(channels, list) or not all(isinstance(one, str) for one in channels):
            faults["alerts.channels"] = ["List channels of this project by name."]
        told["channels"] = channels
    if "least" in asked:
        if asked["least"] not in alerting.SEVERITIES:
            faults["alerts.least"] = [f"It must be one of {', '.join(alerting.SEVERITIES)}."]
        told["least"] = asked["least"]
    if asked.get("quiet_hours") is not None:
        told["quiet_hours"] = _quiet(asked["quiet_hours"], faults)
    if "critical_breaks_through" in asked:
        if not isinstance(asked["critical_breaks_through"], bool):
            faults["alerts.critical_breaks_through"] = ["It must be true or false."]
        told["critical_breaks_through"] = asked["critical_breaks_through"]
    if asked.get("silence_hours") is not None:
        hours = asked["silence_hours"]
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours <= 8760:
            faults["alerts.silence_hours"] = ["It must be hours, from 0 (never told) to 8760."]
        told["silence_hours"] = hours
    refuse(faults)
    return rules, told


def _rules(asked: Any, faults: Faults) -> JSON:
    """What was said of each; the rest is as worker/alert_rules.py says."""
    if not isinstance(asked, Mapping) or len(asked) > MOST:
        faults["alerts.rules"] = ['Write {"agreement": {"worth": 0.02}}.']
        return {}
    described = options.describe(alerting.Rules)
    found: JSON = {}
    for key, said in asked.items():
        at = f"alerts.rules.{key}"
        known = key == alert_rules.ALL or key in alert_rules.KINDS
        if not known and not SIGNAL.fullmatch(str(key)):
            offered = ", ".join(alert_rules.KINDS)
            faults[at] = [f"It must be a signal, such as input.age, or *, or one of {offered}."]
            continue
        if not isinstance(said, Mapping):
            faults[at] = ["It is an object of numbers, such as worth and opens."]
            continue
        resolved, wrong = options.check(described, said, at)
        for one in wrong:
            faults.setdefault(one.field, []).append(one.sentence)
        if not wrong and resolved["opens"] > resolved["among"]:
            faults[f"{at}.opens"] = [f"Of {resolved['among']} windows, at most all can open it."]
        found[key] = {name: resolved[name] for name in said if name in resolved}
    return found


def _quiet(asked: Any, faults: Faults) -> JSON:
    at = "alerts.quiet_hours"
    known = isinstance(asked, Mapping) and {"from", "until"} <= set(asked) <= {
        "from", "until", "zone", "days",
    }  # fmt: skip
    clocks = known and all(
        isinstance(asked[name], str) and CLOCK.fullmatch(asked[name]) for name in ("from", "until")
    )
    if not clocks:
        faults[at] = ['Write {"from": "22:00", "until": "07:00", "zone": "Europe/Berlin"}.']
        return {}
    zone = asked.get("zone", "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        faults[f"{at}.zone"] = ["Name a time zone, as in Europe/Berlin."]
    days = asked.get("days", [])
    weekdays = isinstance(days, list) and all(type(one) is int and 0 <= one <= 6 for one in days)
    if not weekdays or len(set(days)) == 7:
        faults[f"{at}.days"] = ["List days that are quiet all day, 0 for Monday; not all seven."]
    return {"from": asked["from"], "until": asked["until"], "zone": zone, "days": days}


def slices(asked: Any) -> list[JSON]:
    """`[{"name", "query", "share"?}]`: of which share of its rows the teacher is asked, where that
    is more than of all."""
    if not isinstance(asked, list) or len(asked) > MOST_SLICES:
        raise _wrong("slices", f"List at most {MOST_SLICES} slices, each with a name and a query.")
    faults: Faults = {}
    names: set[str] = set()
    for place, one in enumerate(asked):
        at = f"slices.{place}"
        if not isinstance(one, Mapping) or set(one) - {"share"} != {"name", "query"}:
            faults[at] = ['Write {"name": "short", "query": {...}}, and "share" if you like.']
            continue
        name = one["name"]
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= 100 or name in names:
            faults[f"{at}.name"] = ["Each slice has a name of its own, of 1 to 100 characters."]
            continue
        names.add(name)
        if sentence := _query_fault(one["query"]):
            faults[f"{at}.query"] = [sentence]
        share = one.get("share")
        is_share = isinstance(share, int | float) and not isinstance(share, bool)
        if share is not None and not (is_share and 0 < share <= 1):
            faults[f"{at}.share"] = ["The teacher is asked about a share above 0 and at most 1."]
    refuse(faults)
    return [
        {"name": one["name"].strip(), "query": one["query"]}
        | ({"share": float(one["share"])} if one.get("share") is not None else {})
        for one in asked
    ]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_QUERY


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_length(value: Any) -> bool:
    if isinstance(value, str):  # as saved slices may have it
        return value.isascii() and value.isdigit() and len(value) < 10
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9


def _are_tests(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) <= MOST_TESTS and all(map(_is_text, value))
    )


TEXT = (_is_text, f"a text of at most {LONGEST_QUERY} characters")
FLAG = (_is_flag, "true or false")
LENGTH = (_is_length, "a number of characters")
TESTS = (_are_tests, f'a list of at most {MOST_TESTS} texts, such as "age:from:40"')
#: What is known of rows that come (engine/watching/conditions.py), and how it is written.
CONDITIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "q": TEXT, "match_case": FLAG, "whole_word": FLAG, "regex": FLAG, "label": TEXT,
    "unlabelled": FLAG, "length_from": LENGTH, "length_to": LENGTH, "where": TESTS,
}  # fmt: skip


def _query_fault(query: Any) -> str:
    if isinstance(query, str):
        known = query.strip() and len(query) <= LONGEST_QUERY
        return "" if known else f"Say which rows are meant, in 1 to {LONGEST_QUERY} characters."
    if not isinstance(query, Mapping) or not query:
        return 'Say which rows are meant, as in {"q": "refund"} or "age:from:40".'
    if unknown := sorted(set(map(str, query)) - set(CONDITIONS)):
        return f"{unknown[0]} is not known of rows that come; {', '.join(sorted(CONDITIONS))} are."
    for name, value in query.items():
        if not CONDITIONS[name][0](value):
            return f"{name} is {CONDITIONS[name][1]}."
    return ""


def slices_of(conditions: Iterable[tuple[str, Mapping[str, Any]]]) -> list[JSON]:
    """Slices that are saved of a dataset, as far as rows that come can be held against them."""
    known = [
        {"name": name, "query": dict(query)}
        for name, query in conditions
        if not _query_fault(query)
    ]
    return known[:MOST_SLICES]


def retraining(asked: Any) -> JSON:
    """The policy of retraining; empty, or null: the default, which proposes."""
    if asked is None:
        return {}
    if not isinstance(asked, Mapping) or len(asked) > LONGEST_POLICY:
        raise _wrong("retraining", "It is an object, or null for the default policy.")
    try:
        return retraining_policy.complete(asked)
    except Invalid as error:
        fields = {f"retraining.{name}": said for name, said in error.fields.items()}
        raise Invalid(error.detail, fields=fields) from None


def _wrong(at: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={at: [sentence]})
