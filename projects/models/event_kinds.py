"""Kinds of events: when each is told, and the JSON Schema of what programs are told with it.

The one list of them. Pages, notifications, alert channels, webhooks and docs/webhooks.md are made
of it; a kind that is not in it is told nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]

#: Of a fact: how JSON has it. A question mark says that it may be null.
TYPES: Mapping[str, tuple[str, ...]] = {
    "integer": ("integer",),
    "number": ("number",),
    "text": ("string",),
    "time": ("string",),
    "yes or no": ("boolean",),
    "texts": ("array",),
    "object": ("object",),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One key of an event's data."""

    type: str
    means: str

    @property
    def schema(self) -> JSON:
        name = self.type.removesuffix("?")
        types = [*TYPES[name], *(["null"] if self.type.endswith("?") else [])]
        found: JSON = {
            "type": types if len(types) > 1 else types[0],
            "description": self.means,
        }
        if name == "texts":
            found["items"] = {"type": "string"}
        if name == "time":
            found["format"] = "date-time"
        return found


@dataclass(frozen=True, slots=True)
class Kind:
    """What is told, of which kind of subject, and when."""

    key: str
    about: str
    when: str
    facts: Mapping[str, Fact]

    @property
    def group(self) -> str:
        """What it is listed under: `run` of `run.finished`."""
        return self.key.partition(".")[0]

    @property
    def schema(self) -> JSON:
        return {
            "type": "object",
            "properties": {name: fact.schema for name, fact in self.facts.items()},
            "required": list(self.facts),
            "additionalProperties": False,
        }


_RUN = {
    "number": Fact("integer", "Of the run in its project."),
    "name": Fact("text", "What people call it."),
    "status": Fact("text", "Its status now."),
    "origin": Fact("text", "launched here, or tracked: trained elsewhere."),
    "task": Fact("text", "What is learned; empty where nobody said."),
    "dataset": Fact("text?", "Reference of the version it trains on."),
    "student": Fact("text?", "Reference of the version it begins with."),
    "study": Fact("integer?", "Number of the study it belongs to."),
    "tags": Fact("texts", "What people tagged it with."),
    "by": Fact("text", "Username of who launched it."),
    "attempt": Fact("integer", "How many workers have had it; 0 of a tracked run."),
    "step": Fact("integer", "How far it came."),
    "metrics": Fact("object", "Last value of its series, by name; at most fifty."),
    "output": Fact("text?", "Reference of the model version it made."),
    "error": Fact("object?", 'Why it failed: {"code", "detail"}.'),
    "seconds": Fact("number?", "From its start to its end."),
}
_BEST = _RUN | {
    "metric": Fact("text", "By which runs of this task on this dataset version are compared."),
    "value": Fact("number", "What it reached."),
    "before": Fact("number", "The best that another run had reached."),
    "best": Fact("integer", "Number of that run."),
}
_MEMBER = {
    "username": Fact("text", "Whose membership it is."),
    "name": Fact("text", "What they are called."),
    "role": Fact("text", "viewer, editor or owner."),
    "before": Fact("text?", "Their role before."),
}
_PROJECT = {
    "slug": Fact("text", "In its addresses."),
    "name": Fact("text", "What it is called."),
}
_DATASET = {
    "name": Fact("text", "Of the dataset."),
    "task": Fact("text", "What it is for."),
}
_DATASET_VERSION = {
    "dataset": Fact("text", "Name of the dataset."),
    "version": Fact("integer", "Its number."),
    "reference": Fact("text", "name@number."),
    "task": Fact("text", "What it is for."),
    "status": Fact("text", "ready or failed."),
    "rows": Fact("integer?", "How many it has."),
    "labels": Fact("integer?", "How many labels it has."),
    "operation": Fact("text?", "How it was made of another version; null for an upload."),
    "error": Fact("object?", 'Why it failed: {"code", "detail"}.'),
    "by": Fact("text", "Username of who asked for it."),
}
_MODEL = {
    "name": Fact("text", "Of the model."),
    "role": Fact("text", "teacher or student."),
    "task": Fact("text", "What it is for."),
}
_MODEL_VERSION = {
    "model": Fact("text", "Name of the model."),
    "version": Fact("integer", "Its number."),
    "reference": Fact("text", "name@number."),
    "role": Fact("text", "teacher or student."),
    "status": Fact("text", "ready or failed."),
    "source": Fact("text", "Where it comes from: run, hub, upload, api, ..."),
    "run": Fact("integer?", "Number of the run that made it."),
    "parameters": Fact("integer?", "How many it has."),
    "error": Fact("object?", 'Why it failed: {"code", "detail"}.'),
    "by": Fact("text", "Username of who asked for it."),
}
_ALIAS = {
    "model": Fact("text", "Name of the model."),
    "alias": Fact("text", "The name that moved."),
    "version": Fact("integer?", "What it means now; null where it was removed."),
    "reference": Fact("text?", "name@number of that version."),
    "before": Fact("integer?", "The version it meant before."),
    "how": Fact("text", "set, promoted, overridden, rolled_back or removed."),
    "reason": Fact("text", "An owner's reason, where a rule did not hold."),
}
_STUDY = {
    "number": Fact("integer", "Of the study in its project."),
    "kind": Fact("text", "seeds, strategies or sweep."),
    "name": Fact("text", "What people call it."),
    "status": Fact("text", "running, finished or failed."),
    "runs": Fact("integer", "How many runs it has."),
    "verdict": Fact("object?", 'What came of it: {"answer", "sentence", ...}.'),
    "by": Fact("text", "Username of who asked for it."),
}
_WORK = {
    "id": Fact("integer", "Of this piece of work."),
    "model": Fact("text", "Reference of the version."),
    "status": Fact("text", "ready or failed."),
    "error": Fact("object?", 'Why it failed: {"code", "detail"}.'),
    "by": Fact("text", "Username of who asked for it."),
}
_EXPORT = _WORK | {
    "format": Fact("text", "onnx, onnx-int8, ..."),
    "bytes": Fact("integer?", "Of its files together."),
}
_GATE = _WORK | {"dataset": Fact("text", "Reference of the version it was asked about.")}
_PUBLICATION = _WORK | {
    "repository": Fact("text", "Where on the hub."),
    "url": Fact("text?", "Where it can be seen."),
}
_IMPORT = {
    "id": Fact("integer", "Of the import."),
    "place": Fact("text", "The file, or the server's address."),
    "status": Fact("text", "ready or failed."),
    "new": Fact("integer", "Runs that are new here."),
    "grown": Fact("integer", "Runs that were here and have something new."),
    "error": Fact("object?", 'Why it failed: {"code", "detail"}.'),
    "by": Fact("text", "Username of who asked for it."),
}
_INCIDENT = {
    "number": Fact("integer", "Of the incident in its project."),
    "monitor": Fact("text", "Name of the monitor."),
    "severity": Fact("text", "notice, serious or critical."),
    "signals": Fact("texts", "That are open, worst first."),
    "since": Fact("time", "The end of the first window that spoke against it."),
}
_RETRAINING = {
    "number": Fact("integer", "Of the retraining in its project."),
    "monitor": Fact("text", "Name of the monitor."),
    "status": Fact("text", "Where it stands."),
    "incident": Fact("integer?", "Number of the incident that it answers."),
    "run": Fact("integer?", "Number of the challenger's run."),
    "champion": Fact("text?", "Reference of what serves now."),
    "challenger": Fact("text?", "Reference of what may follow it."),
    "error": Fact("object?", 'Why it failed: {"code", "detail"}.'),
    "by": Fact("text", "Username of who asked for it."),
}
_REVIEW = {
    "id": Fact("integer", "Of the review."),
    "name": Fact("text", "What it is called."),
    "kind": Fact("text", "labels, ratings or compare."),
    "dataset": Fact("text", "Reference of the version whose rows are reviewed."),
    "rows": Fact("integer", "How many rows it has."),
    "made": Fact("text?", "Reference of the version that came of it."),
    "assignees": Fact("texts", "Usernames of who is asked to review."),
    "by": Fact("text", "Username of who asked for it."),
}
_COMMENT = {
    "comment": Fact("integer", "Its id."),
    "text": Fact("text", "Its beginning, at most 500 characters."),
    "mentions": Fact("texts", "Usernames of the members it names."),
}
_REPORT = {
    "number": Fact("integer", "Of the report in its project."),
    "title": Fact("text", "Of the report."),
}
_INVITATION = {
    "username": Fact("text", "Who came."),
    "role": Fact("text", "viewer, editor or owner."),
}
_WEBHOOK = {
    "id": Fact("integer", "Of the webhook."),
    "name": Fact("text", "What people call it."),
    "host": Fact("text", "Of its address."),
    "reason": Fact("text", "Why."),
    "by": Fact("text", "Username of who made it."),
}

_ALL = (
    Kind("project.created", "project", "A project was made.", _PROJECT),
    Kind("project.archived", "project", "It was put away: readable, and changed by nobody.",
         _PROJECT),
    Kind("project.restored", "project", "It was brought back.", _PROJECT),
    Kind("member.added", "member", "Somebody belongs to the project now.", _MEMBER),
    Kind("member.changed", "member", "Somebody's role changed.", _MEMBER),
    Kind("member.removed", "member", "Somebody no longer belongs to it.", _MEMBER),
    Kind("invitation.accepted", "member", "Somebody followed an invitation.", _INVITATION),
    Kind("dataset.created", "dataset", "A dataset was made; its first version is being read.",
         _DATASET),
    Kind("dataset_version.ready", "dataset_version", "A version can be used.", _DATASET_VERSION),
    Kind("dataset_version.failed", "dataset_version", "A version could not be read or made.",
         _DATASET_VERSION),
    Kind("model.created", "model", "A model was registered.", _MODEL),
    Kind("model_version.ready", "model_version", "A version can be used.", _MODEL_VERSION),
    Kind("model_version.failed", "model_version", "A version failed its inspection.",
         _MODEL_VERSION),
    Kind("alias.moved", "model", "An alias means another version, or was removed.", _ALIAS),
    Kind("run.queued", "run", "It was launched. Runs of a study are told by study.launched.",
         _RUN),
    Kind("run.started", "run", "A worker took it for the first time, or a program elsewhere "
         "began to train it. Not told of runs of a study.", _RUN),
    Kind("run.resumed", "run", "A person let it go on, or tried it again.", _RUN),
    Kind("run.finished", "run", "Its training is complete. Trials of a sweep, and controls, are "
         "told by the study and the run they belong to.", _RUN),
    Kind("run.failed", "run", "It ended for a reason that trying again would meet again.", _RUN),
    Kind("run.cancelled", "run", "A person ended it.", _RUN),
    Kind("run.beat_the_best", "run", "It is better than every other finished run of its task on "
         "its dataset version, on validation, by the metric that selects its checkpoint.", _BEST),
    Kind("study.launched", "study", "Its runs were queued.", _STUDY),
    Kind("study.finished", "study", "All its runs are over, and something came of it.", _STUDY),
    Kind("study.failed", "study", "None of its runs was finished.", _STUDY),
    Kind("gate.ready", "model_version", "A teacher was asked about a dataset: its score is "
         "known.", _GATE),
    Kind("gate.failed", "model_version", "A teacher could not be asked about a dataset.", _GATE),
    Kind("export.ready", "model_version", "A version was written in another format, and measured.",
         _EXPORT),
    Kind("export.failed", "model_version", "A version could not be exported.", _EXPORT),
    Kind("publication.ready", "model_version", "A version was sent to a hub.", _PUBLICATION),
    Kind("publication.failed", "model_version", "A version could not be sent to a hub.",
         _PUBLICATION),
    Kind("import.ready", "import", "Runs that another tracker kept were taken in.", _IMPORT),
    Kind("import.failed", "import", "A file or server could not be read.", _IMPORT),
    Kind("incident.opened", "incident", "A monitor's signals speak against its model.", _INCIDENT),
    Kind("incident.worsened", "incident", "Another signal moved, or one got worse.", _INCIDENT),
    Kind("incident.assigned", "incident", "Somebody looks after it, or nobody any more.",
         _INCIDENT | {"owner": Fact("text?", "Username.")}),
    Kind("incident.closed", "incident", "Every signal is as before, or a person closed it.",
         _INCIDENT),
    Kind("retraining.proposed", "retraining", "A person may begin it.", _RETRAINING),
    Kind("retraining.begun", "retraining", "Its rows are collected.", _RETRAINING),
    Kind("retraining.deciding", "retraining", "A person is to decide whether the challenger "
         "follows the champion.", _RETRAINING),
    Kind("retraining.promoted", "retraining", "The challenger is the champion.", _RETRAINING),
    Kind("retraining.kept", "retraining", "The champion stays.", _RETRAINING),
    Kind("retraining.failed", "retraining", "It could not go on.", _RETRAINING),
    Kind("retraining.cancelled", "retraining", "A person ended it.", _RETRAINING),
    Kind("review.opened", "review", "Rows wait for people to review them.", _REVIEW),
    Kind("review.assigned", "review", "People are asked to review its rows.",
         _REVIEW | {"assigned": Fact("texts", "Usernames of who is asked only now.")}),
    Kind("review.closed", "review", "It takes no more reviews; what was corrected is a new "
         "version.", _REVIEW),
    Kind("comment.created", "", "Somebody said something about a run, a dataset version, ...",
         _COMMENT),
    Kind("comment.changed", "", "Somebody mentions further members in a comment.", _COMMENT),
    Kind("report.published", "report", "Its public link was made.", _REPORT),
    Kind("webhook.turned_off", "webhook", "It failed for five days, or its receiver answered 410.",
         _WEBHOOK),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {kind.key: kind for kind in _ALL}


def faults(kind: str, data: Mapping[str, Any]) -> list[str]:
    """What is wrong with the data of an event; nothing where they are as its kind says."""
    known = KINDS.get(kind)
    if known is None:
        return [f"{kind} is no kind of event."]
    found = [f"{kind} has no {name}." for name in known.facts if name not in data]
    found += [f"{kind} knows no {name}." for name in data if name not in known.facts]
    for name, fact in known.facts.items():
        if name in data and not _fits(data[name], fact.type):
            found.append(f"{name} of {kind} is {data[name]!r}, not {fact.type}.")
    return found


def _fits(value: Any, type_: str) -> bool:
    if value is None:
        return type_.endswith("?")
    match type_.removesuffix("?"):
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "yes or no":
            return isinstance(value, bool)
        case "texts":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case "object":
            return isinstance(value, dict)
    return isinstance(value, str)
