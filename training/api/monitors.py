"""Monitors: made, changed, paused, let go, and how they are."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Role
from training.models import Monitor
from training.services import monitor_health, monitor_settings, monitor_told, monitors

HELP = {
    "model": "`name@production` follows the alias; `name@3` and `name` (its newest now) stay; a "
    'model that is served elsewhere is {"external": "name", "task": ..., "labels": [...]}.',
    "reference": 'A split of a dataset, "tickets@1:test", or its own traffic, {"traffic": '
    '{"from": time, "until": time}} or {"traffic": {"hours": 24}} from now on.',
    "window": '{"rows": 500} or {"hours": 1}.',
}


class MonitorEditShape(serializers.Serializer[Any]):
    """Every key may be left out; the service names what it does not know."""

    name = serializers.CharField(max_length=monitor_settings.LONGEST_NAME, required=False)
    notes = serializers.CharField(required=False, allow_blank=True)
    model = serializers.JSONField(required=False, help_text=HELP["model"])
    reference = serializers.JSONField(required=False, help_text=HELP["reference"])
    window = serializers.JSONField(required=False, help_text=HELP["window"])
    minimum_rows = serializers.IntegerField(
        required=False, help_text="A window of fewer rows says nothing."
    )
    schedule = serializers.JSONField(
        required=False,
        help_text='{"grace_minutes": 5}: how long after its end a window of hours is judged.',
    )
    detectors = serializers.JSONField(
        required=False, help_text="{signal or kind: [detector]}; an empty list: unwatched."
    )
    correction = serializers.CharField(required=False)
    alerts = serializers.JSONField(
        required=False, help_text='{"rules", "channels", "least", "quiet_hours"}'
    )
    slices = serializers.JSONField(required=False, help_text='[{"name", "query", "share"?}]')
    teacher = serializers.JSONField(required=False, help_text='"minilm@2", or null for none.')
    teacher_sample_rate = serializers.FloatField(required=False, help_text="0 to 1, of rows.")
    teacher_daily = serializers.IntegerField(required=False, help_text="The most rows a day.")
    privacy = serializers.ChoiceField(choices=Monitor.Privacy.choices, required=False)
    retention_days = serializers.IntegerField(required=False)
    kept_share = serializers.FloatField(required=False)
    retraining = serializers.JSONField(required=False, help_text="The policy, or null.")


class MonitorAskedShape(MonitorEditShape):
    """Everything after `window` has a default, shown resolved in the answer."""

    name = serializers.CharField(max_length=monitor_settings.LONGEST_NAME)
    model = serializers.JSONField(help_text=HELP["model"])
    reference = serializers.JSONField(help_text=HELP["reference"])
    window = serializers.JSONField(help_text=HELP["window"])


class MonitorHealthShape(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=list(monitor_health.STATES))
    sentence = serializers.CharField()
    incident = serializers.IntegerField(allow_null=True, help_text="Number of the open one.")
    rows_today = serializers.IntegerField()
    windows = serializers.JSONField(
        help_text="The newest, oldest first: [{number, ends_at, rows, state}]."
    )


class MonitorShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    notes = serializers.CharField()
    task = serializers.CharField()
    labels = serializers.ListField(child=serializers.CharField())
    model = serializers.JSONField(help_text="As it was asked for, resolved.")
    version = serializers.CharField(allow_null=True, help_text="That is watched now.")
    reference = serializers.JSONField()
    window = serializers.JSONField()
    minimum_rows = serializers.IntegerField()
    schedule = serializers.JSONField()
    detectors = serializers.JSONField()
    correction = serializers.CharField()
    alerts = serializers.JSONField()
    slices = serializers.JSONField()
    teacher = serializers.CharField(allow_null=True)
    teacher_sample_rate = serializers.FloatField()
    teacher_daily = serializers.IntegerField()
    privacy = serializers.CharField()
    retention_days = serializers.IntegerField()
    kept_share = serializers.FloatField()
    retraining = serializers.JSONField()
    is_paused = serializers.BooleanField()
    fitted_at = serializers.DateTimeField(allow_null=True)
    found = serializers.JSONField(help_text="What the reference was found to be, once it is taken.")
    asked_today = serializers.IntegerField(help_text="Rows that the teacher was asked about.")
    is_daily_spent = serializers.BooleanField(
        help_text="It is asked about no further row until midnight, UTC."
    )
    canaries = serializers.JSONField(
        required=False,
        help_text="Of one monitor, where a service is its teacher: whether it still says of rows "
        "of the reference what it said at first.",
    )
    marks = serializers.JSONField(help_text="[{at, what, sentence, version}], newest last.")
    rows = serializers.IntegerField(help_text="That came, ever.")
    last_row_at = serializers.DateTimeField(allow_null=True)
    health = MonitorHealthShape()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class MonitorView(ProjectMixin):
    def monitor(self) -> Monitor:
        return monitors.find(project=self.project(), name=self.kwargs["monitor_name"])


@extend_schema_view(get=extend_schema(summary="Monitors of a project"))
class MonitorList(ProjectMixin, generics.ListAPIView[Monitor]):
    serializer_class = MonitorShape

    @extend_schema(responses=MonitorShape(many=True))
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(monitors.listed(project=self.project()))
        assert page is not None
        return self.get_paginated_response(monitor_told.several(page))

    @idempotent
    @extend_schema(
        request=MonitorAskedShape, responses={201: MonitorShape}, summary="Watch a model"
    )
    def post(self, request: Request, project_slug: str) -> Response:
        made = monitors.create(project=self.project(), asked=request.data, by=person(request))
        return Response(monitor_told.one(made), status=201)


class MonitorDetail(MonitorView, APIView):
    roles: ClassVar = {"DELETE": Role.OWNER}

    @extend_schema(responses=MonitorShape, summary="One monitor")
    def get(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        return Response(monitor_told.one(self.monitor()))

    @extend_schema(
        request=MonitorEditShape,
        responses=MonitorShape,
        summary="Change a monitor; where that changes what is usual, its reference is taken anew",
    )
    def patch(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        changed = monitors.edit(monitor=self.monitor(), asked=request.data, by=person(request))
        return Response(monitor_told.one(changed))

    @extend_schema(responses={204: None}, summary="Delete a monitor with all that it was sent")
    def delete(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        monitors.remove(monitor=self.monitor())
        return Response(status=204)


class MonitorPause(MonitorView, APIView):
    @extend_schema(request=None, responses=MonitorShape, summary="Judge no more windows for now")
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        paused = monitors.pause(monitor=self.monitor(), by=person(request))
        return Response(monitor_told.one(paused))


class MonitorResume(MonitorView, APIView):
    @extend_schema(request=None, responses=MonitorShape, summary="Judge windows again")
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        resumed = monitors.resume(monitor=self.monitor(), by=person(request))
        return Response(monitor_told.one(resumed))


class MonitorRefit(MonitorView, APIView):
    @extend_schema(
        request=None, responses={202: MonitorShape}, summary="Take the reference of a monitor anew"
    )
    def post(self, request: Request, project_slug: str, monitor_name: str) -> Response:
        fitted = monitors.refit(monitor=self.monitor(), by=person(request))
        return Response(monitor_told.one(fitted), status=202)
