"""The loss of a run under a lens."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from training.api.runs import RunView
from training.services import lens


class TermShape(serializers.Serializer[Any]):
    kind = serializers.CharField()
    unit = serializers.CharField()
    weight = serializers.FloatField()
    weight_schedule = serializers.CharField()
    weight_at_end = serializers.FloatField()
    temperature = serializers.FloatField(allow_null=True)
    first = serializers.FloatField(
        allow_null=True, help_text="Its value, without its weight, in the first tenth of the steps."
    )
    last = serializers.FloatField(allow_null=True, help_text="In the last tenth.")
    share_first = serializers.FloatField(
        allow_null=True,
        help_text="Of the lengths of all terms' gradients; null where there is one term. Over the "
        "steps it is the metric train/<kind>_share.",
    )
    share_last = serializers.FloatField(allow_null=True, help_text="In the second half.")
    of_loss = serializers.FloatField(
        allow_null=True, help_text="What part of the loss it is at the end, with its weight."
    )


class SoftnessShape(serializers.Serializer[Any]):
    temperature = serializers.FloatField()
    entropy = serializers.FloatField(help_text="The mean over test rows, in nats.")
    other_mass = serializers.FloatField(help_text="The probability outside the first answer.")


class SoftenedRowShape(serializers.Serializer[Any]):
    row_id = serializers.IntegerField()
    input = serializers.CharField(allow_null=True)
    label = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    unit = serializers.IntegerField(required=False, help_text="The word, where words have labels.")
    logits = serializers.ListField(
        child=serializers.FloatField(),
        help_text="Of all `labels`: softmax(logits / T), or sigmoid(logits / T) where `several` "
        "may be true, is what the teacher says at T.",
    )


class TemperatureShape(serializers.Serializer[Any]):
    own = serializers.ListField(child=serializers.FloatField(), help_text="Those of the run.")
    by_temperature = SoftnessShape(many=True)
    most = serializers.FloatField(help_text="The entropy of even answers, in nats.")
    several = serializers.BooleanField()
    labels = serializers.ListField(child=serializers.CharField())
    rows = SoftenedRowShape(many=True)


class DiagnosisShape(serializers.Serializer[Any]):
    code = serializers.CharField()
    severity = serializers.CharField(help_text="problem or hint")
    title = serializers.CharField()
    said = serializers.CharField(help_text="What the numbers show.")
    do = serializers.CharField(help_text="What to try.")
    step = serializers.IntegerField(allow_null=True)


class LensShape(serializers.Serializer[Any]):
    stage = serializers.CharField(help_text="The last one, which all of this is about.")
    terms = TermShape(many=True)
    temperature = TemperatureShape(
        allow_null=True,
        help_text="Null of runs without a teacher, of those that write, and before the evaluation.",
    )
    diagnoses = DiagnosisShape(many=True, help_text="None where nothing stands out.")


class RunLens(RunView):
    @extend_schema(
        operation_id="run_lens",
        responses=LensShape,
        summary="Its loss under a lens",
        description="Each term in its own unit with what its weight really is, what temperatures "
        "make of the teacher's answers, and what the curves say in words.",
    )
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return Response(lens.of(self.run()))
