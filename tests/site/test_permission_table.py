"""Every route, every method, as everybody: generated from the URL resolver, held to the table in
permission_table.py. Real requests against real rows; each is undone before the next."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import LazySettings, settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from distillhub.lib import storage
from projects.models import (
    Dataset,
    Notification,
    RegisteredModel,
    Slice,
    StagedUpload,
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
from tests.site.permission_table import MLFLOW, NOWHERE, PAGES, REST, Needs
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
NESTED = [r for r in ROUTES if "project_slug" in r.kwargs and len(r.kwargs) > 1]


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


@pytest.fixture(scope="module")
def made(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """One world for all tests, in a transaction that ends with them: each is undone within it."""
    place = tmp_path_factory.mktemp("world")
    with django_db_blocker.unblock(), transaction.atomic():
        with override_settings(MEDIA_ROOT=place / "files", DISTILLHUB_HOME=place / "home"):
            world = make_world(place)
        yield world
        transaction.set_rollback(True)


@pytest.fixture
def world(made: World, db: None, settings: LazySettings) -> World:
    settings.MEDIA_ROOT, settings.DISTILLHUB_HOME = made.place / "files", made.place / "home"
    return made


def make_world(place: Path) -> World:
    alice, erin, vera, charlie = map(make.user, ("alice", "erin", "vera", "charlie"))
    project = make.project("intents", owner=alice, editor=erin, viewer=vera)
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


HELD = {
    "anonymous": Needs.NOTHING,
    "charlie": Needs.ACCOUNT,
    "vera": Needs.VIEWER,
    "erin": Needs.EDITOR,
    "alice": Needs.OWNER,
}
#: Who may what is no matter of the database; whether there is an answer is.
ASKED = ["alice"] if os.environ.get("TEST_DATABASE") == "postgres" else list(HELD)


def ask(
    world: World, who: str, method: str, address: str, body: dict[str, Any] | None = None
) -> HttpResponseBase:
    """One request whose effects are undone."""
    client = Client()
    if address.startswith("/mlflow/"):
        if who in world.tokens:
            client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {world.tokens[who]}"
    elif who in world.sessions:
        client.cookies[settings.SESSION_COOKIE_NAME] = world.sessions[who]
    data: dict[str, Any] = {} if method == "GET" else {"data": body}
    if method not in {"GET", "POST"} or body is not None:
        data["content_type"] = "application/json"
    with transaction.atomic():
        response: HttpResponseBase = getattr(client, method.lower())(address, **data)
        if isinstance(response, StreamingHttpResponse):
            b"".join(response)  # read to its end, which closes the file
        transaction.set_rollback(True)
    return response


def verdict(response: HttpResponseBase, *, rest: bool) -> str:
    """What an answer means for who asked."""
    status = response.status_code
    if status == 302 and response.headers["Location"].startswith("/sign-in/?next="):
        return "sign in first"
    named = {401: "sign in first", 403: "forbidden", 404: "missing", 405: "no such method"}
    if status in named:
        return named[status] if rest or status != 401 else f"{status} on a page"
    return "allowed" if status < 500 else f"failed with {status}"


def expected(needs: Needs, held: Needs) -> str:
    if held >= needs:
        return "allowed"
    if held == Needs.NOTHING:
        return "sign in first"
    if needs == Needs.ADMINISTRATOR:
        return "forbidden"
    return "missing" if held == Needs.ACCOUNT else "forbidden"


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    names = {route.name for route in ROUTES}
    without_rule = sorted(names - set(RULES))
    assert not without_rule, f"add these to tests/site/permission_table.py: {without_rule}"
    assert not sorted(set(RULES) - names), "rules for routes that do not exist"


BY_MAIL = (
    *("account_email_verification_sent", "account_confirm_email", "account_reset_password"),
    *("account_reset_password_done", "account_reset_password_from_key"),
    "account_reset_password_from_key_done",
)
FAULT_OF_MLFLOW = {"error_code", "message"}

# What an empty request cannot reach although it is allowed: (route, method, person).
SPECIAL = {
    ("projects:sign_in_link", "GET"): {"missing", "allowed"},  # a spent link, said on a page
    ("projects:token_revoke", "POST"): {"missing", "allowed"},  # only one's own tokens exist
    ("projects:avatar", "GET"): {"missing"},  # of who has none
    ("api_person_picture", "GET"): {"missing"},
    ("api_my_session", "DELETE"): {"missing"},  # only one's own browsers are there
    ("projects:session_end", "POST"): {"missing"},  # only one's own browsers are there
    ("projects:invitation", "GET"): {"missing"},  # nobody opened one in this browser
    ("projects:invitation", "POST"): {"missing", "allowed"},
    ("projects:invitation_link", "GET"): {"missing"},  # a guessed link
    # Without a mail server, or a provider
    **{(name, "GET"): {"missing"} for name in BY_MAIL},
    ("account_confirm_email", "POST"): {"missing"},
    ("account_reset_password", "POST"): {"missing"},
    ("account_reset_password_from_key", "POST"): {"missing"},
    ("openid_connect_login", "POST"): {"missing"},
    ("openid_connect_callback", "GET"): {"missing"},
    ("account_signup", "GET"): {"forbidden", "allowed"},  # not open, and nobody is invited
    ("account_signup", "POST"): {"forbidden", "allowed"},
    ("mfa_view_recovery_codes", "GET"): {"missing"},  # of who has none
    ("mfa_download_recovery_codes", "GET"): {"missing"},
    ("mfa_deactivate_totp", "GET"): {"missing"},
    ("mfa_deactivate_totp", "POST"): {"missing"},
    ("training:report_shared", "GET"): {"missing"},  # a guessed link
    ("projects:token_rotate", "POST"): {"missing", "allowed"},
    ("api_token", "DELETE"): {"missing", "allowed"},
    ("api_token_rotate", "POST"): {"missing", "allowed"},
    ("projects:notifications_unsubscribe", "POST"): {"missing"},  # a guessed link
    ("api_favourite", "DELETE"): {"missing", "allowed"},  # only one's own exist
    ("api_notification", "GET"): {"missing", "allowed"},
    ("api_notification", "PATCH"): {"missing", "allowed"},
    ("projects:comment_edit", "POST"): {"forbidden", "allowed"},  # one's own
    ("projects:comment_delete", "POST"): {"forbidden", "allowed"},
    ("api_comment", "PATCH"): {"forbidden", "allowed"},
    ("api_comment", "DELETE"): {"forbidden", "allowed"},
    ("api_upload", "GET"): {"missing", "allowed"},  # only one's own uploads exist
    ("api_upload", "PATCH"): {"missing", "allowed"},
    ("api_upload", "DELETE"): {"missing", "allowed"},
    ("api_pending_change", "DELETE"): {"missing", "allowed"},  # of who changed nothing yet
    ("api_review_undo", "POST"): {"missing", "allowed"},  # of who said nothing yet
    ("projects:review_row", "GET"): {"missing", "allowed"},  # likewise
    ("projects:review_row", "POST"): {"missing", "allowed"},
    ("projects:dataset_image", "GET"): {"missing", "allowed"},  # a dataset of texts has none
    ("api_dataset_image", "GET"): {"missing", "allowed"},
    ("projects:dataset_sound", "GET"): {"missing", "allowed"},  # likewise
    ("training:monitor_row_file", "GET"): {"missing", "allowed"},  # of a row that nobody names
    ("training:monitor_rows_collect", "POST"): {"missing", "allowed"},  # of a window likewise
    ("api_monitor_rows_review", "POST"): {"refused", "missing", "allowed"},
    ("projects:dataset_upload_sound", "GET"): {"missing", "allowed"},
    ("projects:dataset_waveform", "GET"): {"missing", "allowed"},
    ("projects:dataset_upload_waveform", "GET"): {"missing", "allowed"},
    ("api_dataset_sound", "GET"): {"missing", "allowed"},
}
# A viewer may remove herself: the rule speaks of others.
LEAVING = {("projects:member_remove", "POST", "vera"), ("api_member", "DELETE", "vera")}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_answers_everybody_as_the_table_says(route: Route, world: World) -> None:
    rest, rules = route.name in REST | MLFLOW, RULES[route.name]
    address = world.address(route)
    wrong = []
    for method in METHODS:
        for who in ASKED:
            answer = ask(world, who, method, address)
            found = verdict(answer, rest=rest)
            if method in rules:
                wanted = {expected(rules[method], HELD[who])}
                if wanted == {"allowed"}:
                    wanted |= SPECIAL.get((route.name, method), set())
                if (route.name, method, who) in LEAVING:
                    wanted = {"allowed"}
            elif who == "alice":
                wanted = {"no such method"}
            else:  # refused one way or the other, and never carried out
                wanted = {"no such method", "sign in first", "missing", "forbidden"}
            if found not in wanted:
                wrong.append(f"{method} as {who}: {found} ({answer.status_code}), not {wanted}")
            if rest and answer.status_code >= 400:
                body = answer.json()  # type: ignore[attr-defined]
                shape = FAULT_OF_MLFLOW if route.name in MLFLOW else {"detail", "code", "fields"}
                assert set(body) == shape, (method, who, body)
    assert not wrong, "\n".join([address, *wrong])


# Bodies with which the request would be carried out, if the address were one's own.
GOOD_BODIES: dict[str, dict[str, Any]] = {
    "api_member": {"role": "viewer"},
    "api_run": {"name": "mine now"},
    "api_run_end": {"status": "finished"},
    "api_run_metrics": {"points": []},
    "api_run_logs": {"lines": []},
    "api_prompt_versions": {"text": "{text}!"},
    "api_review_take": {"many": 1},
    "api_review_verdicts": {"row_id": 0, "verdict": "skip"},
    "api_review_close": {"winner": "majority"},
    "api_model": {"description": "mine now"},
    "api_comment": {"text": "Look again."},
    "api_model_alias": {"version": 1},
    "api_model_versions": {"source": {"kind": "architecture", "architecture": "mlp"}},
    "mlflow:logged_model": {"status": "LOGGED_MODEL_READY"},
    "mlflow:logged_model_params": {"params": []},
    "mlflow:logged_model_tag": {"tags": []},
    "mlflow:logged_model_untag": {},
}


@pytest.mark.parametrize("route", NESTED, ids=lambda route: route.name)
def test_what_is_in_one_project_does_not_exist_in_another(route: Route, world: World) -> None:
    """Alice owns both projects; the nested names and numbers are those of the first."""
    alice = User.objects.get(username="alice")
    make.project("elsewhere", owner=alice)
    address = world.address(route, project_slug="elsewhere")
    for method in RULES[route.name]:
        if route.name == "projects:dataset_discard":  # what is not there is gone already
            assert signed_in(alice).post(address).status_code == 302
            assert StagedUpload.objects.exists()
            continue
        answer = ask(world, "alice", method, address, GOOD_BODIES.get(route.name))
        assert answer.status_code == 404, f"{method} {address}: {answer.status_code}"


@pytest.mark.parametrize(
    "part", ["index", "projects_user_changelist", "projects_apitoken_changelist"]
)
def test_the_administration_is_for_staff(part: str, world: World) -> None:
    address = reverse(f"admin:{part}")
    for who in HELD:
        answer = ask(world, who, "GET", address)
        assert answer.status_code == 302, who
        assert (
            "/admin/login/" in answer.headers["Location"]
            or "/sign-in/" in (answer.headers["Location"])
        )
    assert signed_in(User.objects.create_superuser("root")).get(address).status_code == 200


def test_any_other_rest_address_is_404_in_the_one_shape(world: World) -> None:
    for address in ("/api/v1/", "/api/v1/nothing/", "/api/v1/projects", "/api/v1/me/x/y"):
        for method in METHODS:
            for who in HELD:
                answer = ask(world, who, method, address)
                assert answer.status_code == 404
                assert set(answer.json()) == {"detail", "code", "fields"}  # type: ignore[attr-defined]
