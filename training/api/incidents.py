"""Incidents of a project: what changed, and what people do about it."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, idempotent, person
from training.engine.alerting import SEVERITIES
from training.models import Incident
from training.services import incidents


class IncidentEventShape(serializers.Serializer[Any]):
    kind = serializers.CharField()
    sentence = serializers.CharField()
    facts = serializers.JSONField(source="data")
    by = serializers.CharField(source="by.username", allow_null=True, default=None)
    at = serializers.DateTimeField()


class IncidentShape(serializers.ModelSerializer[Incident]):
    monitor = serializers.CharField(source="monitor.name")
    severity = serializers.ChoiceField(choices=SEVERITIES)
    signals = serializers.JSONField(
        help_text='[{"signal", "since", "severity", "effect", "detector", "closed_at"}]'
    )
    owner = serializers.CharField(source="owner.username", allow_null=True, default=None)
    acknowledged_by = serializers.CharField(
        source="acknowledged_by.username", allow_null=True, default=None
    )

    class Meta:
        model = Incident
        fields: ClassVar = [
            "number", "monitor", "severity", "sentence", "signals", "since", "opened_at",
            "closed_at", "owner", "acknowledged_by", "acknowledged_at", "snoozed_until",
        ]  # fmt: skip


class IncidentWholeShape(IncidentShape):
    facts = serializers.JSONField(
        help_text="In which slices, the ids of the most foreign rows, agreement, accuracy, advice, "
        "and whether harm is seen."
    )
    window = serializers.IntegerField(
        source="window.number", allow_null=True, default=None, help_text="That opened it."
    )
    events = IncidentEventShape(many=True, help_text="Its history, newest last.")

    class Meta(IncidentShape.Meta):
        fields: ClassVar = [*IncidentShape.Meta.fields, "window", "facts", "events"]


class SnoozeShape(serializers.Serializer[Any]):
    until = serializers.DateTimeField(
        allow_null=True, help_text="No message until then, unless it gets critical; null: at once."
    )


class CommentShape(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=incidents.LONGEST_COMMENT)


class OwnerShape(serializers.Serializer[Any]):
    owner = serializers.CharField(
        max_length=150, allow_null=True, help_text="A member's username, or null for nobody."
    )


class CloseShape(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=incidents.LONGEST_REASON, required=False, allow_blank=True, default=""
    )


FILTERS = ("state", "monitor", "severity", "owner")


@extend_schema_view(
    get=extend_schema(
        summary="Incidents of a project, newest first",
        parameters=[
            OpenApiParameter("state", str, enum=list(incidents.STATES)),
            OpenApiParameter("severity", str, enum=list(SEVERITIES)),
            OpenApiParameter("monitor", str, description="Name of a monitor."),
            OpenApiParameter("owner", str, description="A username, or nobody."),
        ],
    )
)
class IncidentList(ProjectMixin, generics.ListAPIView[Incident]):
    serializer_class = IncidentShape

    def get_queryset(self) -> QuerySet[Incident]:
        if getattr(self, "swagger_fake_view", False):
            return Incident.objects.none()
        asked = {name: self.request.query_params.get(name, "") for name in FILTERS}
        return incidents.listed(project=self.project(), **asked)


class IncidentView(ProjectMixin):
    def incident(self) -> Incident:
        return incidents.find(project=self.project(), number=self.kwargs["number"])


class IncidentDetail(IncidentView, APIView):
    @extend_schema(responses=IncidentWholeShape, summary="One incident with its history")
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return Response(IncidentWholeShape(self.incident()).data)


class IncidentAcknowledge(IncidentView, APIView):
    @extend_schema(request=None, responses=IncidentShape, summary="Say that it was seen")
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        seen = incidents.acknowledge(incident=self.incident(), by=person(request))
        return Response(IncidentShape(seen).data)


class IncidentSnooze(IncidentView, APIView):
    @extend_schema(request=SnoozeShape, responses=IncidentShape, summary="Put it off")
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        incident = self.incident()
        shape = SnoozeShape(data=request.data)
        shape.is_valid(raise_exception=True)
        until = shape.validated_data["until"]
        snoozed = incidents.snooze(incident=incident, until=until, by=person(request))
        return Response(IncidentShape(snoozed).data)


class IncidentComments(IncidentView, APIView):
    @idempotent
    @extend_schema(
        request=CommentShape, responses={201: IncidentWholeShape}, summary="Say something about it"
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        incident = self.incident()
        shape = CommentShape(data=request.data)
        shape.is_valid(raise_exception=True)
        text = shape.validated_data["text"]
        told = incidents.comment(incident=incident, text=text, by=person(request))
        return Response(IncidentWholeShape(told).data, status=201)


class IncidentOwner(IncidentView, APIView):
    @extend_schema(request=OwnerShape, responses=IncidentShape, summary="Say who looks after it")
    def put(self, request: Request, project_slug: str, number: int) -> Response:
        incident = self.incident()
        shape = OwnerShape(data=request.data)
        shape.is_valid(raise_exception=True)
        owner = shape.validated_data["owner"]
        owned = incidents.own(incident=incident, owner=owner, by=person(request))
        return Response(IncidentShape(owned).data)


class IncidentClose(IncidentView, APIView):
    @extend_schema(
        request=CloseShape,
        responses=IncidentShape,
        summary="Close it; its alerts begin anew, by the rules",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        incident = self.incident()
        shape = CloseShape(data=request.data)
        shape.is_valid(raise_exception=True)
        reason = shape.validated_data["reason"]
        closed = incidents.close(incident=incident, reason=reason, by=person(request))
        return Response(IncidentShape(closed).data)
