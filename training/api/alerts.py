"""Alerts of a monitor's signals: their states, and silence by hand. Their rules are the monitor's:
PATCH it with `alerts`."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import person
from training.api.monitors import MonitorView
from training.engine.alerting import SEVERITIES, STATES
from training.services import alert_states


class AlertShape(serializers.Serializer[Any]):
    signal = serializers.CharField()
    called = serializers.CharField(help_text="As a sentence names it.")
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    severity = serializers.ChoiceField(choices=SEVERITIES, allow_null=True)
    since = serializers.DateTimeField(allow_null=True, help_text="The first window against it.")
    opened_at = serializers.DateTimeField(allow_null=True)
    muted_until = serializers.DateTimeField(allow_null=True)
    clean_windows = serializers.IntegerField(help_text="In a row.")
    recent = serializers.ListField(
        child=serializers.BooleanField(), help_text="The last windows that said anything."
    )
    judged_until = serializers.DateTimeField(allow_null=True)
    rules = serializers.JSONField()


class AlertsShape(serializers.Serializer[Any]):
    results = AlertShape(many=True)


class MuteShape(serializers.Serializer[Any]):
    signal = serializers.CharField(max_length=300)
    muted_until = serializers.DateTimeField(
        allow_null=True, help_text="Silent for windows that end by then; null: heard again."
    )


class MonitorAlerts(MonitorView, APIView):
    @extend_schema(responses=AlertsShape, summary="States of a monitor's alerts, worst first")
    def get(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        return Response({"results": alert_states.listed(monitor=self.monitor())})

    @extend_schema(request=MuteShape, responses=AlertShape, summary="Mute the alert of a signal")
    def patch(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitor = self.monitor()
        shape = MuteShape(data=request.data)
        shape.is_valid(raise_exception=True)
        asked = shape.validated_data
        muted = alert_states.mute(
            monitor=monitor,
            signal=asked["signal"],
            until=asked["muted_until"],
            by=person(request),
        )
        return Response(muted)
