"""The same done to many runs at once: each by itself, so that one that refuses stops no other.

archive, restore, cancel, delete        as runs.py and run_removal.py do to one
tag, untag, colour                      with a value
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from distillhub.lib.errors import DomainError, Invalid
from projects.models import Project, Role, User
from training.charts import run_colours
from training.models import Run
from training.services import run_removal, runs

MOST = 500  # runs at once


@dataclass(frozen=True, slots=True)
class Action:
    done: str  # "3 runs are archived."
    act: Callable[[Run, str, User], Any]
    least: Role = Role.EDITOR
    wants_value: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    run: int
    code: str
    detail: str


@dataclass(slots=True)
class Done:
    action: str
    done: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        many = len(self.done)
        return f"{many} run{'s' * (many != 1)} {ACTIONS[self.action].done}."


def apply(
    *, project: Project, numbers: Sequence[int], action: str, value: str = "", by: User
) -> Done:
    """Do it to those of the project's runs, in their order. The caller has seen to the role that
    `ACTIONS[action].least` names. What a run refuses is told of it, and so is one that is not
    there.

    Raises Invalid for what there is not, too many runs, and a value that no run would take.
    """
    known = ACTIONS.get(action)
    if known is None:
        raise _wrong("action", f"There is no such action; there are {', '.join(ACTIONS)}.")
    wanted = list(dict.fromkeys(numbers))
    if not 1 <= len(wanted) <= MOST:
        raise _wrong("runs", f"Name 1 to {MOST} runs.")
    value = _checked(action, value)
    there = set(
        Run.objects.filter(project=project, number__in=wanted).values_list("number", flat=True)
    )
    said = Done(action)
    for number in wanted:
        try:
            with transaction.atomic():
                run = runs.find(project=project, number=number)
                known.act(run, value, by)
        except DomainError as error:
            gone_with_its_run = action == "delete" and number in there and error.status == 404
            if not gone_with_its_run:  # a control, deleted a moment ago
                said.refused.append(Refusal(number, error.code, error.detail))
                continue
        said.done.append(number)
    return said


def _tag(run: Run, tag: str, by: User) -> None:
    if tag not in run.tags:
        runs.edit(run=run, tags=[*run.tags, tag], by=by)


def _untag(run: Run, tag: str, by: User) -> None:
    if tag in run.tags:
        runs.edit(run=run, tags=[one for one in run.tags if one != tag], by=by)


def _checked(action: str, value: str) -> str:
    value = value.strip()
    if action in ("tag", "untag") and not 1 <= len(value) <= runs.LONGEST_TAG:
        raise _wrong("value", f"A tag has 1 to {runs.LONGEST_TAG} characters.")
    if action == "colour" and value and value.lower() not in run_colours.PLACES:
        known = ", ".join(run_colours.LIGHT)
        raise _wrong("value", f"One of {known}, or nothing for that of each run's number.")
    return value


def _wrong(field: str, sentence: str) -> Invalid:
    return Invalid(f"{field}: {sentence}", fields={field: [sentence]})


ACTIONS: Mapping[str, Action] = {
    "archive": Action("archived", lambda run, value, by: runs.archive(run=run, by=by)),
    "restore": Action("restored", lambda run, value, by: runs.restore(run=run, by=by)),
    "tag": Action("tagged", _tag, wants_value=True),
    "untag": Action("no longer tagged so", _untag, wants_value=True),
    "colour": Action(
        "coloured",
        lambda run, value, by: runs.edit(run=run, colour=value, by=by),
        wants_value=True,
    ),
    "cancel": Action("cancelled", lambda run, value, by: runs.cancel(run=run, by=by)),
    "delete": Action(
        "deleted", lambda run, value, by: run_removal.delete(run=run), least=Role.OWNER
    ),
}
