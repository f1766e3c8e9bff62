"""Words, tables and code of cards: Markdown in which people's words mean nothing but themselves."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distillhub.templatetags import ui
from projects.models import ModelVersion
from training import catalog


def scheme(scheme: Any) -> str:
    key = scheme.get("kind") if isinstance(scheme, Mapping) else scheme
    found = catalog.find("schemes", str(key or "offline"))
    return found["label"] if found else str(key)


def formula(losses: Iterable[Mapping[str, Any]]) -> str:
    """`0.9 · soft_targets (temperature 4) + 0.1 · hard_labels`."""
    terms = []
    for one in losses:
        more = ", ".join(
            f"{name} {ui.setting(value)}"
            for name, value in one.items()
            if name not in ("kind", "weight", "weight_schedule") and value not in (None, "", 0.0)
        )
        weight = ui.setting(one.get("weight", 1.0))
        terms.append(f"{weight} · {one.get('kind')}" + (f" ({more})" if more else ""))
    return " + ".join(terms) or "hard labels"


def origin(version: ModelVersion) -> str:
    source = version.source
    match source.get("kind"):
        case "hub":
            commit = code(str(source.get("revision", "")))
            return f"Taken from {code(str(source.get('id')))} of a hub, at {commit}."
        case "upload":
            return f"Uploaded as {code(str(source.get('file', '')))}; it was trained elsewhere."
        case "derived" | "export":
            said = str((source.get("made") or {}).get("said") or source.get("said") or "")
            return f"Made of {code(str(source.get('from')))}. {plain(said)}".strip()
        case _:
            return "It has not been trained: its weights are drawn by each run's seed."


def times(latency: Mapping[str, Any]) -> tuple[str, str]:
    one, many = (
        (
            f"{ui.milliseconds(found['median'])} ({ui.milliseconds(found['p95'])})"
            if (found := latency.get(size))
            else ""
        )
        for size in ("1", "32")
    )
    return one, many


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell(one) for one in line)} |" for line in lines)


def cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def code(text: str) -> str:
    """People's words as code, between more backticks than stand in them (CommonMark 6.1)."""
    text = " ".join(str(text).split()) or "-"
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def plain(text: str) -> str:
    """Sentences of ours, which may hold people's words, with what Markdown would read escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(str(text).split()))


def begun(words: str) -> str:
    """As a line begins; `capitalize` would write names small."""
    return words[:1].upper() + words[1:]
