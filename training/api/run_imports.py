"""Imports: runs that another tracker kept, brought here."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Invalid
from distillhub.lib.rest import SafeJSONParser
from projects.api.base import ProjectMixin, idempotent, person
from projects.services import resumable
from training.api.run_serializers import ErrorShape
from training.models import RunImport
from training.services import run_imports


class FoundRunShape(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="The tracker, and its id: the same run has the same key.")
    name = serializers.CharField()
    tracker = serializers.CharField()
    status = serializers.ChoiceField(choices=["finished", "failed", "cancelled", "running"])
    started = serializers.FloatField(allow_null=True, help_text="Seconds since 1970.")
    series = serializers.IntegerField()
    points = serializers.IntegerField(allow_null=True, help_text="Null where not read yet.")
    params = serializers.IntegerField()
    files = serializers.IntegerField(
        required=False, allow_null=True, help_text="Beside it; null where nobody asked yet."
    )
    left_out = serializers.ListField(child=serializers.CharField(), help_text="What, and why.")
    run = serializers.IntegerField(
        allow_null=True, help_text="Number of the run here that it is; what is new is added to it."
    )


class FoundShape(serializers.Serializer[Any]):
    runs = serializers.IntegerField()
    points = serializers.IntegerField(allow_null=True)
    known = serializers.IntegerField(help_text="Runs that are here already.")
    left_out = serializers.ListField(child=serializers.CharField(), help_text="Of the whole.")
    found = FoundRunShape(many=True, help_text="The first 500.")


class OutcomeShape(serializers.Serializer[Any]):
    new = serializers.IntegerField()
    grown = serializers.IntegerField(help_text="Were here, and have something new.")
    same = serializers.IntegerField(help_text="Were here, with all of it.")
    points = serializers.IntegerField(help_text="That were added.")
    files = serializers.IntegerField(required=False, help_text="That were added.")
    runs = serializers.ListField(
        child=serializers.IntegerField(), help_text="Numbers of the new and the grown."
    )


class RunImportShape(serializers.ModelSerializer[RunImport]):
    report = FoundShape(allow_null=True, help_text="What was found.")
    outcome = OutcomeShape(allow_null=True, help_text="What was taken; null until it is.")
    error = ErrorShape(allow_null=True)
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = RunImport
        fields: ClassVar = [
            "id", "kind", "place", "name", "experiments", "step", "status", "stage", "error",
            "report", "outcome", "created_by", "created_at", "finished_at",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields


class NewImport(serializers.Serializer[Any]):
    """A file, an upload, or a server."""

    file = serializers.FileField(required=False, help_text="As multipart/form-data.")
    upload = serializers.UUIDField(required=False, help_text="Of a finished resumable upload.")
    name = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=run_imports.LONGEST_NAME,
        help_text="Of runs that have none, as those of a table; the file's name.",
    )
    server = serializers.CharField(
        required=False, max_length=500, help_text="Address of a tracking server of MLflow."
    )
    token = serializers.CharField(
        required=False,
        allow_blank=True,
        write_only=True,
        max_length=4000,
        help_text="For the server. Kept sealed until runs were taken, never shown.",
    )
    user = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="With it, token is a password."
    )
    experiments = serializers.ListField(
        child=serializers.CharField(max_length=500),
        required=False,
        max_length=run_imports.MOST_EXPERIMENTS,
        help_text="Names at the server; all without.",
    )
    take = serializers.BooleanField(
        required=False, default=False, help_text="Take all that is found, without asking again."
    )


class Chosen(serializers.Serializer[Any]):
    runs = serializers.ListField(
        child=serializers.CharField(max_length=300),
        required=False,
        allow_null=True,
        default=None,
        max_length=2000,
        help_text="Keys of the runs to take; all without.",
    )


class RunImportList(ProjectMixin, generics.ListAPIView[RunImport]):
    """What was brought here from other trackers, newest first."""

    serializer_class = RunImportShape
    parser_classes = (MultiPartParser, SafeJSONParser)

    def get_queryset(self) -> QuerySet[RunImport]:
        if getattr(self, "swagger_fake_view", False):
            return RunImport.objects.none()
        return run_imports.listed(project=self.project())

    @extend_schema(operation_id="imports_list", summary="Imports of runs")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="imports_create",
        summary="Have a file or server looked into for runs",
        request={"multipart/form-data": NewImport, "application/json": NewImport},
        responses={202: RunImportShape},
        description="A table of metrics (CSV, TSV, JSON Lines), or an archive (zip, tar, tar.gz) "
        "with an mlruns folder or mlflow.db, event files of TensorBoard or offline runs of Weights "
        "& Biases; as a `file`, or a finished `upload`. Or the address of a tracking `server` of "
        "MLflow. A worker looks: ask for it until its status is `ready` or `failed`; then POST to "
        "`take/`, or ask with `take` for that to follow.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str) -> Response:
        project = self.project()
        body = NewImport(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        shared = {"project": project, "straight_on": asked["take"], "by": person(request)}
        ways = [way for way in ("file", "upload", "server") if asked.get(way)]
        if len(ways) != 1:
            sentence = "Send one of file, upload and server."
            raise Invalid(sentence, fields={"file": [sentence]})
        if ways == ["server"]:
            made = run_imports.from_server(
                server=asked["server"],
                token=asked.get("token", ""),
                user=asked.get("user", ""),
                experiments=asked.get("experiments", []),
                **shared,
            )
        elif ways == ["file"]:
            made = run_imports.from_file(file=asked["file"], name=asked.get("name", ""), **shared)
        else:
            made = _uploaded(asked["upload"], name=asked.get("name", ""), **shared)
        return Response(RunImportShape(made).data, status=status.HTTP_202_ACCEPTED)


def _uploaded(upload: UUID, *, name: str, **shared: Any) -> RunImport:
    with resumable.files(upload_ids=[upload], by=shared["by"]) as files:
        return run_imports.from_file(file=files[0], name=name, **shared)


class RunImportDetail(ProjectMixin, APIView):
    """One import."""

    @extend_schema(
        operation_id="imports_retrieve", summary="An import of runs", responses=RunImportShape
    )
    def get(self, request: Request, project_slug: str, import_id: int) -> Response:
        found = run_imports.find(project=self.project(), import_id=import_id)
        return Response(RunImportShape(found).data)

    @extend_schema(
        operation_id="imports_discard",
        summary="Forget an import; its runs stay",
        responses={204: None},
    )
    def delete(self, request: Request, project_slug: str, import_id: int) -> Response:
        found = run_imports.find(project=self.project(), import_id=import_id)
        run_imports.discard(run_import=found, by=person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class RunImportTake(ProjectMixin, APIView):
    """Taking what was found."""

    @extend_schema(
        operation_id="imports_take",
        summary="Take the runs that were found",
        request=Chosen,
        responses={202: RunImportShape},
        description="Each becomes a tracked run. One that is here already gets what is new of it: "
        "taking the same twice changes nothing.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str, import_id: int) -> Response:
        found = run_imports.find(project=self.project(), import_id=import_id)
        body = Chosen(data=request.data)
        body.is_valid(raise_exception=True)
        made = run_imports.take(
            run_import=found, keys=body.validated_data["runs"], by=person(request)
        )
        return Response(RunImportShape(made).data, status=status.HTTP_202_ACCEPTED)


class RunImportAgain(ProjectMixin, APIView):
    """Reading a file, or asking a server, once more."""

    @extend_schema(
        operation_id="imports_again",
        summary="Look again after it failed",
        request=None,
        responses={202: RunImportShape},
    )
    def post(self, request: Request, project_slug: str, import_id: int) -> Response:
        found = run_imports.find(project=self.project(), import_id=import_id)
        made = run_imports.again(run_import=found, by=person(request))
        return Response(RunImportShape(made).data, status=status.HTTP_202_ACCEPTED)
