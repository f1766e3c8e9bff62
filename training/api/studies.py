"""Studies: launched, listed, told of, ended."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from projects.api.base import ProjectMixin, idempotent, person
from training.api.run_serializers import PARTS, SOFT, ConfigurationShape, ObjectField
from training.api.sweep_shapes import SweepShape
from training.models import Study
from training.services import studies, study_strategies, sweep_results, sweeps
from training.services.study_kinds import KINDS
from training.services.study_parts import LONGEST_NAME


class StudyAskedShape(serializers.Serializer[Any]):
    """What OpenAPI says of it; `services.studies.launch` checks it."""

    kind = serializers.ChoiceField(list(KINDS))
    base = ConfigurationShape(help_text="A run configuration; seeds and control are set by it.")
    seeds = serializers.JSONField(
        required=False, help_text="How many, 1 to 10, or a list of them. 3 unless said."
    )
    name = serializers.CharField(max_length=LONGEST_NAME, required=False)
    notes = serializers.CharField(
        max_length=studies.LONGEST_NOTES, required=False, allow_blank=True
    )
    teacher_training = ObjectField(
        required=False,
        help_text="Of strategies: keys of `training` that are others for the teacher.",
    )
    frozen_training = ObjectField(
        required=False,
        help_text="Of strategies: keys of `training` that are others for a frozen backbone's head.",
    )
    against = ConfigurationShape(required=False, help_text="Of finals: the other configuration.")
    space = ObjectField(
        required=False,
        help_text='Of sweeps: {path: {"low", "high", "log"?, "step"?} or {"values": [...]}}.',
    )
    sampler = serializers.ChoiceField(sweeps.SAMPLERS, required=False)
    trials = serializers.IntegerField(
        required=False, max_value=sweeps.MOST_TRIALS, help_text="Of each way of training."
    )
    at_once = serializers.IntegerField(
        required=False, max_value=sweeps.MOST_AT_ONCE, help_text="Trials in training together."
    )
    pruning = serializers.BooleanField(
        required=False, help_text="End trials that fall behind; as usual where tpe samples."
    )
    seed = serializers.IntegerField(required=False, help_text="Of the sampler.")
    metric = serializers.CharField(
        required=False, help_text="Of validation rows, that trials are judged by."
    )
    control = serializers.BooleanField(
        required=False, help_text="Search for labels alone, too, with as many trials."
    )
    arms = serializers.ListField(
        child=serializers.ChoiceField(list(study_strategies.MORE)),
        required=False,
        help_text="Of strategies: which ways beside labels alone and distilling; all that can be.",
    )


class StudyEditShape(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=LONGEST_NAME, required=False)
    notes = serializers.CharField(
        max_length=studies.LONGEST_NOTES, required=False, allow_blank=True, trim_whitespace=False
    )


class TakenShape(serializers.Serializer[Any]):
    seconds = serializers.FloatField()
    energy_wh = serializers.FloatField(allow_null=True)
    cost = serializers.FloatField(allow_null=True, help_text="Where an hour has a price.")


class ArmCostPartsShape(serializers.Serializer[Any]):
    training = TakenShape()
    asking = TakenShape(help_text="Asking the teacher, once for all seeds.")
    teacher = TakenShape(required=False, help_text="Training the teacher, where the study does.")


class ArmCostShape(TakenShape):
    """Of the finished seeds together, without evaluating."""

    runs = serializers.IntegerField()
    source = serializers.CharField(  # type: ignore[assignment]
        allow_blank=True, help_text="How the energy is known."
    )
    parts = ArmCostPartsShape()


class ArmShape(serializers.Serializer[Any]):
    arm = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    runs = serializers.ListField(child=serializers.IntegerField())
    finished = serializers.IntegerField()
    metric = serializers.CharField()
    score = serializers.FloatField(allow_null=True, help_text="Mean of its seeds.")
    deviation = serializers.FloatField(allow_null=True, help_text="Of its seeds.")
    validation = serializers.FloatField(allow_null=True)
    agreement = serializers.FloatField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True, help_text="Of all its seeds.")
    cost = ArmCostShape(allow_null=True)
    parameters = serializers.IntegerField(allow_null=True)


class VerdictShape(serializers.Serializer[Any]):
    answer = serializers.ChoiceField(["helped", "no_evidence", "hurt"])
    difference = serializers.FloatField()
    interval = serializers.ListField(child=serializers.FloatField())
    level = serializers.FloatField()
    sentence = serializers.CharField()
    metric = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)


class ComparisonShape(VerdictShape):
    arm = serializers.CharField()
    against = serializers.CharField()
    seeds = serializers.IntegerField(required=False)
    rows = serializers.IntegerField()
    split = serializers.CharField()
    of_seeds = serializers.ListField(child=serializers.IntegerField())
    student = serializers.FloatField(help_text="The mean of `arm`.")
    control_value = serializers.FloatField(help_text="The mean of `against`.")
    by_seed = serializers.ListField(child=serializers.FloatField(), required=False)
    method = serializers.CharField()


class ConclusionShape(serializers.Serializer[Any]):
    best = serializers.CharField(help_text="The way that is best on validation rows.")
    against = ObjectField(
        help_text="What test rows say of it beside each other way: helped, no_evidence or hurt."
    )
    sentences = serializers.ListField(child=serializers.CharField())


class StudyShape(serializers.ModelSerializer[Study]):
    created_by = serializers.CharField(source="created_by.username")
    runs = serializers.SerializerMethodField()
    verdict = VerdictShape(allow_null=True, read_only=True)

    class Meta:
        model = Study
        fields: ClassVar = [
            "number", "kind", "name", "notes", "status", "runs", "verdict", "created_by",
            "created_at", "finished_at",
        ]  # fmt: skip

    def get_runs(self, study: Study) -> list[int]:
        return sorted(run.number for run in study.runs.all())


class StudyWholeShape(StudyShape):
    asked = ObjectField(read_only=True)
    progress = serializers.FloatField(read_only=True, help_text="Of all its runs, 0 to 1.")
    table = ArmShape(many=True, read_only=True)
    comparisons = ComparisonShape(many=True, read_only=True)
    conclusion = ConclusionShape(
        allow_null=True, read_only=True, help_text="Of strategies, once they are over."
    )

    sweep = SweepShape(allow_null=True, read_only=True)

    class Meta(StudyShape.Meta):
        fields: ClassVar = [
            *StudyShape.Meta.fields, "asked", "progress", "table", "comparisons", "conclusion",
            "sweep",
        ]  # fmt: skip


class StudyView(ProjectMixin):
    def study(self) -> Study:
        return studies.find(project=self.project(), number=self.kwargs["number"])

    def answer(self, study: Study, status: int = 200) -> Response:
        study.refresh_from_db()
        return Response(whole(study), status=status)


@extend_schema_view(get=extend_schema(summary="Studies of a project"))
class StudyList(StudyView, generics.ListAPIView[Study]):
    serializer_class = StudyShape

    def get_queryset(self) -> QuerySet[Study]:
        if getattr(self, "swagger_fake_view", False):
            return Study.objects.none()
        return self.project().studies.select_related("created_by").prefetch_related("runs")

    @idempotent
    @extend_schema(
        request=StudyAskedShape,
        responses={201: StudyWholeShape},
        summary="Launch a study",
        examples=[
            OpenApiExample(
                "Does distilling help?",
                {"kind": "seeds", "seeds": 3, "base": {**PARTS, "teachers": ["minilm@2"]}},
                request_only=True,
            ),
            OpenApiExample(
                "Train the teacher first?",
                {
                    "kind": "strategies",
                    "base": {**PARTS, "teachers": ["minilm@2"], "losses": [SOFT]},
                    "teacher_training": {"learning_rate": 0.00005},
                },
                request_only=True,
            ),
        ],
    )
    def post(self, request: Request, project_slug: str) -> Response:
        study = studies.launch(project=self.project(), asked=request.data, by=person(request))
        return self.answer(study, status=201)


class StudyDetail(StudyView):
    @extend_schema(responses=StudyWholeShape, summary="A study")
    def get(self, request: Request, project_slug: str, number: int) -> Response:
        return self.answer(self.study())

    @extend_schema(
        request=StudyEditShape, responses=StudyWholeShape, summary="Change its name or notes"
    )
    def patch(self, request: Request, project_slug: str, number: int) -> Response:
        study = self.study()
        body = StudyEditShape(data=request.data)
        body.is_valid(raise_exception=True)
        return self.answer(studies.edit(study=study, **body.validated_data))


class StudyCancel(StudyView):
    @extend_schema(
        request=None,
        responses=StudyWholeShape,
        summary="Cancel what of a study is not over",
        description="What has finished stays, and is told of.",
    )
    def post(self, request: Request, project_slug: str, number: int) -> Response:
        study = self.study()
        studies.cancel(study=study, by=person(request))
        return self.answer(study)


def whole(study: Study) -> dict[str, Any]:
    """As `StudyWholeShape` says."""
    if study.kind == sweeps.KEY:
        return _sweep(study)
    table = studies.arms(study)
    return {
        **StudyShape(study).data,
        "asked": study.asked,
        "progress": studies.progress(table),
        "table": [arm.as_dict() for arm in table],
        "comparisons": (study.report or {}).get("comparisons", []),
        "conclusion": (study.report or {}).get("conclusion"),
        "sweep": None,
    }


def _sweep(study: Study) -> dict[str, Any]:
    trials = list(sweeps.trials_of(study))
    return {
        **StudyShape(study).data,
        "asked": study.asked,
        "progress": sweep_results.progress(study, trials),
        "table": [],
        "comparisons": [],
        "conclusion": None,
        "sweep": sweep_results.told(study, trials),
    }
