"""Words with a tag each: read from lists or from cells, paired, and stored as two texts.

Stored are the words with a blank between them, and as the label as many tags with a blank between
them. A word whose tag is not known has UNKNOWN, which is no class.
"""

import ast
import hashlib
import json
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from projects.ingest.formats import MOST_LABEL, BadFile, LeftOut, Plan, Row

UNKNOWN = "?"
NOTHING = {"", UNKNOWN, "-100"}  # how files write that a word has no tag
MOST_WORDS = 10_000  # of one row
MOST_LISTED = 1 << 18  # characters of a cell that is read as a list
WORD_NAMES = ("tokens", "words", "form", "word", "token", "text", "sentence")
TAG_NAMES = (
    *("ner_tags", "ner", "tags", "labels", "label", "tag", "entities", "bio", "upos", "pos_tags"),
    *("pos", "chunk_tags"),
)


class Unpaired(BadFile):
    """A row has more or fewer tags than words."""

    code = "unpaired_tags"


class BlankInWord(BadFile):
    """A word is empty or holds a blank, which is what parts words."""

    code = "blank_in_word"


def listed(cell: Any) -> list[Any] | None:
    """The words or tags of a value: a list, one written as JSON or as Python does, or a text parted
    by blanks. None where there is nothing."""
    if cell is None:
        return None
    if isinstance(cell, list):
        return cell
    text = str(cell).strip()
    if text.startswith("[") and text.endswith("]") and len(text) <= MOST_LISTED:
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(text)
            # What is no list after all is a text; a deep or malformed one fails in many ways.
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(found, list):
                return found
    return text.split() or None


def paired(
    words: Sequence[Any], tags: Sequence[Any] | None, names: Sequence[str] = ()
) -> tuple[str, str | None]:
    """(text, label) as they are stored; no label where no word has a tag. `names` are those of
    tags that are numbers. Raises Unpaired, BlankInWord and BadFile."""
    spelt = [word if isinstance(word, str) else json.dumps(word) for word in words]
    if len(spelt) > MOST_WORDS:
        raise BadFile(
            f"It has more than {MOST_WORDS:,} words. Is something missing between sentences?"
        )
    for word in spelt:
        if word.split() != [word]:
            raise BlankInWord(f"{word[:50]!r} is no word: it is empty, or holds a blank.")
    if tags is None:
        return " ".join(spelt), None
    if len(tags) != len(spelt):
        raise Unpaired(f"It has {len(spelt)} words and {len(tags)} tags; each word needs one.")
    said = [_tag(one, names) for one in tags]
    known = any(one != UNKNOWN for one in said)
    return " ".join(spelt), " ".join(said) if known else None


def _tag(given: Any, names: Sequence[str]) -> str:
    if given is None or isinstance(given, dict | list | bool):
        if given is None:
            return UNKNOWN
        raise BadFile(f"{json.dumps(given)[:50]} is no tag: tags are words or numbers.")
    tag = str(given).strip()
    if tag in NOTHING:
        return UNKNOWN
    if names and tag.isascii() and tag.isdigit():
        if int(tag) >= len(names):
            raise BadFile(f"A tag has the number {tag}, and {len(names)} names were given.")
        return names[int(tag)]
    if len(tag) > MOST_LABEL or tag.split() != [tag]:
        raise BadFile(f"{tag[:50]!r} is no tag: it holds a blank, or is too long.")
    return tag


def told(tags: Sequence[Any], names: Sequence[str]) -> list[str]:
    """The tags that are known, with the names of those that are numbers."""
    said = []
    for one in tags:
        text = str(one)
        number = text.isascii() and text.isdigit() and int(text) < len(names)
        if text not in NOTHING and one is not None:
            said.append(names[int(text)] if number else text)
    return said


def row(
    line: int,
    said: list[Any] | None,
    tags: list[Any] | None,
    plan: Plan,
    *,
    split: str | None,
    others: tuple[str | float | None, ...],
) -> Row | LeftOut:
    """A stored row of words and their tags. Raises BadFile with the line."""
    if not said:
        return LeftOut(str(line), "empty_input")
    try:
        text, label = paired(said, tags, plan.tag_names)
    except BadFile as error:
        left_out = isinstance(error, BlankInWord) or (
            isinstance(error, Unpaired) and plan.ragged == "skip"
        )
        if left_out:
            return LeftOut(str(line), error.code, error.detail)
        raise BadFile(f"Line {line}: {error.detail}", line=line) from None
    return Row(
        source=str(line),
        input=text,
        key=hashlib.blake2b(text.encode(), digest_size=8).digest(),
        label=label,
        split=split,
        others=others,
        measures=(len(text), len(said)),
    )


def known(label: str | None) -> list[str]:
    """The tags of a stored label, without words that have none."""
    return [tag for tag in (label or "").split() if tag != UNKNOWN]


def type_of(tag: str) -> tuple[str, str]:
    """(role, type): B-PER as B and PER; a tag that says no role stands for a word alone."""
    role, dash, kind = tag.partition("-")
    return (role, kind) if dash and kind and role in "BMIELSU" else ("S", tag)


def types(tags: Sequence[str]) -> list[str]:
    """What the spans of a version can be, sorted; their places are their colours on pages."""
    return sorted({type_of(tag)[1] for tag in tags if tag not in ("O", UNKNOWN)})


def pieces(text: str, label: str | None, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """A stored row for a page: [{"text", "kind", "tone"}], words of one span together. `kind` is
    empty outside of spans; `tone` is the place of a kind among `kinds`."""
    shown: list[dict[str, Any]] = []
    places = {kind: place for place, kind in enumerate(kinds)}
    before = ("E", "")
    words, tags = text.split(), (label or "").split()
    tags += ["O"] * (len(words) - len(tags))
    for word, tag in zip(words, tags, strict=False):
        outside = tag in ("O", UNKNOWN)
        role, kind = ("E", "") if outside else type_of(tag)
        goes_on = kind == before[1] and (
            outside or (role not in ("B", "S", "U") and before[0] not in ("E", "L", "S", "U"))
        )
        if goes_on and shown:
            shown[-1]["text"] += f" {word}"
        else:
            tone = places.get(kind, 0) % TONES
            shown.append({"text": word, "kind": kind, "tone": tone})
        before = (role, kind)
    return shown


TONES = 6  # colours of kinds, in static/app.css


def samples(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    lines: Sequence[int],
    reading: dict[str, Any],
) -> list[dict[str, Any]]:
    """The first rows of a preview as they would be stored: [{"line", "pieces"}]. Cells may be cut
    off, so what does not pair to the end is shown as far as it does."""
    columns = reading["columns"]
    if columns.get("text") not in names:
        return []
    text = names.index(columns["text"])
    label = names.index(columns["label"]) if columns.get("label") in names else None
    found: list[tuple[int, str, str | None]] = []
    for line, row in zip(lines, rows, strict=True):
        words = listed(row[text]) or []
        tags = (listed(row[label]) or []) if label is not None else []
        tags += [None] * (len(words) - len(tags))
        both = list(takewhile(_is_word, zip(words, tags, strict=False)))
        try:
            shown = paired(
                [word for word, _ in both],
                [tag for _, tag in both],
                reading.get("tag_names") or (),
            )
        except BadFile:
            continue
        found.append((line, *shown))
    kinds = types([tag for _, _, label in found for tag in known(label)])
    return [{"line": line, "pieces": pieces(text, label, kinds)} for line, text, label in found]


def _is_word(pair: tuple[Any, Any]) -> bool:
    return str(pair[0]).split() == [str(pair[0])]
