"""Teachers that stand for several: a source of kind `ensemble`. A run has the members, with their
weights, where it names one; nothing is trained or stored of the ensemble itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.lib.errors import DomainError, Invalid
from projects.models import ModelVersion, Project
from projects.services import registry
from training.engine.config import MOST_TEACHERS

FIELDS = frozenset({"members", "weights"})
HEAVIEST = 1e6


def begun(*, project: Project, task: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a version from `{members, weights?}` begins with. Raises Invalid with `source.…` in its
    fields."""
    members = _members(project, task, asked.get("members"))
    weights = _weights(asked.get("weights"), len(members))
    first = members[0]
    return {
        "source": {
            "kind": "ensemble",
            "members": [one.reference for one in members],
            "weights": weights,
        },
        "labels": list(first.labels),
        "problem": first.problem,
        "parameters": _sum([one.parameters for one in members]),
        "size_bytes": _sum([one.size_bytes for one in members]),
        "status": ModelVersion.Status.READY,
    }


def expanded(version: ModelVersion, weight: float = 1.0) -> list[tuple[str, float]]:
    """References of its members, and the share of each in its own `weight`."""
    source = version.source
    whole = sum(source["weights"])
    shares = zip(source["members"], source["weights"], strict=True)
    return [(reference, weight * share / whole) for reference, share in shares]


def _members(project: Project, task: str, asked: Any) -> list[ModelVersion]:
    if not isinstance(asked, list) or not 2 <= len(asked) <= MOST_TEACHERS:
        raise _wrong("members", f"Name 2 to {MOST_TEACHERS} models: big@1, wide@2.")
    found: list[ModelVersion] = []
    for place, reference in enumerate(asked):
        at = f"members.{place}"
        if not isinstance(reference, str) or not reference.strip():
            raise _wrong(at, "It must be a reference, such as big@1.")
        try:
            member = registry.resolve(project=project, reference=reference.strip())
        except DomainError as error:
            raise _wrong(at, error.detail) from None
        fault = _unfit(member, task, found)
        if fault:
            raise _wrong(at, fault)
        found.append(member)
    return found


def _unfit(member: ModelVersion, task: str, others: Sequence[ModelVersion]) -> str:
    """Why it cannot be a member beside the others; empty when it can."""
    name = member.reference
    if member.model.task != task:
        return f"{name} is for {member.model.task}, not {task}."
    if task == "feature-extraction":
        return "Vectors of several models lie in spaces of their own; they have no mean."
    if member.is_ensemble:
        return f"{name} stands for several models itself. Name those."
    if member.is_asked:
        return (
            f"{name} answers through an API. Have it annotate a dataset with probabilities; what "
            "it wrote can be a member."
        )
    if not member.can_teach:
        return f"{name} has not been trained, so it knows nothing to teach."
    if any(one.pk == member.pk for one in others):
        return f"{name} is there twice; give it a larger weight."
    for one in others[:1]:
        if one.problem != member.problem or set(one.labels) != set(member.labels):
            return f"{name} answers with other labels than {one.reference}."
    return ""


def _weights(asked: Any, count: int) -> list[float]:
    if asked is None:
        return [1.0] * count
    if not isinstance(asked, list) or len(asked) != count:
        raise _wrong("weights", f"There must be {count}, one for each member.")
    found = []
    for place, one in enumerate(asked):
        number = isinstance(one, int | float) and not isinstance(one, bool)
        if not number or not 0 < float(one) <= HEAVIEST:
            raise _wrong(f"weights.{place}", "It must be a number above 0.")
        found.append(float(one))
    return found


def _sum(values: Sequence[int | None]) -> int | None:
    known = [one for one in values if one is not None]
    return sum(known) if len(known) == len(values) else None


def _wrong(name: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={f"source.{name}": [sentence]})
