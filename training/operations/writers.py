"""Who writes for an operation: a service, or a model in a process of its own."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from projects.ingest.formats import BadFile
from projects.models import ModelVersion
from projects.operations.operation import Work
from training.answering.questions import Answer, Prompt, Question
from training.operations import asking
from training.worker import folders, teacher_children

MOST_TOKENS = 128  # of an answer of a model here


class Writer(ABC):
    @abstractmethod
    def answers(self, question: Question, prompts: Iterable[Prompt], many: int) -> Iterator[Answer]:
        """What it says to about `many` prompts. Raises GivenBack, Fenced and BadFile."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked."""
        return False

    def require_some(self, answered: int) -> None:  # noqa: B027 - a model answers, or fails
        """Raises BadFile where the asking ended before anything came of it."""


class Service(Writer):
    def __init__(self, teacher: ModelVersion, options: Mapping[str, Any], work: Work) -> None:
        budget = asking.budget_of(options)
        self.talk = asking.Asking(teacher, work, 0, budget, what="requests answered")

    def answers(self, question: Question, prompts: Iterable[Prompt], many: int) -> Iterator[Answer]:
        self.talk.total += many
        yield from self.talk.answers(question, prompts)

    @property
    def is_over(self) -> bool:
        return self.talk.stopped is not None

    def require_some(self, answered: int) -> None:
        self.talk.require_some(answered)


class Local(Writer):
    """A model with weights: its answers are texts, whatever is asked for."""

    def __init__(self, teacher: ModelVersion, options: Mapping[str, Any], work: Work) -> None:
        self.teacher, self.options, self.work = teacher, options, work
        self.turn = 0

    def answers(self, question: Question, prompts: Iterable[Prompt], many: int) -> Iterator[Answer]:
        folder = self.work.folder / f"writer-{self.turn}"
        folder.mkdir()
        folders.place_files(self.teacher, folder / "inputs/model")
        keys = []
        with (folder / "prompts.jsonl").open("w", encoding="utf-8") as file:
            for prompt in prompts:
                keys.append(prompt.key)
                file.write(json.dumps({"text": prompt.text}, ensure_ascii=False) + "\n")
        if not keys:
            return
        config = {
            "model": {"name": self.teacher.reference, "path": "inputs/model"},
            "prompts": "prompts.jsonl",
            "most": self.options.get("max_tokens") or MOST_TOKENS,
            "temperature": self.options["temperature"],
            "seed": self.options["seed"] + self.turn,
        }
        self.turn += 1
        try:
            teacher_children.answered(
                folder,
                verb="write",
                config=config,
                tell=lambda stage: self.work.beat(stage, 0.3),
            )
        except teacher_children.Failed as failed:
            raise BadFile(f"{self.teacher.reference} could not be asked. {failed}") from None
        report = self.work.report
        with (folder / "texts.jsonl").open(encoding="utf-8") as file:
            for key, line in zip(keys, file, strict=True):
                text = json.loads(line)["text"]
                reason = "" if text.strip() else "empty"
                report["answered"] = report.get("answered", 0) + (not reason)
                yield Answer(key, reason=reason, text=text, method="model")


def of(teacher: ModelVersion, options: Mapping[str, Any], work: Work) -> Writer:
    kind = Service if teacher.is_asked else Local
    return kind(teacher, options, work)
