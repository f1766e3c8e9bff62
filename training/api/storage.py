"""What takes how much room, and freeing it."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, person
from projects.models import Role
from training.models import StorageUse
from training.services import storage_use


class UseShape(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="use.pk")
    kind = serializers.ChoiceField(source="use.kind", choices=StorageUse.Kind.choices)
    project = serializers.CharField(source="project.slug", allow_null=True, default=None)
    bytes = serializers.IntegerField(source="use.bytes")
    files = serializers.IntegerField(source="use.files", help_text="Or folders of runs.")
    may_free = serializers.BooleanField(help_text="Whether you may have it freed.")
    leaving = serializers.BooleanField(source="use.unwanted", help_text="Is being freed.")
    told_at = serializers.DateTimeField(source="use.told_at")


class MachineShape(serializers.Serializer[Any]):
    host = serializers.CharField()
    uses = UseShape(many=True, source="rows")
    others_bytes = serializers.IntegerField(help_text="Of projects that you are no member of.")
    teacher_outputs_bytes = serializers.IntegerField(source="teacher_outputs")
    disk_bytes = serializers.IntegerField(allow_null=True)
    disk_free_bytes = serializers.IntegerField(allow_null=True)


class ProjectUseShape(serializers.Serializer[Any]):
    project = serializers.CharField(source="project.slug")
    bytes = serializers.IntegerField()
    datasets_bytes = serializers.IntegerField(source="parts.datasets")
    models_bytes = serializers.IntegerField(source="parts.models")
    exports_bytes = serializers.IntegerField(source="parts.exports")
    artifacts_bytes = serializers.IntegerField(source="parts.artifacts")
    maps_bytes = serializers.IntegerField(source="parts.maps", help_text="Of maps of rows.")
    monitors_bytes = serializers.IntegerField(
        source="parts.monitors", help_text="Rows that monitors were sent, and their references."
    )
    checkpoints_bytes = serializers.IntegerField(source="checkpoints")
    freeable_checkpoints_bytes = serializers.IntegerField(
        source="freeable_checkpoints", help_text="Of failed and cancelled runs."
    )
    machines_bytes = serializers.IntegerField(
        source="machines", help_text="In folders of runs, on all machines."
    )
    ended_run_days = serializers.IntegerField(
        source="project.ended_run_days",
        allow_null=True,
        help_text="Days for which failed and cancelled runs keep their checkpoints: 0 for ever, "
        "null as this installation does.",
    )


class StorageShape(serializers.Serializer[Any]):
    storage = UseShape(many=True, help_text="As the last sweep counted: every file once.")
    projects = ProjectUseShape(
        many=True, help_text="A file of two projects is counted in both, in each once."
    )
    machines = MachineShape(many=True)


class KeepShape(serializers.Serializer[Any]):
    ended_run_days = serializers.IntegerField(
        allow_null=True, min_value=0, max_value=storage_use.MOST_DAYS
    )


class Storage(APIView):
    @extend_schema(
        operation_id="storage_retrieve",
        responses=StorageShape,
        summary="What takes how much room",
    )
    def get(self, request: Request) -> Response:
        return Response(StorageShape(storage_use.overview(by=person(request))).data)


class StorageFree(APIView):
    @extend_schema(
        operation_id="storage_free",
        request=None,
        responses={202: None},
        summary="Free what is listed",
        description="By its machine within a minute; what nothing names in storage by the next "
        "sweep, which is asked for now. For owners of its project; what is no project's for "
        "administrators.",
    )
    def post(self, request: Request, use_id: int) -> Response:
        storage_use.free(use_id=use_id, by=person(request))
        return Response(status=status.HTTP_202_ACCEPTED)


class ProjectStorage(ProjectMixin, APIView):
    roles: ClassVar = {"PATCH": Role.OWNER}

    @extend_schema(
        operation_id="project_storage_retrieve",
        responses=ProjectUseShape,
        summary="What a project takes",
    )
    def get(self, request: Request, project_slug: str) -> Response:
        found = storage_use.of_project(project=self.project(), by=person(request))
        return Response(ProjectUseShape(found).data)

    @extend_schema(
        operation_id="project_storage_change",
        request=KeepShape,
        responses=ProjectUseShape,
        summary="Say how long failed and cancelled runs keep their checkpoints",
    )
    def patch(self, request: Request, project_slug: str) -> Response:
        body = KeepShape(data=request.data)
        body.is_valid(raise_exception=True)
        project, by = self.project(), person(request)
        storage_use.keep_for(project=project, days=body.validated_data["ended_run_days"], by=by)
        return Response(ProjectUseShape(storage_use.of_project(project=project, by=by)).data)


class FreedShape(serializers.Serializer[Any]):
    freed_bytes = serializers.IntegerField()


class ProjectCheckpoints(ProjectMixin, APIView):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(
        operation_id="project_checkpoints_destroy",
        responses={200: FreedShape},
        summary="Free the stored checkpoints of failed and cancelled runs",
    )
    def delete(self, request: Request, project_slug: str) -> Response:
        freed = storage_use.free_checkpoints(project=self.project(), by=person(request))
        return Response({"freed_bytes": freed})
