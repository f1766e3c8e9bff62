"""Teachers and students: models, their versions, aliases and files."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib import downloads, storage
from distillhub.lib.errors import Invalid, Missing
from distillhub.lib.openapi import whole_list
from distillhub.lib.rest import SafeJSONParser
from projects.api.base import ProjectMixin, idempotent, person
from projects.models import ModelVersion, RegisteredModel
from projects.services import registry
from training.api import model_serializers as shapes
from training.services import api_teachers, model_cards, networks

FILE = OpenApiResponse(OpenApiTypes.BINARY, description="The file, as an attachment.")


class ModelMixin(ProjectMixin):
    """For views under `models/<name>/`."""

    def model(self) -> RegisteredModel:
        found = (
            RegisteredModel.objects.filter(project=self.project(), name=self.kwargs["model_name"])
            .select_related("project", "created_by")
            .first()
        )
        if found is None:
            raise Missing("There is no such model in this project.")
        return found

    def version(self) -> ModelVersion:
        return registry.find(
            project=self.project(),
            name=self.kwargs["model_name"],
            number=self.kwargs["number"],
        )


class ModelList(ProjectMixin, generics.ListAPIView[RegisteredModel]):
    """The teachers and students of a project, newest first."""

    serializer_class = shapes.ModelShape
    parser_classes = (SafeJSONParser, MultiPartParser)

    def get_queryset(self) -> QuerySet[RegisteredModel]:
        role = self.request.query_params.get("role", "")
        found = (
            self.project()
            .models.select_related("created_by")
            .prefetch_related(Prefetch("versions", shapes.versions()), "aliases__version")
        )
        if not role:
            return found
        if role not in RegisteredModel.ModelRole.values:
            raise Invalid("The role is teacher or student.", fields={"role": ["Unknown role."]})
        return found.filter(role=role)

    @extend_schema(
        operation_id="models_list",
        summary="Teachers and students",
        parameters=[OpenApiParameter("role", str, enum=["teacher", "student"])],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="models_create",
        summary="Register a teacher or a student",
        request={
            "application/json": shapes.NewModel,
            "multipart/form-data": shapes.NewUploadedModel,
        },
        responses={201: shapes.VersionShape},
        description="Register a teacher or student. The answer is its version 1, which a worker "
        "inspects: ask for it again until its status is `ready` or `failed`.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str) -> Response:
        asked = shapes.NewModel.read(request)
        version = networks.register(project=self.project(), by=person(request), **asked)
        return _created(version)


class ModelDetail(ModelMixin, APIView):
    """One model with its versions."""

    @extend_schema(
        operation_id="models_retrieve",
        summary="A model with its versions",
        responses=shapes.ModelShape,
    )
    def get(self, request: Request, project_slug: str, model_name: str) -> Response:
        return Response(shapes.ModelShape(self.model()).data)

    @extend_schema(
        operation_id="models_update",
        summary="Describe a model",
        request=shapes.ModelChange,
        responses=shapes.ModelShape,
        description="Change the description; names and versions are for ever.",
    )
    def patch(self, request: Request, project_slug: str, model_name: str) -> Response:
        asked = shapes.ModelChange(data=request.data)
        asked.is_valid(raise_exception=True)
        model = registry.describe(
            model=self.model(),
            description=asked.validated_data["description"],
            by=person(request),
        )
        return Response(shapes.ModelShape(model).data)


class VersionList(ModelMixin, generics.ListAPIView[ModelVersion]):
    """The versions of a model, newest first."""

    serializer_class = shapes.VersionShape
    parser_classes = (SafeJSONParser, MultiPartParser)

    def get_queryset(self) -> QuerySet[ModelVersion]:
        if getattr(self, "swagger_fake_view", False):
            return ModelVersion.objects.none()
        return shapes.versions().filter(model=self.model())

    @extend_schema(operation_id="model_versions_list", summary="The versions of a model")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="model_versions_create",
        summary="Add a version",
        request={
            "application/json": shapes.NewVersion,
            "multipart/form-data": shapes.NewUploadedVersion,
        },
        responses={201: shapes.VersionShape},
        description="The next version, from any source.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str, model_name: str) -> Response:
        asked = shapes.NewVersion.read(request)
        return _created(networks.add_version(model=self.model(), by=person(request), **asked))


class VersionDetail(ModelMixin, APIView):
    """One version of a model."""

    @extend_schema(
        operation_id="model_versions_retrieve",
        summary="A version of a model",
        responses=shapes.VersionShape,
    )
    def get(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        return Response(shapes.VersionShape(self.version()).data)


class VersionInspect(ModelMixin, APIView):
    """Another inspection of a version."""

    @extend_schema(
        operation_id="model_versions_inspect",
        summary="Test a connection, or inspect again",
        request=None,
        responses={202: shapes.VersionShape},
        description="A worker inspects a version that failed once more; of a source of kind api it "
        "tests the connection, at any time. Ask until its status is `ready` or `failed`.",
    )
    def post(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        version = networks.inspect_again(version=self.version(), by=person(request))
        return Response(shapes.VersionShape(version).data, status=status.HTTP_202_ACCEPTED)


class ModelKey(ModelMixin, APIView):
    """The key of a teacher behind an API."""

    @extend_schema(
        operation_id="model_key_replace",
        summary="Replace the key of an API",
        request=shapes.KeyChange,
        responses=shapes.KeyShape,
        description="For the address of the newest version, and so for all versions with it.",
    )
    def put(self, request: Request, project_slug: str, model_name: str) -> Response:
        version = api_teachers.newest(model=self.model())
        asked = shapes.KeyChange(data=request.data)
        asked.is_valid(raise_exception=True)
        key = asked.validated_data["key"]
        kept = api_teachers.replace_key(version=version, key=key, by=person(request))
        return Response(shapes.KeyShape(kept).data)


class VersionDownload(ModelMixin, APIView):
    """All files of a version as one zip."""

    @extend_schema(
        operation_id="model_versions_download",
        summary="All files of a version, as one zip",
        responses={(200, "application/zip"): FILE},
    )
    def get(
        self, request: Request, project_slug: str, model_name: str, number: int
    ) -> HttpResponseBase:
        version = self.version()
        files = model_cards.beside(version=version, files=networks.files(version=version))
        return downloads.archive(files, name=f"{version.model.name}-{version.number}.zip")


class VersionFile(ModelMixin, APIView):
    """One file of a version."""

    @extend_schema(
        operation_id="model_versions_file",
        summary="One file of a version",
        responses={(200, "application/octet-stream"): FILE},
    )
    def get(
        self, request: Request, project_slug: str, model_name: str, number: int, name: str
    ) -> HttpResponseBase:
        file = networks.file(version=self.version(), name=name)
        return downloads.attachment(
            storage.open_blob(file["sha256"]),
            name=name,
            media_type="application/octet-stream",
            size=file["bytes"],
            sha256=file["sha256"],
        )


class AliasList(ModelMixin, APIView):
    """Movable names for versions."""

    @extend_schema(
        operation_id="model_aliases_list",
        summary="The aliases of a model",
        responses={200: whole_list(shapes.AliasShape)},
    )
    def get(self, request: Request, project_slug: str, model_name: str) -> Response:
        aliases = self.model().aliases.select_related("version")
        answer = {"results": shapes.AliasShape(aliases, many=True).data}
        return Response(answer | {"next": None, "previous": None})


class AliasDetail(ModelMixin, APIView):
    """One alias: PUT lets it mean another version, DELETE removes it."""

    @extend_schema(
        operation_id="model_aliases_set",
        summary="Point an alias at a version",
        request=shapes.AliasChange,
        responses=shapes.AliasShape,
    )
    def put(self, request: Request, project_slug: str, model_name: str, alias: str) -> Response:
        asked = shapes.AliasChange(data=request.data)
        asked.is_valid(raise_exception=True)
        model, number = self.model(), asked.validated_data["version"]
        version = model.versions.select_related("model").filter(number=number).first()
        if version is None:
            sentence = f"{model.name} has no version {number}."
            raise Invalid(sentence, fields={"version": [sentence]})
        moved = registry.set_alias(model=model, name=alias, version=version, by=person(request))
        return Response(shapes.AliasShape(moved).data)

    @extend_schema(
        operation_id="model_aliases_remove", summary="Remove an alias", responses={204: None}
    )
    def delete(self, request: Request, project_slug: str, model_name: str, alias: str) -> Response:
        registry.remove_alias(model=self.model(), name=alias, by=person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _created(version: ModelVersion) -> Response:
    return Response(shapes.VersionShape(version).data, status=status.HTTP_201_CREATED)
