"""Asking a service for an operation: how far it is, what came of it, and why it ended."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from distillhub.lib import secrets
from projects.ingest import issues
from projects.ingest.formats import BadFile
from projects.models import ModelVersion
from projects.operations.operation import Facts, Work
from training.answering import cache, estimating
from training.answering.asker import Asker
from training.answering.faults import REASONS, SAID, Fault, Stopped
from training.answering.questions import Answer, Prompt, Question

TELLS = 1.0  # seconds between two reports
NOT_ASKED = "not_asked"

for reason, words in REASONS.items():
    issues.know(
        f"not_answered_{reason}",
        issues.WARNING,
        f"Rows that the teacher did not answer: {words}. They stay as they were.",
    )
issues.know(
    NOT_ASKED,
    issues.WARNING,
    "Rows that were not asked about, because the asking ended before. Do the same again to go on: "
    "what was answered is not paid for twice.",
)
#: Rows that the same question, asked again, may bring an answer for.
GOES_ON = {NOT_ASKED: "Go on with these"} | {
    f"not_answered_{reason}": "Ask about these again"
    for reason in REASONS
    if reason not in SAID | {"malformed"}
}


@dataclass(slots=True)
class Asking:
    """Asks for one version of a dataset, maybe several questions one after the other."""

    teacher: ModelVersion
    work: Work
    total: int  # prompts of all questions
    budget: Decimal | None
    what: str = "rows answered"
    share: float = 0.95  # of the whole work that this is
    stopped: Stopped | None = None
    met: int = 0
    asked: int = 0  # of those, not found in the cache
    _began: float = field(default_factory=time.monotonic)
    _told: float = 0.0

    @property
    def purpose(self) -> str:
        return f"dataset version {self.work.version.pk}"

    def answers(self, question: Question, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """Those that come before the asking ends; `stopped` says why it did. Raises GivenBack,
        Fenced, and BadFile where the key cannot be read."""
        if self.stopped is not None:
            return
        self._tell()
        asker = Asker(self.teacher, question, purpose=self.purpose, budget=self.budget)
        try:
            for answer in asker.answers(prompts):
                self.met += 1
                self.asked += not answer.cached
                self._tell()
                yield answer
        except Stopped as stopped:
            self.stopped = stopped
        except secrets.Unreadable:
            raise BadFile(
                f"The key of {self.teacher.reference} cannot be read any more. Give it again."
            ) from None
        finally:
            self._report(asker.report.stored())

    def require_some(self, answered: int) -> None:
        """Raises BadFile where the asking ended before anything was answered."""
        if self.stopped is not None and not answered:
            raise BadFile(self.stopped.sentence)

    def _report(self, said: Facts) -> None:
        report = self.work.report
        for name in ("answered", "cached", "requests", "input_tokens", "output_tokens"):
            report[name] = report.get(name, 0) + said[name]
        reasons = report.setdefault("reasons", {})
        for reason, many in said["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + many
        report["cost"] = f"{cache.spent(self.teacher.model.project_id, self.purpose):.6f}"
        report["stopped"] = None
        if self.stopped is not None:
            report["stopped"] = {"reason": self.stopped.reason, "detail": self.stopped.sentence}

    def _tell(self) -> None:
        now = time.monotonic()
        if self._told and now - self._told < TELLS:
            return
        self._told = now
        left = left_words(self.total - self.met, self.asked, now - self._began)
        stage = f"{self.met:,} of {self.total:,} {self.what}{left}"
        self.work.beat(stage, self.share * self.met / max(1, self.total))


def left_words(left: int, done: int, seconds: float) -> str:
    """`, about 3 minutes left`; empty where nothing is known yet."""
    if not done or not left:
        return ""
    rest = left * seconds / done
    if rest < 90:
        return ", about a minute left"
    if rest < 5400:
        return f", about {round(rest / 60)} minutes left"
    return f", about {round(rest / 3600)} hours left"


def estimated(
    teacher: ModelVersion, question: Question, prompts: Iterable[Prompt], count: int
) -> Facts:
    """What asking will take, as JSON."""
    try:
        found = estimating.estimate(teacher, question, prompts, count=count)
    except Fault as fault:
        return {"rows": count, "asked": count, "note": fault.sentence}
    return {
        "rows": count,
        "asked": count - found.cached,
        "cached": found.cached,
        "input_tokens": found.input_tokens,
        "output_tokens": found.output_tokens,
        "cost": f"{found.cost:.6f}",
        "most": f"{found.most:.6f}",
        "seconds": found.seconds,
    }


def together(parts: list[Facts]) -> Facts:
    """Several estimates as one."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name in {"cost", "most"}:
                found[name] = f"{Decimal(found.get(name, '0')) + Decimal(value):.6f}"
            elif isinstance(value, int | float) and not isinstance(found.get(name, 0), str):
                found[name] = (found.get(name) or 0) + value
            else:
                found.setdefault(name, value)
    return found


def budget_of(options: Mapping[str, Any]) -> Decimal | None:
    said = options.get("budget")
    return None if said is None else Decimal(str(said))
