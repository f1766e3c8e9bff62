"""Sentences whose words have tags, such as names of people and parts of speech.

Two layouts: as CoNLL's shared tasks have them, a word and its tags in a line and a blank line
behind each sentence; and JSON Lines, an object with a list of words and one of tags in a line.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.errors import Invalid
from projects.ingest import compressed, disguises, encodings, records, registry, words
from projects.ingest.formats import (
    SPLIT_WORDS,
    TOKENS_TASK,
    BadFile,
    Format,
    LeftOut,
    Look,
    Plan,
    Row,
)

HEAD = 1 << 18  # bytes that are looked at before a person confirms
SHOWN_ROWS = 20
SHOWN_CHARACTERS = 1000  # of one cell
ENDINGS = (".conll", ".conllu", ".bio", ".iob", ".iob2", ".bioes", ".ner")
LINES, OBJECTS = "lines", "json"
SENTENCE = 2  # words, on average: a file of shorter ones is something else
ALIKE = 0.95  # of the lines have as many values as most have
UNIVERSAL = ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
USUAL = {2: ["word", "tag"], 4: ["word", "pos", "chunk", "ner"]}
_OBJECT = re.compile(rb'"(?:%s)"\s*:\s*\[\s*["\]]' % "|".join(words.WORD_NAMES).encode())

Sentence = tuple[int, dict[str, Any]]  # the line where it begins, and its values by column


@registry.register
class TaggedWords(Format):
    key = "tagged_words"
    label = "Words with tags (CoNLL, JSON Lines)"
    tasks: ClassVar[tuple[str, ...]] = (TOKENS_TASK,)
    suffixes: ClassVar[tuple[str, ...]] = (*ENDINGS, ".jsonl", ".json", ".txt", ".tsv")
    has_columns: ClassVar[bool] = True
    delimiters: ClassVar[dict[str, str]] = {" ": "blanks", "\t": "tab"}

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        return [{"name": "text", "type": "string", "role": "input"}]

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return ("characters", "words")

    def roles(self, task: str) -> dict[str, bool]:
        return {"text": True, "label": True, "split": False}

    def recognises(self, head: bytes, name: str) -> bool:
        if _OBJECT.search(head) and head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
            return True
        if head.startswith(b"PK") or b"\0" in head or disguises.what(head, name):
            return False
        text = head.decode("utf-8", "replace").rpartition("\n")[0]
        return name.lower().endswith(ENDINGS) or _looks_tagged(text)

    def fits(self, file: IO[bytes]) -> int:
        return 2

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        encoding = encodings.detect(file)
        file.seek(0)
        head = file.read(HEAD)
        if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
            return {"encoding": encoding, "layout": OBJECTS}
        text = head.decode(records.codec({"encoding": encoding}), "replace")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        tabbed = sum("\t" in line for line in lines) > 0.9 * len(lines)
        return {"encoding": encoding, "layout": LINES, "delimiter": "\t" if tabbed else " "}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        wrong: dict[str, list[str]] = {}
        if dialect.get("encoding") not in encodings.ENCODINGS:
            wrong["encoding"] = [
                f"Choose one of these encodings: {', '.join(encodings.ENCODINGS)}."
            ]
        if dialect.get("layout") not in (LINES, OBJECTS):
            wrong["layout"] = ["Choose lines or json."]
        kept = {"encoding": dialect.get("encoding"), "layout": dialect.get("layout")}
        if dialect.get("layout") == LINES:
            if dialect.get("delimiter") not in self.delimiters:
                wrong["delimiter"] = ["Choose blanks or a tab."]
            kept["delimiter"] = dialect.get("delimiter")
        if wrong:
            raise Invalid(next(iter(wrong.values()))[0], fields=wrong)
        return kept

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        file.seek(0)
        head = file.read(HEAD + 1)
        whole = len(head) <= HEAD
        size, head = compressed.size(file, len(head)), head[:HEAD]
        text = head.decode(records.codec(dialect), "replace")
        look = Look(complete=whole)
        if not whole:  # the last line may be cut
            text = text.rpartition("\n")[0]
        found: list[Sentence] = []
        try:
            for one in _sentences(io.StringIO(text, newline=""), dialect, skips=True):
                if not isinstance(one, LeftOut):
                    found.append(one)
                elif not look.problems:
                    look.problems.append(
                        {"severity": "error", "code": one.code, "detail": one.detail}
                    )
        except BadFile as error:
            problem = {"severity": "error", "detail": error.detail}
            look.problems.append(problem | ({"line": error.line} if error.line else {}))
        if not whole and dialect["layout"] == LINES and len(found) > 1:
            found.pop()  # it may go on
        if not found:
            if not look.problems:
                look.problems.append({"severity": "error", "detail": "There is no sentence in it."})
            return look
        names = list(dict.fromkeys(name for _, values in found for name in values))
        cells = [[_cell(values.get(name)) for name in names] for _, values in found]
        look.seen = len(found)
        look.estimated = look.seen if whole else int(look.seen * size / max(1, len(head)))
        for place, column in enumerate(names):
            counts = Counter(row[place] for row in cells if row[place].strip())
            look.values[column] = counts
            listed = [values.get(column) for _, values in found]
            look.columns.append(_described(column, counts, listed))
        look.lines = [line for line, _ in found[:SHOWN_ROWS]]
        look.rows = [[cell[:SHOWN_CHARACTERS] for cell in row] for row in cells[:SHOWN_ROWS]]
        if "\ufffd" in text:
            detail = "Some characters do not fit this encoding; they show as \ufffd."
            look.problems.append({"severity": "warning", "detail": detail})
        return look

    def guess_columns(self, look: Look, task: str) -> dict[str, Any]:
        names = [column["name"] for column in look.columns]
        by_name = {name.lower(): name for name in reversed(names)}
        text = next((by_name[one] for one in words.WORD_NAMES if one in by_name), None)
        left = [one for one in words.TAG_NAMES if one in by_name and by_name[one] != text]
        label = by_name[left[0]] if left else None
        split = by_name.get("split")
        ignored = [
            column["name"]
            for column in look.columns
            if column["listed"] and column["name"] not in (text, label, split)
        ]
        return {"text": text, "label": label, "split": split, "ignored": ignored}

    def label_counts(self, reading: dict[str, Any], look: Look) -> dict[str, int]:
        """Words of each tag, among the rows looked at."""
        counts = Counter[str]()
        names = reading.get("tag_names") or ()
        for cell, rows in look.values.get(reading["columns"].get("label") or "", {}).items():
            counts.update(words.told(words.listed(cell) or (), names) * rows)
        return dict(counts.most_common())

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        file.seek(0)
        text = io.TextIOWrapper(file, encoding=records.codec(dialect), errors="strict", newline="")
        skips = plan.ragged == "skip"
        try:
            for one in _sentences(text, dialect, skips=skips):
                yield one if isinstance(one, LeftOut) else _row(one, plan)
        except UnicodeError:
            line = encodings.undecodable_line(file, records.codec(dialect))
            encoding = encodings.ENCODINGS.get(dialect["encoding"], dialect["encoding"])
            raise BadFile(
                f"Line {line} is not valid {encoding}. Choose the encoding the file is really in.",
                line=line,
            ) from None
        finally:
            if not file.closed:
                text.detach()

    def row_size(self, row: Row) -> int:
        return 8 * len(row.input) + sum(4 * len(str(value)) for value in row.others) + 500


def _looks_tagged(text: str) -> bool:
    """Whether lines stand in groups, each with as many values, the last of which recur."""
    groups = [one.splitlines() for one in re.split(r"(?:\r?\n\s*){2,}|\r{2,}", text) if one.strip()]
    lines = [
        line.split()
        for group in groups
        for line in group
        if line.strip() and not line.startswith("#")
    ]
    if len(groups) < 2 or len(lines) < SENTENCE * len(groups):
        return False
    widths = Counter(len(line) for line in lines)
    width, agreeing = widths.most_common(1)[0]
    if width < 2 or agreeing < ALIKE * len(lines):
        return False
    tags = Counter(line[-1] for line in lines if len(line) == width)
    starts_in_tags = sum(count for tag, count in tags.items() if _is_tag(tag))
    return len(tags) <= 10 + len(lines) / 5 and starts_in_tags >= 0.8 * tags.total()


def _is_tag(word: str) -> bool:
    return word in ("O", "_") or re.fullmatch(r"[BMIELSU]-\S+|[A-Z][A-Z$|]*", word) is not None


def _sentences(
    text: io.TextIOBase, dialect: dict[str, Any], *, skips: bool
) -> Iterator[Sentence | LeftOut]:
    lines = records.Lines(text)
    return _objects(lines) if dialect["layout"] == OBJECTS else _groups(lines, dialect, skips=skips)


def _objects(lines: records.Lines) -> Iterator[Sentence | LeftOut]:
    """Raises BadFile for a line that is no object."""
    for line in lines:
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadFile(
                f"Line {lines.number} is not JSON ({error}). Each line must be one object, such as "
                '{"tokens": ["Ada", "wrote"], "tags": ["B-PER", "O"]}.',
                line=lines.number,
            ) from None
        if not isinstance(found, dict):
            raise BadFile(f"Line {lines.number} is no JSON object.", line=lines.number)
        if len(found) > records.MOST_COLUMNS:
            raise BadFile(f"Line {lines.number} has too many keys.", line=lines.number)
        yield (
            lines.number,
            {" ".join(str(name).split())[:100] or "_": found[name] for name in found},
        )


def _groups(
    lines: records.Lines, dialect: dict[str, Any], *, skips: bool
) -> Iterator[Sentence | LeftOut]:
    """Sentences between blank lines. Raises BadFile for a line with a wrong number of values, or,
    if these are skipped, leaves its sentence out."""
    by_blanks = dialect["delimiter"] == " "
    names: list[str] = []
    rows: list[list[str]] = []
    begin, wrong = 0, ""
    for line in lines:
        text = line.rstrip("\r\n")
        values = _values(text, by_blanks=by_blanks)
        ends = not values or values[0].startswith("-DOCSTART-")
        if ends:
            if wrong:
                yield LeftOut(str(begin), "ragged_line", wrong)
            elif rows:
                yield begin, _columns(names, rows)
            rows, wrong = [], ""
            continue
        if not rows and text.startswith("#"):
            is_word = len(values) == len(names) if names else _is_tag(values[-1])
            if not is_word:
                continue  # a comment before a sentence
        names = names or _names(values)
        if names == UNIVERSAL and not values[0].isdigit():
            continue  # 1-2 spans two words of lines below it, 1.1 is not in the text
        begin = begin if rows else lines.number
        rows.append(values)
        if len(values) != len(names):
            wrong = (
                f"Line {lines.number} has {len(values)} values where the first has {len(names)}."
            )
            if not skips:
                raise BadFile(wrong, line=lines.number)
        if len(rows) > words.MOST_WORDS:
            raise BadFile(
                f"The sentence that begins in line {begin} has more than {words.MOST_WORDS:,} "
                "words. Are blank lines missing between sentences?",
                line=begin,
            )
    if wrong:
        yield LeftOut(str(begin), "ragged_line", wrong)
    elif rows:
        yield begin, _columns(names, rows)


def _values(text: str, *, by_blanks: bool) -> list[str]:
    """Of a line; none of a blank one. Other white space than blanks and tabs is part of a word."""
    if not text.strip():
        return []
    if by_blanks:
        return [one for one in text.replace("\t", " ").split(" ") if one]
    return [one.strip() for one in text.split("\t")]


def _names(values: list[str]) -> list[str]:
    width = len(values)
    if width == len(UNIVERSAL) and values[0].partition("-")[0].isdigit():
        return UNIVERSAL
    if width > records.MOST_COLUMNS:
        raise BadFile(f"A line has {width:,} values.")
    middle = [f"column_{place}" for place in range(2, width)]
    return USUAL.get(width, ["word", *middle, "tag"][:width])


def _columns(names: list[str], rows: list[list[str]]) -> dict[str, Any]:
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _cell(value: Any) -> str:
    """As it is shown, and kept where its column is."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    simple = isinstance(value, list) and all(isinstance(one, str | int) for one in value)
    spelt = [str(one) for one in value] if simple else []
    if simple and all(one.split() == [one] for one in spelt):
        return " ".join(spelt)
    return json.dumps(value, ensure_ascii=False)


def _described(name: str, counts: Counter[str], values: list[Any]) -> dict[str, Any]:
    filled = counts.total()
    length = sum(len(value) * rows for value, rows in counts.items())
    return {
        "name": name,
        "filled": filled,
        "distinct": len(counts),
        "length": round(length / max(1, filled), 1),
        "counted": False,
        "numeric": False,
        "listed": any(isinstance(value, list) for value in values),
        "examples": [value[:80] for value, _ in counts.most_common(5)],
    }


def _row(sentence: Sentence, plan: Plan) -> Row | LeftOut:
    line, values = sentence
    columns = plan.columns
    return words.row(
        line,
        words.listed(values.get(columns["text"])),
        words.listed(values.get(columns["label"])) if columns.get("label") else None,
        plan,
        split=_split(values.get(columns["split"]), line) if columns.get("split") else None,
        others=tuple(_cell(values.get(one)) or None for one in plan.others),
    )


def _split(given: Any, line: int) -> str:
    found = SPLIT_WORDS.get(str(given).strip().lower())
    if found is None:
        raise BadFile(
            f"Line {line} says split {str(given)[:50]!r}; use train, validation or test.", line=line
        )
    return found
