"""Stored teacher answers of the machines that train."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import person
from training.services import teacher_outputs


class StoredShape(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="entry.pk")
    machine = serializers.CharField(source="entry.host")
    key = serializers.CharField(source="entry.key", help_text="sha256 of what was asked.")
    kind = serializers.CharField(
        source="entry.kind",
        help_text="logits, hidden_states, top_k, text, layers, attention, relations or embeddings",
    )
    split = serializers.CharField(
        source="entry.split", help_text='Such as "train", or "train, view 1" of augmented rows.'
    )
    datasets = serializers.ListField(
        child=serializers.CharField(), help_text="Versions you may see whose rows these are."
    )
    teacher = serializers.CharField(source="entry.teacher_name")
    rows = serializers.IntegerField(source="entry.rows")
    bytes = serializers.IntegerField(source="entry.bytes")
    covered_mass = serializers.FloatField(
        source="entry.covered_mass", help_text="Probability kept word by word; 1 is all of it."
    )
    reused = serializers.IntegerField(
        source="entry.reused", help_text="Times it was found instead of asked for."
    )
    made_at = serializers.DateTimeField(source="entry.made_at")
    last_used = serializers.DateTimeField(source="entry.last_used")
    leaving = serializers.BooleanField(
        source="entry.unwanted", help_text="Goes as soon as nobody uses it."
    )


class StoreShape(serializers.Serializer[Any]):
    results = StoredShape(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    bytes = serializers.IntegerField(help_text="Of what is listed.")
    others_bytes = serializers.IntegerField(help_text="Of datasets that you may not see.")
    saved_rows = serializers.IntegerField(help_text="Answers that were not asked for again.")


class TeacherOutputsList(APIView):
    @extend_schema(
        operation_id="teacher_outputs_list",
        responses=StoreShape,
        summary="Stored teacher answers",
        description="What machines have stored of teachers' answers about datasets that you may "
        "see, as they told within the last minute.",
    )
    def get(self, request: Request) -> Response:
        shown = teacher_outputs.listed(by=person(request))
        return Response(
            {
                "results": StoredShape(shown, many=True).data,
                "next": None,
                "previous": None,
                **teacher_outputs.sums(shown=shown),
            }
        )


class TeacherOutputsDetail(APIView):
    @extend_schema(
        operation_id="teacher_outputs_destroy",
        responses={204: None},
        summary="Free a stored teacher answer",
        description="Its machine removes it once nobody uses it; a run that needs it asks the "
        "teacher again. For owners of a project that has its dataset.",
    )
    def delete(self, request: Request, entry_id: int) -> Response:
        teacher_outputs.free(entry_id=entry_id, by=person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)
