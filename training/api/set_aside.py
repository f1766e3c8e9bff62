"""What was sent to a monitor and could not be taken in."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.api.inferences import AcceptedShape
from training.api.monitors import MonitorView
from training.models import InferenceBatch
from training.services import set_aside


class SetAsideShape(serializers.ModelSerializer[InferenceBatch]):
    class Meta:
        model = InferenceBatch
        fields: ClassVar = ["id", "kind", "rows", "received_at", "error"]


class SetAside(MonitorView, APIView):
    @extend_schema(
        responses=SetAsideShape(many=True), summary="What was set aside, and why; without the rows"
    )
    def get(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        return Response(set_aside.told(monitor=self.monitor()))

    @extend_schema(
        request=None, responses={202: AcceptedShape}, summary="Try to take all of it in again"
    )
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        return Response({"accepted": set_aside.again(monitor=self.monitor())}, status=202)

    @extend_schema(responses={204: None}, summary="Delete what was set aside for good")
    def delete(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        set_aside.remove(monitor=self.monitor())
        return Response(status=204)
