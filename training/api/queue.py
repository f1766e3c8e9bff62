"""The whole line: every run that waits, of all projects, as far as the person may see them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from distillhub.lib.rest import Stretches, checked_query
from projects.api.base import person
from training.models import Run
from training.services import queue
from training.services.queue import Standing


class QueuedRunShape(serializers.Serializer[Run]):
    project = serializers.CharField(source="project.slug")
    number = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.ChoiceField(Run.Status.choices)
    priority = serializers.CharField(
        source="get_priority_display", help_text="low, normal or high."
    )
    gpus = serializers.IntegerField(help_text="Cards that it will have to itself.")
    memory_bytes = serializers.IntegerField(allow_null=True)
    created_by = serializers.CharField(source="created_by.username")


class StandingShape(serializers.Serializer[Standing]):
    queue = serializers.CharField(source="place.queue")
    position = serializers.IntegerField(
        source="place.position",
        allow_null=True,
        help_text="In that queue; 1 is next. null: it waits for another run.",
    )
    waiting_seconds = serializers.FloatField(
        source="place.waiting_seconds",
        allow_null=True,
        help_text="By the estimates of all before it; null where nobody knows.",
    )
    said = serializers.CharField(source="place.said", help_text="Why it waits, in words.")
    waits_for = serializers.ListField(
        child=serializers.IntegerField(),
        source="awaited",
        help_text="Numbers of the runs whose models it needs, that are not finished.",
    )
    run = QueuedRunShape(allow_null=True, help_text="null: of a project that you are no member of.")


class QueueQuery(serializers.Serializer[Any]):
    queue = serializers.CharField(required=False, help_text="Only this queue.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    cursor = serializers.IntegerField(
        required=False, min_value=0, max_value=10**9, help_text="So many are passed over."
    )


class QueueList(generics.GenericAPIView[Any]):
    serializer_class = StandingShape
    pagination_class = Stretches

    @extend_schema(
        operation_id="queue_list",
        parameters=[QueueQuery],
        responses=StandingShape(many=True),
        summary="Every run that waits, in the order of their turns",
        description="Of all queues together; last come those of your projects that wait for "
        "another run. Of other people's projects only the places are told.",
    )
    def get(self, request: Request) -> Response:
        asked = checked_query(request, QueueQuery)
        line = queue.whole(by=person(request), queue=asked.get("queue", ""))
        assert isinstance(self.paginator, Stretches)
        page: Any = self.paginator.paginate_queryset(line, request)
        return self.get_paginated_response(StandingShape(page, many=True).data)
