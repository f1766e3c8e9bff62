"""Rows that a teacher makes: from which seeds, and what is left out of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from distillhub.lib.later import np
from projects.ingest import issues, page
from projects.ingest.formats import GENERATION_TASK, TEXT_TASK, TRAIN, BadFile
from projects.operations import conditions
from projects.operations.operation import Parent, StoredRow, Work
from training.answering.questions import Answer, Prompt
from training.operations import nearness, writers
from training.operations.making import ANSWERS, NEW, PARAPHRASES, Asked, Making, Seed, written_lines

MOST_SEEDS = 50_000  # rows that are drawn from
ROUNDS = 3  # in which what the filters took is asked for anew
MOST_TEXT = 20_000  # characters of a text that is made
WHO, FROM = "teacher", "made_from"

#: Why a made row is left out: the issue's end, and what it says.
LEFT_OUT = {
    "length": "that are shorter or longer than asked for",
    "duplicate": "that stand in the dataset already",
    "near": "too near to a row of train, or to another made row",
    "leak": "too near to a row of validation or test, which would make scores too good",
    "judged": "that the teacher, asked again, did not find right",
}
for code, words in LEFT_OUT.items():
    issues.know(f"made_{code}", issues.INFO, f"Made texts {words}. They were left out.")


def fitting(parent: Parent, options: Mapping[str, Any]) -> Any:
    """The ids of rows that are asked about, increasing; of train alone where rows are made."""
    asked = dict(options)
    if options["how"] != ANSWERS:
        asked["split"] = TRAIN
    if asked.get("split") and asked["split"] not in parent.version.splits:
        raise BadFile("There is no row of train to make others from.")
    with parent.open() as stream:
        return page.matching(stream, conditions.filter_of(parent.version, asked))


def seeds_of(parent: Parent, options: Mapping[str, Any], most: int = MOST_SEEDS) -> list[Seed]:
    """Rows of train that others are made from; of many, some by chance."""
    ids = fitting(parent, options).tolist()
    labelled = parent.version.dataset.task == TEXT_TASK
    if len(ids) > most:
        ids = sorted(random.Random(options["seed"]).sample(ids, most))  # noqa: S311
    with parent.open() as stream:
        rows = page.these(stream, np.array(ids, dtype=np.int64))
    return [
        Seed((row["row_id"],), row["label"], row["text"], row.get("prompt"))
        for row in rows
        if row["label"] is not None or not labelled
    ]


class MadeRows:
    """Rows that the teacher makes, and what is left out of them."""

    def __init__(
        self,
        parent: Parent,
        options: Mapping[str, Any],
        making: Making,
        writer: writers.Writer,
        work: Work,
    ) -> None:
        self.parent, self.options, self.making = parent, options, making
        self.writer, self.work = writer, work
        self.there = nearness.Texts()
        self.exact: dict[str, str] = {}
        self.made: list[Seed] = []
        self.left_out: Counter[str] = Counter()
        self.candidates = 0

    def rows(self) -> list[StoredRow]:
        """Made at once: whoever asks for the dataset's rows first sees those that were there."""
        for row in self.parent.rows():
            text = self._compared(row["text"], row.get("prompt"))
            kind = "near" if row["split"] == TRAIN else "leak"
            self.there.add(text, kind)
            if self.exact.get(_key(text)) != "leak":
                self.exact[_key(text)] = "duplicate" if kind == "near" else kind
        if self.options["how"] == NEW:
            self._make_new()
        else:
            ids = set(fitting(self.parent, self.options).tolist())
            many = len(ids) * self.options["rows"]
            asked = (
                one
                for row in self.parent.rows()
                if row["row_id"] in ids
                for one in self.making.of_row(row)
            )
            self._take(asked, many, None)
        self.writer.require_some(len(self.made))
        self.work.report |= {
            "made": self.candidates,
            "kept": len(self.made),
            "left_out": dict(self.left_out),
        }
        return [self._row(one) for one in self.made]

    def _make_new(self) -> None:
        seeds = seeds_of(self.parent, self.options)
        if not seeds:
            raise BadFile("There is no row of train to make others from.")
        wanted = self.making.quotas(seeds)
        for turn in range(ROUNDS):
            have = Counter(one.label for one in self.made)
            lacking = {
                label: quota - have[label] for label, quota in wanted.items() if quota > have[label]
            }
            if not lacking or self.writer.is_over:
                return
            many = sum(self.making.requests(quota) for quota in lacking.values())
            self._take(self.making.new(seeds, turn, lacking), many, dict(lacking))

    def _take(self, asked: Iterable[Asked], many: int, room: dict[str | None, int] | None) -> None:
        """Ask, then let the answers through the filters in the order of the requests."""
        told: dict[Any, Asked] = {}

        def prompts() -> Iterator[Prompt]:
            for one in asked:
                told[one.prompt.key] = one
                yield one.prompt

        answers: dict[Any, Answer] = {
            answer.key: answer
            for answer in self.writer.answers(self.making.question, prompts(), many)
            if answer.is_answered
        }
        passed: list[Seed] = []
        for key in sorted(answers):
            request, answer = told[key], answers[key]
            for made in self._candidates(request, answer):
                self.candidates += 1
                if room is not None and room.get(made.label, 0) <= 0:
                    continue
                if not self._passes(made):
                    continue
                if room is not None:
                    room[made.label] -= 1
                passed.append(made)
        self.made += self._found_right(passed) if self.options["judge"] else passed

    def _candidates(self, request: Asked, answer: Answer) -> Iterator[Seed]:
        ids, label = request.row_ids, request.label
        if self.options["how"] == PARAPHRASES:
            text = answer.text.strip().strip('"').strip()[:MOST_TEXT]
            if self.making.pairs:
                yield Seed(ids, label, request.answer or "", text)
            else:
                yield Seed(ids, label, text)
            return
        rows = answer.value["rows"] if answer.value is not None else written_lines(answer.text)
        for one in rows:
            if isinstance(one, Mapping):
                prompt, text = str(one.get("prompt", "")), str(one.get("answer", ""))
                if prompt.strip():
                    yield Seed(ids, label, text.strip()[:MOST_TEXT], prompt.strip()[:MOST_TEXT])
            else:
                yield Seed(ids, label, str(one).strip()[:MOST_TEXT])

    def _passes(self, made: Seed) -> bool:
        text = self._compared(made.text, made.prompt)
        many = len(text.split())
        reason = ""
        if not made.text or not self.options["least_words"] <= many <= self.options["most_words"]:
            reason = "length"
        elif found := self.exact.get(_key(text)):
            reason = found
        elif near := self.there.near(text, self.options["nearest"]):
            reason = "leak" if "leak" in near else "near"
        if reason:
            self._leave_out(reason, made)
            return False
        self.there.add(text, "near")
        self.exact[_key(text)] = "duplicate"
        return True

    def _found_right(self, passed: list[Seed]) -> list[Seed]:
        """Those that the teacher, asked again, finds right; the rest is left out. What it was not
        asked about, or did not answer, is not known to be right."""
        prompts = (
            Prompt(place, shown.text, system=shown.system)
            for place, shown in enumerate(map(self.making.judged, passed))
        )
        said = {
            answer.key: answer.label
            for answer in self.writer.answers(self.making.judging, prompts, len(passed))
        }
        right = []
        for place, made in enumerate(passed):
            wanted = "yes" if self.making.version.dataset.task == GENERATION_TASK else made.label
            if said.get(place) == wanted:
                right.append(made)
            else:
                self._leave_out("judged", made)
        return right

    def _leave_out(self, reason: str, made: Seed) -> None:
        self.left_out[reason] += 1
        label = f"{made.label}: " if made.label is not None else ""
        self.work.tally.place(f"made_{reason}", f"{label}{(made.prompt or made.text)[:300]}")

    def _compared(self, text: str, prompt: str | None) -> str:
        """What must not stand twice: the question, where there is one."""
        return prompt if self.making.pairs and prompt is not None else text

    def _row(self, made: Seed) -> StoredRow:
        ids = ", ".join(map(str, made.row_ids))
        who = self.work.report["teacher"]
        row: StoredRow = {
            "label": made.label,
            "split": TRAIN,
            "text": made.text,
            "source": f"made by {who}",
            WHO: who,
            FROM: ids,
        }
        return row | ({"prompt": made.prompt} if self.making.pairs else {})


def _key(text: str) -> str:
    return " ".join(text.lower().split())
