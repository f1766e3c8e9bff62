"""Runs side by side: their metrics, configurations, curves, and rows on which two disagree."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from distillhub.lib.errors import Invalid
from distillhub.lib.rest import checked_query
from projects.api import reviews as shapes
from projects.api.base import ProjectMixin, idempotent, person
from projects.models import Project
from projects.services import reviews
from training.models import Run
from training.services import compare, disagreement, run_curves, run_fields, scores
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


class CurvesQuery(serializers.Serializer[Any]):
    runs = serializers.CharField(max_length=4000, help_text="Their numbers, such as 1,2,3.")
    names = serializers.CharField(
        max_length=4000, help_text="Of series, with commas between: train/loss,val/accuracy."
    )
    x = serializers.ChoiceField(
        run_curves.AXES, default="step", help_text="`time` is hours since the run began."
    )
    max_points = serializers.IntegerField(
        required=False, min_value=4, max_value=10_000, help_text="Of each line."
    )


class CurveShape(serializers.Serializer[Any]):
    x = serializers.ListField(child=serializers.FloatField())
    values = serializers.ListField(child=serializers.JSONField())
    count = serializers.IntegerField(help_text="Points that the series has.")
    thinned = serializers.BooleanField()


class CurvesShape(serializers.Serializer[Any]):
    x = serializers.ChoiceField(run_curves.AXES)
    series = serializers.DictField(
        child=serializers.DictField(child=CurveShape()),
        help_text="By name, then by the number of the run.",
    )


class DisagreementQuery(serializers.Serializer[Any]):
    runs = serializers.CharField(max_length=40, help_text="Two numbers: A and B.")
    kind = serializers.ChoiceField(
        disagreement.EVERY,
        required=False,
        help_text="Only rows of this kind; all unless said. `differ`: answered otherwise.",
    )
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=500, required=False, help_text="The true label."
    )
    limit = serializers.IntegerField(min_value=0, max_value=disagreement.MOST_ROWS, default=50)
    offset = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)


class DifferenceShape(serializers.Serializer[Any]):
    difference = serializers.FloatField(help_text="Of A to B.")
    interval = serializers.ListField(child=serializers.FloatField(), help_text="95 %.")
    mcnemar_p = serializers.FloatField(allow_null=True)
    answer = serializers.ChoiceField(
        ["helped", "no_evidence", "hurt"], help_text="helped: A is better."
    )


class DisagreeingRowShape(serializers.Serializer[Any]):
    row_id = serializers.IntegerField()
    kind = serializers.ChoiceField([*disagreement.BINARY, *disagreement.GRADED])
    label = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    input = serializers.CharField(allow_null=True, help_text="Its text; null where it has none.")
    a = serializers.CharField(allow_null=True)
    a_confidence = serializers.FloatField(allow_null=True)
    a_value = serializers.FloatField(help_text="What the answer is worth; 1 is right.")
    b = serializers.CharField(allow_null=True)
    b_confidence = serializers.FloatField(allow_null=True)
    b_value = serializers.FloatField()


class DisagreementShape(serializers.Serializer[Any]):
    a = serializers.IntegerField()
    b = serializers.IntegerField()
    dataset = serializers.CharField()
    split = serializers.CharField()
    metric = serializers.CharField()
    values = serializers.ListField(child=serializers.FloatField(), help_text="Means of A and B.")
    counts = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="both_right, only_a, only_b, both_wrong; of rows that are worth a number "
        "a_better, b_better, alike.",
    )
    differ = serializers.IntegerField(help_text="Rows that the two answered otherwise.")
    difference = DifferenceShape()
    sentence = serializers.CharField()
    found = serializers.IntegerField(help_text="Rows that were asked for.")
    offset = serializers.IntegerField()
    results = DisagreeingRowShape(many=True)


class TwoRunsReview(shapes.AssigneesSerializer):
    runs = serializers.CharField(max_length=40, help_text="Two numbers: A and B.")
    kind = serializers.ChoiceField(disagreement.EVERY, default="differ")
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=500, allow_blank=True, default=""
    )
    many = serializers.IntegerField(  # type: ignore[assignment]
        min_value=1, max_value=reviews.MOST_ROWS, default=100
    )


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


class CompareCurves(ProjectMixin, APIView):
    @extend_schema(
        parameters=[CurvesQuery],
        responses=CurvesShape,
        summary="The same series of several runs",
    )
    def get(self, request: Request, project_slug: str) -> Response:
        asked = checked_query(request, CurvesQuery)
        numbers = compare.numbers_in([asked.pop("runs")])
        names = [name.strip() for name in asked.pop("names").split(",") if name.strip()]
        runs = compare.read(project=self.project(), numbers=numbers)
        series = run_curves.read(runs=runs, names=names, **asked)
        return Response({"x": asked["x"], "series": series})


class CompareDisagreement(ProjectMixin, APIView):
    @extend_schema(
        parameters=[DisagreementQuery],
        responses=DisagreementShape,
        summary="Rows on which two students disagree",
        description="Of two runs that were evaluated on the same split of the same dataset "
        "version; the surest first, or those furthest apart.",
    )
    def get(self, request: Request, project_slug: str) -> Response:
        asked = checked_query(request, DisagreementQuery)
        a, b = two(self.project(), asked.pop("runs"))
        found = disagreement.of(a=a, b=b, **asked)
        return Response(
            {
                "a": found.a.number,
                "b": found.b.number,
                "dataset": found.version.reference,
                "split": found.split,
                "metric": found.metric,
                "values": found.values,
                "counts": found.counts,
                "differ": found.differ,
                "difference": found.difference,
                "sentence": found.sentence,
                "found": found.found,
                "offset": found.offset,
                "results": found.rows,
            }
        )

    @idempotent
    @extend_schema(
        operation_id="compare_disagreement_review",
        request=TwoRunsReview,
        responses={201: shapes.ReviewSerializer},
        summary="Send rows on which two students disagree to review",
    )
    def post(self, request: Request, project_slug: str) -> Response:
        body = TwoRunsReview(data=request.data)
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        a, b = two(self.project(), asked.pop("runs"))
        made = disagreement.review(a=a, b=b, **asked, by=person(request))
        return Response(shapes.whole(made), status=201)


def two(project: Project, asked: str) -> tuple[Run, Run]:
    """Raises Invalid where these are not two runs, and Missing."""
    numbers = compare.numbers_in([asked])
    if len(numbers) != 2:
        raise Invalid("Name two runs: runs=1,2.", fields={"runs": ["Name two runs."]})
    a, b = compare.read(project=project, numbers=numbers)
    return a, b


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
