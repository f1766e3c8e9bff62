"""What a monitor watches, and what it holds that against, as people write them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from distillhub.lib.errors import DomainError
from projects.models import ModelVersion, Project
from projects.services import datasets, registry
from training import catalog
from training.services.monitor_values import Fault, moment, number

JSON = dict[str, Any]

MOST_LABELS = 10_000
SEVERAL, SEPARATOR = "multi_label", "|"
VECTORS = "feature-extraction"
BY_WORD = "token-classification"
WRITTEN = "text-generation"
MOST_HOURS = 24 * 31
LEAST_REFERENCE = 10  # rows that can tell anything

NEEDED = {
    "name": "Give the monitor a name, which its address will have.",
    "model": "Name a model, as in tickets@production, tickets@3, or "
    '{"external": "name", "task": "text-classification", "labels": ["no", "yes"]}.',
    "reference": "Say what is usual: a split of a dataset, as in tickets@1:test, or "
    '{"traffic": {"from": ..., "until": ...}}.',
    "window": 'Say how long a window is: {"rows": 500} or {"hours": 1}.',
}


def model(project: Project, value: Any) -> JSON:
    """Columns of a Monitor: `tickets@production`, `tickets@3`, `tickets`, or another's. Raises
    Fault."""
    if isinstance(value, Mapping):
        return _external(value)
    if isinstance(value, str):
        return _registered(project, value.strip())
    raise Fault("model", NEEDED["model"])


def _external(value: Mapping[str, Any]) -> JSON:
    if unknown := sorted(set(map(str, value)) - {"external", "task", "labels", "several_labels"}):
        sentence = "Say external, task, labels and several_labels, and nothing else."
        raise Fault(f"model.{unknown[0]}", sentence)
    name, task, labels = value.get("external"), value.get("task"), value.get("labels", [])
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= 200:
        raise Fault("model.external", "Say what the model is called, in 1 to 200 characters.")
    if task not in tasks():
        raise Fault("model.task", f"It must be one of {', '.join(tasks())}.")
    if (
        not isinstance(labels, list)
        or not all(isinstance(one, str) and one and len(one) <= 200 for one in labels)
        or len(set(labels)) != len(labels)
        or len(labels) == 1
        or len(labels) > MOST_LABELS
    ):
        sentence = "List the classes in the order of probabilities, each once; none for numbers."
        raise Fault("model.labels", sentence)
    if labels and task == VECTORS:
        raise Fault("model.labels", "What makes vectors has no classes.")
    if labels and task == WRITTEN:
        raise Fault("model.labels", "What writes texts has no classes.")
    if task == BY_WORD and (sentence := _no_tags(labels)):
        raise Fault("model.labels", sentence)
    several = value.get("several_labels", False)
    if not isinstance(several, bool) or (several and not labels):
        sentence = "It is true or false, and true of classes alone: a row may have any number."
        raise Fault("model.several_labels", sentence)
    if several and task == BY_WORD:
        raise Fault("model.several_labels", "Each word has one tag.")
    if several and (sentence := _not_joined(labels)):
        raise Fault("model.labels", sentence)
    return {
        "external": name.strip(), "task": task, "labels": list(labels), "several_labels": several,
        "model": None, "alias": "", "version": None,
    }  # fmt: skip


def _registered(project: Project, reference: str) -> JSON:
    try:
        version = registry.resolve(project=project, reference=reference)
    except DomainError as error:
        raise Fault("model", error.detail) from None
    if sentence := unwatchable(version):
        raise Fault("model", sentence)
    _, _, which = reference.partition("@")
    follows = bool(which) and which != "latest" and not which.isdecimal()
    return {
        "model": version.model, "alias": which if follows else "", "version": version,
        "external": "", "task": version.model.task, "labels": list(version.labels),
        "several_labels": version.problem == SEVERAL,
    }  # fmt: skip


def unwatchable(version: ModelVersion) -> str:
    """Why no monitor can watch a version; empty where one can."""
    if version.model.task not in tasks():
        return f"What does {version.model.task} is not watched: it gives no one answer to a row."
    if version.problem == SEVERAL and (sentence := _not_joined(version.labels)):
        return sentence
    if version.model.task == BY_WORD and (sentence := _no_tags(version.labels)):
        return sentence
    if version.model.task != VECTORS and version.problem not in (
        "single_label", "regression", SEVERAL,
    ):  # fmt: skip
        return f"{version.reference} gives neither labels nor a number, which are watched."
    if not version.has_network or not version.is_trained:
        return f"{version.reference} is no trained network, which is asked about the reference."
    return ""


def _not_joined(labels: Sequence[str]) -> str:
    """Why several of these cannot stand in one text; empty where they can."""
    for one in labels:
        if SEPARATOR in one:
            return (
                f"{one[:60]!r} holds {SEPARATOR!r}, which stands between several labels of a row."
            )
    return ""


def _no_tags(labels: Sequence[str]) -> str:
    """Why these cannot be tags of words, between which blanks stand; empty where they can."""
    if not labels:
        return "List the tags that a word may have: O, B-PER, ..."
    for one in labels:
        if one.split() != [one]:
            return f"{one[:60]!r} is no tag of a word: between tags of a text stand blanks."
    return ""


def tasks() -> list[str]:
    """Those whose answer is labels, a number, a vector or a text of a whole row."""
    of_rows = [
        one for one in catalog.tasks() if one["unit"] in ("row", "word") or one["key"] == WRITTEN
    ]
    return [str(one["key"]) for one in of_rows]


def reference(project: Project, value: Any) -> JSON:
    """Columns of a Monitor: `tickets@1:test`, or traffic between two times. Raises Fault."""
    if isinstance(value, Mapping):
        return _traffic(value)
    if not isinstance(value, str) or not value.strip():
        raise Fault("reference", NEEDED["reference"])
    reference, _, split = value.strip().partition(":")
    try:
        version = datasets.resolve(project=project, reference=reference)
    except DomainError as error:
        raise Fault("reference", error.detail) from None
    split = split or ("test" if "test" in version.splits else next(iter(version.splits), ""))
    if split not in version.splits:
        known = ", ".join(version.splits)
        raise Fault("reference", f"{version.reference} has no split {split[:40]}, but {known}.")
    if version.splits[split]["rows"] < LEAST_REFERENCE:
        sentence = f"{LEAST_REFERENCE} rows are the least that tell what is usual."
        raise Fault("reference", sentence)
    return {
        "dataset_version": version, "split": split, "traffic_from": None, "traffic_until": None,
    }  # fmt: skip


def _traffic(value: Mapping[str, Any]) -> JSON:
    said = value.get("traffic")
    if set(value) != {"traffic"} or not isinstance(said, Mapping):
        raise Fault("reference", NEEDED["reference"])
    if set(said) == {"hours"}:
        hours = number("reference.traffic.hours", said["hours"], 0.05, MOST_HOURS)
        start = timezone.now().replace(microsecond=0)  # people read it, and write it again
        end = start + timedelta(seconds=round(hours * 3600))
    elif set(said) == {"from", "until"}:
        start, end = (moment(f"reference.traffic.{name}", said[name]) for name in ("from", "until"))
    else:
        sentence = 'Say {"from": time, "until": time}, or {"hours": 24} of the next day.'
        raise Fault("reference.traffic", sentence)
    if not timedelta(0) < end - start <= timedelta(hours=MOST_HOURS):
        raise Fault("reference.traffic", "It ends after it begins, and within 31 days.")
    return {"dataset_version": None, "split": "", "traffic_from": start, "traffic_until": end}
