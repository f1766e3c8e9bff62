"""What the REST views of both apps stand on: a project guarded by role, and POSTs that may be sent
twice.

    class RunList(ProjectMixin, APIView):
        def get(self, request: Request, project_slug: str) -> Response:
            runs = self.project().runs.all()

        @idempotent
        def post(self, request: Request, project_slug: str) -> Response:
            run = launching.launch(
                project=self.project(), configuration=request.data, by=person(request)
            )
"""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ClassVar, overload

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects import permissions
from projects.models import Project, Role
from projects.permissions import person
from projects.services import idempotency

__all__ = ["ProjectMixin", "idempotent", "person"]

Handler = Callable[..., Response]


class ProjectMixin(APIView):
    """For views under `projects/<slug:project_slug>/`.

    The project is looked up before the handler runs, so that a view which forgets to ask is still
    guarded: strangers get 404, members whose role is too low 403. Reading needs a viewer and
    changing an editor; `roles` says otherwise by method: `roles = {"DELETE": Role.OWNER}`.
    """

    roles: ClassVar[dict[str, Role]] = {}
    archived_too: ClassVar[bool] = False  # whether an archived project may be changed here
    _project: Project | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.project()

    def project(self, *, at_least: Role | None = None) -> Project:
        """The project of the address. Raises Missing (404) and Forbidden (403)."""
        if getattr(self, "swagger_fake_view", False):  # the OpenAPI generator asks for querysets
            return Project(pk=0)
        if self._project is None:
            self._project = permissions.project_for(
                person(self.request), self.kwargs["project_slug"], for_page=False
            )
        permissions.require(
            self._project,
            at_least=at_least or self._role_for_method(),
            archived_too=self.archived_too,
        )
        return self._project

    def _role_for_method(self) -> Role:
        method = self.request.method or "GET"
        ordinary = Role.VIEWER if method in SAFE_METHODS else Role.EDITOR
        return self.roles.get(method, ordinary)


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Any text of your own, at most 200 characters. The same key and body answer as "
    "the first time; the same key with another body is 409.",
)


@overload
def idempotent(handler: Handler) -> Handler: ...
@overload
def idempotent(*, forget: Iterable[str]) -> Callable[[Handler], Handler]: ...
def idempotent(
    handler: Handler | None = None, *, forget: Iterable[str] = ()
) -> Handler | Callable[[Handler], Handler]:
    """Let a creating `post` be sent twice: with an `Idempotency-Key` header, the second is
    answered like the first, with `Idempotent-Replayed: true`. `forget` names secrets in the
    answer that must not be stored.

    The handler must return JSON data. Multipart bodies are allowed; their files are hashed.
    """

    def decorate(post: Handler) -> Handler:
        @extend_schema(parameters=[IDEMPOTENCY_KEY])
        @wraps(post)
        def wrapper(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
            key = request.headers.get("Idempotency-Key", "")
            if not key:
                return post(self, request, *args, **kwargs)
            headers: dict[str, str] = {}

            def work() -> tuple[int, Any]:
                response = post(self, request, *args, **kwargs)
                headers.update(response.headers)
                return response.status_code, json.loads(JSONRenderer().render(response.data))

            has_files = _is_multipart(request)
            done = idempotency.once(
                user=person(request),
                key=key,
                request_digest=idempotency.digest(_parts(request)),
                work=work,
                together=not has_files,
                forget=forget,
            )
            if done.repeated:
                headers["Idempotent-Replayed"] = "true"
            return Response(done.answer, status=done.status, headers=headers)

        return wrapper

    return decorate(handler) if handler is not None else decorate


def _is_multipart(request: Request) -> bool:
    return str(request.content_type or "").startswith("multipart/")


def _parts(request: Request) -> Iterator[bytes]:
    yield (request.method or "").encode()
    yield request.get_full_path().encode()
    if not _is_multipart(request):
        yield request.body  # read here, before the parser: DRF parses from the kept bytes
        return
    assert isinstance(request.data, QueryDict)
    for name, values in sorted(request.data.lists()):
        for value in values:
            yield name.encode()
            if isinstance(value, UploadedFile):
                yield (value.name or "").encode()
                yield from value.chunks()
                value.seek(0)
            else:
                yield str(value).encode()
