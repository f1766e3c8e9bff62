"""Feedback: inputs that models were tried on, with what is right."""

import base64
import binascii
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib import rest
from distillhub.lib.errors import Invalid, TooLarge
from distillhub.lib.rest import SafeJSONParser
from projects.api.base import ProjectMixin, idempotent, person
from projects.api.dataset_serializers import VersionSerializer
from projects.ingest.formats import SPLITS
from projects.models import Feedback
from projects.operations import adding
from projects.services import feedback, registry

JSON = dict[str, Any]


class SaidShape(serializers.Serializer[Any]):
    model = serializers.CharField(max_length=200)
    label = serializers.JSONField(allow_null=True)  # type: ignore[assignment]
    probability = serializers.FloatField(min_value=0, max_value=1, required=False)


class FeedbackShape(serializers.ModelSerializer[Feedback]):
    input = serializers.SerializerMethodField(
        help_text="The text or the cells; null of a picture or sound."
    )
    said = SaidShape(many=True)
    created_by = serializers.CharField(source="created_by.username")
    version = serializers.CharField(
        source="version.reference",
        allow_null=True,
        default=None,
        help_text="The dataset version that it is a row of.",
    )

    class Meta:
        model = Feedback
        fields: ClassVar = [
            "id", "task", "input", "sha256", "label", "said", "note", "created_by", "created_at",
            "version", "is_waiting",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields

    def get_input(self, one: Feedback) -> Any:
        return None if one.sha256 else one.text if one.cells is None else one.cells


class NewFeedback(serializers.Serializer[Any]):
    """`input` is a text, an object of a table's columns, or a picture or sound in base64 (or a file
    of a form)."""

    model = serializers.CharField(
        max_length=250, required=False, help_text="That was tried, such as `tiny@3`: says the task."
    )
    task = serializers.CharField(max_length=50, required=False)
    input = serializers.JSONField()
    label = serializers.JSONField(  # type: ignore[assignment]
        help_text="What is right: a label, a list where there may be several, a number, a text."
    )
    said = SaidShape(many=True, required=False, help_text="What models answered.")
    note = serializers.CharField(max_length=1000, required=False, allow_blank=True)


class PromoteFeedback(serializers.Serializer[Any]):
    dataset = serializers.CharField(max_length=250, help_text="Such as `tickets`, or `tickets@3`.")
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**53),
        required=False,
        allow_empty=False,
        max_length=adding.MOST_ROWS,
        help_text="All of the dataset's task that is in no version yet, if left out.",
    )
    split = serializers.ChoiceField(choices=SPLITS, default="train")


class FeedbackList(ProjectMixin, generics.ListAPIView[Feedback]):
    """The feedback of a project, newest first."""

    serializer_class = FeedbackShape
    parser_classes = (SafeJSONParser, MultiPartParser)

    def get_queryset(self) -> QuerySet[Feedback]:
        if getattr(self, "swagger_fake_view", False):
            return Feedback.objects.none()
        found = feedback.listed(project=self.project())
        asked = self.request.query_params
        if task := asked.get("task"):
            found = found.filter(task=task)
        return found.waiting() if asked.get("waiting") == "true" else found

    @extend_schema(
        operation_id="feedback_list",
        summary="Feedback of a project",
        parameters=[
            OpenApiParameter("task", str),
            OpenApiParameter("waiting", bool, description="Only what is in no version yet."),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="feedback_create",
        summary="Say what is right of an input",
        request={"application/json": NewFeedback, "multipart/form-data": NewFeedback},
        responses={201: FeedbackShape},
    )
    @idempotent
    def post(self, request: Request, project_slug: str) -> Response:
        body = NewFeedback(data=_read(request))
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        kept = feedback.save(
            project=self.project(),
            task=self._task(asked),
            given=_given(request, self._task(asked), asked["input"]),
            label=asked["label"],
            said=asked.get("said", ()),
            note=asked.get("note", ""),
            by=person(request),
        )
        return Response(FeedbackShape(kept).data, status=status.HTTP_201_CREATED)

    def _task(self, asked: JSON) -> str:
        if asked.get("task"):
            return str(asked["task"])
        if not asked.get("model"):
            sentence = "Name the model that was tried, or the task."
            raise Invalid(sentence, fields={"model": [sentence]})
        version = registry.resolve(project=self.project(), reference=asked["model"])
        return str(version.model.task)


class FeedbackDetail(ProjectMixin, APIView):
    """One piece of feedback."""

    @extend_schema(
        operation_id="feedback_retrieve", summary="A piece of feedback", responses=FeedbackShape
    )
    def get(self, request: Request, project_slug: str, feedback_id: int) -> Response:
        found = feedback.find(project=self.project(), feedback_id=feedback_id)
        return Response(FeedbackShape(found).data)

    @extend_schema(operation_id="feedback_delete", summary="Delete feedback", responses={204: None})
    def delete(self, request: Request, project_slug: str, feedback_id: int) -> Response:
        found = feedback.find(project=self.project(), feedback_id=feedback_id)
        feedback.forget(feedback=found, by=person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class FeedbackPromotion(ProjectMixin, APIView):
    """Feedback becomes rows."""

    @extend_schema(
        operation_id="feedback_promote",
        summary="Add feedback to a dataset",
        request=PromoteFeedback,
        responses={201: VersionSerializer},
        description="The next version of the dataset, with the feedback as further rows.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str) -> Response:
        body = PromoteFeedback(data=request.data)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        version = feedback.resolved(project=self.project(), reference=asked["dataset"])
        made = feedback.promote(
            version=version, ids=asked.get("ids"), split=asked["split"], by=person(request)
        )
        return Response(VersionSerializer(made).data, status=status.HTTP_201_CREATED)


def _read(request: Request) -> JSON:
    """What was sent; in a form, lists and objects are JSON, and the input may be a file."""
    if not isinstance(request.data, QueryDict):
        if not isinstance(request.data, dict):
            raise Invalid("Send an object with an input and its label.")
        return request.data
    sent: JSON = {name: request.data.get(name) for name in request.data}
    if "input" in request.FILES:
        sent["input"] = True  # the file is read where the task is known
    if isinstance(sent.get("said"), str):
        try:
            sent["said"] = rest.loaded(sent["said"].encode())
        except ValueError:
            raise Invalid("said: It is no JSON.", fields={"said": ["It is no JSON."]}) from None
    return sent


def _given(request: Request, task: str, sent: Any) -> Any:
    if "input" in request.FILES:
        file = request.FILES["input"]
        if (file.size or 0) > feedback.MOST_BYTES:  # before it is read
            raise TooLarge(f"A picture or sound has at most {feedback.MOST_BYTES >> 20} MiB.")
        return file.read()
    if task in feedback.MEDIA and isinstance(sent, str):
        text = sent.partition(",")[2] if sent.startswith("data:") else sent
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            sentence = "A picture or sound is sent as base64, or as a file of a form."
            raise Invalid(sentence, fields={"input": [sentence]}) from None
    return sent
