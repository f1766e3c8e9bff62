"""Cards of versions of models."""

from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib import downloads
from distillhub.lib.openapi import whole_list
from projects.api.base import person
from training.api.models import ModelMixin
from training.api.run_serializers import ObjectField
from training.models import CardEdit
from training.services import model_cards


class CardEditShape(serializers.ModelSerializer[CardEdit]):
    by = serializers.CharField(source="by.username")

    class Meta:
        model = CardEdit
        fields: ClassVar = ["number", "text", "by", "at"]
        read_only_fields: ClassVar = fields


class CardShape(serializers.Serializer[Any]):
    model = serializers.CharField(source="version.reference")
    metadata = ObjectField(help_text="The YAML front matter.")
    text = serializers.CharField(help_text="What people wrote, as Markdown.")
    facts = serializers.CharField(help_text="What was measured, made anew each time.")
    markdown = serializers.CharField(help_text="All of it: README.md.")
    edit = serializers.IntegerField(help_text="The number of the newest edit; 0 before there is.")


class CardChange(serializers.Serializer[Any]):
    text = serializers.CharField(
        max_length=model_cards.LONGEST, allow_blank=True, trim_whitespace=False
    )
    edit = serializers.IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=0,
        help_text="The edit that this one was begun from; 409 where there is a newer one.",
    )


class VersionCard(ModelMixin, APIView):
    """The card of a version: people's words, and facts."""

    @extend_schema(
        operation_id="model_card_retrieve", summary="A version's card", responses=CardShape
    )
    def get(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        return Response(CardShape(model_cards.card(version=self.version())).data)

    @extend_schema(
        operation_id="model_card_update",
        summary="Write a version's card",
        request=CardChange,
        responses=CardShape,
        description="Save people's part; the facts cannot be written.",
    )
    def put(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        version = self.version()
        asked = CardChange(data=request.data)
        asked.is_valid(raise_exception=True)
        model_cards.write(
            version=version,
            text=asked.validated_data["text"],
            based_on=asked.validated_data["edit"],
            by=person(request),
        )
        return Response(CardShape(model_cards.card(version=version)).data)


class VersionCardEdits(ModelMixin, APIView):
    """Who wrote what on a card, newest first."""

    @extend_schema(
        operation_id="model_card_edits",
        summary="Every edit of a version's card",
        responses={200: whole_list(CardEditShape)},
    )
    def get(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        edits = model_cards.history(version=self.version())
        answer = {"results": CardEditShape(edits, many=True).data}
        return Response(answer | {"next": None, "previous": None})


class VersionCardDownload(ModelMixin, APIView):
    """README.md of a version."""

    @extend_schema(
        operation_id="model_card_download",
        summary="A version's card as README.md",
        responses={
            (200, "text/markdown"): OpenApiResponse(OpenApiTypes.STR, description="README.md")
        },
    )
    def get(
        self, request: Request, project_slug: str, model_name: str, number: int
    ) -> HttpResponseBase:
        content = model_cards.card(version=self.version()).markdown.encode()
        return downloads.streamed(iter([content]), name="README.md", media_type="text/markdown")
