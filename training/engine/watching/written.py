"""Answers that are texts: what describes them, and how like another text they are.

    described(rows)              columns `answered.*`, of answers as they came
    compared(rows, monitor)      columns `label_same`, `label_alike`, and the teacher's
    kept(text, monitor)          an answer as the monitor's privacy keeps it

Two texts are the same where nothing but case, blanks and what stands at their ends is different.
How much of them is alike is the F1 of their words, each counted as often as it stands there
(Rajpurkar et al., SQuAD, 1606.05250, section 6.1; articles and marks are no exception here, since
not all texts are English). A sign of Chinese or Japanese is a word. How much of an answer is said
again is the share of its groups of four words that came before in it (Welleck et al., 1908.04319,
seq-rep-4).

Both are told once, while both texts are there, and stand with the row from then on: what is kept
of an answer may be its digest, or nothing. A label that comes after its row is held against what is
kept: redacted, as redacted; a digest, by whether it is the same, and not by how alike; nothing, not
at all.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from training.engine.conversations import messages
from training.engine.errors import DataError
from training.engine.watching import describing, privacy
from training.engine.watching.parts import SAME, TYPES

JSON = dict[str, Any]
Texts = Sequence[str | None]

TASK = "text-generation"
ANSWERED = "answered."
GROUP = 4  # words
MOST_TEXT = 20_000  # characters of a text that are looked at
YES, NO = "yes", "no"
SIGN = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
WORD = re.compile(rf"{SIGN}|(?:(?!{SIGN})\w)+")
DIGEST = re.compile(r"#[0-9a-f]{32}")
#: What is held against an answer, and the columns that tell of it.
PAIRS = (("label", SAME[:2]), ("teacher_prediction", SAME[2:]))

PLAIN = (
    "The reference's rows are plain texts, which do not say what is asked and what is answered. "
    "Take rows of prompts and completions, chats, or a time of the monitor's traffic."
)


# -- two texts ------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Without case, and with one blank between words."""
    told = unicodedata.normalize("NFKC", text[:MOST_TEXT]).casefold()
    return " ".join(told.split()).strip(" \"'`.!?;:,。")


def words(text: str) -> list[str]:
    return WORD.findall(plain(text))


def alike(one: str, two: str) -> float:
    """From 0 to 1. Of texts without a word, whether they are the same."""
    mine, theirs = Counter(words(one)), Counter(words(two))
    if not mine or not theirs:
        return float(plain(one) == plain(two))
    shared = (mine & theirs).total()
    return 2 * shared / (mine.total() + theirs.total())


def repeated(text: str) -> float:
    """The share of an answer's groups of words that came before in it; 0 of a short one."""
    said = words(text)
    groups = len(said) - GROUP + 1
    if groups < 1:
        return 0.0
    return 1 - len({tuple(said[at : at + GROUP]) for at in range(groups)}) / groups


# -- what is asked --------------------------------------------------------------------------------


def spoken(text: str | None) -> str | None:
    """What is said in a text, which may be a chat: its messages without who says them."""
    said = messages(text) if text else None
    return text if said is None else "\n\n".join(str(one["content"]) for one in said)


def asked(columns: Mapping[str, Texts]) -> tuple[list[str | None], list[str | None]]:
    """(what is asked, the right answer) of a dataset's rows: prompts and completions, or chats,
    whose last words of the assistant answer what stands before. Raises DataError of plain texts."""
    if "prompt" in columns:
        return list(columns["prompt"]), list(columns["text"])
    prompts: list[str | None] = []
    answers: list[str | None] = []
    for text in columns["text"]:
        said = messages(text) if text else None
        if text and text.strip() and said is None:
            raise DataError(PLAIN)
        answer = None
        if said and said[-1]["role"] == "assistant":
            said, answer = said[:-1], str(said[-1]["content"])
        prompts.append(json.dumps(said, ensure_ascii=False) if said else None)
        answers.append(answer)
    return prompts, answers


# -- rows -----------------------------------------------------------------------------------------


def described(rows: pa.Table) -> pa.Table:
    """With a column of each descriptor of the answers; null where there is none."""
    if "prediction" not in rows.column_names:
        return rows
    said: list[str | None] = rows["prediction"].to_pylist()
    found: dict[str, Any] = {
        f"{ANSWERED}{name.removeprefix(describing.DESCRIBED)}": values
        for name, values in describing.describe("text", said).items()
    }
    found[f"{ANSWERED}empty"] = [
        _told(one, lambda text: NO if text.strip() else YES) for one in said
    ]
    found[f"{ANSWERED}repeated"] = [_told(one, repeated) for one in said]
    if "tokens" in rows.column_names and rows["tokens"].null_count < rows.num_rows:
        found[f"{ANSWERED}tokens"] = rows["tokens"].cast(pa.float64())
    for name, values in found.items():
        is_names = isinstance(values, list) and name in (f"{ANSWERED}empty", f"{ANSWERED}language")
        kind = pa.string() if is_names else pa.float64()
        column = (
            values
            if isinstance(values, pa.ChunkedArray)
            else pa.array(values, kind, from_pandas=True)
        )
        rows = with_column(rows, name, column)
    return rows


def _told(text: str | None, tell: Any) -> Any:
    return None if text is None else tell(text)


def compared(rows: pa.Table, monitor: Mapping[str, Any], *, as_kept: bool = False) -> pa.Table:
    """With how like its label and the teacher's answer each answer is, where that is not told yet.
    `as_kept`: answers are no more what came, but what the monitor's privacy left of them."""
    if not rows.num_rows or "prediction" not in rows.column_names:
        return rows
    said = rows["prediction"].to_pylist()
    for name, (same, like) in PAIRS:
        if name not in rows.column_names:
            continue
        known: list[list[Any]] = [
            rows[one].to_pylist() if one in rows.column_names else [None] * len(said)
            for one in (same, like)
        ]
        for at, (one, two) in enumerate(zip(said, rows[name].to_pylist(), strict=True)):
            if known[0][at] is None and one is not None and two is not None:
                known[0][at], known[1][at] = _compared(one, two, monitor, as_kept=as_kept)
        for column, values in zip((same, like), known, strict=True):
            rows = with_column(rows, column, pa.array(values, TYPES[column]))
    return rows


def _compared(
    one: str, two: str, monitor: Mapping[str, Any], *, as_kept: bool
) -> tuple[float | None, float | None]:
    """(same, how alike); None unknown."""
    mode = monitor["privacy"]
    if mode == privacy.DESCRIBED and (as_kept or not two):
        return None, None
    if mode == privacy.REDACTED:
        one, two = privacy.redacted(one), privacy.redacted(two)
    elif mode == privacy.HASHED and (DIGEST.fullmatch(one) or DIGEST.fullmatch(two)):
        return float(kept(one, monitor) == kept(two, monitor)), None
    return float(plain(one) == plain(two)), alike(one, two)


def later(said: pa.Table, lines: Sequence[JSON], monitor: Mapping[str, Any]) -> pa.Table:
    """Rows of before of which something is said now, with how like their answers that is; `lines`,
    what is kept of it by their ids, are told the same."""
    if not said.num_rows:
        return said
    said = compared(said, monitor, as_kept=True)
    ids = said["id"].to_pylist()
    by_id = {one["id"]: one for one in lines}
    for flag, names in (("label_is_new", SAME[:2]), ("answer_is_new", SAME[2:])):
        for name in names:
            if name not in said.column_names:
                continue
            told = zip(ids, said[flag].to_pylist(), said[name].to_pylist(), strict=True)
            for identity, is_new, value in told:
                if is_new and value is not None and identity in by_id:
                    by_id[identity][name] = value
    return said


def kept(text: str, monitor: Mapping[str, Any]) -> str:
    """An answer, a label or a teacher's answer. Twice kept is as once."""
    match monitor["privacy"]:
        case privacy.REDACTED:
            return privacy.redacted(text)
        case privacy.HASHED:
            if DIGEST.fullmatch(text):
                return text
            return f"#{privacy.digest(plain(text), monitor['salt'])}"
        case privacy.DESCRIBED:
            return ""
    return text


def with_column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.append_column(name, values) if place < 0 else rows.set_column(place, name, values)
