"""Every address, and a project with one of everything to ask them about."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from distillhub.lib import storage
from projects.models import (
    Dataset,
    Notification,
    Project,
    RegisteredModel,
    Slice,
    StoredCompletion,
    User,
)
from projects.services import (
    accounts,
    comments,
    datasets,
    favourites,
    feedback,
    invitations,
    prompts,
    resumable,
    reviews,
    subjects,
    tokens,
)
from tests import make
from tests.conftest import signed_in
from tests.site.permission_table import MLFLOW, NOWHERE, PAGES, REST
from training.models import Artifact, ExperimentRun, SavedView, StorageUse, Study, TrackedFile
from training.services import reports

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
RULES = PAGES | REST | MLFLOW


@dataclass(frozen=True)
class Route:
    name: str
    kwargs: tuple[str, ...]


def _routes(patterns: list[Any], namespace: str = "") -> Iterator[Route]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            if not inner.startswith("admin:"):
                yield from _routes(pattern.url_patterns, inner)
        elif isinstance(pattern, URLPattern):
            name = f"{namespace}{pattern.name or pattern.pattern}"
            yield Route(name, tuple(pattern.pattern.converters))


ROUTES = [route for route in _routes(get_resolver().url_patterns) if route.name not in NOWHERE]


@dataclass
class World:
    """A project with one of everything, and the people around it."""

    place: Path  # of its files
    sessions: dict[str, str]  # of those who are signed in
    tokens: dict[str, str]  # of the same
    values: dict[str, Any]

    def address(self, route: Route, **other: Any) -> str:
        values = {**self.values, **self._own_values(route), **other}
        return reverse(route.name, kwargs={name: values[name] for name in route.kwargs})

    def _own_values(self, route: Route) -> dict[str, Any]:
        """Where one word of an address means different things at different routes."""
        if "invitation" in route.name and "pk" in route.kwargs:
            return {"pk": self.values["invitation_pk"]}
        if route.name in {"training:artifact_download", "api_run_artifact"}:
            return {"name": "model/config.json"}
        if route.name.startswith("training:monitor_") or route.name == "training:retraining_begin":
            return {"name": self.values["monitor_name"]}
        if route.name == "training:mlflow_run":
            return {"key": "0" * 32}
        if route.name == "training:tracked_file":
            return {"key": self.values["logged_model"], "path": "a.txt"}
        if route.name.startswith("mlflow:"):
            key = self.values["logged_model"]
            return {"key": key, "tag": "kind", "path": f"0/models/{key}/artifacts/a.txt"}
        return {}


@pytest.fixture
def world(
    project: Project, alice: User, erin: User, vera: User, charlie: User, tmp_path: Path
) -> World:
    return make_world(project, alice, erin, vera, charlie, place=tmp_path)


def make_world(
    project: Project, alice: User, erin: User, vera: User, charlie: User, *, place: Path
) -> World:
    folder = storage.working_folder("making")
    rows = pa.table({"row_id": [0], "split": ["test"], "label": ["yes"], "text": ["hello"]})
    pq.write_table(rows, folder / "rows.parquet")
    parquet = storage.put(folder / "rows.parquet")
    (folder / "config.json").write_text('{"format": 1}')
    blob = storage.put(folder / "config.json")
    file = {"name": "config.json", "sha256": blob.sha256, "bytes": blob.bytes}
    make.dataset_version(
        project, "messages", file_sha256=parquet.sha256, file_bytes=parquet.bytes, rows=1
    )
    make.model_version(project, "small", files=[file], labels=["no", "yes"])
    run = make.run(project, number=1)
    Study.objects.create(
        project=project, number=1, kind="seeds", name="sure", asked={}, created_by=run.created_by
    )
    reports.share(report=reports.create(project=project, title="told", body="", by=alice), by=alice)
    Artifact.objects.create(
        run=run, kind="model", name="model/config.json", sha256=blob.sha256, bytes=blob.bytes
    )
    Artifact.objects.create(
        run=run, kind="evaluation", name="evaluation.json", sha256=blob.sha256, bytes=blob.bytes
    )
    table = SimpleUploadedFile("more.csv", b"text,label\nhello,yes\ngoodbye,no\n")
    staged = datasets.stage(project=project, file=table, name="more", by=erin)
    token, _ = accounts.create_token(user=alice, name="mine")
    ours, _ = tokens.create_for_project(project=project, name="ours", by=alice)
    invited, _ = invitations.invite(project=project, role="viewer", by=alice)
    version = RegisteredModel.objects.get(name="small").versions.get()
    version.aliases.create(model=version.model, name="production")
    sent = make.publication(version)
    brought = make.run_import(project)
    version.model.api_keys.create(origin="https://huggingface.co:443", sealed="x", changed_by=alice)
    version.model.alias_rules.create(name="production", rules={"min_score": 0.5}, changed_by=alice)
    shipped = make.export(
        version, project.datasets.get(name="messages").versions.get(), files=[file]
    )
    stored = make.teacher_outputs(project.datasets.get(name="messages").versions.get())
    gate = make.gate(version, project.datasets.get(name="messages").versions.get())
    row_map = make.row_map(project.datasets.get(name="messages").versions.get())
    worker = make.worker()
    use = StorageUse.objects.create(
        home="here", host="here", kind="ended", project=project, bytes=1, told_at=timezone.now()
    )
    prompts.create(project=project, name="asking", text="{text}?", by=erin)
    StoredCompletion.objects.create(
        project=project, key="chatcmpl-1", called_at=timezone.now(), request={}, response={}
    )
    queue = reviews.create(
        version=project.datasets.get(name="messages").versions.get(),
        name="Look",
        kind="ratings",
        how="random",
        by=erin,
    )
    dataset = project.datasets.get(name="messages")
    Slice.objects.create(dataset=dataset, name="short", conditions={"q": "x"}, created_by=erin)
    under_way = resumable.begin(name="big.csv", size=10, by=erin)
    said = feedback.save(
        project=project, task="image-classification", given=make.picture(), label="yes", by=erin
    )
    view = SavedView.objects.create(project=project, name="mine", query="q=x", created_by=erin)
    talked_of = subjects.find(project=project, kind="run", reference="1")
    word = comments.add(project=project, subject=talked_of, text="Look.", by=alice)
    kept = favourites.add(user=alice, project=project, subject=talked_of)
    heard = Notification.objects.create(
        user=alice, event=project.events.latest("pk"), topic="comment"
    )
    sessions, secrets = {}, {}
    logged = make.logged_model(project, run=run, tags={"kind": "small"})
    ExperimentRun.objects.create(run=run, experiment=logged.experiment, key="0" * 32)
    TrackedFile.objects.create(
        project=project, owner=logged.key, path="a.txt", sha256=blob.sha256, bytes=blob.bytes
    )
    for person in (charlie, vera, erin, alice):
        secrets[person.username] = accounts.create_token(user=person, name="all")[1]
        client = signed_in(person)
        sessions[person.username] = client.cookies[settings.SESSION_COOKIE_NAME].value
    watched = make.monitor(version)
    make.retraining(watched)
    told_of = make.incident(watched)
    told_to = make.alert_channel(project)
    told = told_to.messages.create(
        key="one", incident=told_of, body={}, status="sent", due_at=timezone.now()
    )
    hook = make.webhook(project)
    delivered = hook.deliveries.create(
        message_id="msg_1", kind="test", body={}, status="failed", due_at=timezone.now()
    )
    now = timezone.now()
    watched.windows.create(number=1, starts_at=now, ends_at=now, rows=1, sums=b"")
    return World(
        place,
        sessions,
        secrets,
        {
            "logged_model": logged.key,
            "project_slug": project.slug,
            "dataset_name": Dataset.objects.get(name="messages").name,
            "model_name": "small",
            "number": 1,
            "alias": "production",
            "name": "config.json",
            "row_id": 0,
            "upload_id": staged.pk,
            "file": 0,
            "place": 0,
            "username": "vera",
            "pk": token.pk,
            "token_id": ours.pk,
            "invitation_pk": invited.pk,
            "uidb36": "1",
            "provider_id": "oidc",
            "token": "spent",
            "secret": "guessed",
            "method_kind": "losses",
            "export_id": shipped.pk,
            "publication_id": sent.pk,
            "import_id": brought.pk,
            "gate_id": gate.pk,
            "map_id": row_map.pk,
            "entry_id": stored.pk,
            "worker_id": worker.pk,
            "use_id": use.pk,
            "view_id": view.pk,
            "resumable_id": under_way.pk,
            "key": "chatcmpl-1",
            "operation": "filter",
            "prompt_name": "asking",
            "slice_name": "short",
            "queue_id": queue.pk,
            "feedback_id": said.pk,
            "monitor_name": watched.name,
            "channel_id": told_to.pk,
            "message_id": told.pk,
            "webhook_id": hook.pk,
            "delivery_id": delivered.pk,
            "comment_id": word.pk,
            "favourite_id": kept.pk,
            "notification_id": heard.pk,
        },
    )
