"""The inbox: calls that applications made to a big model, kept until they become a dataset."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.ingest.formats import TEXT_TASK
from projects.models import Dataset, DatasetVersion, Project, StoredCompletion, User
from projects.models.completion import SHOWN, StoredCompletionQuerySet
from projects.services import datasets
from projects.services.resumable import WholeFile

MOST_AT_ONCE = 500
MOST_PROMOTED = 1_000_000
BATCH = 1000
AHEAD = timedelta(minutes=10)  # that a caller's clock may be


class OtherCall(Conflict):
    """A key comes again with another call."""

    code = "completion_differs"


def receive(
    *, project: Project, calls: Sequence[Mapping[str, Any]], by: User
) -> tuple[list[StoredCompletion], int]:
    """(what is kept of each call, how many were known already). A call is `{"id"?, "request",
    "response", "created_at"?, "metadata"?, "tags"?, "latency_ms"?}`; without an `id` it is the
    answer's, or else its content says whether it came before.

    Raises OtherCall when an `id` comes again with another call; then none is kept.
    """
    del by
    made = [_made(project, call) for call in calls]
    by_key: dict[str, StoredCompletion] = {}
    for one in made:
        _refuse_other(by_key.setdefault(one.key, one), one)
    with transaction.atomic():
        known = StoredCompletion.objects.filter(project=project, key__in=by_key)
        before = {one.key: one for one in known}
        fresh = [one for one in by_key.values() if one.key not in before]
        StoredCompletion.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=BATCH)
        kept = {one.key: one for one in known.all()}
        for one in made:
            _refuse_other(kept[one.key], one)
    return [kept[one.key] for one in made], len(made) - len(fresh)


def find(*, project: Project, key: str) -> StoredCompletion:
    """Raises Missing."""
    found = StoredCompletion.objects.filter(project=project, key=key).first()
    if found is None:
        raise Missing("There is no such call in the inbox.")
    return found


def describe(
    *, completion: StoredCompletion, metadata: Mapping[str, str], by: User
) -> StoredCompletion:
    """Other words about a call; the call itself stays as it was."""
    del by
    completion.metadata = dict(metadata)
    completion.save(update_fields=["metadata"])
    return completion


def forget(*, completions: StoredCompletionQuerySet, by: User) -> int:
    """Delete calls; how many. What became a dataset stays."""
    del by
    return int(completions.delete()[0])


def promote(
    *,
    project: Project,
    completions: StoredCompletionQuerySet,
    name: str,
    task: str,
    dataset: Dataset | None = None,
    by: User,
) -> DatasetVersion:
    """A dataset version of these calls, the oldest first: chats to learn to write from, or (for
    text-classification) the last words of a user with the answer as their label.

    Raises Invalid when there are none, and what datasets.upload raises.
    """
    with tempfile.TemporaryDirectory(dir=storage.working_folder("uploading")) as folder:
        path = Path(folder) / "completions.jsonl"
        rows = 0
        with path.open("w") as out:
            oldest = completions.order_by("called_at", "pk")[:MOST_PROMOTED]
            for one in oldest.iterator(BATCH):
                row = _labelled(one) if task == TEXT_TASK else _chat(one)
                out.write(json.dumps(row, cls=DjangoJSONEncoder) + "\n")
                rows += 1
        if not rows:
            raise Invalid("No call in the inbox is like that.", fields={"q": ["Nothing found."]})
        return datasets.upload(
            project=project,
            name=name,
            task=task,
            file=WholeFile("completions.jsonl", path.stat().st_size, path),
            dataset=dataset,
            by=by,
        )


def _chat(one: StoredCompletion) -> dict[str, Any]:
    return {"request": one.request, "response": one.response} | _about(one)


def _labelled(one: StoredCompletion) -> dict[str, Any]:
    text = _last_words(one.request)
    return {"text": text, "label": _answer(one.response).strip()} | _about(one)


def _about(one: StoredCompletion) -> dict[str, Any]:
    """What is kept beside a call. The nested keys become columns of their own."""
    told = {"completion": one.key, "called_at": one.called_at}
    return told | {f"metadata.{key}": value for key, value in one.metadata.items()}


def _made(project: Project, call: Mapping[str, Any]) -> StoredCompletion:
    request, response = call["request"], call["response"]
    written = json.dumps([request, response], sort_keys=True, separators=(",", ":"))
    sha256 = hashlib.sha256(written.encode()).hexdigest()
    usage = response.get("usage") or {}
    choice = _choice(response)
    made = StoredCompletion(
        project=project,
        key=call.get("id") or _word(response.get("id")) or sha256,
        sha256=sha256,
        called_at=_called_at(call.get("created_at"), response.get("created")),
        model=_word(response.get("model")) or _word(request.get("model")) or "unknown",
        request=request,
        response=response,
        asked=_last_words(request)[:SHOWN],
        answered=_answer(response)[:SHOWN],
        finish_reason=_word(choice.get("finish_reason"))[:50],
        input_tokens=_count(usage, "prompt_tokens", "input_tokens"),
        output_tokens=_count(usage, "completion_tokens", "output_tokens"),
        latency_ms=call.get("latency_ms"),
        metadata=dict(call.get("metadata") or request.get("metadata") or {}),
    )
    made.tags = list(dict.fromkeys(call.get("tags") or ()))
    return made


def _refuse_other(kept: StoredCompletion, sent: StoredCompletion) -> None:
    if kept.sha256 != sent.sha256:
        raise OtherCall(f"{sent.key} came before with another request or answer.")


def _called_at(said: datetime | None, created: Any) -> datetime:
    """When it was called: as said, else as the answer says in seconds, else now."""
    now = timezone.now()
    if said is None and isinstance(created, int | float) and 0 < created < 1 << 33:
        said = datetime.fromtimestamp(created, UTC)
    return said if said is not None and said < now + AHEAD else now


def _choice(response: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}


def _answer(response: Mapping[str, Any]) -> str:
    message = _choice(response).get("message")
    if not isinstance(message, dict):
        return _text(_choice(response).get("text"))
    if calls := message.get("tool_calls"):
        return _text(message.get("content")) or json.dumps(calls)
    return _text(message.get("content")) or _text(message.get("refusal"))


def _last_words(request: Mapping[str, Any]) -> str:
    messages = request.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            return _text(message.get("content"))
    return _text(request.get("prompt"))


def _text(content: Any) -> str:
    """The words of a content, which may come in parts."""
    if isinstance(content, list):
        return "\n".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _word(value: Any) -> str:
    return value.strip()[:200] if isinstance(value, str) else ""


def _count(usage: Any, *names: str) -> int | None:
    found = (usage.get(name) for name in names) if isinstance(usage, dict) else ()
    return next((one for one in found if type(one) is int and 0 <= one < 1 << 31), None)
