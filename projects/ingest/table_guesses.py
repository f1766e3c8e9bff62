"""How a table was probably meant: its delimiter, whether it has a header, what its columns are."""

import re
from collections import Counter
from typing import Any

from projects.ingest import records, words
from projects.ingest.formats import (
    CATEGORICAL,
    MULTI,
    NUMERIC,
    REGRESSION,
    SEPARATORS,
    SINGLE,
    SPLIT_WORDS,
)

TEXT_NAMES = {
    "text", "sentence", "query", "question", "message", "review", "content", "utterance", "input",
    "comment", "body", "tweet", "title", "description", "headline", "prompt", "document",
    "sms", "email", "abstract", "actualtext",
}  # fmt: skip
LABEL_NAMES = {
    "label", "labels", "category", "class", "target", "intent", "sentiment", "type", "y", "tag",
    "topic", "status", "classification", "label_text", "label_name", "spam",
}  # fmt: skip
SURELY_LABEL = {"label", "labels", "category", "class", "intent", "sentiment", "target"}
SPLIT_NAMES = {"split", "fold", "set", "subset", "partition"}

AGREED = 0.9  # of the records have as many values as most, where values are parted at all
NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d+)?|[.,]\d+)([eE][-+]?\d+)?\s*%?\s*")


def delimiter_and_quoting(head: bytes, whole: bool, encoding: str) -> tuple[str, str]:
    """The pair under which the most records have the same number of values, more than one.

    A file of one column has none; a comma then says so, or what stands in none of its texts. Quotes
    mean nothing only where reading them fails or makes fewer records agree.
    """
    best: tuple[float, ...] = ()
    chosen = (",", "double")
    single: list[tuple[str, str]] = []  # under which every record has one value
    held: list[tuple[str, str]] = []  # of these, where quotes hold a text with it together
    parted = 0.0  # the share of records that agree under quotes, where they part values
    begins_alone = False  # whether the first record has one value under what was chosen
    for quoting in ("double", "none"):
        for delimiter in records.DELIMITERS:
            dialect = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
            found, stopped = records.of_head(head, whole, dialect)
            widths = Counter(len(values) for _, values in found if values)
            if not widths:
                continue
            width, agreeing = widths.most_common(1)[0]
            share = agreeing / widths.total()
            if set(widths) == {1} and not stopped:
                single.append((delimiter, quoting))
                if quoting == "double" and any(delimiter in one[0] for _, one in found if one):
                    held.append((delimiter, quoting))
            elif quoting == "double" and width > 1:
                parted = max(parted, share)
            score = (width > 1, not stopped, round(share, 2), quoting == "double", width)
            if not best or score > best:
                best, chosen = score, (delimiter, quoting)
                begins_alone = next((len(one) == 1 for _, one in found if one), False)
    if best and not best[0]:
        usual = (",", "double")
        return usual if usual in single or not single else single[0]
    if held and parted < AGREED:
        return held[0]
    if single and begins_alone and best[2] < AGREED:  # a header, and texts with commas
        return single[0]
    return chosen


def has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns, judged by how it differs from the others."""
    if len(rows) < 2:
        return bool(rows) and not any(NUMBER.fullmatch(value) for value in rows[0])
    first, rest = rows[0], [row for row in rows[1:500] if len(row) == len(rows[0])]
    names = {value.strip().lower() for value in first}
    if names & (TEXT_NAMES | LABEL_NAMES) and all(len(value) < 60 for value in first):
        return True
    score = 0.0
    for index, name in enumerate(first):
        column = [row[index] for row in rest if row[index].strip()]
        if not column or not name.strip():
            continue
        numeric = sum(bool(NUMBER.fullmatch(value)) for value in column) / len(column)
        if numeric > 0.9:
            score += -2 if NUMBER.fullmatch(name) else 2
        elif NUMBER.fullmatch(name):
            score -= 0.5
        different = len(set(column))
        if len(column) >= 8 and different <= len(column) / 3:  # looks like a label
            score += -2 if name in column else 1
        mean = sum(map(len, column)) / len(column)
        if mean > 25:
            score += 0.5 if len(name) < mean / 3 else -1
    return score >= 0


def column_names(first: list[str] | None, width: int) -> list[str]:
    """Names that are neither empty nor repeated: `column_3`, `name_2`."""
    names: list[str] = []
    for index in range(width):
        given = " ".join(first[index].split())[:100] if first and index < len(first) else ""
        name = given or f"column_{index + 1}"
        number = 2
        while name in names:
            name = f"{given or f'column_{index + 1}'}_{number}"
            number += 1
        names.append(name)
    return names


def roles(columns: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    """{"text", "label", "split", "ignored"} as a person would probably choose them."""
    chosen: dict[str, Any] = {"text": None, "label": None, "split": None, "ignored": []}
    by_name = {column["name"]: column for column in columns}
    filled = [column for column in columns if column["filled"]]
    for column in columns:
        unnamed = bool(re.fullmatch(r"column_\d+", column["name"]))
        if not column["filled"] or (unnamed and column["filled"] < 0.1 * rows):
            chosen["ignored"].append(column["name"])
    left = [column for column in filled if column["name"] not in chosen["ignored"]]
    for column in left:
        words = {value.strip().lower() for value in column["examples"]}
        if column["name"].lower() in SPLIT_NAMES and words <= SPLIT_WORDS.keys():
            chosen["split"] = column["name"]
    left = [column for column in left if column["name"] != chosen["split"]]
    chosen["label"] = _label(left, rows)
    texts = [column for column in left if column["name"] != chosen["label"]]
    named = [one for one in texts if one["name"].lower() in TEXT_NAMES and not one["numeric"]]
    wordy = [one for one in texts if not one["numeric"]]
    plain = [one for one in wordy if not one.get("structured")]
    candidates = [one for one in named if not one.get("structured")] or plain or wordy or texts
    if candidates:
        chosen["text"] = max(candidates, key=lambda one: one["length"])["name"]
    if chosen["text"] is None and chosen["label"] and len(by_name) == 1:
        chosen["text"], chosen["label"] = chosen["label"], None
    return chosen


PROMPT_NAMES = {"prompt", "instruction", "question", "query", "input", "source"}
COMPLETION_NAMES = {
    "completion", "response", "answer", "output", "reply", "continuation", "chosen", "solution",
    "reference_answer", "reference_response", "referenceresponse",
}  # fmt: skip
RATIONALE_NAMES = {"rationale", "explanation", "reasoning", "reason", "reasons", "chain_of_thought"}
CHAT_NAMES = {"messages", "conversation", "conversations", "chat", "dialogue"}


def writing_roles(columns: list[dict[str, Any]]) -> dict[str, str | None] | None:
    """{"prompt", "text", "rationale"} of columns that are called as prompts with completions, and
    with the reasons for these, or chats are."""
    names = {column["name"].strip().lower(): column["name"] for column in columns}
    chat = next((names[one] for one in names if one in CHAT_NAMES), None)
    if chat is not None:
        return {"prompt": None, "text": chat, "rationale": None}
    text = next((names[one] for one in names if one in COMPLETION_NAMES), None)
    prompt = next((names[one] for one in names if one in PROMPT_NAMES), None)
    if text is None or prompt is None:
        return None
    why = next((names[one] for one in names if one in RATIONALE_NAMES), None)
    return {"prompt": prompt, "text": text, "rationale": why}


def roles_of_writing(columns: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    """{"text", "prompt", "rationale", "split", "ignored"}; `text` is the completion, or the
    whole text."""
    chosen = roles(columns, rows)
    found = writing_roles(columns) or {"text": chosen["text"]}
    return {
        "text": found["text"],
        "prompt": found.get("prompt"),
        "rationale": found.get("rationale"),
        "split": chosen["split"],
        "ignored": chosen["ignored"],
    }


LONG = 20  # characters of a value, on average: a text, and not a word
ID_NAMES = {"id", "index", "idx", "row", "row_id", "rowid", "uuid", "guid", "key", "no", "nr"}
CLASSES = 20  # different numbers: with more, a label may be a quantity


def is_table(columns: list[dict[str, Any]], rows: int) -> bool:
    """Whether columns of numbers and words are learned from, and not a text."""
    chosen = roles(columns, rows)
    left = [one for one in columns if one["filled"] and one["name"] not in chosen["ignored"]]
    others = [one for one in left if one["name"] not in (chosen["label"], chosen["split"])]
    text = next((one for one in others if one["name"] == chosen["text"]), None)
    if text is None or len(others) < 2:
        return False
    named = text["name"].lower() in TEXT_NAMES and not text["numeric"]
    lengthy = text["length"] >= LONG and text["distinct"] > text["filled"] / 2
    return not named and not lengthy


def table_roles(columns: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    """{"label", "split", "features", "ignored"} as a person would probably choose them. Columns
    that number or name the rows are kept, and not learned from."""
    chosen = roles(columns, rows)
    split, ignored = chosen["split"], chosen["ignored"]
    left = [one for one in columns if one["name"] not in (split, *ignored) and one["filled"]]
    named = [one for one in left if one["name"].strip().lower() in LABEL_NAMES]
    surely = [one for one in named if one["name"].strip().lower() in SURELY_LABEL]
    found = surely or named or left[-1:]  # else the last one, as is the custom
    label = found[0]["name"] if found else None
    features = {
        one["name"]: NUMERIC if one["numeric"] else CATEGORICAL
        for one in left
        if one["name"] != label and not _names_rows(one)
    }
    return {
        "label": label,
        "split": split,
        "features": features,
        "ignored": ignored,
    }


def _names_rows(column: dict[str, Any]) -> bool:
    """Whether nearly every row has another value of it, which no other row can be known by."""
    name, filled, distinct = column["name"].strip().lower(), column["filled"], column["distinct"]
    unique = filled >= 5 and distinct == filled
    if name in ID_NAMES or name.endswith("_id"):
        return bool(distinct > 0.9 * filled)
    if column["numeric"]:
        return bool(unique and column["counted"])
    return bool(filled >= 20 and distinct > 0.5 * filled)


def roles_of_words(columns: list[dict[str, Any]], chosen: dict[str, Any]) -> dict[str, Any]:
    """{"text", "label", "split", "ignored"}: a column of words and one of their tags by their
    names, else as `chosen`."""
    by_name = {column["name"].strip().lower(): column["name"] for column in columns}
    text = next((by_name[one] for one in words.WORD_NAMES if one in by_name), chosen["text"])
    left = [by_name[one] for one in words.TAG_NAMES if one in by_name and by_name[one] != text]
    label = left[0] if left else chosen["label"] if chosen["label"] != text else None
    return chosen | {"text": text, "label": label}


def problem(label: str | None, columns: list[dict[str, Any]]) -> str:
    """Whether a column of labels holds classes, lists of them, or quantities."""
    for one in columns:
        if one["name"] == label and one.get("structured"):
            return MULTI
        if one["name"] == label and one["numeric"]:
            many = one["distinct"] > max(CLASSES, 0.05 * one["filled"])
            return REGRESSION if many and not one["counted"] else SINGLE
    return SINGLE


def separator(values: Counter[str]) -> str:
    """What most often stands within the values."""
    holding = {
        one: sum(rows for value, rows in values.items() if one in value.strip())
        for one in SEPARATORS
    }
    return max(SEPARATORS, key=lambda one: holding[one])


def _label(columns: list[dict[str, Any]], rows: int) -> str | None:
    """By its name, else the column of the fewest different, repeated, short values."""
    repeated = [one for one in columns if one["distinct"] <= max(2, one["filled"] / 2) or rows < 10]
    named = [one for one in columns if one["name"].lower() in SURELY_LABEL and one["length"] <= 60]
    named = named or [one for one in repeated if one["name"].lower() in LABEL_NAMES]
    if named:
        return str(min(named, key=lambda one: one["length"])["name"])
    plain = [one for one in repeated if not one.get("structured")]
    short = [one for one in plain if one["length"] <= 60 and one["distinct"] > 1]
    if len(columns) < 2:
        return None
    if not short:  # then perhaps the one column of quantities
        numeric = [one for one in columns if one["numeric"] and not one["counted"]]
        return str(numeric[0]["name"]) if len(numeric) == 1 else None
    best = min(short, key=lambda one: (one["length"] > 30, one["numeric"], one["distinct"]))
    return str(best["name"])
