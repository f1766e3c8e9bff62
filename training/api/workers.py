"""The machines that train, and their queues."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import person
from training.api.run_serializers import ObjectField
from training.services import workers


class HeldShape(serializers.Serializer[Any]):
    project = serializers.CharField(source="project.slug")
    number = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.CharField()
    fraction = serializers.FloatField()


class WorkerShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    host = serializers.CharField()
    state = serializers.SerializerMethodField(help_text="online, stopped or lost")
    queues = serializers.ListField(child=serializers.CharField())
    capacity = serializers.IntegerField(help_text="Runs at once.")
    machine = ObjectField()
    load = ObjectField()
    started_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()
    runs = HeldShape(many=True, source="runs_here", help_text="Those that you may see.")

    def get_state(self, worker: Any) -> str:
        return workers.state(worker)


class QueueShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    queued = serializers.IntegerField()
    workers = serializers.ListField(child=serializers.CharField())


class WorkersShape(serializers.Serializer[Any]):
    results = WorkerShape(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    queues = QueueShape(many=True)


class WorkerList(APIView):
    @extend_schema(responses=WorkersShape, summary="Workers and queues")
    def get(self, request: Request) -> Response:
        by = person(request)
        found = WorkerShape(workers.listed(by=by), many=True).data
        return Response(
            {"results": found, "next": None, "previous": None, "queues": workers.queues(by=by)}
        )
