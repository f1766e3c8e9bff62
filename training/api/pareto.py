"""Models against what they cost to ask, and when distilling one is paid back."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import checked_query
from projects.api.base import ProjectMixin
from training.services import break_even, measured_points, pareto
from training.services.pareto import Found, Placed


class ParetoQuery(serializers.Serializer[Any]):
    dataset = serializers.CharField(
        required=False, max_length=250, help_text="name@1:test or name@1:validation."
    )
    x = serializers.ChoiceField(list(pareto.X_AXES), default="latency")
    y = serializers.ChoiceField(list(pareto.Y_AXES), default="accuracy")
    machine = serializers.CharField(
        required=False, max_length=80, help_text="Key of one of `machines`."
    )
    batch = serializers.ChoiceField(list(measured_points.BATCHES), default="1")
    price_per_hour = serializers.FloatField(required=False, help_text="Of the machine.")
    energy_price = serializers.FloatField(required=False, help_text="Of a kilowatt hour.")
    study = serializers.IntegerField(
        required=False, min_value=1, max_value=10**9 - 1, help_text="Its runs alone."
    )
    student = serializers.CharField(
        required=False, max_length=250, help_text="Key of the point that is to pay for itself."
    )
    teacher = serializers.CharField(
        required=False, max_length=250, help_text="Key of what it stands in for."
    )
    count = serializers.ChoiceField(
        list(break_even.COUNTED), default="control", help_text="What distilling counts."
    )


class MeasuredMachineShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]


class ParetoPointShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(["teacher", "student", "control"])
    form = serializers.CharField(allow_blank=True, help_text="Of an export, such as onnx-int8.")
    reference = serializers.CharField(allow_blank=True)
    run = serializers.IntegerField(allow_null=True)
    export = serializers.IntegerField(allow_null=True)
    teacher = serializers.CharField(allow_blank=True, help_text="Key of the point that taught it.")
    score = serializers.FloatField(allow_null=True)
    retention = serializers.FloatField(allow_null=True)
    rows = serializers.IntegerField(allow_null=True)
    parameters = serializers.IntegerField(allow_null=True)
    size_bytes = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.DictField(
        child=serializers.FloatField(), allow_null=True, help_text="Median by batch size."
    )
    p95_ms = serializers.DictField(child=serializers.FloatField(), allow_null=True)
    energy_per_million_wh = serializers.FloatField(allow_null=True)
    energy_source = serializers.CharField(allow_blank=True)
    cost_per_million = serializers.FloatField(allow_null=True)
    x = serializers.FloatField(allow_null=True)
    y = serializers.FloatField(allow_null=True)
    on_frontier = serializers.BooleanField()


class SpentShape(serializers.Serializer[Any]):
    what = serializers.CharField()
    run = serializers.IntegerField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    energy_wh = serializers.FloatField(allow_null=True)
    cost = serializers.FloatField()
    parts = serializers.DictField(child=serializers.FloatField())


class BreakEvenShape(serializers.Serializer[Any]):
    student = serializers.CharField()
    teacher = serializers.CharField()
    counted = serializers.ChoiceField(list(break_even.COUNTED))
    spent = SpentShape(many=True)
    total = serializers.FloatField()
    teacher_cost_per_call = serializers.FloatField()
    student_cost_per_call = serializers.FloatField()
    calls = serializers.IntegerField(allow_null=True, help_text="Null: never.")
    sentence = serializers.CharField()
    notes = serializers.ListField(child=serializers.CharField())


class ParetoShape(serializers.Serializer[Any]):
    dataset = serializers.CharField(allow_null=True)
    split = serializers.CharField(allow_blank=True)
    datasets = serializers.ListField(child=serializers.CharField())
    metric = serializers.CharField(allow_blank=True)
    x = serializers.ChoiceField(list(pareto.X_AXES))
    y = serializers.ChoiceField(list(pareto.Y_AXES))
    batch = serializers.ChoiceField(list(measured_points.BATCHES))
    machine = MeasuredMachineShape(allow_null=True)
    machines = MeasuredMachineShape(many=True)
    price_per_hour = serializers.FloatField()
    price_is_assumed = serializers.BooleanField()
    energy_price = serializers.FloatField()
    points = ParetoPointShape(many=True)
    break_even = BreakEvenShape(allow_null=True)


class ParetoView(ProjectMixin, APIView):
    @extend_schema(
        operation_id="pareto",
        parameters=[ParetoQuery],
        responses={200: ParetoShape},
        summary="Models against what they cost to ask",
    )
    def get(self, request: Request, project_slug: str) -> Response:
        query = checked_query(request, ParetoQuery)
        address = {name: str(value) for name, value in query.items()}
        found, paid = break_even.answer(project=self.project(), address=address)
        told = break_even.as_dict(paid) if paid is not None else None
        return Response(_told(found) | {"break_even": told})


def _told(found: Found) -> dict[str, Any]:
    asked = found.asked
    return {
        "dataset": found.dataset.reference if found.dataset is not None else None,
        "split": found.split,
        "datasets": found.datasets,
        "metric": found.metric,
        "x": asked.x,
        "y": asked.y,
        "batch": asked.batch,
        "machine": _machine(found.machine),
        "machines": [_machine(one) for one in found.machines],
        "price_per_hour": asked.price_per_hour,
        "price_is_assumed": found.price_is_assumed,
        "energy_price": asked.energy_price,
        "points": [_point(one) for one in found.placed],
    }


def _machine(machine: measured_points.Machine | None) -> dict[str, str] | None:
    return None if machine is None else {"key": machine.key, "label": machine.label}


def _point(one: Placed) -> dict[str, Any]:
    point, speed = one.point, one.speed
    same = ("key", "name", "role", "form", "reference", "run", "export", "teacher", "rows")
    sizes = ("parameters", "size_bytes")
    return {
        **{name: getattr(point, name) for name in (*same, *sizes)},
        "score": one.score,
        "retention": one.retention,
        "latency_ms": dict(speed.latency_ms) if speed is not None else None,
        "p95_ms": dict(speed.p95_ms) if speed is not None else None,
        "energy_per_million_wh": speed.energy_wh if speed is not None else None,
        "energy_source": speed.energy_source if speed is not None else "",
        "cost_per_million": one.cost,
        "x": one.x,
        "y": one.y,
        "on_frontier": one.on_frontier,
    }
