"""The next student: retrainings of a project, and the policy of a monitor."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, idempotent, person
from training.api.monitors import MonitorView
from training.api.run_serializers import ErrorShape, ObjectField
from training.models import Retraining
from training.retraining import beginning, deciding, policies, reading
from training.services import monitors, promotion, retraining_policy
from training.services.retraining_policy import PolicyShape


class StepShape(serializers.Serializer[Any]):
    was = serializers.CharField(help_text="The status in which it happened.")
    status = serializers.CharField(help_text="That it led to.")
    at = serializers.DateTimeField()
    sentence = serializers.CharField()
    by = serializers.CharField(allow_null=True)


class RetrainingShape(serializers.ModelSerializer[Retraining]):
    monitor = serializers.CharField(source="monitor.name")
    incident = serializers.IntegerField(source="incident.number", allow_null=True, default=None)
    champion = serializers.CharField(source="champion.reference", allow_null=True, default=None)
    collected = serializers.CharField(
        source="collected.reference",
        allow_null=True,
        default=None,
        help_text="The dataset version with the live rows.",
    )
    dataset = serializers.CharField(
        source="dataset_version.reference",
        allow_null=True,
        default=None,
        help_text="The dataset version that the challenger learns from.",
    )
    review = serializers.IntegerField(source="review_id", allow_null=True)
    run = serializers.IntegerField(source="run.number", allow_null=True, default=None)
    challenger = serializers.CharField(source="challenger.reference", allow_null=True, default=None)
    created_by = serializers.CharField(source="created_by.username")
    decided_by = serializers.CharField(source="decided_by.username", allow_null=True, default=None)
    error = ErrorShape(allow_null=True)

    class Meta:
        model = Retraining
        fields: ClassVar = [
            "number", "monitor", "incident", "status", "sentence", "error", "champion",
            "collected", "dataset", "review", "run", "challenger", "created_by", "decided_by",
            "created_at", "finished_at",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields


class RetrainingWholeShape(RetrainingShape):
    policy = PolicyShape(help_text="As it was when this began.")
    steps = StepShape(many=True, help_text="What happened, newest last.")
    judgement = ObjectField(
        allow_null=True,
        help_text="champion, challenger, metric, `old` and `new` rows with their difference, its "
        "95 % interval and McNemar's p, the gate's rules, the alias's checks, passed, a sentence.",
    )
    can_roll_back = serializers.SerializerMethodField()

    class Meta(RetrainingShape.Meta):
        fields: ClassVar = [
            *RetrainingShape.Meta.fields, "policy", "steps", "judgement", "can_roll_back",
        ]  # fmt: skip
        read_only_fields: ClassVar = fields

    def get_can_roll_back(self, one: Retraining) -> bool:
        return deciding.can_roll_back(one)


class NewRetraining(serializers.Serializer[Any]):
    monitor = serializers.CharField(max_length=100)
    incident = serializers.IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=1,
        help_text="That it answers: rows are taken since then. One about inputs alone is refused.",
    )


class DecisionShape(serializers.Serializer[Any]):
    promote = serializers.BooleanField(help_text="Else the champion stays.")
    override = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=promotion.LONGEST_REASON,
        help_text="An owner's reason to promote though the gate or a rule of the alias fails.",
    )


class PolicyToldShape(serializers.Serializer[Any]):
    policy = PolicyShape()
    sentences = serializers.ListField(child=serializers.CharField())
    refusal = serializers.CharField(
        allow_blank=True, help_text="Why nothing can be retrained now; empty where it can."
    )


@extend_schema_view(
    get=extend_schema(
        summary="Retrainings of a project, newest first",
        parameters=[OpenApiParameter("monitor", str, description="Name of a monitor.")],
    )
)
class RetrainingList(ProjectMixin, generics.ListAPIView[Retraining]):
    serializer_class = RetrainingShape

    def get_queryset(self) -> QuerySet[Retraining]:
        if getattr(self, "swagger_fake_view", False):
            return Retraining.objects.none()
        project, name = self.project(), self.request.query_params.get("monitor", "")
        monitor = monitors.find(project=project, name=name) if name else None
        return reading.listed(project=project, monitor=monitor)

    @extend_schema(
        summary="Begin a retraining",
        request=NewRetraining,
        responses={201: RetrainingWholeShape},
        description="Live rows of the monitor become a dataset version, the teacher labels those "
        "that nobody has, and the champion's configuration is trained on old and live rows. One "
        "that was proposed begins. 409 says what speaks against it.",
    )
    @idempotent
    def post(self, request: Request, project_slug: str) -> Response:
        asked = NewRetraining(data=request.data)
        asked.is_valid(raise_exception=True)
        project, number = self.project(), asked.validated_data["incident"]
        made = beginning.begin(
            monitor=monitors.find(project=project, name=asked.validated_data["monitor"]),
            incident=None if number is None else reading.incident(project=project, number=number),
            by=person(request),
        )
        return Response(RetrainingWholeShape(made).data, status=status.HTTP_201_CREATED)


class RetrainingView(ProjectMixin):
    def retraining(self) -> Retraining:
        return reading.find(project=self.project(), number=self.kwargs["number"])

    def told(self, found: Retraining) -> Response:
        again = reading.find(project=self.project(), number=found.number)
        return Response(RetrainingWholeShape(again).data)


class RetrainingDetail(RetrainingView, APIView):
    @extend_schema(summary="One retraining with its steps", responses=RetrainingWholeShape)
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return Response(RetrainingWholeShape(self.retraining()).data)


class RetrainingStart(RetrainingView, APIView):
    @extend_schema(summary="Begin what was proposed", request=None, responses=RetrainingWholeShape)
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.told(beginning.start(retraining=self.retraining(), by=person(request)))


class RetrainingDecide(RetrainingView, APIView):
    @extend_schema(
        summary="Promote the challenger, or keep the champion",
        request=DecisionShape,
        responses=RetrainingWholeShape,
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        found = self.retraining()
        asked = DecisionShape(data=request.data)
        asked.is_valid(raise_exception=True)
        return self.told(
            deciding.decide(retraining=found, by=person(request), **asked.validated_data)
        )


class RetrainingCancel(RetrainingView, APIView):
    @extend_schema(
        summary="End a retraining, with its run", request=None, responses=RetrainingWholeShape
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.told(deciding.cancel(retraining=self.retraining(), by=person(request)))


class RetrainingRollback(RetrainingView, APIView):
    @extend_schema(
        summary="Let the alias mean the champion again",
        request=None,
        responses=RetrainingWholeShape,
        description="409 where the alias means something else by now.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        return self.told(deciding.roll_back(retraining=self.retraining(), by=person(request)))


class MonitorPolicy(MonitorView, APIView):
    """What opens a retraining of a monitor, of which rows, and what the challenger must be."""

    @extend_schema(summary="The policy of a monitor", responses=PolicyToldShape)
    def get(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitor = self.monitor()
        policy = retraining_policy.of(monitor)
        told = {
            "policy": policy,
            "sentences": retraining_policy.told(monitor, policy),
            "refusal": beginning.refusal(monitor),
        }
        return Response(PolicyToldShape(told).data)

    @extend_schema(
        summary="Set the policy of a monitor",
        request=PolicyShape,
        responses=PolicyToldShape,
        description="What is left out becomes the default again.",
    )
    def put(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        policies.keep(monitor=self.monitor(), asked=request.data, by=person(request))
        return self.get(request, project_slug, monitor_name)
