"""The machines that train, and their queues."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import person
from training.api.run_serializers import ObjectField
from training.models import Worker
from training.services import workers
from training.worker.history import WINDOWS


class HeldShape(serializers.Serializer[Any]):
    project = serializers.CharField(source="project.slug")
    number = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.CharField()
    fraction = serializers.FloatField()
    gpus = serializers.ListField(
        child=serializers.IntegerField(), source="cards", help_text="Numbers of those it has."
    )


class WorkerShape(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    host = serializers.CharField()
    state = serializers.SerializerMethodField(
        help_text="online, draining, drained, stopped or lost"
    )
    queues = serializers.ListField(child=serializers.CharField())
    capacity = serializers.IntegerField(help_text="Runs at once.")
    machine = ObjectField(help_text="cpus, memory_bytes, gpus, versions, home")
    load = ObjectField(help_text="How busy it was at its last heartbeat.")
    started_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()
    drained_at = serializers.DateTimeField(
        allow_null=True, help_text="Since when it takes nothing new."
    )
    drain = serializers.CharField(
        help_text="after: its runs end there; now: they go on elsewhere; empty: not drained."
    )
    runs = HeldShape(many=True, source="runs_here", help_text="Those that you may see.")
    others = serializers.IntegerField(source="others_here", help_text="Further runs it holds.")

    def get_state(self, worker: Worker) -> str:
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


class DrainShape(serializers.Serializer[Any]):
    now = serializers.BooleanField(
        default=False,
        help_text="Its runs write a checkpoint and go on elsewhere; otherwise they end there.",
    )


class WorkerEventShape(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    kind = serializers.CharField()
    sentence = serializers.CharField()
    by = serializers.CharField(source="by.username", allow_null=True, default=None)


class DrainedShape(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    state = serializers.SerializerMethodField()
    drained_at = serializers.DateTimeField(allow_null=True)
    drain = serializers.CharField()
    events = serializers.SerializerMethodField(help_text="What happened to it, newest first.")

    def get_state(self, worker: Worker) -> str:
        return workers.state(worker)

    @extend_schema_field(WorkerEventShape(many=True))
    def get_events(self, worker: Worker) -> Any:
        return WorkerEventShape(workers.events(worker=worker), many=True).data


class LoadQuery(serializers.Serializer[Any]):
    window = serializers.ChoiceField(
        choices=list(WINDOWS),
        default="hour",
        help_text="hour: a sample every ten seconds; day: one every minute.",
    )
    since = serializers.DateTimeField(
        required=False, help_text="Only what came after: the last of `times`."
    )


class LoadShape(serializers.Serializer[Any]):
    every = serializers.IntegerField(help_text="Seconds between two samples.")
    times = serializers.ListField(child=serializers.DateTimeField())
    series = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField(allow_null=True)),
        help_text="cpu and memory in percent; of each GPU gpu0/load in percent, gpu0/memory in "
        "bytes, gpu0/celsius, gpu0/watts.",
    )


class WorkerList(APIView):
    @extend_schema(responses=WorkersShape, summary="Workers and queues")
    def get(self, request: Request) -> Response:
        listed = workers.listed(by=person(request))
        return Response(
            {
                "results": WorkerShape(listed, many=True).data,
                "next": None,
                "previous": None,
                "queues": workers.queues(listed=listed),
            }
        )


class WorkerLoadHistory(APIView):
    @extend_schema(
        operation_id="worker_load",
        parameters=[LoadQuery],
        responses=LoadShape,
        summary="How busy a worker was",
    )
    def get(self, request: Request, worker_id: int) -> Response:
        asked = LoadQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        worker = workers.find(worker_id=worker_id)
        since = asked.validated_data.get("since")
        found = workers.load(
            workers=[worker],
            window=asked.validated_data["window"],
            since=since.timestamp() if since is not None else None,
        )[worker.pk]
        times = [datetime.fromtimestamp(at, UTC).isoformat()[:19] + "Z" for at in found["times"]]
        return Response(found | {"times": times})


class WorkerDrain(APIView):
    @extend_schema(
        operation_id="worker_drain",
        request=DrainShape,
        responses=DrainedShape,
        summary="Have a worker take nothing new",
        description="For administrators, and for who owns every project.",
    )
    def post(self, request: Request, worker_id: int) -> Response:
        workers.managed(worker_id=worker_id, by=person(request))
        asked = DrainShape(data=request.data)
        asked.is_valid(raise_exception=True)
        drained = workers.drain(
            worker_id=worker_id, now=asked.validated_data["now"], by=person(request)
        )
        return Response(DrainedShape(drained).data)


class WorkerResume(APIView):
    @extend_schema(
        operation_id="worker_resume",
        request=OpenApiTypes.NONE,
        responses=DrainedShape,
        summary="Have a drained worker take runs again",
        description="For administrators, and for who owns every project.",
    )
    def post(self, request: Request, worker_id: int) -> Response:
        return Response(DrainedShape(workers.resume(worker_id=worker_id, by=person(request))).data)
