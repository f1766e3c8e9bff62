"""The languages of texts, by py3langid (Lui, Baldwin: langid.py, 2012), in a sample of rows."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from distillhub.lib.later import Later, np
from projects.ingest.checks import check, registry
from projects.ingest.checks.check import Check, Found
from projects.ingest.formats import Plan, Row
from projects.ingest.issues import INFO

langid = Later("py3langid.langid")

SAMPLE = 1000  # rows
SHORTEST = 40  # characters: of less, a language can hardly be told
READ = 1000  # characters of a row
SURE = 0.95
FEWEST = 20  # rows whose language is told, so that there is a majority
MAJORITY = 0.6


@registry.register
class Languages(Check):
    key = "languages"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        "other_language": (
            INFO,
            "Rows in another language than most, as far as a guess of it is sure. Of many rows "
            f"only {SAMPLE:,} were looked at. Leave them out unless they are meant.",
        )
    }

    def __init__(
        self, plan: Plan, columns: list[dict[str, str]], measures: tuple[str, ...]
    ) -> None:
        super().__init__(plan, columns, measures)
        self._long = array("i")

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        return check.input_of(columns) == "text"

    def meet(self, row_id: int, row: Row) -> None:
        if row.measures[0] >= SHORTEST:
            self._long.append(row_id)

    def finish(self, found: Found) -> None:
        long = np.frombuffer(self._long, dtype=np.int32)
        if len(long) < FEWEST:
            return
        rows, texts = found.sample(long, "text", SAMPLE)
        told = [_told(text[:READ]) for text in texts]
        counts = Counter(language for language in told if language)
        sure = sum(counts.values())
        found.told[self.key] = {
            "sample": len(rows),
            "of": len(long),
            "unsure": len(rows) - sure,
            "counts": dict(counts.most_common()),
        }
        if sure < FEWEST:
            return
        most, many = counts.most_common(1)[0]
        if many >= MAJORITY * sure:
            others = [language not in ("", most) for language in told]
            found.tally.many("other_language", rows[np.array(others)])
            for language, one in counts.most_common(12):
                if language != most:
                    found.tally.remark("other_language", f"{language}: {one} rows")


def _told(text: str) -> str:
    """The code of a text's language (ISO 639); empty where it is not sure, or no language."""
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE and language != "zxx" else ""


@cache
def _identifier() -> Any:
    """75 MB that take most of a second to read, once in a process."""
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
