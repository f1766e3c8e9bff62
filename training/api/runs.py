"""Runs: launched, listed, changed, ended; and what they measured, said and left."""

import time
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib import downloads
from distillhub.lib.errors import Invalid
from distillhub.lib.rest import Cursor, LateCursor, checked_query
from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Role
from training.api import run_representation, sent_points
from training.api.run_serializers import (
    EXAMPLES,
    ArtifactShape,
    ConfigurationShape,
    EditShape,
    LineageShape,
    LogsQuery,
    LogsShape,
    MetricsQuery,
    MetricsShape,
    MoveShape,
    PreflightShape,
    RetryShape,
    RunEventShape,
    RunShape,
    SearchShape,
    SentLinesShape,
    SentPointsShape,
    SentShape,
)
from training.models import Artifact, Run, RunEvent
from training.services import (
    artifacts,
    fidelity,
    launching,
    lineage,
    logs,
    metrics,
    queue,
    run_removal,
    run_search,
    runs,
    tracked_files,
    tracking,
)
from training.worker.logs import Line

EVALUATION = {"type": "object", "additionalProperties": True}


class RunView(ProjectMixin, APIView):
    """A view of one run."""

    def run(self) -> Run:
        return runs.find(project=self.project(), number=self.kwargs["number"])

    def answer(self, run: Run, status: int = 200) -> Response:
        """The run as it is now, for what changed it."""
        return Response(run_representation.one(run), status=status)


@extend_schema_view(get=extend_schema(summary="Runs of a project", parameters=[SearchShape]))
class RunList(ProjectMixin, generics.ListAPIView[Run]):
    queryset = Run.objects.none()
    serializer_class = RunShape
    pagination_class = LateCursor

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = checked_query(request, SearchShape)
        order = asked.pop("order", "-number")
        for name in ("limit", "cursor"):
            asked.pop(name, None)
        found = run_search.found(project=self.project(), order=order, **asked)
        assert isinstance(self.paginator, LateCursor)
        pks = self.paginator.ids(found, request)
        return self.get_paginated_response(run_representation.represented(pks))

    @idempotent
    @extend_schema(
        request=ConfigurationShape,
        responses={201: RunShape},
        summary="Launch a run",
        examples=[
            OpenApiExample(name, value, request_only=True) for name, value in EXAMPLES.items()
        ],
    )
    def post(self, request: Request, project_slug: str) -> Response:
        run = launching.launch(
            project=self.project(), configuration=request.data, by=person(request)
        )
        return Response(run_representation.one(run), status=201)


class RunPreview(ProjectMixin, APIView):
    @extend_schema(
        request=ConfigurationShape,
        responses=ConfigurationShape,
        summary="What a configuration would be launched as",
        description="Every default filled in and every reference pinned; nothing is launched.",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        return Response(launching.preview(project=self.project(), configuration=request.data))


class RunPreflight(ProjectMixin, APIView):
    @extend_schema(
        request=ConfigurationShape,
        responses=PreflightShape,
        summary="What a configuration would take",
        description="Checks it as launching does, and estimates memory, disk and time, with what "
        "each estimate is based on; null where nobody can know yet. Nothing is launched.",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        return Response(launching.foresee(project=self.project(), configuration=request.data))


class RunDetail(RunView):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(responses=RunShape, summary="A run")
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return self.answer(self.run())

    @extend_schema(
        request=EditShape,
        responses=RunShape,
        summary="Change its name, notes, tags, colour or priority; archive it",
    )
    @transaction.atomic
    def patch(self, request: Request, project_slug: str, number: int) -> Response:
        run = self.run()
        body = EditShape(data=request.data)
        body.is_valid(raise_exception=True)
        said = dict(body.validated_data)
        priority = said.pop("priority", None)
        told = {name: said.pop(name) for name in ("params", "steps", "stage") if name in said}
        archived = said.pop("archived", None)
        runs.edit(run=run, **said, by=person(request))
        if archived is not None:
            put = runs.archive if archived else runs.restore
            put(run=run, by=person(request))
        if told:
            tracking.describe(project=self.project(), number=number, **told)
        if priority is not None:
            queue.prioritise(run=run, priority=priority, by=person(request))
        return self.answer(run)

    @extend_schema(
        responses={204: None},
        summary="Delete a run that is over",
        description="And its controls, with all that they measured and said. The model version "
        "that it made stays.",
    )
    def delete(self, request: Request, project_slug: str, number: int) -> Response:
        run_removal.delete(run=self.run())
        return Response(status=204)


class RunCancel(RunView):
    @extend_schema(request=None, responses=RunShape, summary="Cancel a run")
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.answer(runs.cancel(run=self.run(), by=person(request)))


class RunPause(RunView):
    @extend_schema(
        request=None,
        responses=RunShape,
        summary="Pause a run",
        description="One in training writes a checkpoint first: `pausing` is true until it is "
        "`paused`, within seconds.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.answer(runs.pause(run=self.run(), by=person(request)))


class RunResume(RunView):
    @extend_schema(
        request=None,
        responses=RunShape,
        summary="Let a paused, failed or cancelled run go on from its checkpoint",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.answer(runs.resume(run=self.run(), by=person(request)))


class RunRetry(RunView):
    @extend_schema(request=RetryShape, responses=RunShape, summary="Try a failed run once more")
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        run = self.run()
        body = RetryShape(data=request.data)
        body.is_valid(raise_exception=True)
        beginning = body.validated_data["start"] == "beginning"
        return self.answer(runs.retry(run=run, beginning=beginning, by=person(request)))


class RunMove(RunView):
    @extend_schema(
        request=MoveShape,
        responses=RunShape,
        summary="Move a queued run among its launcher's runs",
        description="Within its queue and priority, past runs of projects in which you are an "
        "editor. Other people's turns stay as they are.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        run = self.run()
        body = MoveShape(data=request.data)
        body.is_valid(raise_exception=True)
        return self.answer(queue.move(run=run, to=body.validated_data["to"], by=person(request)))


class RunClone(RunView):
    @idempotent
    @extend_schema(
        request=OpenApiTypes.OBJECT,
        responses={201: RunShape},
        summary="Launch a run again",
        description="The body may hold keys of a run configuration to change.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        made = launching.clone(run=self.run(), changes=_changes(request), by=person(request))
        return self.answer(made, status=201)


class RunMetrics(RunView):
    @extend_schema(parameters=[MetricsQuery], responses=MetricsShape, summary="What it measured")
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        asked = checked_query(request, MetricsQuery)
        if "names" in asked:
            asked["names"] = [name.strip() for name in asked["names"].split(",") if name.strip()]
        read = metrics.read(run=self.run(), **asked)
        for series in read["series"].values():
            series["times"] = [_time(moment) for moment in series["times"]]
        return Response(read)

    @extend_schema(
        request=SentPointsShape,
        responses=SentShape,
        summary="Send what a run measured that is trained elsewhere",
        description="In any order; what was sent before changes nothing, so a batch without an "
        "answer is sent again.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        points = sent_points.read(request.data)
        received = tracking.record(project=self.project(), number=number, points=points)
        return Response({"received": received})


class RunLogs(RunView):
    @extend_schema(parameters=[LogsQuery], responses=LogsShape, summary="Its console")
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        read = logs.read(run=self.run(), **checked_query(request, LogsQuery))
        for line in read["lines"]:
            line["time"] = _time(line["time"])
        return Response(read)

    @extend_schema(
        request=SentLinesShape,
        responses=SentShape,
        summary="Send console lines of a run that is trained elsewhere",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        body = SentLinesShape(data=request.data)
        body.is_valid(raise_exception=True)
        now = time.time()
        lines = [
            Line(one["time"].timestamp() if "time" in one else now, one["level"], one["text"])
            for one in body.validated_data["lines"]
        ]
        tracking.say(project=self.project(), number=number, lines=lines)
        return Response({"received": len(lines)})


class RunLogsDownload(RunView):
    @extend_schema(responses={(200, "text/plain"): str}, summary="Its console as a text file")
    def get(self, request: Request, project_slug: str, number: int) -> StreamingHttpResponse:
        run = self.run()
        return StreamingHttpResponse(
            logs.as_text(run=run),
            content_type="text/plain; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="run-{run.number}.log"',
                "X-Content-Type-Options": "nosniff",
            },
        )


class Oldest(Cursor):
    ordering = "id"


@extend_schema_view(get=extend_schema(summary="What happened to it, in sentences"))
class RunEvents(ProjectMixin, generics.ListAPIView[RunEvent]):
    serializer_class = RunEventShape
    pagination_class = Oldest

    def get_queryset(self) -> QuerySet[RunEvent]:
        if getattr(self, "swagger_fake_view", False):
            return RunEvent.objects.none()
        run = runs.find(project=self.project(), number=self.kwargs["number"])
        return run.events.select_related("by")


@extend_schema_view(get=extend_schema(summary="Files it left"))
class RunArtifacts(ProjectMixin, generics.ListAPIView[Artifact]):
    """What a run left; of one that is tracked what its program sent, a logged model's in a folder
    of its id."""

    serializer_class = ArtifactShape

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return Artifact.objects.none()
        run = runs.find(project=self.project(), number=self.kwargs["number"])
        if run.is_tracked:
            return tracked_files.of(tracked_files.places(run))
        return run.artifacts.all()

    def get_serializer_context(self) -> dict[str, Any]:
        return {
            **super().get_serializer_context(),
            "prefix": self.request.build_absolute_uri(self.request.path),
        }


class RunArtifactDownload(RunView):
    @extend_schema(
        responses={(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY)},
        summary="Download one of its files",
    )
    def get(self, request: Request, project_slug: str, number: int, name: str) -> FileResponse:
        run = self.run()
        if run.is_tracked:
            file = tracked_files.named(run=run, name=name)
            return downloads.attachment(
                tracked_files.open_file(file),
                name=file.path.rsplit("/", 1)[-1],
                media_type="application/octet-stream",
                size=file.bytes,
                sha256=file.sha256,
            )
        artifact = artifacts.find(run=run, name=name)
        return FileResponse(
            artifacts.open_file(artifact=artifact),
            as_attachment=True,
            filename=artifact.name.rsplit("/", 1)[-1],
            content_type="application/octet-stream",
            headers={
                "Content-Length": str(artifact.bytes),
                "ETag": f'"{artifact.sha256}"',
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "sandbox",
            },
        )


class RunEvaluation(RunView):
    @extend_schema(
        responses={200: OpenApiResponse(EVALUATION)}, summary="Evaluation and fidelity report"
    )
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return Response(fidelity.report(run=self.run()))


class RunLineage(RunView):
    @extend_schema(responses=LineageShape, summary="Where it comes from, back to the data")
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return Response(lineage.of_run(run=self.run()))


def _changes(request: Request) -> dict[str, Any]:
    if request.data and not isinstance(request.data, dict):
        raise Invalid("What to change is a JSON object with keys of a run configuration.")
    return dict(request.data or {})


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
