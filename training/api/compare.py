"""Runs side by side: their metrics, configurations, curves, and rows on which two disagree."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.rest import checked_query
from projects.api.base import ProjectMixin
from training.services import compare, run_fields, scores
from training.services.compare import Compared

CHANGES = ["same", "changed", "added", "removed", "none"]


class CompareQuery(serializers.Serializer[Any]):
    runs = serializers.CharField(max_length=4000, help_text="Their numbers, such as 1,2,3.")
    base = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="The number of the baseline; the first run unless said.",
    )


class ComparedRunShape(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    name = serializers.CharField()
    status = serializers.CharField()
    origin = serializers.CharField()
    task = serializers.CharField(allow_blank=True)
    dataset = serializers.CharField(allow_null=True)
    student = serializers.CharField(allow_null=True)
    teachers = serializers.ListField(child=serializers.CharField())
    metric = serializers.CharField(help_text="By which it is judged first.")
    validation = serializers.FloatField(allow_null=True, help_text="Its best on validation rows.")
    seconds = serializers.FloatField(allow_null=True)
    step = serializers.IntegerField()
    control_of = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()


class ComparedMetricShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    values = serializers.ListField(
        child=serializers.JSONField(),
        help_text="The latest of each run, in the order of `runs`; null where it has none.",
    )
    differences = serializers.ListField(
        child=serializers.FloatField(allow_null=True), help_text="To the baseline."
    )
    best = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="Numbers of the best runs; of test scores, of those that validation rows choose. "
        "Empty where runs have different data, or no direction is better.",
    )
    less_is_better = serializers.BooleanField(
        allow_null=True, help_text="Null where nobody can say."
    )


class ComparedSettingShape(serializers.Serializer[Any]):
    path = serializers.CharField()
    values = serializers.ListField(child=serializers.JSONField())
    changes = serializers.ListField(
        child=serializers.ChoiceField(CHANGES),
        help_text="Against the baseline; `none`: neither has it.",
    )


class ComparedShape(serializers.Serializer[Any]):
    runs = ComparedRunShape(many=True)
    baseline = serializers.IntegerField()
    metrics = ComparedMetricShape(many=True)
    configuration = ComparedSettingShape(many=True, help_text="Only what differs.")
    same = serializers.IntegerField(help_text="How many settings are the same in all.")


class Compare(ProjectMixin, APIView):
    @extend_schema(
        parameters=[CompareQuery],
        responses=ComparedShape,
        summary="Runs side by side",
        description=f"Up to {compare.MOST_RUNS} runs, tracked ones among them: every metric, and "
        "the settings on which they differ.",
    )
    def get(self, request: Request, project_slug: str) -> Response:
        asked = checked_query(request, CompareQuery)
        numbers = compare.numbers_in([asked["runs"]])
        found = compare.side_by_side(project=self.project(), runs=numbers, base=asked.get("base"))
        return Response(told(found))


def told(found: Compared) -> dict[str, Any]:
    """As `ComparedShape` says."""
    return {
        "runs": [_run(run) for run in found.runs],
        "baseline": found.baseline.number,
        "metrics": [
            {
                "name": one.name,
                "values": one.values,
                "differences": one.differences,
                "best": [found.runs[place].number for place in one.best],
                "less_is_better": one.falls,
            }
            for one in found.metrics
        ],
        "configuration": [
            {"path": one.path, "values": one.values, "changes": one.changes}
            for one in found.settings
        ],
        "same": len(found.same),
    }


def _run(run: Any) -> dict[str, Any]:
    name = scores.headline(run)
    return {
        "number": run.number,
        "name": run.name,
        "status": run.status,
        "origin": run.origin,
        "task": run.task,
        "dataset": compare.reference(run.dataset_name, run.dataset_number),
        "student": compare.reference(run.student_name, run.student_number)
        or run.config.get("student"),
        "teachers": [
            one if isinstance(one, str) else one["model"] for one in run.config.get("teachers", [])
        ],
        "metric": name,
        "validation": scores.of_validation(run, name),
        "seconds": run_fields.seconds(run),
        "step": run.step,
        "control_of": run.controlled,
        "created_at": run.created_at.isoformat().replace("+00:00", "Z"),
        "created_by": run.created_by.username,
    }
