"""Publications: versions that are sent to repositories of a hub."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Invalid
from projects.api.base import idempotent, person
from training.api.models import ModelMixin
from training.api.run_serializers import ErrorShape, ObjectField
from training.models import Publication
from training.services import publishing


class PublicationShape(serializers.ModelSerializer[Publication]):
    model = serializers.CharField(source="version.reference")
    exports = serializers.SerializerMethodField(help_text="Ids of exports.")
    error = ErrorShape(allow_null=True)
    report = ObjectField(allow_null=True, help_text="commit, url, files and bytes.")
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = Publication
        fields: ClassVar = [
            "id", "model", "endpoint", "repository", "revision", "private", "weights", "exports",
            "message", "status", "stage", "error", "report", "created_by", "created_at",
            "finished_at",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields

    def get_exports(self, publication: Publication) -> list[int]:
        return [export.pk for export in publication.exports.all()]


class NewPublication(serializers.Serializer[Any]):
    """What OpenAPI says; `services.publishing.publish` checks it."""

    repository = serializers.CharField(help_text="owner/name; made where there is none.")
    revision = serializers.CharField(required=False, help_text="A branch; main.")
    private = serializers.BooleanField(required=False, default=True)
    weights = serializers.BooleanField(
        required=False, default=True, help_text="The model's own files."
    )
    exports = serializers.ListField(
        child=serializers.IntegerField(), required=False, help_text="Ids of ready exports."
    )
    message = serializers.CharField(required=False)
    token = serializers.CharField(
        required=False,
        write_only=True,
        help_text="Of the hub. Kept sealed with the model for its address, never shown again.",
    )


class PublicationList(ModelMixin, generics.ListAPIView[Publication]):
    """Where a version was sent, newest first."""

    serializer_class = PublicationShape

    def get_queryset(self) -> QuerySet[Publication]:
        if getattr(self, "swagger_fake_view", False):
            return Publication.objects.none()
        return publishing.listed(version=self.version())

    @extend_schema(operation_id="publications_list", summary="Where a version was sent")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="publications_create",
        summary="Send a version to a hub",
        request=NewPublication,
        responses={202: PublicationShape},
        description="A worker makes one commit of the model's files, the exports that are named "
        "and the card as README.md: ask for it until its status is `ready` or `failed`. It goes to "
        "HF_ENDPOINT.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        version = self.version()
        if not isinstance(request.data, dict):
            raise Invalid("A publication is an object with a repository.")
        made = publishing.publish(version=version, asked=request.data, by=person(request))
        return Response(PublicationShape(made).data, status=status.HTTP_202_ACCEPTED)


class PublicationDetail(ModelMixin, APIView):
    """One publication."""

    @extend_schema(
        operation_id="publications_retrieve", summary="A publication", responses=PublicationShape
    )
    def get(
        self, request: Request, project_slug: str, model_name: str, number: int, publication_id: int
    ) -> Response:
        found = publishing.find(version=self.version(), publication_id=publication_id)
        return Response(PublicationShape(found).data)


class HubToken(ModelMixin, APIView):
    """The token with which a model is sent to the hub."""

    @extend_schema(
        operation_id="hub_token_forget",
        summary="Forget the hub's token of a model",
        responses={204: None},
    )
    def delete(self, request: Request, project_slug: str, model_name: str) -> Response:
        publishing.forget_token(model=self.model(), by=person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)
