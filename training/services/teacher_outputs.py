"""Stored teacher answers, for people to see and to let go. Whoever sees a dataset sees what was
said about it; what was said about others' counts in the sum alone.
"""

import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from django.db import transaction

from distillhub.lib.errors import Forbidden, Missing
from projects.models import DatasetVersion, Membership, ModelVersion, Role, User
from training.models import TeacherOutputs
from training.worker import teacher_store

KINDS = {
    "logits": "logits",
    "hidden_states": "last hidden states",
    "top_k": "top k",
    "text": "texts",
    "layers": "layers",
    "attention": "attention",
    "relations": "queries, keys and values",
    "embeddings": "vectors before the last layer",
}
MOST = 1000  # entries shown
TELLING = {".json", ".safetensors", ".txt", ".model"}  # files that can change an answer


@dataclass(slots=True)
class Shown:
    """An entry, with the names a person knows its dataset by."""

    entry: TeacherOutputs
    datasets: list[str] = field(default_factory=list)
    may_free: bool = False

    @property
    def kind(self) -> str:
        return KINDS.get(self.entry.kind, self.entry.kind)


def listed(*, by: User) -> list[Shown]:
    """Entries of all machines, the one used last first."""
    visible = DatasetVersion.objects.select_related("dataset__project")
    visible = visible if by.is_superuser else visible.visible_to(by)
    names: dict[str, list[str]] = {}
    projects: dict[str, set[int]] = {}
    for version in visible.exclude(fingerprint=""):
        names.setdefault(version.fingerprint, []).append(version.reference)
        projects.setdefault(version.fingerprint, set()).add(version.dataset.project_id)
    owned = set(
        Membership.objects.filter(user=by, role=Role.OWNER).values_list("project_id", flat=True)
    )
    entries = TeacherOutputs.objects.all()
    if not by.is_superuser:
        entries = entries.filter(fingerprint__in=names)
    return [
        Shown(
            entry,
            sorted(set(names.get(entry.fingerprint, []))),
            by.is_superuser or bool(projects.get(entry.fingerprint, set()) & owned),
        )
        for entry in entries[:MOST]
    ]


def sums(*, shown: list[Shown]) -> dict[str, Any]:
    """`{"bytes", "others_bytes", "saved_rows"}`: of what is shown, of everything else, and the rows
    that teachers need not have answered again."""
    every = sum(TeacherOutputs.objects.values_list("bytes", flat=True))
    mine = sum(one.entry.bytes for one in shown)
    saved = sum(one.entry.rows * one.entry.reused for one in shown)
    return {"bytes": mine, "others_bytes": every - mine, "saved_rows": saved}


@transaction.atomic
def free(*, entry_id: int, by: User) -> None:
    """Have its machine remove an entry as soon as nobody uses it; who needs it asks the teacher
    again. Raises Missing, and Forbidden for those who own no project with its dataset."""
    found = next((one for one in listed(by=by) if one.entry.pk == entry_id), None)
    if found is None:
        raise Missing("There is no such stored teacher answer.")
    if not found.may_free:
        raise Forbidden("This needs the role of owner in a project that has its dataset.")
    TeacherOutputs.objects.filter(pk=entry_id).update(unwanted=True)
    transaction.on_commit(partial(teacher_store.ask), robust=True)


def digest(version: ModelVersion) -> str:
    """Names a version's files as the store of teacher answers does (networks.digest)."""
    total = hashlib.sha256()
    for file in sorted(version.files, key=lambda one: str(one["name"])):
        if "/" not in file["name"] and PurePosixPath(file["name"]).suffix in TELLING:
            total.update(f"{file['name']} {file['sha256']}\n".encode())
    return total.hexdigest()
