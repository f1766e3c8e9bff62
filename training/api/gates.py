"""Teacher gates: versions asked about a dataset before they teach there."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Invalid
from projects.api.base import idempotent, person
from training.api.models import ModelMixin
from training.api.run_serializers import ErrorShape, ObjectField
from training.models import TeacherGate
from training.services import gates


class NewGate(serializers.Serializer[Any]):
    dataset = serializers.CharField(help_text="Whose validation rows score it: tickets@1.")


class AloneShape(serializers.Serializer[Any]):
    run = serializers.IntegerField()
    metric = serializers.CharField()
    value = serializers.FloatField()


class GateShape(serializers.ModelSerializer[TeacherGate]):
    model = serializers.CharField(source="version.reference")
    dataset = serializers.CharField(source="dataset_version.reference")
    error = ErrorShape(allow_null=True)
    report = ObjectField(
        allow_null=True,
        help_text="split, rows, metrics, baseline, softness by temperature, reliability, "
        "recommended and a sentence.",
    )
    student_alone = serializers.SerializerMethodField(
        help_text="The best student on this dataset that learned from the labels alone."
    )
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = TeacherGate
        fields: ClassVar = [
            "id", "model", "dataset", "status", "stage", "error", "report", "student_alone",
            "created_by", "created_at", "finished_at",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields

    @extend_schema_field(AloneShape(allow_null=True))
    def get_student_alone(self, gate: TeacherGate) -> dict[str, Any] | None:
        found = gates.alone_beside(gate=gate)
        if found is None:
            return None
        return {"run": found.run, "metric": found.metric, "value": found.value}


class GateList(ModelMixin, generics.ListAPIView[TeacherGate]):
    """The gates of a version, newest first."""

    serializer_class = GateShape

    def get_queryset(self) -> QuerySet[TeacherGate]:
        if getattr(self, "swagger_fake_view", False):
            return TeacherGate.objects.none()
        return gates.listed(version=self.version())

    @extend_schema(operation_id="gates_list", summary="How good a version is as a teacher")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="gates_create",
        summary="Ask a teacher first",
        request=NewGate,
        responses={202: GateShape},
        description="Have a worker score a trained version on a dataset's validation rows, with "
        "its calibration and how soft its answers are, and store what it says for later runs: ask "
        "for it until its status is `ready` or `failed`.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str, model_name: str, number: int) -> Response:
        version = self.version()
        if not isinstance(request.data, dict):
            raise Invalid("A gate is an object with a dataset.")
        gate = gates.ask(version=version, dataset=request.data.get("dataset"), by=person(request))
        return Response(GateShape(gate).data, status=status.HTTP_202_ACCEPTED)


class GateDetail(ModelMixin, APIView):
    """One gate."""

    @extend_schema(operation_id="gates_retrieve", summary="A gate", responses=GateShape)
    def get(
        self, request: Request, project_slug: str, model_name: str, number: int, gate_id: int
    ) -> Response:
        return Response(GateShape(gates.find(version=self.version(), gate_id=gate_id)).data)
