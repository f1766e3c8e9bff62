"""What a monitor's windows say, by REST: scores of each signal, facts, slices, distributions."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import Cursor, checked_query
from training.api.monitors import MonitorView
from training.models import Monitor, MonitorWindow
from training.services import window_shapes, windows

SCORE = "[{detector, value, limit, p, corrected, effect, said, facts, rows, reference_rows}]"


class WindowQuery(serializers.Serializer[Any]):
    since = serializers.DateTimeField(required=False, help_text="Windows that end after it.")
    until = serializers.DateTimeField(required=False, help_text="Windows that begin before it.")
    signal = serializers.CharField(
        max_length=300, required=False, help_text="Scores of this one alone: `input.age`."
    )


class WindowListQuery(WindowQuery):
    limit = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    cursor = serializers.CharField(required=False)


class SignalQuery(serializers.Serializer[Any]):
    signal = serializers.CharField(
        max_length=300,
        required=False,
        help_text="Scores of this one alone, and how its values spread: `input.age`.",
    )


class MergedQuery(WindowQuery):
    every = serializers.ChoiceField(choices=["day", "week", "all"], default="day")


class WindowShape(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    rows = serializers.IntegerField()
    late_rows = serializers.IntegerField(help_text="That came after it was judged.")
    judged_at = serializers.DateTimeField(allow_null=True)
    severity = serializers.CharField(allow_blank=True)
    scores = serializers.JSONField(help_text=f"{{signal: {SCORE}}}")
    facts = serializers.JSONField(help_text="Volume, latency, shares, accuracy: not tested.")


class SpreadShape(serializers.Serializer[Any]):
    """Shares of rows by cell: between `edges`, or by `names`."""

    kind = serializers.ChoiceField(choices=["numbers", "categories"])
    edges = serializers.ListField(child=serializers.FloatField())
    names = serializers.ListField(child=serializers.CharField())
    before = serializers.ListField(child=serializers.FloatField(), help_text="Of the reference.")
    now = serializers.ListField(child=serializers.FloatField())
    rows = serializers.IntegerField()


class WindowDetailShape(WindowShape):
    slices = serializers.JSONField(help_text="{slice: {rows, facts, scores}}")
    spread = SpreadShape(allow_null=True, help_text="Of the signal that was asked for.")


class MergedShape(serializers.Serializer[Any]):
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    windows = serializers.IntegerField(help_text="That were merged; without a row read.")
    left = serializers.IntegerField(help_text="Of an earlier reference: in facts alone.")
    rows = serializers.IntegerField()
    scores = serializers.JSONField(help_text=f"{{signal: {SCORE}}}")
    facts = serializers.JSONField()
    slices = serializers.JSONField()


class MergedListShape(serializers.Serializer[Any]):
    results = MergedShape(many=True)


class Newest(Cursor):
    ordering = "-number"


@extend_schema_view(
    get=extend_schema(parameters=[WindowQuery], summary="Windows of a monitor, newest first")
)
class MonitorReports(MonitorView, generics.ListAPIView[MonitorWindow]):
    serializer_class = WindowShape
    pagination_class = Newest

    def get_queryset(self) -> QuerySet[MonitorWindow]:
        if getattr(self, "swagger_fake_view", False):
            return MonitorWindow.objects.none()
        asked = checked_query(self.request, WindowListQuery)
        found = windows.listed(self.monitor(), asked.get("since"), asked.get("until"))
        signal = asked.get("signal")
        return found.filter(scores__has_key=signal) if signal else found

    def paginate_queryset(self, queryset: Any) -> Any:
        found = super().paginate_queryset(queryset)
        signal = self.request.query_params.get("signal")
        for one in found or ():
            if signal:
                one.scores = {signal: one.scores[signal]}
        return found


class MonitorReportDetail(MonitorView, APIView):
    @extend_schema(
        parameters=[SignalQuery], responses=WindowDetailShape, summary="One window of a monitor"
    )
    def get(self, request: Request, project_slug: str, monitor_name: str, number: int) -> Response:
        monitor = self.monitor()
        signal = checked_query(request, SignalQuery).get("signal")
        window = windows.find(monitor, number)
        said = dict(WindowShape(window).data) | {
            "slices": window.slices,
            "spread": _spread(monitor, signal, number) if signal else None,
        }
        if signal:
            said["scores"] = {signal: window.scores.get(signal, [])}
        return Response(said)


class MonitorReportsMerged(MonitorView, APIView):
    @extend_schema(
        parameters=[MergedQuery],
        responses=MergedListShape,
        summary="Windows of days or weeks as one, from their sums",
    )
    def get(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        asked = checked_query(request, MergedQuery)
        found = windows.merged(
            self.monitor(), asked["every"], asked.get("since"), asked.get("until")
        )
        said: list[Any] = list(MergedShape(found, many=True).data)
        if signal := asked.get("signal"):
            for one in said:
                one["scores"] = {signal: one["scores"].get(signal, [])}
        return Response({"results": said})


def _spread(monitor: Monitor, signal: str, number: int) -> dict[str, Any] | None:
    shape = window_shapes.of(monitor, signal, [number])
    return None if shape is None else dict(SpreadShape(shape).data)
