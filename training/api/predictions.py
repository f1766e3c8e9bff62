"""What a run answered, row by row."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from distillhub.lib.rest import Stretches, checked_query
from projects.api.base import ProjectMixin
from training.api.runs import RunView
from training.services import predicted_rows, prediction_csv, runs
from training.services.predicted_rows import Asked


class AskedShape(serializers.Serializer[Any]):
    """The conditions of a run's predictions, as an address has them."""

    show = serializers.ChoiceField(
        required=False,
        choices=list(predicted_rows.SHOW.items()),
        help_text="Of numbers, wrong means further from what is true than three answers in four.",
    )
    label = serializers.CharField(  # type: ignore[assignment]
        required=False, max_length=300, help_text="What is true, or one of it."
    )
    student = serializers.CharField(required=False, max_length=300, help_text="Its answer.")
    teacher = serializers.CharField(required=False, max_length=300, help_text="Its answer.")
    slice = serializers.CharField(
        required=False, max_length=100, help_text="A saved slice that the run keeps."
    )
    q = serializers.CharField(required=False, max_length=200, help_text="Sought in the rows.")
    size_from = serializers.FloatField(required=False, help_text="In the unit of `sizes`.")
    size_to = serializers.FloatField(required=False)
    order = serializers.CharField(
        required=False,
        max_length=30,
        help_text=f"One of {', '.join(predicted_rows.ORDERS)}, falling after a `-`; without it "
        "those first about which student and teacher differ most.",
    )


class PredictionsQuery(AskedShape):
    limit = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    cursor = serializers.CharField(required=False, max_length=20)


class GivenAnswerShape(serializers.Serializer[Any]):
    answer = serializers.CharField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    loss = serializers.FloatField(
        allow_null=True, help_text="Of what is true, in nats; of what is written, a token."
    )
    right = serializers.BooleanField(allow_null=True)
    error = serializers.FloatField(allow_null=True, help_text="Of a number: how far off.")


class LabelChanceShape(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    student = serializers.FloatField()
    teacher = serializers.FloatField(allow_null=True)
    is_true = serializers.BooleanField()


class PredictedRowShape(serializers.Serializer[Any]):
    row_id = serializers.IntegerField()
    label = serializers.CharField(  # type: ignore[assignment]
        allow_null=True, help_text="What is true."
    )
    student = GivenAnswerShape(allow_null=True)
    teacher = GivenAnswerShape(allow_null=True)
    control = GivenAnswerShape(allow_null=True)
    divergence = serializers.FloatField(
        allow_null=True,
        help_text="KL(teacher ‖ student) in nats; of numbers how far their answers lie apart; of "
        "vectors 1 - cosine.",
    )
    gap = serializers.FloatField(
        allow_null=True,
        help_text="How much more of its probability the teacher gave to what is true.",
    )
    size = serializers.FloatField(allow_null=True)
    probabilities = LabelChanceShape(
        many=True,
        allow_null=True,
        help_text="Of all labels, or of those that one of them held likely. Null of runs that an "
        "earlier version evaluated.",
    )
    input = serializers.CharField(allow_null=True, help_text="The text.")
    features = serializers.DictField(allow_null=True, help_text="Of a table.")


class Predictions(ProjectMixin, generics.GenericAPIView[Any]):
    serializer_class = PredictedRowShape
    pagination_class = Stretches

    @extend_schema(
        operation_id="run_predictions_list",
        parameters=[PredictionsQuery],
        responses=PredictedRowShape(many=True),
        summary="What student, teacher and control answered, row by row",
    )
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        asked = checked_query(request, PredictionsQuery)
        for name in ("limit", "cursor"):
            asked.pop(name, None)
        run = runs.find(project=self.project(), number=number)
        found = predicted_rows.of(run, Asked(**asked))
        assert isinstance(self.paginator, Stretches)
        return self.get_paginated_response(self.paginator.paginate_queryset(found, request))


class PredictionsCsv(RunView):
    @extend_schema(
        operation_id="run_predictions_csv",
        parameters=[AskedShape],
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.BINARY)},
        summary="The same as a table for a spreadsheet, all of it",
    )
    def get(self, request: Request, project_slug: str, number: int) -> StreamingHttpResponse:
        asked = checked_query(request, AskedShape)
        return prediction_csv.download(run=self.run(), asked=Asked(**asked))
